"""Moves blocks between the disks of one DataNode until they are used alike.

What goes where is `levelling`'s business.  A block is copied by the whole order of a write, every
byte verified; only when the copy is durable and has its row does the old file go, to the purge area
like any other deletion.  In between both are held, so a reader always finds one, and a crash leaves
at least one.  A copy that a crash left twice is dropped when levelling meets it again.

An order lasts until it is fulfilled, stopped, or the process ends.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.errors import BlockCorrupt, BlockNotFound, DfsError
from dfs.base.events import Emitter, Event
from dfs.base.records import BlockName, DiskBalance
from dfs.base.states import StoredState
from dfs.blockstore import levelling, scrub_pace
from dfs.blockstore.catalog_table import CatalogRow
from dfs.blockstore.holdings import READABLE
from dfs.blockstore.levelling import DiskMove
from dfs.blockstore.part_file import PartFile
from dfs.blockstore.reader import BlockFile
from dfs.blockstore.store import BlockStore
from dfs.blockstore.volume import Volume

SLICE_S: Final = 60.0
PAGE_MAX: Final = 1_000
FILES_PER_S: Final = 1_000.0


@dataclass(slots=True)
class MoverReport:
    """What one slice did."""

    moved: int = 0
    moved_bytes: int = 0
    has_more: bool = False

    def __bool__(self) -> bool:
        """Whether it is worth a line in the log."""
        return bool(self.moved)


class _StoppedError(Exception):
    """Somebody asked to stop in the middle of a block."""


class DiskMover:
    """See the module.  `run_once` is called in one thread at a time, the rest from any.

    Args:
        bytes_per_s: copied at most.
        wait: how a slice waits; tells whether it must stop.  Left out: for real.
    """

    def __init__(
        self,
        store: BlockStore,
        *,
        bytes_per_s: int,
        clock: Clock,
        emit: Emitter,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._emit = emit
        self._pace = scrub_pace.Pace(bytes_per_s, FILES_PER_S)
        self._paid = scrub_pace.PaceState()
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._threshold: float | None = None  # None: nothing is ordered
        self._moved_bytes = 0
        self._error = ""
        self._rows: dict[str, deque[CatalogRow]] = {}
        self._after: dict[str, BlockName | None] = {}
        self.on_work: Callable[[], None] = _nobody

    # Orders.

    def begin(self, threshold: float) -> None:
        """Move until no disk's use differs from the mean by more than that share of it."""
        if self._threshold == threshold:
            return
        self._moved_bytes, self._error = 0, ""
        self._rows, self._after = {}, {}
        self._threshold = threshold
        self.on_work()

    def stop(self) -> None:
        """Move no more; the block under way stays where it was."""
        self._threshold = None

    def close(self) -> None:
        """The process ends."""
        self._closed.set()

    def status(self) -> DiskBalance:
        """How far it is."""
        is_running = self._threshold is not None
        left = levelling.left_bytes(self._store.volumes()) if is_running else 0
        return DiskBalance(is_running, self._moved_bytes, left, self._error)

    # A slice.

    def run_once(self) -> MoverReport:
        """Move blocks until all is level, a minute is over, or somebody says stop."""
        report = MoverReport()
        ends_s = self._clock.monotonic_s() + SLICE_S
        try:
            while (threshold := self._threshold) is not None and not self._wait(0):
                if self._clock.monotonic_s() >= ends_s:
                    report.has_more = True
                    break
                move = levelling.next_move(self._store.volumes(), threshold=threshold)
                if move is None or not self._move_one(move, report):
                    self._finish()
        except DfsError as err:
            self._error = err.message
            self._finish()
        except _StoppedError:
            pass
        return report

    def _finish(self) -> None:
        self._threshold = None
        self._emit.emit(
            Event.DISKS_LEVELLED, moved_bytes=self._moved_bytes, error=self._error or None
        )

    def _move_one(self, move: DiskMove, report: MoverReport) -> bool:
        """Move the next block that fits; False when there is none."""
        source, target = self._volume(move.source), self._volume(move.target)
        while (row := self._next_row(source)) is not None:
            if row.size_bytes > move.size_bytes or not self._may_move(source, target, row):
                continue
            try:
                moved = self._move(source, target, row)
            except (BlockCorrupt, BlockNotFound):
                continue  # it is in quarantine now, or was deleted
            if moved:
                report.moved += 1
                report.moved_bytes += row.size_bytes
                self._moved_bytes += row.size_bytes
                return True
        return False

    def _volume(self, uuid: str) -> Volume:
        return next(volume for volume in self._store.folders if volume.uuid == uuid)

    def _next_row(self, source: Volume) -> CatalogRow | None:
        """Every block of a volume once, in an order that does not matter."""
        rows = self._rows.setdefault(source.uuid, deque())
        if not rows:
            after = self._after.get(source.uuid)
            rows.extend(source.catalog.page(after=after, limit=PAGE_MAX))
            if rows:
                self._after[source.uuid] = rows[-1].name
        return rows.popleft() if rows else None

    def _may_move(self, source: Volume, target: Volume, row: CatalogRow) -> bool:
        """Whether it is good, and nothing bad of its name is in quarantine on either disk."""
        name = row.name
        there = target.catalog.row(name)
        return (
            row.state in READABLE
            and not self._store.holdings.is_refused(name)
            and not source.quarantine.of(name)
            and (there is None or there.truth == row.truth)
            and (there is None or there.state in READABLE)
        )

    # A block.

    def _move(self, source: Volume, target: Volume, row: CatalogRow) -> bool:
        holdings = self._store.holdings
        if target.catalog.row(row.name) is not None:  # a crash left it on both
            return self._retire(source, target, row)
        with holdings.open_file(source, row) as file:
            part = PartFile(
                target,
                f"block {row.name.block:016x} from {source.layout.root}",
                label=file.label,
                length=row.length_bytes,
                length_max=row.length_bytes,
            )
            try:
                with holdings.judging(
                    source, row
                ):  # of what the target's disk says, it is innocent
                    self._copy(file, part)
                return self._publish(source, target, row, part)
            finally:
                part.discard()

    def _copy(self, file: BlockFile, part: PartFile) -> None:
        for piece in file.pieces(()):
            self._pay(len(piece.data))
            part.write(piece.data, piece.offset)
        part.seal(file.label, file.truth)

    def _pay(self, size_bytes: int) -> None:
        now_s = self._clock.monotonic_s()
        self._paid, wait_s = scrub_pace.take(
            self._paid, self._pace, now_s=now_s, size_bytes=size_bytes
        )
        if self._wait(wait_s) or self._threshold is None:
            raise _StoppedError

    def _publish(self, source: Volume, target: Volume, row: CatalogRow, part: PartFile) -> bool:
        """The copy gets its name and row, then the old file goes; both under the block's lock."""
        with self._store.lock_of(row.name):
            if not self._store.holdings.is_still(source, row):
                return False
            with target.writing(f"block {row.name.block:016x}"):
                target.need_online()
                try:
                    part.publish(row.name)
                except FileExistsError:  # a write that failed after it had its name: not ours
                    return False
                status = part.status
                target.record(
                    replace(
                        row,
                        state=StoredState.FINAL,
                        mtime_ns=status.st_mtime_ns,
                        inode=status.st_ino,
                        reread=False,
                    )
                )
            crashpoint.reach("dn.level.copied")
            return self._retire_held(source, row)

    def _retire(self, source: Volume, target: Volume, row: CatalogRow) -> bool:
        with self._store.lock_of(row.name):
            there = target.catalog.row(row.name)
            if there is None or there.state not in READABLE:
                return False
            return self._store.holdings.is_still(source, row) and self._retire_held(source, row)

    def _retire_held(self, source: Volume, row: CatalogRow) -> bool:
        source.retire(row)
        self._store.holdings.feed.changed(row.name)
        return True


def _nobody() -> None:
    """Nobody runs the slices yet."""
