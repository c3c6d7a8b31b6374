"""The scrubber of one volume: reads every block back from the disk, over and over, and compares.

`run_once` is one bounded slice.  What is next is `scrub_order`'s business, how fast `scrub_pace`'s;
what becomes of a bad block `holdings`'.  Owns the slice: the block being read (it goes on in the
next slice where this one ended), what was proved and is not committed yet (a few seconds' worth:
what a crash redoes), and the figures of its own progress.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.errors import BlockCorrupt, BlockNotFound, DfsError
from dfs.base.events import Emitter, Event
from dfs.base.states import VolumeState
from dfs.base.units import MiB
from dfs.blockstore import scrub_order, scrub_pace
from dfs.blockstore.catalog_table import CatalogRow
from dfs.blockstore.holdings import READABLE
from dfs.blockstore.scrub_order import PassState
from dfs.blockstore.scrub_rows import Mark, Proof, ScrubCounts
from dfs.blockstore.store import BlockStore
from dfs.blockstore.volume import Volume
from dfs.settings.sections import ScrubConfig

SLICE_S: Final = 60.0
COMMIT_S: Final = 5.0
COMMIT_BYTES: Final = 256 * MiB
COMMIT_BLOCKS: Final = 1_000
LOOK_FOR_NEW_S: Final = 60.0
# Counting walks over all rows: it may take this share of the time.
COUNT_SHARE: Final = 0.005
COUNT_EVERY_S: Final = 1.0

Wait = Callable[[float], bool]  # wait so many seconds; True when asked to stop


class Why(StrEnum):
    """Why a block is read."""

    SUSPECT = "suspect"
    NEW = "new"
    OLD = "old"


@dataclass(slots=True)
class ScrubReport:
    """What one slice did."""

    volume: str
    verified: int = 0
    verified_bytes: int = 0
    bad: int = 0
    passes: int = 0
    has_more: bool = False

    def __bool__(self) -> bool:
        """Whether it is worth a line in the log."""
        return bool(self.verified or self.bad or self.passes)


@dataclass(slots=True)
class _Reading:
    """A block that is being read."""

    why: Why
    row: CatalogRow
    number: int  # of the pass when it was taken up: a later one must read it anew
    steps: Generator[int, None, None]


@dataclass(slots=True)
class Figures:
    """Progress of one volume, for `ScrubStatus`; written by its scrubber alone."""

    counts: ScrubCounts = field(default_factory=ScrubCounts)
    passed_blocks: int = 0  # since the rows were counted
    passed_bytes: int = 0
    verified_bytes: int = 0
    last_verified_ms: int = 0
    is_working: bool = False


class VolumeScrubber:
    """See the module.  `run_once` is called in one thread at a time, the rest from any."""

    def __init__(
        self,
        store: BlockStore,
        volume: Volume,
        *,
        config: ScrubConfig,
        clock: Clock,
        emit: Emitter,
        wait: Wait,
    ) -> None:
        self.volume = volume
        self.figures = Figures()
        self._store = store
        self._holdings = store.holdings
        self._config = config
        self._clock = clock
        self._emit = emit
        self._wait = wait
        self._lock = threading.Lock()  # of the state of passes and the pause
        marks = volume.scrub_rows.marks()
        self._state = _state_of(marks)
        self.paused_until_ms = marks[Mark.PAUSED_UNTIL_MS]
        self._pace = scrub_pace.PaceState()
        self._paid_s = clock.monotonic_s()
        self._batches: dict[Why, deque[CatalogRow]] = {Why.NEW: deque(), Why.OLD: deque()}
        self._batch_pass = 0
        self._looked_for_new_s = -LOOK_FOR_NEW_S
        self._reading: _Reading | None = None
        self._proofs: list[Proof] = []
        self._unproved_bytes = 0
        self._committed_s = clock.monotonic_s()
        self._count_due_s = 0.0
        self._is_halted = False
        self._slice_ends_s = 0.0
        with contextlib.suppress(DfsError):  # a disk that takes no writes shows that later, too
            self._begin_pass_if_due()

    # Orders.

    @property
    def state(self) -> PassState:
        """Where the passes are."""
        return self._state

    @property
    def is_paused(self) -> bool:
        """Whether it rests by order."""
        return scrub_order.is_paused(
            self.paused_until_ms,
            now_ms=self._clock.now_ms(),
            pause_max_s=self._config.pause_max_s,
        )

    @property
    def is_halted(self) -> bool:
        """Whether its disk takes no record of what was proved: reading on would never end."""
        return self._is_halted

    def begin(self, run: int) -> None:
        """Begin a pass that was ordered, and end a pause; known orders change nothing.

        Raises:
            DfsError: the disk would not remember it.
        """
        with self._lock:
            begun = scrub_order.begin_run(self._state, run, now_ms=self._clock.now_ms())
            if begun is not self._state:
                self._pause(0)
                self._enter(begun)
        self._count(number=self._state.number)

    def pause(self, until_ms: int) -> None:
        """Rest until then, or the longest pause; 0 ends one.

        Raises:
            DfsError: the disk would not remember it.
        """
        longest_ms = self._clock.now_ms() + int(self._config.pause_max_s * 1000)
        with self._lock:
            self._pause(min(until_ms, longest_ms))

    def _pause(self, until_ms: int) -> None:
        with self.volume.writing("the scrubber's pause"):
            self.volume.scrub_rows.keep({Mark.PAUSED_UNTIL_MS: until_ms})
        self.paused_until_ms = until_ms

    # A slice.

    def run_once(self) -> ScrubReport:
        """Read until nothing is due, a minute is over, or somebody says stop.

        Raises:
            DfsError: the catalog cannot be read, or takes no record.
        """
        report = ScrubReport(self.volume.uuid)
        if self._is_halted:
            return report
        self._slice_ends_s = self._clock.monotonic_s() + SLICE_S
        self.figures.is_working = True
        try:
            self._begin_pass_if_due()
            while self._go_on() and (reading := self._next(report)) is not None:
                if not self._read(reading, report):
                    break
            self._commit()
        except DfsError:
            self._is_halted = self.volume.state is not VolumeState.ONLINE
            raise
        finally:
            self.figures.is_working = False
        report.has_more = self._clock.monotonic_s() >= self._slice_ends_s
        self._count_if_due()
        return report

    def _go_on(self) -> bool:
        if self._wait(0) or self._store.is_doubtful:
            self._put_down()
            return False
        return self._clock.monotonic_s() < self._slice_ends_s

    def _begin_pass_if_due(self) -> None:
        with self._lock:
            now_ms = self._clock.now_ms()
            if not scrub_order.due_pass(self._state, now_ms=now_ms, slo_s=self._config.slo_s):
                return
            self._enter(scrub_order.begin_pass(self._state, now_ms=now_ms))
        self._count(number=self._state.number)

    def _enter(self, state: PassState) -> None:
        """Another state of the passes: on the disk first, then for blocks being written."""
        with self.volume.writing("the scrubber's pass"):
            self.volume.scrub_rows.keep(_marks_of(state))
        crashpoint.reach("dn.scrub.marked")
        self._state = state
        self.volume.pass_number = state.number

    def _next(self, report: ScrubReport) -> _Reading | None:
        """The block to read, or to go on reading; None when nothing is due."""
        if self._reading is not None:
            return self._reading
        while (name := self.volume.suspects.take_due()) is not None:
            row = self.volume.catalog.row(name)
            if row is not None and row.state in READABLE:
                return self._take_up(Why.SUSPECT, row)
            self.volume.suspects.acquit(name)
        while not self.is_paused:
            why = self._refill()
            if why is None:
                self._end_pass(report)
                return None
            row = self._current(why, self._batches[why].popleft())
            if row is not None:
                return self._take_up(why, row)
        return None

    def _take_up(self, why: Why, row: CatalogRow) -> _Reading:
        steps = self._holdings.scan_steps(self.volume, row)
        self._reading = _Reading(why, row, self._state.number, steps)
        self._pay(why, files=1)
        return self._reading

    def _put_down(self) -> None:
        """Give up the block being read; it is taken up again from its beginning."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.steps.close()
            if reading.why is Why.SUSPECT:
                self.volume.suspects.add(reading.row.name)

    def _refill(self) -> Why | None:
        """Where the next block comes from: new ones first, looked for once a minute."""
        number, now_s = self._state.number, self._clock.monotonic_s()
        new, old = self._batches[Why.NEW], self._batches[Why.OLD]
        if self._batch_pass != number:
            old.clear()
            self._batch_pass = number
        is_time = now_s - self._looked_for_new_s >= LOOK_FOR_NEW_S
        if not new and (is_time or not old):
            self._commit()  # or what was just read would be found again
            self._looked_for_new_s = now_s
            new.extend(self._unread())
        if not new and not old:
            rows = self.volume.scrub_rows.undone(number, limit=scrub_order.BATCH_MAX)
            old.extend(scrub_order.disk_order(rows))
        if new:
            return Why.NEW
        return Why.OLD if old else None

    def _unread(self) -> list[CatalogRow]:
        now_ms = self._clock.now_ms()
        ripe_ms = now_ms - int(self._config.new_after_s * 1000)
        rows = self.volume.scrub_rows.unread(
            ripe_ms=ripe_ms, now_ms=now_ms, limit=scrub_order.BATCH_MAX
        )
        return scrub_order.disk_order(rows)

    def _current(self, why: Why, then: CatalogRow) -> CatalogRow | None:
        """The row as it is by now; None if it needs no reading any more."""
        row = self.volume.catalog.row(then.name)
        if row is None or row.state not in READABLE:
            return None
        if row.reread if why is Why.NEW else row.passed >= self._state.number:
            return None
        if self._holdings.is_refused(row.name):
            self._skip(row)
            return None
        return row

    def _end_pass(self, report: ScrubReport) -> None:
        with self._lock:
            state = self._state
            if state.is_done or self._batch_pass != state.number:  # another began meanwhile
                return
            self._enter(scrub_order.end_pass(state, now_ms=self._clock.now_ms()))
        self._count(number=state.number)
        report.passes += 1
        self._emit.emit(
            Event.SCRUB_PASSED,
            volume=self.volume.uuid,
            number=state.number,
            run=state.run if state.is_ordered else 0,
            blocks=self.volume.blocks,
            took_s=(self._clock.now_ms() - state.begun_ms) / 1000,
        )

    # A block.

    def _read(self, reading: _Reading, report: ScrubReport) -> bool:
        """Read it to its end; False when the slice ended before."""
        try:
            for size in reading.steps:
                if not self._may_read(reading, size):
                    return False
        except BlockNotFound:
            self._done(reading)  # deleted, or moved to another disk
        except BlockCorrupt:
            report.bad += 1
            self._done(reading)
            if self._holdings.is_refused(reading.row.name):
                self._skip(reading.row)
        else:
            self._prove(reading, report)
        return True

    def _skip(self, row: CatalogRow) -> None:
        with self.volume.writing("what the scrubber must leave"):
            self.volume.scrub_rows.skip(row.name, number=self._state.number)

    def _may_read(self, reading: _Reading, size: int) -> bool:
        """Wait for the turn of the next piece; False when it must wait for another slice."""
        if self._reading is not reading:
            return False
        self._pay(reading.why, size_bytes=size)
        if not self._go_on():
            return False
        if reading.why is not Why.SUSPECT and self.is_paused:
            self._put_down()
            return False
        return True

    def _pay(self, why: Why, *, size_bytes: int = 0, files: int = 0) -> None:
        """Wait for the turn of a file, or of so many bytes of it."""
        now_s, is_busy = self._clock.monotonic_s(), self._store.in_flight > 0
        if why is Why.SUSPECT:
            wait_s = 0.0  # few, and somebody waits for the answer
        elif self._state.is_ordered:
            wait_s = scrub_pace.rest_after(now_s - self._paid_s) if is_busy else 0.0
        else:
            self._pace, wait_s = scrub_pace.take(
                self._pace, self._limits(is_busy), now_s=now_s, size_bytes=size_bytes, files=files
            )
        if wait_s > 0:
            self._wait(wait_s)
        self._paid_s = self._clock.monotonic_s()

    def _limits(self, is_busy: bool) -> scrub_pace.Pace:  # noqa: FBT001 - passed on as it came
        left = max(0, self.volume.used_bytes - self._passed_bytes())
        elapsed_s = (self._clock.now_ms() - self._state.begun_ms) / 1000
        return scrub_pace.pace_for(
            self._config, left_bytes=left, elapsed_s=elapsed_s, is_busy=is_busy
        )

    def _passed_bytes(self) -> int:
        return self.figures.counts.pass_bytes + self.figures.passed_bytes

    def _done(self, reading: _Reading) -> None:
        self._reading = None
        self.volume.suspects.acquit(reading.row.name)

    def _prove(self, reading: _Reading, report: ScrubReport) -> None:
        row, now_ms = reading.row, self._clock.now_ms()
        self._reading = None
        self._proofs.append(Proof(row.name, row.inode, reading.number, now_ms))
        self._unproved_bytes += row.size_bytes
        self._store.count_verified(row.size_bytes)
        report.verified += 1
        report.verified_bytes += row.size_bytes
        figures = self.figures
        figures.verified_bytes += row.size_bytes
        figures.last_verified_ms = now_ms
        if row.passed < self._state.number == reading.number:
            figures.passed_blocks += 1
            figures.passed_bytes += row.size_bytes
        if reading.why is Why.SUSPECT:
            self._commit()
            self.volume.suspects.acquit(row.name)
        elif (
            self._unproved_bytes >= COMMIT_BYTES
            or len(self._proofs) >= COMMIT_BLOCKS
            or self._clock.monotonic_s() - self._committed_s >= COMMIT_S
        ):
            self._commit()

    def _commit(self) -> None:
        """Write down what was proved, in one commit, and tell it.

        Raises:
            VolumeReadOnly, DiskFull: the disk takes no record.
        """
        self._committed_s = self._clock.monotonic_s()
        self._unproved_bytes = 0
        proofs, self._proofs = self._proofs, []
        if not proofs:
            return
        with self.volume.writing("what the scrubber proved"):
            self.volume.scrub_rows.prove(proofs)
        crashpoint.reach("dn.scrub.proved")
        for proof in proofs:
            self._holdings.proved(proof.name)

    # Figures.

    def _count_if_due(self) -> None:
        if self._clock.monotonic_s() >= self._count_due_s:
            self._count(number=self._state.number)

    def _count(self, *, number: int) -> None:
        began_s = self._clock.monotonic_s()
        since_ms = self._clock.now_ms() - int(self._config.slo_s * 1000)
        self.figures.passed_blocks = self.figures.passed_bytes = 0
        self.figures.counts = self.volume.scrub_rows.counts(number=number, since_ms=since_ms)
        now_s = self._clock.monotonic_s()
        self._count_due_s = now_s + max(COUNT_EVERY_S, (now_s - began_s) / COUNT_SHARE)


def _state_of(marks: dict[Mark, int]) -> PassState:
    return PassState(
        number=marks[Mark.PASS],
        is_done=bool(marks[Mark.PASS_DONE]),
        begun_ms=marks[Mark.PASS_BEGUN_MS],
        ended_ms=marks[Mark.PASS_ENDED_MS],
        run=marks[Mark.RUN],
        run_pass=marks[Mark.RUN_PASS],
    )


def _marks_of(state: PassState) -> dict[Mark, int]:
    return {
        Mark.PASS: state.number,
        Mark.PASS_DONE: int(state.is_done),
        Mark.PASS_BEGUN_MS: state.begun_ms,
        Mark.PASS_ENDED_MS: state.ended_ms,
        Mark.RUN: state.run,
        Mark.RUN_PASS: state.run_pass,
    }
