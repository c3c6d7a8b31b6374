"""A machine on paper: the shell of a member and of a voter, as thin as a real one should be.

It performs each batch of effects in the order that `dfs/ha/effects.py` says, and dies anywhere
between two of them.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dfs.base.entropy import Random
from dfs.ha import effects as fx
from dfs.ha.ground import Conduct
from dfs.ha.member import Member
from dfs.ha.messages import Append, JournalRecord, Letter
from dfs.ha.rows import VoterRow
from dfs.ha.timers import Timers
from dfs.ha.voter import Voter
from tests.unit.ha.paper_disk import Disk, Journal, make_record

if TYPE_CHECKING:
    from tests.unit.ha.paper_cluster_ha import Client, World

CLUSTER = "paper"
BATCH_MAX = 4
STREAM_MAX = 12


@dataclass(kw_only=True)
class Faults:
    """How bad the world is."""

    every_s: float = 2.0  # between two faults
    lost: float = 0.02
    doubled: float = 0.03
    late: float = 0.1  # up to 0.4 s
    stale: float = 0.005  # up to 20 s
    crash_in_step: float = 0.0005
    drift: float = 0.04
    lying_disks: float = 0.0  # of crashes, lose the last records
    unsound: float = 0.1  # of snapshots, arrive damaged
    commands: float = 0.15  # of faults are switchovers and changes of voters
    pause_max_s: float = 8.0


@dataclass(kw_only=True)
class Shape:
    """What the cluster consists of."""

    members: int = 2
    voters: int = 3
    spare_voters: int = 0
    may_shrink: bool = True
    preferred: str = ""
    kept_records: int = 60  # of the journal; who is further behind gets a snapshot
    timers: Timers = field(default_factory=lambda: Timers().scaled(0.4))
    member: type[Member] = Member
    voter: type[Voter] = Voter


@dataclass
class Request:
    """A client's; it keeps its id when it is asked again."""

    number: str
    asked_s: float
    client: "Client"


