"""Owns a member: letters, events, commands and time in, its batches performed one at a time.

    for each of these:
        1 the row is on the disk          (before anybody hears of what it says)
        2 the actions, one by one         (the journal's are only begun: `journal_works.py`)
        3 letters go out

What a NameNode does for its clients is behind `Service`; the thread that writes its database holds
each batch before COMMIT and asks here (`propose`).  Letters and time are taken in by a thread of
the member's own; what the writer says, in the writer's: where nobody else has to be asked, waking
another thread would be most of what a change costs.

When the disk does not take the row, or nobody knows what the database has, nothing more is said and
`on_failure` ends the process.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.entropy import SystemRandom
from dfs.base.errors import DfsError
from dfs.failover.inbox import Inbox
from dfs.failover.journal_works import WORK, Journal, JournalWorks
from dfs.failover.row_file import RowFile
from dfs.failover.voter_host import Sender
from dfs.ha.effects import (
    AbandonRecord,
    Acknowledge,
    Action,
    BecomeLeader,
    Command,
    CommitFailed,
    CommitRecord,
    Committed,
    ConfirmReads,
    Effects,
    Event,
    Exit,
    Note,
    Propose,
    StandDown,
    Tick,
)
from dfs.ha.ground import Conduct
from dfs.ha.member import Member
from dfs.ha.messages import Append, JournalRecord, Letter
from dfs.ha.rows import MemberRow, Position
from dfs.ha.timers import Timers

T = TypeVar("T")

JOIN_S: Final = 5.0
_STOPS: Final = "this NameNode stops"


class Service(Protocol):
    """A NameNode towards its clients.  None of these waits."""

    def lead(self, epoch: int) -> None:
        """Serve clients, and propose at once, if only an empty batch: the record that says so."""
        ...

    def stand_down(self, why: StandDown) -> None:
        """Serve nobody from this moment on; those who wait are told to ask again."""
        ...

    def acknowledge(self, txid: int) -> None:
        """Clients of every transaction up to this one get their answers."""
        ...

    def confirm_reads(self, number: int) -> None:
        """Strict reads up to this number were read from the leader."""
        ...

    def note(self, note: Note) -> None:
        """For logs and operators."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a batch that stands before COMMIT: that, or ROLLBACK and why."""

    commit: bool
    reason: str = ""


