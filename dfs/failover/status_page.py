"""Pure: how failover stands, for people: put together from what the core sees and the roll says."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dfs.failover.roll import Roll
from dfs.ha.ground import Ground
from dfs.ha.outlook import HaView, outlooks
from dfs.wire.ha_api import HaStatus, MemberLine, OutlookLine, VoterLine

NOBODY_KNOWS = -1
STANDBY = "standby"  # what people call a follower


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one member sees at one moment.

    Attributes:
        role: leader, candidate or standby.
        heard_s: when a follower heard its leader last.
        lead_txid: where its leader's journal ended then.
        view: of a leader.
    """

    ground: Ground
    role: str
    leader: str
    why_no_service: str
    heard_s: float | None
    lead_txid: int | None
    now_s: float
    view: HaView | None


def status_of(  # noqa: PLR0913 - a page of many parts
    seen: Seen,
    roll: Roll,
    name: str,
    *,
    preferred: str,
    notes: Sequence[str],
    refused_letters: int,
    digests: str,
) -> HaStatus:
    """The whole page."""
    row = seen.ground.row
    voters = row.voters.voters
    leader = roll.members.get(seen.leader)
    mode, why = _mode(len(voters), len(roll.members))
    view = seen.view
    return HaStatus(
        name=name,
        role=seen.role,
        leader=seen.leader,
        leader_url=leader.url if leader else "",
        epoch=row.promised,
        txid=seen.ground.head.txid,
        mode=mode,
        why=why,
        lossy=row.config.lossy,
        preferred=preferred,
        lease_left_s=max(-1.0, round(view.lease_left_s, 3)) if view and voters else NOBODY_KNOWS,
        why_not_serving=seen.why_no_service,
        members=[_member(seen, roll, each, name) for each in sorted(roll.members) or [name]],
        voters=[_voter(seen, roll, voter) for voter in voters],
        outlook=_outlook(view),
        last_notes=list(notes)[-10:],
        refused_letters=refused_letters,
        digests=digests,
    )


def _mode(voters: int, members: int) -> tuple[str, str]:
    if not voters:
        if members > 1:
            return "manual", "a standby has come; the first voter is being made"
        return "single", "one NameNode; its disk has everything"
    if voters == 2:  # noqa: PLR2004 - what is left when one of three was removed
        return (
            "manual",
            "2 voters: the death of either stops the service, and nobody may be promoted; "
            "see: dfs-admin ha voter add NEW, or remove OLD",
        )
    if voters < 3:  # noqa: PLR2004 - a majority of two is both
        return (
            "manual",
            f"{voters} voter: with fewer than three machines nobody can tell a "
            "dead leader from a cut line, so a person says: dfs-admin ha promote",
        )
    return "automatic", f"{voters} voters; a majority of them elects a standby that is in sync"


def _member(seen: Seen, roll: Roll, each: str, name: str) -> MemberLine:
    record = roll.members.get(each)
    row, view = seen.ground.row, seen.view
    role, lag, silent_s, mistrusted = "unknown", NOBODY_KNOWS, float(NOBODY_KNOWS), ""
    if each == name:
        role, lag, silent_s = seen.role, 0, 0.0
        if seen.role == STANDBY:
            lag = NOBODY_KNOWS
            if seen.lead_txid is not None and _is_in_contact(seen):
                lag = max(0, seen.lead_txid - seen.ground.head.txid)
    elif view is not None and each in view.peers:
        peer = view.peers[each]
        heard = peer.silent_s < view.timers.stickiness_s
        role = STANDBY if heard else "unknown"
        lag, mistrusted = peer.lag_records, peer.mistrusted
        silent_s = NOBODY_KNOWS if math.isinf(peer.silent_s) else round(peer.silent_s, 3)
    elif each == seen.leader and seen.heard_s is not None:
        role, lag, silent_s = "leader", 0, round(seen.now_s - seen.heard_s, 3)
    return MemberLine(
        name=each,
        url=record.url if record else "",
        machine=record.machine if record else "",
        role=role,
        in_sync=each in (view.config if view else row.config).sync,
        lag_records=lag,
        silent_s=silent_s,
        mistrusted=mistrusted,
    )


def _is_in_contact(seen: Seen) -> bool:
    """What a leader wrote since it was heard, its follower does not know."""
    heard = seen.heard_s is not None and seen.now_s - seen.heard_s < seen.ground.timers.stickiness_s
    return heard and bool(seen.leader)


def _voter(seen: Seen, roll: Roll, voter: str) -> VoterLine:
    record = roll.voters.get(voter)
    view = seen.view
    silent = view.voters_silent_s.get(voter) if view else None
    return VoterLine(
        voter=voter,
        daemon=record.daemon if record else "?",
        machine=record.machine if record else "?",
        silent_s=NOBODY_KNOWS if silent is None else round(silent, 3),
        answers=view is not None and silent is not None and silent < view.timers.stickiness_s,
    )


def _outlook(view: HaView | None) -> list[OutlookLine]:
    if view is None:
        return []
    return [
        OutlookLine(machine, each.verdict.value, each.reason)
        for machine, each in outlooks(view).items()
    ]