class Machine:
    """One computer; its processes die and pause together."""

    def __init__(self, world: "World", name: str, *, is_member: bool) -> None:
        self.world, self.name, self.is_member = world, name, is_member
        rng = world.rng
        self.rate = 1 + rng.uniform(-world.faults.drift, world.faults.drift)
        self.offset_s = rng.uniform(0, 1e5)
        self.disk = Disk()
        self.up = False
        self.run = 0
        self.paused_until_s = 0.0
        self.voter: Voter | None = None
        self.member: Member | None = None
        self.queue: deque[Request] = deque()
        self.proposed: tuple[JournalRecord, list[Request]] | None = None
        self.unanswered: list[tuple[int, Request]] = []
        self.epoch = 0
        self.is_writing = False
        self.snapshots_made = 0
        self.barriers: list[tuple[int, Callable[[], None]]] = []
        self.barrier = 0

    @property
    def now_s(self) -> float:
        return self.offset_s + self.world.now_s * self.rate

    def start(self) -> None:
        world = self.world
        self.up, self.run, self.paused_until_s = True, self.run + 1, 0.0
        self.is_writing = False
        timers = world.shape.timers
        row = self.disk.voter
        if row is not None:
            run = f"{self.name}-{self.run}"
            self.voter = world.shape.voter(row, timers=timers, run=run, now_s=self.now_s)
        if self.is_member:
            assert self.disk.member is not None
            peers = tuple(m for m in world.members if m != self.name)
            shape = world.shape
            conduct = Conduct(peers=peers, may_shrink=shape.may_shrink, preferred=shape.preferred)
            self.member = shape.member(
                self.disk.member,
                head=self.disk.journal.head,
                timers=timers,
                conduct=conduct,
                rng=Random(world.rng.random()),
                now_s=self.now_s,
            )
        self.after(world.rng.uniform(0, timers.tick_s), self._tick)

    def crash(self) -> None:
        if not self.up:
            return
        world = self.world
        world.oracle.count["crashes"] += 1
        self.up, self.run = False, self.run + 1
        if self.disk.under_way and world.rng.random() < 0.5:
            self.disk.land()
        self.disk.under_way = None
        if world.faults.lying_disks and world.rng.random() < world.faults.lying_disks:
            self.disk.journal.cut(world.rng.randint(1, 5))
        self.queue.clear()
        self.proposed, self.epoch = None, 0
        self.unanswered, self.barriers = [], []

    def after(self, seconds: float, what: Callable[..., None], *args: Any) -> None:
        """Later, if the process still runs then, and as soon as it is not paused."""
        self.world.at(seconds, self._resume, self.run, what, args)

    def _resume(self, run: int, what: Callable[..., None], args: tuple[Any, ...]) -> None:
        if run != self.run:
            return
        pause_s = self.paused_until_s - self.world.now_s
        if pause_s > 0:
            self.world.at(pause_s + 0.001 * self.world.rng.random(), self._resume, run, what, args)
            return
        what(*args)

    def _tick(self) -> None:
        self.after(self.world.shape.timers.tick_s / self.rate, self._tick)
        if self.voter:
            self._perform(self.voter.step(self.now_s, fx.Tick()))
        if self.member and self.up:
            self.tell(fx.Tick())
            self.work()

    def receive(self, letter: Letter) -> None:
        if letter.to == self.name:
            if self.member:
                self._perform(self.member.step(self.now_s, letter))
        elif self.voter:
            self._perform(self.voter.step(self.now_s, letter))
        self.work()

    def tell(self, event: Any) -> None:
        assert self.member is not None
        self._perform(self.member.step(self.now_s, event))

    def serves(self) -> bool:
        return bool(self.up and self.member and not self.member.why_no_service(self.now_s))

    # The shell: one batch of effects, in order.

    def _perform(self, effects: fx.Effects) -> None:
        world, run = self.world, self.run
        if world.dies_here(self):
            return
        if effects.row is not None:
            if isinstance(effects.row, VoterRow):
                assert self.disk.voter is not None
                world.oracle.on_voter_row(self.disk.voter, effects.row)
                self.disk.voter = effects.row
            else:
                self.disk.member = effects.row
            if world.dies_here(self):
                return
        for action in effects.actions:
            handler = _ACTIONS.get(type(action))
            if handler:
                handler(self, action)
            if self.run != run:
                return
        for letter in effects.letters:
            world.oracle.on_letter(self, letter)
            world.post(self, letter)
        if effects.letters:
            world.dies_here(self)

    def _become_leader(self, action: fx.BecomeLeader) -> None:
        self.world.oracle.on_leader(self, action.epoch)
        self.epoch = action.epoch
        self.after(0.001, self.work)

    def _stand_down(self, _action: fx.StandDown) -> None:
        self.epoch = 0
        self.queue.clear()
        self.unanswered, self.barriers = [], []

    def _commit(self, action: fx.CommitRecord) -> None:
        assert self.proposed is not None
        record, requests = self.proposed
        assert record.position == action.position
        self.world.oracle.count["commits"] += 1
        self.unanswered += [(record.txid, each) for each in requests]
        self.proposed = None
        self._write(lambda: self.disk.journal.append([record]), fx.Committed(record.position))

    def _abandon(self, action: fx.AbandonRecord) -> None:
        assert self.proposed is not None
        assert self.proposed[0].txid == action.txid
        self.world.oracle.count["abandoned"] += 1
        self.proposed = None

    def _acknowledge(self, action: fx.Acknowledge) -> None:
        self.world.oracle.on_ack_to_client(self, action.txid)
        for txid, request in self.unanswered:
            if txid <= action.txid:
                self.world.answer(request, txid)
        self.unanswered = [each for each in self.unanswered if each[0] > action.txid]

    def _apply(self, action: fx.ApplyRecords) -> None:
        journal = self.disk.journal
        head = action.records[-1].position
        self._write(lambda: journal.append(action.records), fx.Applied(head))

    def _install(self, action: fx.InstallSnapshot) -> None:
        records = self.disk.snapshots[action.name]
        assert self.disk.member is not None
        epoch = self.disk.member.promised

        def replace() -> None:
            fresh = Journal(records)
            self.world.oracle.on_install(self, self.disk.journal, fresh, epoch)
            if action.aside:
                self.disk.aside.append(self.disk.journal)
            self.disk.journal = fresh

        self._write(replace, fx.Applied(action.position))

    def _write(self, write: Callable[[], None], done: Any) -> None:
        """It reaches the disk some time later, pause or no pause; then the core hears of it."""
        assert not self.is_writing, "one write at a time"
        self.is_writing = True
        self.disk.under_way = write
        self.world.at(self.world.disk_s(), self._landed, self.run, done)

    def _landed(self, run: int, done: Any) -> None:
        if run == self.run:
            self.disk.land()
            self.after(0.0001, self._written, done)

    def _written(self, done: Any) -> None:
        self.is_writing = False
        self.tell(done)
        self.work()

    def _stream(self, action: fx.StreamRecords) -> None:
        self.after(self.world.disk_s(), self._stream_now, action)

    def _stream_now(self, action: fx.StreamRecords) -> None:
        """Runs beside everything else: what was asked for may not matter any more."""
        journal, after = self.disk.journal, action.after
        oldest = max(0, journal.head.txid - self.world.shape.kept_records)
        found = journal.has(after) and after.txid >= oldest
        if found:
            records = tuple(journal.records[after.txid : after.txid + STREAM_MAX])
            append = Append(action.epoch, after, records, journal.head)
            letter = Letter(CLUSTER, self.name, action.to, append)
            self.world.oracle.on_letter(self, letter)
            self.world.post(self, letter)
        self.world.oracle.count["streams"] += 1
        self.tell(fx.StreamEnded(action.to, action.epoch, found))

    def _make_snapshot(self, action: fx.MakeSnapshot) -> None:
        self.after(self.world.disk_s() * 5, self._snapshot_made, action)

    def _snapshot_made(self, action: fx.MakeSnapshot) -> None:
        self.snapshots_made += 1
        name = f"{self.name}-{self.run}-{self.snapshots_made}"
        journal = self.disk.journal
        self.disk.snapshots[name] = list(journal.records)
        self.tell(fx.SnapshotMade(action.to, action.epoch, journal.head, name))

    def _fetch_snapshot(self, action: fx.FetchSnapshot) -> None:
        self.after(self.world.disk_s() * 10, self._snapshot_fetched, action)

    def _snapshot_fetched(self, action: fx.FetchSnapshot) -> None:
        source = self.world.machines[action.source]
        name = action.offer.name
        sound = source.up and self.world.reaches(source, self) and name in source.disk.snapshots
        if self.world.rng.random() < self.world.faults.unsound:
            sound = False
        if sound:
            self.disk.snapshots[name] = source.disk.snapshots[name]
        self.tell(fx.SnapshotFetched(name, sound))

    def _confirm_reads(self, action: fx.ConfirmReads) -> None:
        ready = [each for each in self.barriers if each[0] <= action.number]
        self.barriers = [each for each in self.barriers if each[0] > action.number]
        for _, answer in ready:
            answer()

    def _exit(self, _action: fx.Exit) -> None:
        self.crash()

    # The writer of a NameNode: what waits together is one record.

    def work(self) -> None:
        if not self.epoch or self.proposed or not self.up or self.is_writing:
            return
        journal, batch = self.disk.journal, []
        is_first = journal.head.epoch != self.epoch
        while self.queue and len(batch) < BATCH_MAX:
            request = self.queue.popleft()
            if request.number in journal.done:
                self._answer_again(request)
            elif all(request.number != other.number for other in batch):
                batch.append(request)
        if batch or is_first:
            record = make_record(journal.head, self.epoch, [each.number for each in batch])
            self.proposed = (record, batch)
            self.tell(fx.Propose(record))

    def _answer_again(self, request: Request) -> None:
        """Done before: the answer waits as the first one does."""
        txid = self.disk.journal.done[request.number]
        oldest = self.unanswered[0][0] if self.unanswered else txid + 1
        if txid < oldest and not self.member.why_no_service(self.now_s):  # type: ignore[union-attr]
            self.world.answer(request, txid)
        else:
            self.unanswered.append((txid, request))

    def ask(self, request: Request) -> None:
        if self.epoch and len(self.queue) < 50:
            self.queue.append(request)
            self.after(0.002, self.work)

    def read(self, acked_before: int, *, strict: bool) -> None:
        """Read the database, then look whether we lead, or ask voters."""
        if not self.epoch:
            return
        head = self.disk.journal.head
        self.after(self.world.rng.uniform(0, 0.002), self._read_done, acked_before, head, strict)

    def _read_done(self, acked_before: int, head: Any, strict: object) -> None:
        oracle = self.world.oracle
        if not self.epoch:
            return
        if strict:
            self.barrier += 1
            self.barriers.append((self.barrier, lambda: oracle.on_read(self, acked_before, head)))
            self.tell(fx.ReadBarrier(self.barrier))
        elif self.serves():
            oracle.on_read(self, acked_before, head)


_ACTIONS: dict[type, Callable[[Machine, Any], None]] = {
    fx.BecomeLeader: Machine._become_leader,
    fx.StandDown: Machine._stand_down,
    fx.CommitRecord: Machine._commit,
    fx.AbandonRecord: Machine._abandon,
    fx.Acknowledge: Machine._acknowledge,
    fx.ConfirmReads: Machine._confirm_reads,
    fx.ApplyRecords: Machine._apply,
    fx.StreamRecords: Machine._stream,
    fx.MakeSnapshot: Machine._make_snapshot,
    fx.FetchSnapshot: Machine._fetch_snapshot,
    fx.InstallSnapshot: Machine._install,
    fx.Exit: Machine._exit,
    fx.Note: lambda machine, note: machine.world.on_note(machine, note),
}
