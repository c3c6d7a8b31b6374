"""One data folder in service: its room, its state, and the few acts that change what it shows.

Owns the folder's lock, catalog and counters.  Decides when a disk is no longer trusted with writes:

    ONLINE --a write, fsync or commit fails--> READ_ONLY     (its blocks are still served)
    ONLINE --4 blocks unreadable in an hour--> READ_ONLY
    a folder that cannot be opened at all is FAILED (see store.py)

A volume does not come back by itself: the state lasts until the process starts again, and then a
probe (a file made, fsynced and unlinked in tmp/) says whether the disk takes writes.  Which block
goes where, and what may replace what, is the store's business.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.entropy import new_id
from dfs.base.errors import (
    DfsError,
    DiskFull,
    LocalIoError,
    MetadataCorrupt,
    Stopping,
    VolumeReadOnly,
)
from dfs.base.events import Emitter, Event
from dfs.base.ids import InodeId
from dfs.base.records import BlockName, VolumeStatus
from dfs.base.states import StoredState, VolumeState
from dfs.base.units import format_size
from dfs.blockstore import recovery, removal
from dfs.blockstore.catalog_table import CatalogRow
from dfs.blockstore.disk import FULL_ERRNOS, Disk, Space
from dfs.blockstore.grace import Grace
from dfs.blockstore.identity import FolderIdentity
from dfs.blockstore.layout import PART_SUFFIX, Layout
from dfs.blockstore.quarantine import Quarantine
from dfs.blockstore.scrub_rows import Mark, ScrubRows
from dfs.blockstore.suspects import Suspects
from dfs.settings.sections import DatanodeConfig

UNREADABLE_MAX: Final = 3  # distinct blocks within UNREADABLE_WINDOW_S; one more and it is the disk
UNREADABLE_WINDOW_S: Final = 3600.0
# So many mismatches that a second read did not confirm are told as one error of the volume.  It
# stays online: bytes that come right the second time were spoiled on their way, by memory or bus,
# and a disk that takes no writes would only take good copies out of use.
TRANSIENTS_ALARM: Final = 3
FLUSHERS: Final = 2
PURGED_FILES_MAX: Final = 10_000  # in one pass: the next one goes on
_FOLDER_LOCKS: Final = 64
_DURABLE_FOLDERS_MAX: Final = 1_024  # remembered for each lock: 65,536 in all, some 8 MiB


def choose_volume(offers: Sequence[tuple[int, int]], *, need_bytes: int) -> int:
    """Pure: which of several volumes takes the next block.

    Of those it fits on with at least half the room of the roomiest, the one with least in flight,
    then with most room: disks of a kind share the work, and a nearly full one is spared.

    Args:
        offers: `(room in bytes, blocks being written)` of each volume, at least one.
        need_bytes: how large the block is, as far as is known.
    """
    best = max(room for room, _ in offers)
    fits = [
        index for index, (room, _) in enumerate(offers) if room >= need_bytes and room >= best / 2
    ]
    if not fits:  # the roomiest says how much is lacking
        return max(range(len(offers)), key=lambda index: offers[index][0])
    return min(fits, key=lambda index: (offers[index][1], -offers[index][0]))


class Volume:
    """Recovers an identified folder and serves it.

    Raises, on making one:
        LocalIoError, OSError: the disk fails.
    """

    def __init__(
        self,
        identity: FolderIdentity,
        *,
        disk: Disk,
        config: DatanodeConfig,
        clock: Clock,
        emit: Emitter,
    ) -> None:
        self.identity = identity
        self.layout: Layout = identity.layout
        self.uuid = identity.card.volume
        self.disk = disk
        self.state = VolumeState.ONLINE
        self.errors = 0
        self.transients = 0
        self.on_read_only: Callable[[], None] = _nobody
        self._is_closed = False
        self._config = config
        self._clock = clock
        self._emit = emit
        self._lock = threading.Lock()  # of the counters below
        self._promised_bytes = 0
        self._unreadable: dict[BlockName, float] = {}
        self._grace = Grace(clock, keep_s=config.purge_keep_s)
        self._parts: set[str] = set()
        self._folder_locks = [threading.Lock() for _ in range(_FOLDER_LOCKS)]
        self._durable_folders: list[set[InodeId]] = [set() for _ in range(_FOLDER_LOCKS)]
        self.catalog, rebuilt = recovery.open_catalog(
            self.layout, disk, now_ms=clock.now_ms(), is_new=identity.is_new
        )
        try:
            self.quarantine = Quarantine(removal.set_aside_files(self.layout.quarantine))
            self.recovered = self._recover(rebuilt=rebuilt)
            self._blocks, self._used_bytes = self.catalog.totals()
            self.scrub_rows = ScrubRows(self.catalog)
            self.suspects = Suspects(self.scrub_rows, clock=clock)
            self.pass_number = self.scrub_rows.marks()[Mark.PASS]
            self.starts = identity.begin()
            self._probe()
        except BaseException:
            self.catalog.close()
            raise
        self.flushers = ThreadPoolExecutor(FLUSHERS, thread_name_prefix="flush")

    # Room.

    def room_bytes(self) -> int:
        """What may still be written: free, above the reserve and what is promised; or below 0."""
        return self._room(self.disk.space(self.layout.root))

    def promise(self, size_bytes: int, *, what: str) -> None:
        """Set room aside until `keep_promise`: between asking and taking, others ask too.

        Raises:
            DiskFull: it would eat into the reserve.
            VolumeReadOnly: the disk takes no writes.
        """
        self.need_online()
        with self.writing(what):
            space = self.disk.space(self.layout.root)
        with self._lock:
            room = self._room(space)
            if room < size_bytes:
                raise DiskFull(
                    f"no room for {what}: {format_size(size_bytes)} needed,"
                    f" {format_size(max(0, room))} free above the reserve on {self.layout.root}"
                )
            self._promised_bytes += size_bytes

    def keep_promise(self, size_bytes: int) -> None:
        """The room was taken, or is not needed any more."""
        with self._lock:
            self._promised_bytes -= size_bytes
            assert self._promised_bytes >= 0

    def _room(self, space: Space) -> int:
        percent = int(space.total_bytes * self._config.reserve_percent / 100)
        reserve = max(self._config.reserve_bytes, percent)
        return space.free_bytes - reserve - self._promised_bytes

    def status(self) -> VolumeStatus:
        """As it is reported."""
        try:
            space = self.disk.space(self.layout.root)
        except OSError:
            space = Space(0, 0)
        with self._lock:
            return VolumeStatus(
                self.uuid,
                str(self.layout.root),
                self.state,
                space.total_bytes,
                max(0, self._room(space)),
                self._used_bytes,
                self._blocks,
                self.errors,
            )

    # Faults.

    def need_online(self) -> None:
        """Refuse writes on a disk that failed one.

        Raises:
            VolumeReadOnly, Stopping: see the names.
        """
        if self._is_closed:
            raise Stopping(f"{self.layout.root} is served no more")
        if self.state is not VolumeState.ONLINE:
            raise VolumeReadOnly(f"{self.layout.root} failed a write and is read-only")

    def write_failed(self, exc: OSError | DfsError, what: str) -> DfsError:
        """What a failed write, fsync, close or commit means; the caller raises the answer.

        Only "no room" leaves the disk trusted.  After a failed fsync the kernel may have dropped
        the dirty pages and call the next one a success, so nobody asks again for the same data
        (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
        """
        if isinstance(exc, DiskFull):
            return exc
        if isinstance(exc, OSError) and exc.errno in FULL_ERRNOS:
            return DiskFull(f"no room for {what} on {self.layout.root}: {exc.strerror}")
        self._fail(f"{what}: {exc}")
        return VolumeReadOnly(f"{self.layout.root} failed a write ({what}): {exc}")

    @contextlib.contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Translate what the operating system or the catalog says inside; see `write_failed`."""
        try:
            yield
        except (OSError, LocalIoError, MetadataCorrupt) as exc:
            raise self.write_failed(exc, what) from exc

    def read_failed(self, name: BlockName) -> None:
        """Count a block that the disk could not read; too many distinct ones and it is the disk."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            self.errors += 1
            self._unreadable[name] = now_s
            recent = {n: s for n, s in self._unreadable.items() if now_s - s < UNREADABLE_WINDOW_S}
            self._unreadable = recent
        if len(recent) > UNREADABLE_MAX:
            self._fail(f"{len(recent)} blocks unreadable within an hour", counted=True)

    def read_differed(self, count: int) -> bool:
        """Count mismatches that a second read did not confirm; whether they are now an alarm."""
        with self._lock:
            before = self.transients // TRANSIENTS_ALARM
            self.transients += count
            alarms = self.transients // TRANSIENTS_ALARM - before
            self.errors += alarms
        return alarms > 0

    def _probe(self) -> None:
        """A disk that takes no writes is found out now, not by a client."""
        part_id = new_id()
        path = self.layout.part(part_id)
        try:
            fd = self.disk.create(path)
            try:
                self.disk.write(fd, b"?", 0)
                self.disk.fsync(fd)
            finally:
                os.close(fd)
                path.unlink(missing_ok=True)
        except OSError as exc:
            if exc.errno not in FULL_ERRNOS:
                self._fail(f"the write probe at the start: {exc}")

    def _fail(self, why: str, *, counted: bool = False) -> None:
        with self._lock:
            self.errors += 0 if counted else 1
            was, self.state = self.state, VolumeState.READ_ONLY
        if was is VolumeState.ONLINE:
            self._emit.emit(
                Event.VOLUME_FAILED,
                volume=self.uuid,
                path=str(self.layout.root),
                state=self.state,
                why=why,
            )
            self.on_read_only()

    @property
    def is_read_only(self) -> bool:
        """Whether it takes no writes until the process starts again."""
        return self.state is not VolumeState.ONLINE

    @property
    def blocks(self) -> int:
        """How many are held and good."""
        return self._blocks

    @property
    def used_bytes(self) -> int:
        """By the files of those."""
        return self._used_bytes

    # Acts.  The caller holds the block's lock.

    @property
    def parts_in_flight(self) -> int:
        """How many blocks are being written here."""
        return len(self._parts)

    def part_begun(self, part_id: str) -> Path:
        """Where a new block is written; it is not taken for a leftover while it is known here."""
        with self._lock:
            self._parts.add(part_id)
        return self.layout.part(part_id)

    def part_ended(self, part_id: str) -> None:
        """Published or abandoned."""
        with self._lock:
            self._parts.discard(part_id)

    def publish(self, part: Path, name: BlockName) -> None:
        """Give a sealed (written, fsynced) file its name, durably.  The order is the contract:

        1 the name appears, clobbering nothing    (link; its folder is made if new)
        2 the temporary name goes                 (unlink)
        3 the name is on the disk                 (fsync the file's folder)
        4 so is a new folder's own name           (fsync the bucket)
        Folder and bucket are fsynced one right after the other, so that on a journaling file system
        the second finds its work done.

        Raises:
            FileExistsError: a file of that name is there; nothing was changed.
            OSError: the disk fails.
        """
        folder = self.layout.file_folder(name.file)
        target = self.layout.block(name)
        lock = self._folder_locks[name.file % _FOLDER_LOCKS]
        durable = self._durable_folders[name.file % _FOLDER_LOCKS]
        with lock:  # against a delete that removes the folder when it is empty
            try:
                os.link(part, target)
            except FileNotFoundError:
                durable.discard(name.file)  # it may have been removed by hand
                folder.mkdir(mode=0o700)
                crashpoint.reach("dn.folder.made")
                os.link(part, target)
        crashpoint.reach("dn.block.linked")
        part.unlink()
        crashpoint.reach("dn.block.unlinked")
        self.disk.fsync_folder(folder)
        crashpoint.reach("dn.block.dirsynced")
        if name.file not in durable:
            self.disk.fsync_folder(folder.parent)
            with lock:
                if len(durable) >= _DURABLE_FOLDERS_MAX:
                    durable.clear()
                durable.add(name.file)
        crashpoint.reach("dn.folder.dirsynced")

    def record(self, row: CatalogRow) -> None:
        """The row of a published file commits: from here on the block is held.

        Every byte was verified on its way here, so the scrubber's pass under way is done with it.
        """
        self.catalog.put(replace(row, passed=self.pass_number))
        with self._lock:
            self._blocks += 1
            self._used_bytes += row.size_bytes
        crashpoint.reach("dn.block.cataloged")

    def condemn(self, row: CatalogRow, reason: str) -> None:
        """Take a bad block out of service, keeping its bytes.

        Raises:
            VolumeReadOnly: the disk would not move it.
        """
        with self.writing(f"quarantine of block {row.name.block:016x}"):
            target = removal.condemn(
                self.layout,
                self.disk,
                self.catalog,
                row,
                now_ms=self._clock.now_ms(),
                reason=reason,
            )
        if target is not None:
            self.quarantine.added(target)
        self.recount(row)
        self._drop_folder_if_empty(row.name)

    def set_aside(self, name: BlockName, reason: str) -> None:
        """Move a bad file that no row knows to quarantine.

        Raises:
            OSError: the disk would not move it.
        """
        path, now_ms = self.layout.block(name), self._clock.now_ms()
        target = removal.set_aside(self.layout, self.disk, path, name, now_ms=now_ms, reason=reason)
        self.quarantine.added(target)

    def retire(self, row: CatalogRow) -> None:
        """Delete a block, and its files in quarantine, into the purge area.

        Raises:
            VolumeReadOnly: the disk would not move it.
        """
        self.need_online()
        bad = self.quarantine.of(row.name)
        with self.writing(f"delete of block {row.name.block:016x}"):
            removal.retire(
                self.layout,
                self.disk,
                self.catalog,
                row.name,
                bad=bad,
                now_ms=self._clock.now_ms(),
            )
        self.quarantine.removed(row.name)
        self.recount(row)
        self._drop_folder_if_empty(row.name)

    def retire_bad(self, name: BlockName) -> bool:
        """Let go of a block's files in quarantine; whether there was anything to let go of.

        Raises:
            VolumeReadOnly: the disk would not move them.
        """
        bad, row = self.quarantine.of(name), self.catalog.row(name)
        if not bad and (row is None or row.state is not StoredState.CORRUPT):
            return False
        self.need_online()
        with self.writing(f"purge of block {name.block:016x}"):
            removal.retire_bad(
                self.layout,
                self.disk,
                self.catalog,
                name,
                bad=bad,
                now_ms=self._clock.now_ms(),
            )
        self.quarantine.removed(name)
        return True

    def purge_expired(self) -> int:
        """Unlink what was retired longer ago than the grace, and parts nobody writes any more."""
        now_ms = self._clock.now_ms()
        with self.writing("purge"):
            gone = removal.empty_purge(
                self.layout, before_ms=self._grace.ended_before_ms(), files_max=PURGED_FILES_MAX
            )
            return gone + self._drop_idle_parts(now_ms / 1000 - self._config.part_idle_s)

    def close(self, *, clean: bool) -> None:
        """Stop serving; with `clean` the next start trusts the newest blocks."""
        self._is_closed = True
        self.flushers.shutdown()
        self.catalog.close()
        if clean and self.state is VolumeState.ONLINE:
            with contextlib.suppress(OSError):  # then the next start looks closer, no more
                self.identity.mark_clean()
        self.identity.release()

    def _recover(self, *, rebuilt: bool) -> recovery.RecoveryReport:
        report = recovery.recover(
            self.layout,
            self.catalog,
            self.disk,
            self.quarantine,
            now_ms=self._clock.now_ms(),
            was_clean=self.identity.was_clean,
        )
        report.rebuilt = rebuilt
        if rebuilt:
            self._emit.emit(Event.CATALOG_REBUILT, volume=self.uuid, found=report.found)
        for name, reason in report.reasons:
            self._emit.emit(
                Event.BLOCK_QUARANTINED,
                block=name.block,
                generation=name.generation,
                reason=reason,
                volume=self.uuid,
            )
        return report

    def recount(self, before: CatalogRow | None, after: CatalogRow | None = None) -> None:
        """A row became another, came, or went: keep the totals true."""
        with self._lock:
            for row, sign in ((before, -1), (after, 1)):
                if row is not None and row.state in (StoredState.FINAL, StoredState.FOUND):
                    self._blocks += sign
                    self._used_bytes += sign * row.size_bytes

    def _drop_folder_if_empty(self, name: BlockName) -> None:
        index = name.file % _FOLDER_LOCKS
        with self._folder_locks[index], contextlib.suppress(OSError):  # it holds other blocks
            self.layout.file_folder(name.file).rmdir()
            self._durable_folders[index].discard(name.file)

    def _drop_idle_parts(self, before_s: float) -> int:
        gone = 0
        for part in self.layout.tmp.iterdir():
            with self._lock:
                in_use = part.name.removesuffix(PART_SUFFIX) in self._parts
            with contextlib.suppress(FileNotFoundError):  # it was published since it was listed
                if not in_use and part.stat().st_mtime < before_s:
                    part.unlink()
                    gone += 1
        return gone


def _nobody() -> None:
    """Nobody wants to hear of it yet."""
