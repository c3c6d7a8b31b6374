"""The walk over one volume's folders while it serves: files that came or went by other hands.

Somebody copies a block file in, or removes one, and no act of ours tells the catalog.  The walk
lists folder by folder and plans as a start does (`recovery.plan_bucket`).  What differs is only
suspected: files are written, moved and deleted while they are listed, and one that is being copied
in grows.  After a while it is looked at again, under its block's lock, and what is still so is
taken in as at a start (`recovery.Mender`) and told as a change of the stock.  A symbolic link is
never followed: whatever it stands in the place of, it goes to quarantine as what is no block's.

Left to others: sizes and tails (`quick_scrub`), and what a crash leaves behind (the next start).
Memory: the names of one of the 256 buckets' folders, one folder's files, `SUSPECTED_MAX` names.
"""

import errno
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.events import Emitter, Event
from dfs.base.ids import InodeId
from dfs.base.records import BlockName
from dfs.blockstore import removal
from dfs.blockstore.holdings import READABLE, Holdings
from dfs.blockstore.layout import BUCKETS, parse_block, parse_folder
from dfs.blockstore.recovery import (
    Adopt,
    Condemn,
    Forget,
    Mender,
    RecoveryReport,
    entries_of,
    need_bucket,
    plan_bucket,
)
from dfs.blockstore.volume import Volume

SETTLE_S: Final = 60.0  # between two looks; a copy under way grows within it
SUSPECTED_MAX: Final = 10_000  # the walk rests to settle so many

# Waits for the turn of the next folder or file; whether to stop.
Turn = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Look:
    """What lay under a name: the same at the second look, or it is not believed."""

    inode: int
    size_bytes: int
    mtime_ns: int


