"""Pure: what would happen if a machine died now, as far as the leader can tell.

The answer is for people and health checks.  Nothing decides by it.
"""

import enum
from collections.abc import Mapping

import msgspec

from dfs.ha.rows import SyncConfig, VoterSet
from dfs.ha.timers import Timers

UNKNOWN_LAG = -1


class PeerView(msgspec.Struct, frozen=True):
    """A follower as the leader sees it: how many records behind, how long silent.

    Until it was heard in this epoch its lag is `UNKNOWN_LAG`, and its silence infinite.
    """

    lag_records: int
    silent_s: float
    mistrusted: str = ""


class HaView(msgspec.Struct, frozen=True, kw_only=True):
    """What a leader knows of its cluster at one moment.

    Attributes:
        peers: by member.
        voters_silent_s: by voter, of those that ever answered.
        machines: where each member and each voter runs.
        lease_left_s: below 0 when it has none.
        why_not_serving: empty when it serves.
        may_shrink: changes go on without a standby that is gone.
    """

    leader: str
    epoch: int
    config: SyncConfig
    voters: VoterSet
    peers: Mapping[str, PeerView]
    voters_silent_s: Mapping[str, float]
    machines: Mapping[str, str]
    lease_left_s: float
    why_not_serving: str
    may_shrink: bool
    timers: Timers


class Verdict(enum.StrEnum):
    """What becomes of the service."""

    GOES_ON = "goes on"
    FAILS_OVER = "fails over"
    STOPS = "stops"


class Outlook(msgspec.Struct, frozen=True):
    """What would happen, and why."""

    verdict: Verdict
    reason: str


def if_died(view: HaView, machine: str) -> Outlook:
    """What becomes of the service when that machine dies now."""
    gone = {name for name, at in view.machines.items() if at == machine}
    left = _voters_left(view, gone)
    if view.voters.voters and not view.voters.carried_by(left):
        total = len(view.voters.voters)
        return Outlook(Verdict.STOPS, f"{len(left)} of {total} voters would be left: no majority")
    if view.leader in gone:
        return _without_leader(view, gone)
    lost = sorted(gone & set(view.config.sync))
    if not lost:
        return Outlook(Verdict.GOES_ON, "nothing that the leader waits for runs there")
    if not view.may_shrink:
        return Outlook(Verdict.STOPS, f"changes wait until {lost[0]} is back")
    return Outlook(
        Verdict.GOES_ON,
        f"changes wait up to {view.timers.ack_s:g} s, then go on without {', '.join(lost)}",
    )


def _voters_left(view: HaView, gone: set[str]) -> set[str]:
    """Those that were heard lately and run elsewhere."""
    return {
        voter
        for voter in view.voters.voters
        if voter not in gone
        and view.voters_silent_s.get(voter, float("inf")) < view.timers.stickiness_s
    }


def _without_leader(view: HaView, gone: set[str]) -> Outlook:
    timers = view.timers
    heirs = [
        name
        for name in view.config.sync
        if name not in gone
        and name in view.peers
        and view.peers[name].silent_s < timers.stickiness_s
    ]
    if not view.voters.voters:
        return Outlook(Verdict.STOPS, "it is the only NameNode; its disk has everything")
    if not heirs:
        others = sorted(set(view.peers) - gone)
        if not others:
            return Outlook(Verdict.STOPS, "there is no standby; its disk has everything")
        lags = [view.peers[name].lag_records for name in others]
        known = [lag for lag in lags if lag != UNKNOWN_LAG]
        nearest = f"the nearest lacks {min(known)} records" if known else "none was heard yet"
        return Outlook(
            Verdict.STOPS,
            f"no standby is in sync ({nearest}): "
            "it takes this machine's disk, or force-lead with loss",
        )
    upto_s = timers.election_max_s + 1
    return Outlook(
        Verdict.FAILS_OVER,
        f"{' or '.join(heirs)} leads within {timers.election_min_s:g} to {upto_s:g} s; "
        "nothing that was acknowledged is lost",
    )


def outlooks(view: HaView) -> dict[str, Outlook]:
    """The same for every machine."""
    return {machine: if_died(view, machine) for machine in sorted(set(view.machines.values()))}
