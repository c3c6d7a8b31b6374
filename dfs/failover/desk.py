"""What operators and newcomers ask of a member: how it stands, what it should do, may I come in.

Decides nothing about who leads (`dfs.ha` does) and nothing about files: an order becomes a command
to the core, and its answer is what the core said within a bounded time.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dfs.base.clock import Clock
from dfs.base.errors import BadRequest, DfsError, JobConflict
from dfs.base.events import Emitter, Event
from dfs.failover import member_rows
from dfs.failover.admission import admit
from dfs.failover.member_host import MemberHost
from dfs.failover.notes import Notes
from dfs.failover.place import Place
from dfs.failover.post_office import PostState
from dfs.failover.roll import Roll
from dfs.failover.status_page import STANDBY, Seen, status_of
from dfs.failover.verifier import Verified
from dfs.ha.effects import (
    AcknowledgeLoss,
    Command,
    ForceLead,
    NoteKind,
    Promote,
    RemoveMember,
    ReplaceVoter,
    Switchover,
)
from dfs.ha.follower import Follower
from dfs.ha.leader import Leader
from dfs.ha.member import Member
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.wire.ha_api import (
    HaOrderReply,
    HaOrderRequest,
    HaStatus,
    JoinMemberReply,
    JoinMemberRequest,
)

ORDER_S: Final = 8.0  # beyond it an order is answered with what was said so far


class Verifier(Protocol):
    """Who holds the tables of standbys against the leader's."""

    def verify(self) -> Verified:
        """Compare with each of them."""
        ...

    @property
    def line(self) -> str:
        """What came of it last."""
        ...

    @property
    def differing(self) -> Sequence[str]:
        """The standbys whose tables differed then."""
        ...


@dataclass(frozen=True, slots=True)
class Lead:
    """What leading is made of at this moment.

    Attributes:
        writer: None while this NameNode does not lead.
        refusal_of_reads: why nothing that was read may be told; None when it may.
        learn: is told of a roll that was committed just now.
    """

    writer: Callable[[], Writer | None]
    refusal_of_reads: Callable[[], DfsError | None]
    learn: Callable[[Roll], None]


