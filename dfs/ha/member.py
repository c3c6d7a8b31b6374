"""Pure: a member, in whichever role; the door of this package for a NameNode.

After any start it is a follower: what it was before does not matter.  Only a NameNode alone, with
no voters configured, leads from its first tick, in the epoch it has, or above what was seen.

`step` takes a letter, an event or a command and answers with one batch of effects; `effects.py`
says in which order they are performed.
"""

from collections.abc import Callable
from typing import Any

from dfs.base.entropy import Random
from dfs.ha.candidate import Candidate
from dfs.ha.effects import (
    AbandonRecord,
    AcknowledgeLoss,
    Applied,
    ApplyFailed,
    BecomeLeader,
    CommitFailed,
    Committed,
    Effects,
    Exit,
    Fitness,
    ForceLead,
    Input,
    MakeSnapshot,
    NoteKind,
    Promote,
    Propose,
    RemoveMember,
    ReplaceVoter,
    SnapshotMade,
    StreamEnded,
    StreamRecords,
    Switchover,
    Tick,
)
from dfs.ha.follower import Follower
from dfs.ha.ground import Conduct, Follow, Ground, Lead, Stand, Turn
from dfs.ha.leader import Leader
from dfs.ha.messages import Append, Fetch, Letter, SnapshotOffer
from dfs.ha.rows import MemberRow, Position, config_of
from dfs.ha.timers import Timers

Role = Follower | Candidate | Leader
_FOR_THE_LEADER = (Switchover, ReplaceVoter, RemoveMember, AcknowledgeLoss)
_FOR_A_FOLLOWER = (ForceLead, Promote)