@dataclass(slots=True)
class _Proposal:
    """A batch that waits, and what was decided about it."""

    position: Position
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a member is put into.

    Attributes:
        on_failure: ends the process; called at most once.
    """

    journal: Journal
    service: Service
    sender: Sender
    clock: Clock
    on_failure: Callable[[str], None]


class _Over(Exception):  # noqa: N818 - it ends the thread
    """Nothing more may be done."""


class MemberHost:
    """See the module.

    Args:
        file: has a row; nobody else writes it.
    """

    def __init__(
        self,
        file: RowFile[MemberRow],
        around: Surroundings,
        *,
        timers: Timers,
        conduct: Conduct,
    ) -> None:
        row = file.load()
        assert row is not None, "a member's row is made when its cluster is, or when it joins"
        self._file = file
        self._row = row
        self._around = around
        self._timers = timers
        self._inbox: Inbox[Event | Command] = Inbox()
        self._works = JournalWorks(around.journal, tell=self._inbox.put, send=self._send)
        # A turn is a step and its batch, one after the other.  Within it `_core` is taken for the
        # step alone, as it is by who asks the core beside it, and `_decided` for a verdict; neither
        # within the other, and no turn within either.  A service acts within a turn: it may ask
        # (`known_leader`), and waits for nobody who may want a turn.
        self._turn = threading.Lock()
        self._core = threading.Lock()
        self._member = Member(
            row,
            head=around.journal.head(),
            timers=timers,
            conduct=conduct,
            rng=SystemRandom(),
            now_s=around.clock.monotonic_s(),
        )
        self._decided = threading.Condition()
        self._proposal: _Proposal | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="member", daemon=True)

    @property
    def name(self) -> str:
        """The member's, to which letters are addressed."""
        return self._row.member

    @property
    def row(self) -> MemberRow:
        """As it is on the disk."""
        return self._row

    @property
    def known_leader(self) -> str:
        """Whom clients should ask; empty when nobody is known."""
        with self._core:
            return self._member.known_leader

    @property
    def is_leader(self) -> bool:
        """Whether it leads, serving or not."""
        with self._core:
            return self._member.is_leader

    @property
    def epoch(self) -> int:
        """The epoch it leads or stands in, or has promised."""
        with self._core:
            return self._member.epoch

    def look(self, see: Callable[[Member, float], T]) -> T:
        """What `see` makes of the core as it is now, and of the time; it changes nothing."""
        with self._core:
            return see(self._member, self._around.clock.monotonic_s())

    def why_no_service(self) -> str:
        """Why nothing is served at this moment; empty when it is.

        A read asks *after* it has read the database.
        """
        with self._core:
            return self._member.why_no_service(self._around.clock.monotonic_s())

    def start(self) -> None:
        """Listen, follow, stand for election, lead."""
        self._works.start()
        self._thread.start()

    def take(self, letter: Letter) -> bool:
        """Take a letter in, without waiting; False when it was dropped."""
        return self._inbox.offer(letter)

    def tell(self, event: Event | Command) -> None:
        """Take in what happened here, or what the operator wants."""
        assert not isinstance(event, Propose | Committed | CommitFailed), "see `propose`"
        self._inbox.put(event)

    def propose(self, record: JournalRecord) -> Verdict:
        """Wait until it is decided what becomes of a batch; for the one thread that writes.

        After a verdict to commit, `committed` or `commit_failed` has to be called; before that,
        nothing more may be proposed.
        """
        proposal = _Proposal(record.position)
        with self._decided:
            assert self._proposal is None
            if self._stopping.is_set():
                return Verdict(commit=False, reason=_STOPS)
            self._proposal = proposal
        self._take_in(Propose(record))
        with self._decided:
            self._decided.wait_for(lambda: proposal.verdict is not None)
            self._proposal = None
        assert proposal.verdict is not None
        return proposal.verdict

    def committed(self, position: Position) -> None:
        """COMMIT returned.  What it allows to be acknowledged at once, is."""
        self._take_in(Committed(position))

    def commit_failed(self, reason: str, *, rolled_back: bool = False) -> bool:
        """It did not, and what is on the disk is unknown, unless it was rolled back for sure.

        Returns:
            Whether to go on as if the record had never been proposed: nobody has it.
        """
        self._take_in(CommitFailed(reason, rolled_back))
        return not self._stopping.is_set()

    def stop(self) -> None:
        """Say nothing more; a batch that waits is not committed."""
        self._end()
        if self._thread.ident is not None:
            self._thread.join(JOIN_S)
        self._works.stop()

    def _end(self) -> None:
        with self._decided:
            self._stopping.set()
            if self._proposal is not None and self._proposal.verdict is None:
                self._proposal.verdict = Verdict(commit=False, reason=_STOPS)
                self._decided.notify_all()
        self._inbox.close()

    def _run(self) -> None:
        clock = self._around.clock
        tick_s = clock.monotonic_s()  # the first at once: who is alone leads with it
        try:
            while not self._stopping.is_set():
                item = self._inbox.take(tick_s - clock.monotonic_s())
                if item is not None:
                    self._take_in(item)
                if clock.monotonic_s() >= tick_s:
                    self._take_in(Tick())
                    tick_s = clock.monotonic_s() + self._timers.tick_s
        finally:
            self._end()

    def _take_in(self, item: Letter | Event | Command) -> None:
        """One step and its batch; after a fault, and after the end, nothing."""
        with self._turn:
            if self._stopping.is_set():
                return
            try:
                self._pass_in(item)
            except (_Over, DfsError) as err:
                self._end()
                self._around.on_failure(str(err))

    def _pass_in(self, item: Letter | Event | Command) -> None:
        if isinstance(item, Propose) and not self._is_timely(item.record):
            self._settle(Verdict(commit=False, reason="another leadership has begun since"))
            return
        with self._core:
            effects = self._member.step(self._around.clock.monotonic_s(), item)
        self._perform(effects)

    def _is_timely(self, record: JournalRecord) -> bool:
        """A batch may have been begun under a leadership of ours that ended meanwhile."""
        member = self._member
        return not member.is_leader or record.epoch == member.epoch

    def _perform(self, effects: Effects) -> None:
        """One batch; its order is the contract (see the module).

        Raises:
            LocalIoError: the row may not be on the disk; nothing of the batch was done.
            _Over: nobody knows what the database has.
        """
        if effects.row is not None:
            assert isinstance(effects.row, MemberRow)
            assert effects.row.promised >= self._row.promised
            self._file.keep(effects.row)
            self._row = effects.row
        crashpoint.reach("nn.ha.member.acting")
        for action in effects.actions:
            self._act(action)
        crashpoint.reach("nn.ha.member.answering")
        if effects.letters and not self._stopping.is_set():
            self._around.sender.send(effects.letters)

    def _act(self, action: Action) -> None:
        service = self._around.service
        match action:
            case BecomeLeader():
                service.lead(action.epoch)
            case StandDown():
                service.stand_down(action)
            case CommitRecord():
                self._settle(Verdict(commit=True))
            case AbandonRecord():
                self._settle(Verdict(commit=False, reason=action.reason))
            case Acknowledge():
                service.acknowledge(action.txid)
            case ConfirmReads():
                service.confirm_reads(action.number)
            case Note():
                service.note(action)
            case Exit():
                raise _Over(action.reason)
            case _:
                assert isinstance(action, WORK)
                self._works.begin(action)

    def _settle(self, verdict: Verdict) -> None:
        with self._decided:
            if self._stopping.is_set():
                return  # it was settled by that
            assert self._proposal is not None
            self._proposal.verdict = verdict
            self._decided.notify_all()

    def _send(self, to: str, append: Append) -> None:
        letter = Letter(self._row.cluster, self._row.member, to, append)
        if not self._stopping.is_set():
            self._around.sender.send([letter])