class FailoverDesk:
    """See the module.  Safe to share between threads.

    Args:
        roll: the NameNodes and voters there are, as of the journal here.

    Attributes:
        refusal_of_reads: see `Lead`.
        verifier: compares tables; None until it is set.
        post_state: what went through the post office of this process; None while nobody is known.
    """

    def __init__(
        self,
        place: Place,
        host: MemberHost,
        notes: Notes,
        *,
        roll: Callable[[], Roll],
        lead: Lead,
        clock: Clock,
        emit: Emitter,
    ) -> None:
        self.place = place
        self._host = host
        self._notes = notes
        self._roll = roll
        self._learn = lead.learn
        self.refusal_of_reads = lead.refusal_of_reads
        self._writer = lead.writer
        self._clock = clock
        self._emit = emit
        self._one_order = threading.Lock()
        self.verifier: Verifier | None = None
        self.post_state: Callable[[], PostState | None] = lambda: None

    @property
    def url(self) -> str:
        """Where this NameNode is."""
        return self.place.url

    def namenodes(self) -> tuple[str, ...]:
        """The base URLs of all NameNodes."""
        return self._roll().urls or (self.place.url,)

    def leader_url(self) -> str:
        """Where the leader is; empty when nobody is known to lead."""
        record = self._roll().members.get(self._host.known_leader)
        return record.url if record else ""

    # ---- newcomers

    def admit(self, writer: Writer, request: JoinMemberRequest) -> JoinMemberReply:
        """Let a NameNode in, to stand by: see `admission`."""
        return admit(self.place, writer, request, emit=self._emit)

    # ---- operators

    def status(self) -> HaStatus:
        """How failover stands, as far as it can be seen from here."""
        roll = self._roll()
        seen = self._host.look(lambda member, now_s: self._see(member, roll, now_s))
        said = [f"{each.note.kind.value}: {each.note.text}" for each in self._notes.after(0)]
        post = self.post_state()
        return status_of(
            seen,
            roll,
            self.place.name,
            preferred=self.place.preferred,
            notes=said,
            refused_letters=post.refused if post is not None else 0,
            digests=self.verifier.line if self.verifier else "",
        )

    def _see(self, member: Member, roll: Roll, now_s: float) -> Seen:
        role = member.role
        view = role.orders.view(roll.machines) if isinstance(role, Leader) else None
        return Seen(
            ground=member.ground,
            role=STANDBY if isinstance(role, Follower) else type(role).__name__.lower(),
            leader=member.known_leader,
            why_no_service=member.why_no_service(now_s),
            heard_s=member.ground.led_s if isinstance(role, Follower) else None,
            lead_txid=getattr(getattr(role, "lead_end", None), "txid", None),
            now_s=now_s,
            view=view,
        )

    def order(self, request: HaOrderRequest, *, by: str) -> HaOrderReply:
        """Do what an operator wants, or say why not.

        Raises:
            BadRequest: no such order, or nobody of that name.
            JobConflict: only the leader does that, or only who does not lead; or another order is
                under way.
        """
        self._emit.emit(
            Event.HA_ORDERED, order=request.order, member=request.member, fresh=request.fresh, by=by
        )
        match request.order:
            case "switchover":
                return self._switch_over(request.member)
            case "promote":
                self._require_no_lead()
                command: Command = Promote(self.place.voter, request.records)
                return self._ask(command, lambda: self._host.is_leader)
            case "force-lead":
                self._require_no_lead()
                return self._ask(ForceLead(request.records), lambda: self._host.is_leader)
            case "replace-voter":
                return self._replace_voter(request.member, request.fresh)
            case "remove":
                return self._remove(request.member)
            case "acknowledge-loss":
                return self._acknowledge()
            case "verify":
                return self._verify()
        raise BadRequest(f"no such order: {request.order[:40]!r}")

    def _acknowledge(self) -> HaOrderReply:
        self._require_lead()
        if not self.status().lossy:
            return HaOrderReply(done=True, said=["no loss is known of"])
        return self._ask(AcknowledgeLoss(), lambda: not self.status().lossy)

    def _switch_over(self, to: str) -> HaOrderReply:
        self._require_lead()
        if to and to not in self._roll().members:
            raise _unknown(to)
        target = to or self._best_heir()
        reply = self._ask(Switchover(target), lambda: self._host.known_leader == target)
        if not reply.done or target == self.place.name:
            return reply
        return HaOrderReply(done=True, said=[*reply.said[:1], f"{target} takes the lead"])

    def _best_heir(self) -> str:
        """A standby that is in sync, of those that lag least."""
        lines = [each for each in self.status().members if each.role == STANDBY and each.in_sync]
        if not lines:
            raise JobConflict(
                "no standby is in sync: nobody could take the lead",
                hint="see: dfs-admin ha status",
            )
        return min(lines, key=lambda each: (each.lag_records, each.name)).name

    def _replace_voter(self, old: str, fresh: str) -> HaOrderReply:
        self._require_lead()
        roll = self._roll()
        named = fresh or old
        old, fresh = (self._voter_of(roll, name) for name in (old, fresh))
        before = self._voters()
        wanted = (set(before) - {old}) | ({fresh} if fresh else set())
        if wanted == set(before):
            has = "has a vote already" if fresh else "has no vote"
            return HaOrderReply(done=True, said=[f"{named} {has}"])
        if old and old not in before:
            raise BadRequest(f"{old} has no vote to replace", hint="see: dfs-admin ha status")
        return self._ask(ReplaceVoter(old, fresh), lambda: set(self._voters()) == wanted)

    def _voter_of(self, roll: Roll, text: str) -> str:
        """A voter by its uuid, its beginning, or the name of the daemon that hosts it."""
        if not text:
            return ""
        found = [
            voter
            for voter, record in roll.voters.items()
            if voter == text or record.daemon == text or (len(text) >= 4 and voter.startswith(text))
        ]
        found = found or [voter for voter in self._voters() if voter.startswith(text)]
        if len(found) != 1:
            many = f"{len(found)} voters are" if found else "no voter is"
            raise BadRequest(f"{many} called {text[:40]!r}", hint="see: dfs-admin ha status")
        return found[0]

    def _voters(self) -> tuple[str, ...]:
        return self._host.look(lambda member, _now_s: member.ground.row.voters.voters)

    def _remove(self, name: str) -> HaOrderReply:
        """Take a member out.  The order is the contract:

        1 its voter votes no more            (as long as it can be asked)
        2 it is not on the roll              (so its letters are not read: one would bring it back)
        3 the core does not know it, and no change waits for it

        Asked again after a crash in between, this goes on.
        """
        writer = self._require_lead()
        record = self._roll().members.get(name)
        if record is None and (name == self.place.name or not self._is_known(name)):
            raise _unknown(name)
        said: list[str] = []
        if record is not None:
            if name == self.place.name:
                raise JobConflict(
                    f"{name} leads: hand the lead over first", hint="dfs-admin ha switchover"
                )
            reply = self._without_voter(record.voter)
            said += reply.said
            if not reply.done:
                return HaOrderReply(done=False, said=said)
            self._learn(writer.submit(lambda txn: _dropped(txn, name)))
            said += self._without_voter(record.voter).said  # it may have been added once more
        reply = self._ask(RemoveMember(name), lambda: not self._is_known(name))
        return HaOrderReply(done=reply.done, said=[*said, *reply.said])

    def _without_voter(self, voter: str) -> HaOrderReply:
        if voter not in self._voters():
            return HaOrderReply(done=True, said=[])
        return self._replace_voter(voter, "")

    def _is_known(self, name: str) -> bool:
        def look(member: Member, _now_s: float) -> bool:
            role = member.role
            if not isinstance(role, Leader):
                return True
            return name in role.peers.known or name in role.register.required()

        return self._host.look(look)

    def _verify(self) -> HaOrderReply:
        """Begun at once; of what takes longer than an answer may, the status tells."""
        self._require_lead()
        replies: list[HaOrderReply] = []
        work = threading.Thread(target=lambda: replies.append(self._compare()), daemon=True)
        work.start()
        work.join(ORDER_S)
        if not replies:
            line = "it goes on: what comes of it, dfs-admin ha status shows as `tables`"
            return HaOrderReply(done=False, said=[line])
        return replies[0]

    def verify(self) -> Verified:
        """Hold the tables of every standby against ours.

        Raises:
            DfsError: the lead was lost, or our own tables cannot be read.
        """
        return self.verifier.verify() if self.verifier else Verified([], ())

    def _compare(self) -> HaOrderReply:
        """Done only where every standby was proven equal: that is what a script asks for."""
        try:
            lines, unproven = self.verify()
        except DfsError as err:
            return HaOrderReply(done=False, said=[err.message])
        said = lines or ["there is no standby to compare with"]
        return HaOrderReply(done=not unproven, said=said)

    def _require_lead(self) -> Writer:
        writer = self._writer()
        if writer is None:
            raise JobConflict(
                f"{self.place.name} does not lead: ask the leader",
                hint="see: dfs-admin ha status",
                details={"leader": self.leader_url()},
            )
        return writer

    def _require_no_lead(self) -> None:
        if self._host.is_leader:
            raise JobConflict(f"{self.place.name} leads already", hint="see: dfs-admin ha status")

    def _ask(self, command: Command, is_done: Callable[[], bool]) -> HaOrderReply:
        """Give a command to the core, and wait until it is done or refused.

        Raises:
            JobConflict: another is under way; a refusal does not say of which it is.
        """
        if not self._one_order.acquire(blocking=False):
            raise JobConflict(
                "another order is being carried out",
                hint="see: dfs-admin ha status, then repeat it",
            )
        try:
            return self._carried_out(command, is_done)
        finally:
            self._one_order.release()

    def _carried_out(self, command: Command, is_done: Callable[[], bool]) -> HaOrderReply:
        since = self._notes.number
        self._host.tell(command)

        def refused() -> bool:
            return any(each.note.kind is NoteKind.REFUSED for each in self._notes.after(since))

        end_s = self._clock.monotonic_s() + ORDER_S
        done = False
        while not done and not refused() and self._clock.monotonic_s() < end_s:
            self._notes.wait(refused, 0.02)
            done = is_done()
        said = [each.note.text for each in self._notes.after(since)]
        if not done and not refused():
            said.append(f"nothing came of it in {ORDER_S:.0f} s; it may still: dfs-admin ha status")
        return HaOrderReply(done=done, said=said)


def _dropped(txn: Txn, name: str) -> Roll:
    member_rows.drop_member(txn, name)
    return member_rows.read_roll(txn.connection)


def _unknown(name: str) -> BadRequest:
    return BadRequest(f"no NameNode is called {name[:40]!r}", hint="see: dfs-admin ha status")