class Member:
    """See the module.

    Args:
        row: as it is on the disk.
        head: where the journal on the disk ends.
    """

    # What a role is; tests put broken ones here.
    follower: type[Follower] = Follower
    candidate: type[Candidate] = Candidate
    leader: type[Leader] = Leader

    def __init__(
        self,
        row: MemberRow,
        *,
        head: Position,
        timers: Timers,
        conduct: Conduct,
        rng: Random,
        now_s: float,
    ) -> None:
        self.ground = Ground(row, head=head, timers=timers, conduct=conduct, rng=rng, now_s=now_s)
        self.role: Role = self.follower(self.ground)
        self._handlers: dict[type, Callable[..., None]] = {}
        self._events: dict[type, Callable[[Any], None]] = {}
        self._take(self.role)

    @property
    def epoch(self) -> int:
        """The epoch it leads or stands in, or has promised."""
        return self.ground.row.promised

    @property
    def is_leader(self) -> bool:
        """Whether it leads, serving or not."""
        return isinstance(self.role, Leader)

    @property
    def known_leader(self) -> str:
        """Whom clients should ask; empty when nobody is known."""
        if isinstance(self.role, Leader):
            return self.ground.me
        return self.role.leader if isinstance(self.role, Follower) else ""

    def why_no_service(self, now_s: float) -> str:
        """Why reads and changes are refused at this moment; empty when they are served.

        A read asks this *after* it has read the database.
        """
        self.ground.now_s = now_s
        if isinstance(self.role, Leader):
            return self.role.why_not_serving()
        return "this NameNode does not lead"

    def step(self, now_s: float, item: Input) -> Effects:
        """What to do about one input."""
        self.ground.now_s = now_s
        if isinstance(item, Letter):
            self._read(item)
        elif isinstance(item, Tick):
            self._begin_alone()
            self.role.on_tick()
        else:
            self._happen(item)
        while self.ground.turn is not None:
            turn, self.ground.turn = self.ground.turn, None
            self._turn(turn)
        return self.ground.take_effects()

    def _read(self, letter: Letter) -> None:
        row = self.ground.row
        if letter.cluster != row.cluster or letter.to != row.member:
            return
        if isinstance(letter.body, Fetch):
            self._on_fetch(letter.sender, letter.body)
            return
        handler = self._handlers.get(type(letter.body))
        if handler:
            handler(letter.sender, letter.body)
        elif isinstance(letter.body, Append | SnapshotOffer):
            self._refuse_records(letter.sender, letter.body.epoch)

    def _refuse_records(self, sender: str, epoch: int) -> None:
        """A leader takes no records; one of a lower epoch is told that it is over."""
        if epoch < self.ground.row.promised:
            self.ground.deny(sender, epoch)

    def _happen(self, item: Any) -> None:
        """Keep account of the disk, then let the role know."""
        self._account(item)
        ground = self.ground
        handler = self._events.get(type(item))
        if handler:
            handler(item)
        elif isinstance(item, Propose):
            ground.act(AbandonRecord(item.record.txid, "this NameNode does not lead"))
        elif isinstance(item, _FOR_THE_LEADER):
            leader = f"ask {self.known_leader}" if self.known_leader else "nobody is known to"
            ground.note(NoteKind.REFUSED, f"{ground.me} does not lead: {leader}")
        elif isinstance(item, _FOR_A_FOLLOWER):
            ground.note(NoteKind.REFUSED, f"{ground.me} leads or is about to")

    def _account(self, item: Any) -> None:
        """What is so in every role."""
        ground = self.ground
        match item:
            case Committed(position=head) | Applied(head=head):
                ground.head, ground.job = head, None
            case ApplyFailed():
                ground.job = None
            case CommitFailed() if not self.is_leader:
                ground.act(Exit(f"nobody knows whether it was committed: {item.reason}"))
            case Fitness():
                ground.hindrance = item.hindrance
            case SnapshotMade():
                self._on_snapshot_made(item)
            case StreamEnded():
                self._on_stream_ended(item)

    def _on_fetch(self, sender: str, fetch: Fetch) -> None:
        """Promise a candidate its epoch, serve no older one, and only then give the journal."""
        ground = self.ground
        if fetch.epoch < ground.row.promised:
            ground.deny(sender, fetch.epoch)
            return
        self._promise_candidate(sender, fetch)
        if ground.job is not None or ground.download is not None:
            return  # what is under way may still count; the candidate asks again
        if fetch.head == ground.head:
            ground.send(sender, Append(fetch.epoch, ground.head, (), ground.head))
        else:
            ground.act(StreamRecords(sender, fetch.epoch, fetch.head))

    def _promise_candidate(self, sender: str, fetch: Fetch) -> None:
        ground = self.ground
        if fetch.epoch > ground.row.promised:
            ground.promise(fetch.epoch)
            self._turn(Follow("", f"{sender} stands for epoch {fetch.epoch} with our journal"))
        elif isinstance(self.role, Follower):
            self.role.heard_s = ground.now_s

    def _on_snapshot_made(self, made: SnapshotMade) -> None:
        if made.epoch == self.ground.row.promised:
            offer = SnapshotOffer(made.epoch, made.position, made.name)
            self.ground.send(made.to, offer)

    def _on_stream_ended(self, ended: StreamEnded) -> None:
        """A candidate's journal that is no prefix of ours is replaced by a snapshot."""
        if not ended.found and not self.is_leader and ended.epoch == self.ground.row.promised:
            self.ground.act(MakeSnapshot(ended.to, ended.epoch))

    def _begin_alone(self) -> None:
        ground = self.ground
        row = ground.row
        if row.is_alone and isinstance(self.role, Follower) and ground.job is None:
            if ground.seen > row.promised:
                ground.promise(ground.seen + 1)
            config = config_of(row.member, ground.row.promised, (row.member,))
            ground.turn = Lead(config)

    def _turn(self, turn: Turn) -> None:
        ground = self.ground
        if isinstance(self.role, Leader):
            assert isinstance(turn, Follow)
            self.role.stop(turn)
        match turn:
            case Follow():
                self._take(self.follower(ground, leader=turn.leader))
            case Stand():
                self._stand(turn)
            case Lead():
                self._lead(turn)

    def _stand(self, turn: Stand) -> None:
        """Our own promise comes first; letters go out after it is on the disk."""
        ground = self.ground
        ground.promise(turn.epoch)
        if turn.elsewhere is not None:
            ground.learn_voters(turn.elsewhere)
        ground.note(NoteKind.CANVASSING, f"standing in epoch {turn.epoch}: {turn.reason}")
        candidate = self.candidate(ground, turn)
        self._take(candidate)
        candidate.start()

    def _lead(self, turn: Lead) -> None:
        ground = self.ground
        ground.learn_config(turn.config)
        ground.waiting = ground.download = None  # what is still on its way is not wanted any more
        ground.act(BecomeLeader(turn.config.epoch))
        ground.note(NoteKind.ELECTED, f"{ground.me} leads in epoch {turn.config.epoch}")
        leader = self.leader(ground, turn.config)
        self._take(leader)
        leader.start()

    def _take(self, role: Role) -> None:
        self.role = role
        self._handlers = role.handlers  # type: ignore[assignment]
        self._events = role.events  # type: ignore[assignment]