class DiskWalk:
    """See the module.  `go_on` is called in one thread at a time.

    Args:
        settle_s: the time between the two looks.
    """

    def __init__(
        self,
        holdings: Holdings,
        volume: Volume,
        *,
        clock: Clock,
        emit: Emitter,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._holdings = holdings
        self._volume = volume
        self._clock = clock
        self._emit = emit
        self._settle_s = settle_s
        self._suspected: dict[Path, tuple[BlockName | None, Look | None]] = {}
        self._is_listed = False
        self._is_settling = False
        self._ripe_s = 0.0
        self._begin()

    def go_on(self, turn: Turn, *, ends_s: float) -> bool:
        """Walk on; True when the walk is over (the next call begins another).

        False before that: it was told to stop, the time `ends_s` came, or nothing that is suspected
        is ripe for its second look.

        Raises:
            VolumeReadOnly, DiskFull: the disk would not take what was found.
        """
        while self._can_walk():
            if turn():
                return False
            if not self._is_settling:
                self._list_next()
            elif not self._suspected:
                if self._is_listed:
                    break
                self._is_settling = False
            elif self._clock.monotonic_s() < self._ripe_s:
                return False
            else:
                self._settle_one()
            if self._clock.monotonic_s() >= ends_s:
                return False
        self._end()
        return True

    def _begin(self) -> None:
        self._bucket = 0  # the next to be listed
        self._folders: deque[tuple[Path, InodeId | None]] = deque()  # of the one before it
        self._suspected.clear()
        self._is_listed = self._is_settling = False
        self._strays = 0
        self._met = RecoveryReport()

    def _can_walk(self) -> bool:
        """Not where nothing can be written down, nor where the disk itself went away: an empty
        mount point would make every block look removed.
        """
        return not self._volume.is_read_only and os.path.lexists(self._volume.layout.version)

    def _end(self) -> None:
        met = self._met
        if met.found or met.missing or met.quarantined or self._strays:
            self._emit.emit(
                Event.VOLUME_WALKED,
                volume=self._volume.uuid,
                path=str(self._volume.layout.root),
                found=met.found,
                missing=met.missing,
                quarantined=met.quarantined,
                strays=self._strays,
            )
        self._begin()

    # The first look.

    def _next_folder(self) -> tuple[Path, InodeId | None] | None:
        """The next file's folder; a bucket that cannot be listed hides none of another."""
        while not self._folders and self._bucket < BUCKETS:
            number, self._bucket = self._bucket, self._bucket + 1
            self._folders.extend(self._folders_in(number))
        return self._folders.popleft() if self._folders else None

    def _folders_in(self, number: int) -> list[tuple[Path, InodeId | None]]:
        """Every file's folder of a bucket that is there or that the catalog knows."""
        layout, catalog = self._volume.layout, self._volume.catalog
        bucket = layout.bucket(number)
        if bucket.is_symlink():
            self._suspect(bucket, None)
            return []
        with self._volume.writing("a folder that was gone"):
            need_bucket(layout, self._volume.disk, number)
        there = {entry.name for entry in entries_of(bucket)}
        known = {layout.file_folder(file).name for file in catalog.files_in(number)}
        return [(bucket / name, parse_folder(bucket.name, name)) for name in sorted(there | known)]

    def _list_next(self) -> None:
        try:
            listed = self._next_folder()
            if listed is None:
                self._is_listed = self._is_settling = True
            else:
                self._compare(*listed)
        except OSError:  # whoever reads a block there hears of it, and counts it
            return
        self._is_settling = self._is_settling or len(self._suspected) >= SUSPECTED_MAX

    def _compare(self, folder: Path, file: InodeId | None) -> None:
        """Suspect what disk and catalog do not agree about; the files are listed first."""
        if not folder.is_symlink() and (folder.is_dir() or not os.path.lexists(folder)):
            entries = entries_of(folder)
        else:
            entries = []
            self._suspect(folder, None)
        there: set[BlockName] = set()
        for entry in entries:
            name = parse_block(folder.parent.name, folder.name, entry.name)
            if name is None or not entry.is_file(follow_symlinks=False):
                self._suspect(Path(entry.path), None)
            else:
                there.add(name)
        rows = [] if file is None else self._volume.catalog.rows_in(file)
        sizes = {row.name: row.size_bytes for row in rows}
        quarantined = {row.name for row in rows if self._volume.quarantine.of(row.name)}
        steps = plan_bucket({name: sizes.get(name, 0) for name in there}, rows, quarantined)
        for step in steps:
            if isinstance(step, Adopt | Forget | Condemn):
                name = step.row.name if isinstance(step, Condemn) else step.name
                self._suspect(self._volume.layout.block(name), name)

    def _suspect(self, path: Path, name: BlockName | None) -> None:
        self._suspected[path] = (name, _look(path))
        self._ripe_s = self._clock.monotonic_s() + self._settle_s

    # The second look.

    def _settle_one(self) -> None:
        path = next(iter(self._suspected))
        name, before = self._suspected.pop(path)
        with self._volume.writing(f"what was found at {path}"):
            if name is not None:
                with self._holdings.lock_of(name):
                    if _look(path) == before:
                        self._take_in(name, before)
            elif before is not None and _look(path) == before:
                now_ms = self._clock.now_ms()
                layout, disk = self._volume.layout, self._volume.disk
                removal.set_aside_stray(layout, disk, path, now_ms=now_ms)
                if path.parent == layout.blocks:  # blocks are going to be stored there
                    need_bucket(layout, disk, int(path.name, 16))
                self._strays += 1
        crashpoint.reach("dn.walk.taken")

    def _take_in(self, name: BlockName, look: Look | None) -> None:
        """What a start would do; under the block's lock nobody of ours is about to change it."""
        volume, row = self._volume, self._volume.catalog.row(name)
        size = row.size_bytes if row is not None else 0
        steps = plan_bucket(
            {name: size} if look is not None else {},
            [row] if row is not None else [],
            {name} if volume.quarantine.of(name) else set(),
        )
        steps = [step for step in steps if isinstance(step, Adopt | Forget | Condemn)]
        if not steps or not self._can_walk():
            return
        told = None if row is None else self._holdings.entry(volume, row)
        reasons = len(self._met.reasons)
        Mender(
            volume.layout,
            volume.catalog,
            volume.disk,
            volume.quarantine,
            self._clock.now_ms(),
            self._met,
        ).perform(steps)
        after = volume.catalog.row(name)
        volume.recount(row, after)
        if after is None or after.state in READABLE:
            self._holdings.replaced(name)
        if self._holdings.find(name) is not None:
            self._holdings.feed.changed(name)
        elif told is not None:
            self._holdings.feed.gone(told)
        for _name, reason in self._met.reasons[reasons:]:
            self._say_quarantined(name, reason)

    def _say_quarantined(self, name: BlockName, reason: str) -> None:
        self._emit.emit(
            Event.BLOCK_QUARANTINED,
            block=name.block,
            generation=name.generation,
            reason=reason,
            volume=self._volume.uuid,
        )


def _look(path: Path) -> Look | None:
    """None: nothing is there.  An error of the disk is no sign of that."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        if exc.errno != errno.ELOOP:  # above it a link leads nowhere
            raise
        return None
    return Look(found.st_ino, found.st_size, found.st_mtime_ns)
