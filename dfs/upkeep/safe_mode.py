"""Safe mode: the NameNode answers, and changes and deletes nothing.

It is on from the start of the NameNode until `start_check.py` finds that the DataNodes have said
where enough blocks are, and whenever an administrator says so (that outlives a restart).  While it
is on, changes of the namespace are refused, no lease expires, nothing is repaired, deleted or
purged; reads, logins and what DataNodes say go on.

A NameNode that takes over from another has the journal of all that was acknowledged: it changes
names from the first moment, and deletes and repairs nothing until DataNodes have reported to it.

Left by force, before enough was known, it forbids deletions for a while more: what is not known
yet may be the copies that a deletion would count on.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Connection, exists, func, select, text

from dfs.base.clock import Clock
from dfs.base.errors import DfsError, JobConflict, SafeMode
from dfs.base.events import Emitter, Event
from dfs.base.ids import NodeId
from dfs.base.records import NodeView
from dfs.base.states import NodeDuty, ReplicaState
from dfs.base.units import format_duration
from dfs.meta.session import Reader
from dfs.meta.tables import BLOCK, REPLICA
from dfs.settings.sections import RepairConfig
from dfs.upkeep.remembered import Key, Remembered
from dfs.upkeep.start_check import StartFacts, is_awaiting, judge_start

LOOK_AGAIN_S: Final = 0.1
WORK_SHARE: Final = 0.2  # of its time, that counting may take in a large cluster
RETRY_AFTER_S: Final = 1.0

_COMMITTED: Final = text("block.state = 'committed'")


@dataclass(frozen=True, slots=True)
class NodeKnowledge:
    """What safe mode needs to know of DataNodes.

    Attributes:
        views: every DataNode as of now.
        fresh: the nodes whose stock is known.
        lost: the nodes that counted as dead before the start.
    """

    views: Callable[[], Sequence[NodeView]]
    fresh: Callable[[], frozenset[NodeId]]
    lost: frozenset[NodeId]


class ByHand(msgspec.Struct, frozen=True):
    """An administrator entered safe mode."""

    by: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class SafeModeStatus:
    """How it is now; `facts` are the newest of the start, None when that was over at once.

    `since_ms` is when it was entered by hand, else when the start began.
    """

    on: bool
    since_ms: int
    why: str
    by_hand: ByHand | None
    starting: bool
    facts: StartFacts | None


class SafeModeGuard:
    """See the module.  Safe to share between threads.

    Args:
        takes_over: another NameNode led until now, with the same journal.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        takes_over: bool,
        known: NodeKnowledge,
        remembered: Remembered,
        clock: Clock,
        emit: Emitter,
        config: RepairConfig,
    ) -> None:
        self._reader = reader
        self._known = known
        self._takes_over = takes_over
        self._remembered = remembered
        self._clock = clock
        self._emit = emit
        self._config = config
        self._lock = threading.Lock()
        self._by_hand = remembered.read(Key.SAFE_MODE, ByHand)
        self._deletes_from_s = self._remembered_wait(remembered.read(Key.NO_DELETES, int) or 0)
        self._starting, self._why = True, "the NameNode has just started"
        self._facts: StartFacts | None = None
        self._blocks = 0
        self._began_s = self._look_after_s = clock.monotonic_s()
        self._began_ms = clock.now_ms()
        self.begin()

    def _remembered_wait(self, until_ms: int) -> float:
        """On the clock that nobody sets; one that was set since cannot make it last for ever."""
        left_s = (until_ms - self._clock.now_ms()) / 1000
        bounded_s = min(max(0.0, left_s), self._config.forced_delete_wait_s)
        return self._clock.monotonic_s() + bounded_s

    def begin(self) -> None:
        """What is known of blocks is not to be trusted: find out as after a start."""
        with self._reader.view() as connection:
            blocks = count_found(connection, None)
        with self._lock:
            self._blocks = blocks
            self._starting, self._why = True, "the NameNode has just started"
            self._began_s = self._look_after_s = self._clock.monotonic_s()
            self._began_ms = self._clock.now_ms()
            self._look()
            starting = self._starting
        if starting:
            self._emit.emit(Event.SAFE_MODE_ENTERED, by="start", why=self._why, blocks=blocks)

    # ---- what others ask

    def is_starting(self) -> bool:
        """Whether the start was not over when somebody last looked."""
        return self._starting

    def is_on(self) -> bool:
        """Whether it is on now."""
        return bool(self.why())

    def why(self) -> str:
        """Why it is on; "" when it is not."""
        if self._by_hand is not None:
            return f"{self._by_hand.by} said so"
        if self._starting:
            self._look_if_due()
        return self._why if self._starting else ""

    def refusal(self) -> DfsError | None:
        """What a change is refused with now; None when it is welcome."""
        why = self.why()
        if not why or (self._takes_over and self._by_hand is None):
            return None
        hint = "dfs-admin safemode leave" if self._by_hand else None
        return SafeMode(
            f"the NameNode is in safe mode: {why}",
            hint=hint,
            details={"retry_after_s": RETRY_AFTER_S},
        )

    def why_no_deletes(self) -> str:
        """Why nothing may be deleted now; "" when it may."""
        if why := self.why():
            return f"safe mode: {why}"
        left_s = self._deletes_from_s - self._clock.monotonic_s()
        if left_s <= 0:
            return ""
        return f"safe mode was left by force; no deletions for {format_duration(left_s)}"

    def why_no_repair(self, _urgency: object) -> str:
        """Why nothing may be repaired now; "" when it may."""
        why = self.why()
        return f"safe mode: {why}" if why else ""

    def status(self) -> SafeModeStatus:
        """All there is to say."""
        why = self.why()
        return SafeModeStatus(
            on=bool(why),
            since_ms=self._by_hand.at_ms if self._by_hand else self._began_ms,
            why=why,
            by_hand=self._by_hand,
            starting=self._starting,
            facts=self._facts,
        )

    # ---- what moves it

    def run_once(self) -> None:
        """Look whether the start is over."""
        if self._starting:
            self._look_if_due()

    def enter(self, by: str) -> None:
        """Turn it on until somebody turns it off."""
        by_hand = ByHand(by, self._clock.now_ms())
        self._remembered.keep(Key.SAFE_MODE, by_hand)
        self._by_hand = by_hand
        self._emit.emit(Event.SAFE_MODE_ENTERED, by=by, why="by hand")

    def leave(self, by: str, *, force: bool) -> None:
        """Turn it off.

        Raises:
            JobConflict: not enough is known of blocks yet, and it is not forced.
        """
        was_on, by_hand = self.is_on(), self._by_hand
        early = self._starting and not self._is_over()
        if early and not force:
            raise JobConflict(
                f"too little is known yet: {self._why}",
                hint="wait for it: dfs-admin safemode wait; or force it (nothing is deleted for "
                f"{format_duration(self._config.forced_delete_wait_s)}): "
                "dfs-admin safemode leave --force",
            )
        if early:
            self._forbid_deletes()
        if by_hand is not None:
            self._remembered.forget(Key.SAFE_MODE)
            self._by_hand = None
        with self._lock:  # or a look that is under way would say again that it goes on
            self._starting = False
        if was_on:
            self._emit.emit(Event.SAFE_MODE_LEFT, by=by, forced=early)

    def _forbid_deletes(self) -> None:
        until_ms = self._clock.now_ms() + int(self._config.forced_delete_wait_s * 1000)
        self._remembered.keep(Key.NO_DELETES, until_ms)
        self._deletes_from_s = self._clock.monotonic_s() + self._config.forced_delete_wait_s

    # ---- looking

    def _is_over(self) -> bool:
        with self._lock:
            self._look()
            return not self._starting

    def _look_if_due(self) -> None:
        if not self._lock.acquire(blocking=False):
            return  # somebody is looking: his answer will do
        try:
            if self._starting and self._clock.monotonic_s() >= self._look_after_s:
                self._look()
        finally:
            self._lock.release()

    def _look(self) -> None:
        began_s = self._clock.monotonic_s()
        facts = self._gather(waited_s=began_s - self._began_s)
        verdict = judge_start(
            facts,
            wanted_percent=self._config.safe_mode_percent,
            wait_s=self._config.safe_mode_wait_s,
        )
        now_s = self._clock.monotonic_s()
        self._facts, self._why = facts, verdict.reason
        self._look_after_s = now_s + max(LOOK_AGAIN_S, (now_s - began_s) / WORK_SHARE)
        was, self._starting = self._starting, not verdict.over
        if was and verdict.over and self._by_hand is None and facts.waited_s:
            self._emit.emit(
                Event.SAFE_MODE_LEFT,
                by="start",
                forced=False,
                waited_s=round(facts.waited_s, 1),
                found=facts.found,
            )

    def _gather(self, *, waited_s: float) -> StartFacts:
        fresh = self._known.fresh()
        awaited = tuple(
            view.node
            for view in self._known.views()
            if _is_expected(view) and view.node not in fresh | self._known.lost
        )
        facts = StartFacts(self._blocks, 0, awaited, waited_s)
        if not self._blocks or is_awaiting(facts, wait_s=self._config.safe_mode_wait_s):
            return facts  # counting would decide nothing
        with self._reader.view() as connection:
            return StartFacts(self._blocks, count_found(connection, fresh), awaited, waited_s)


def _is_expected(view: NodeView) -> bool:
    """Whether a node can be expected to report by itself."""
    away = view.is_excused or view.duty in (NodeDuty.MAINTENANCE, NodeDuty.DECOMMISSIONED)
    return bool(view.registered_ms) and not away


def count_found(connection: Connection, nodes: Collection[NodeId] | None) -> int:
    """Committed blocks with a copy on one of those nodes, good or bad; None: on any that joined.

    One walk over the blocks.
    """
    copy = exists().where(
        REPLICA.c.block == BLOCK.c.id,
        REPLICA.c.generation == BLOCK.c.generation,
        REPLICA.c.state != ReplicaState.MISSING,
    )
    if nodes is not None:
        copy = copy.where(REPLICA.c.node.in_(sorted(nodes)))
    wanted = select(func.count()).select_from(BLOCK).where(_COMMITTED, copy)
    return int(connection.execute(wanted).scalar() or 0)
