"""What a data folder needs before it serves: its catalog and its files made to agree.

`plan_bucket` is pure: from the names and sizes in one of the 256 bucket folders and the rows of the
same files it makes a list of steps.  `recover` reads, plans and performs, one bucket at a time, so
memory does not grow with the disk.  Every step may be repeated, so a crash during recovery is
mended by the next one.  Nothing in blocks/ is ever deleted here: what is bad goes to quarantine.

    file, no row            its tail is read: valid = a row in state FOUND, else quarantine
    row, no file            found in quarantine = state CORRUPT, else the row goes (missing)
    size is not the row's   quarantine
    row DELETING            the delete is finished
    tmp/*                   unlinked: never acknowledged, never visible

After a stop that was not clean, whatever was finished in the last minute before it is read and
hashed again before it is served: a disk may have acknowledged what it did not keep.
"""

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, assert_never

from dfs.base import crashpoint
from dfs.base.checksum import BLOCK_HASH_BYTES
from dfs.base.errors import BlockCorrupt, MetadataCorrupt
from dfs.base.records import BlockName
from dfs.base.states import StoredState
from dfs.blockstore import format as block_format
from dfs.blockstore import removal
from dfs.blockstore.catalog import Catalog
from dfs.blockstore.catalog_table import CatalogRow
from dfs.blockstore.disk import Disk
from dfs.blockstore.layout import BUCKETS, Layout, parse_block
from dfs.blockstore.quarantine import Quarantine
from dfs.blockstore.reader import BlockFile

# A disk's or controller's cache holds seconds of writes; a minute covers it many times over.
DOUBT_NS: Final = 60 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Adopt:
    """A file without a row: believe its tail."""

    name: BlockName
    must_hash: bool = False  # it was condemned once: believe it only after reading all of it


@dataclass(frozen=True, slots=True)
class Forget:
    """A row whose file is nowhere: the block is missing."""

    name: BlockName


@dataclass(frozen=True, slots=True)
class Condemn:
    """A row whose file is not as long as it was, or is in quarantine already."""

    row: CatalogRow
    reason: str


@dataclass(frozen=True, slots=True)
class Witness:
    """A file in quarantine that the catalog does not know."""

    name: BlockName


@dataclass(frozen=True, slots=True)
class FinishDelete:
    """A delete that was begun."""

    name: BlockName


Step = Adopt | Forget | Condemn | Witness | FinishDelete


@dataclass(slots=True)
class RecoveryReport:
    """What recovery met and did, counted."""

    rebuilt: bool = False  # the catalog was damaged or gone
    parts_removed: int = 0
    found: int = 0
    missing: int = 0
    quarantined: int = 0
    deletes_finished: int = 0
    doubted: int = 0  # hashed again after an unclean stop
    reasons: list[tuple[BlockName, str]] = field(default_factory=list)  # of the quarantined


def plan_bucket(
    files: Mapping[BlockName, int], rows: Sequence[CatalogRow], quarantined: Collection[BlockName]
) -> list[Step]:
    """Pure: what makes disk and catalog agree.

    Args:
        files: the published files and their sizes in bytes.
        rows: the catalog's rows of the same bucket, in every state.
        quarantined: the blocks of this bucket that have a file in quarantine.
    """
    steps: list[Step] = []
    for row in rows:
        step = _plan_row(row, files.get(row.name), in_quarantine=row.name in quarantined)
        if step is not None:
            steps.append(step)
    known = {row.name for row in rows}
    steps += [Adopt(name) for name in files if name not in known]
    steps += [Witness(name) for name in quarantined if name not in known and name not in files]
    return steps


def _plan_row(row: CatalogRow, size: int | None, *, in_quarantine: bool) -> Step | None:
    if row.state is StoredState.DELETING:
        return FinishDelete(row.name)
    if row.state is StoredState.CORRUPT:
        if size is not None:
            return Adopt(row.name, must_hash=True)
        return None if in_quarantine else Forget(row.name)
    if size is None:
        return Condemn(row, "quarantined") if in_quarantine else Forget(row.name)
    return None if size == row.size_bytes else Condemn(row, "size")


def open_catalog(layout: Layout, disk: Disk, *, now_ms: int, is_new: bool) -> tuple[Catalog, bool]:
    """The folder's catalog; a damaged one is kept in quarantine and an empty one begun.

    Returns:
        The catalog, and whether it must be rebuilt from the block files.

    Raises:
        LocalIoError, OSError: the disk fails.
    """
    is_missing = not layout.catalog.exists()
    if is_missing:
        _move_catalog(
            layout, disk, now_ms=now_ms
        )  # a WAL without its database must not be replayed
    try:
        return Catalog(layout.catalog, sync=disk.sync), is_missing and not is_new
    except MetadataCorrupt:
        _move_catalog(layout, disk, now_ms=now_ms)
        return Catalog(layout.catalog, sync=disk.sync), True


def _move_catalog(layout: Layout, disk: Disk, *, now_ms: int) -> None:
    for suffix in ("-wal", "-shm", ""):
        path = layout.catalog.with_name(layout.catalog.name + suffix)
        if path.exists():
            removal.set_aside_stray(layout, disk, path, now_ms=now_ms)


def recover(
    layout: Layout,
    catalog: Catalog,
    disk: Disk,
    quarantine: Quarantine,
    *,
    now_ms: int,
    was_clean: bool,
) -> RecoveryReport:
    """Make files and catalog agree, then doubt the newest blocks after an unclean stop.

    Raises:
        LocalIoError, VolumeReadOnly, OSError: the disk fails; the folder cannot be served.
    """
    report = RecoveryReport()
    for part in layout.tmp.iterdir():
        part.unlink()
        report.parts_removed += 1
    crashpoint.reach("dn.recovery.emptied")
    mender = Mender(layout, catalog, disk, quarantine, now_ms, report)
    quarantined = quarantine.by_bucket()
    filled = catalog.filled_buckets()
    for number in range(BUCKETS):
        files = dict(mender.walk(number))
        rows = catalog.bucket(number) if number in filled else []
        steps = plan_bucket(files, rows, quarantined.get(number, set()))
        mender.perform(steps)
        if steps:
            crashpoint.reach("dn.recovery.bucket")
    if not was_clean:
        mender.doubt(catalog.finished_since(catalog.newest_ns() - DOUBT_NS))
    return report


def walk_bucket(layout: Layout, number: int) -> Iterator[tuple[BlockName | None, Path, int]]:
    """Every file two levels below a bucket: its block (None for a stray), path and size."""
    bucket = layout.bucket(number)
    if bucket.is_symlink():  # what lies behind it is not of this volume
        yield None, bucket, 0
        return
    for folder in entries_of(bucket):
        if not folder.is_dir(follow_symlinks=False):
            yield None, Path(folder.path), 0
            continue
        for entry in entries_of(Path(folder.path)):
            name = parse_block(bucket.name, folder.name, entry.name)
            if not entry.is_file(follow_symlinks=False):
                name = None
            with contextlib.suppress(FileNotFoundError):  # beside a daemon, files may leave
                yield name, Path(entry.path), entry.stat(follow_symlinks=False).st_size


def need_bucket(layout: Layout, disk: Disk, number: int) -> None:
    """Make a bucket's folder again that somebody removed."""
    if not layout.bucket(number).exists():
        layout.bucket(number).mkdir(mode=0o700)
        disk.fsync_folder(layout.blocks)


def entries_of(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


class Mender:
    """Performs the steps on one folder, and counts them in the report."""

    def __init__(
        self,
        layout: Layout,
        catalog: Catalog,
        disk: Disk,
        quarantine: Quarantine,
        now_ms: int,
        report: RecoveryReport,
    ) -> None:
        self._layout = layout
        self._catalog = catalog
        self._disk = disk
        self._quarantine = quarantine
        self._now_ms = now_ms
        self._report = report

    def walk(self, number: int) -> Iterator[tuple[BlockName, int]]:
        """The block files of a bucket; strays go to quarantine, empty file folders go."""
        bucket = self._layout.bucket(number)
        if bucket.is_symlink():
            removal.set_aside_stray(self._layout, self._disk, bucket, now_ms=self._now_ms)
        need_bucket(self._layout, self._disk, number)
        for name, path, size in walk_bucket(self._layout, number):
            if name is not None:
                yield name, size
            else:
                removal.set_aside_stray(self._layout, self._disk, path, now_ms=self._now_ms)
        for folder in entries_of(bucket):
            with contextlib.suppress(OSError):  # it holds blocks
                Path(folder.path).rmdir()

    def perform(self, steps: Sequence[Step]) -> None:
        """Do the steps of one bucket; the adopted are committed together."""
        adopted = [self._adopt(step) for step in steps if isinstance(step, Adopt)]
        rows = [row for row in adopted if row is not None]
        self._make_durable(rows)
        if rows:
            self._catalog.put_all(rows)
            self._report.found += len(rows)
        for step in steps:
            self._perform(step)

    def _perform(self, step: Step) -> None:
        match step:
            case Adopt():
                pass  # done before, together
            case Forget(name):
                self._catalog.forget(name)
                self._report.missing += 1
            case Condemn(row, reason):
                self._condemn(row, reason)
            case Witness(name):
                self._put_witness(name)
            case FinishDelete(name):
                self._finish_delete(name)
            case _:
                assert_never(step)

    def doubt(self, rows: Sequence[CatalogRow]) -> None:
        """Read and hash again; what does not match goes to quarantine."""
        for row in rows:
            self._report.doubted += 1
            reason = self._fault(row)
            if reason:
                self._condemn(row, reason)
            else:
                self._catalog.verified(row.name, self._now_ms)

    def _fault(self, row: CatalogRow) -> str:
        """One word for what is wrong with a file; empty when it is intact."""
        try:
            with BlockFile(self._layout.block(row.name), row.name, disk=self._disk) as file:
                if file.truth != row.truth:
                    return "swapped"
                file.scan()
        except BlockCorrupt as exc:
            return str(exc.details["reason"])
        except OSError:
            return "io"
        return ""

    def _adopt(self, step: Adopt) -> CatalogRow | None:
        path = self._layout.block(step.name)
        try:
            with BlockFile(path, step.name, disk=self._disk) as file:
                self._require_free(step.name)
                if step.must_hash:
                    file.scan()
                return row_of(file, step.name, StoredState.FOUND)
        except (BlockCorrupt, OSError) as exc:
            reason = str(exc.details["reason"]) if isinstance(exc, BlockCorrupt) else "io"
        target = removal.set_aside(
            self._layout, self._disk, path, step.name, now_ms=self._now_ms, reason=reason
        )
        self._quarantine.added(target)
        self._put_witness(step.name)
        self._note(step.name, reason)
        return None

    def _require_free(self, name: BlockName) -> None:
        """A file of one block and generation under two names: the one that is held is believed.

        Raises:
            BlockCorrupt: another is held.
        """
        if self._is_held_elsewhere(name):
            raise block_format.corrupt("swapped", "the block is held as part of another file")

    def _is_held_elsewhere(self, name: BlockName) -> bool:
        return any(
            row.name != name
            and row.name.generation == name.generation
            and row.state in (StoredState.FINAL, StoredState.FOUND)
            for row in self._catalog.rows_of(name.block)
        )

    def _put_witness(self, name: BlockName) -> None:
        """Tell of a file in quarantine, unless its row would take the place of a good block's."""
        if not self._is_held_elsewhere(name):
            self._catalog.put(self._witness(name))

    def _make_durable(self, rows: Sequence[CatalogRow]) -> None:
        """A crash may have come before the names were fsynced; cheap where they were."""
        folders = {self._layout.file_folder(row.name.file) for row in rows}
        for folder in sorted(folders | {folder.parent for folder in folders}):
            self._disk.fsync_folder(folder)

    def _condemn(self, row: CatalogRow, reason: str) -> None:
        target = removal.condemn(
            self._layout, self._disk, self._catalog, row, now_ms=self._now_ms, reason=reason
        )
        if target is not None:
            self._quarantine.added(target)
        self._note(row.name, reason)

    def _finish_delete(self, name: BlockName) -> None:
        removal.retire(
            self._layout,
            self._disk,
            self._catalog,
            name,
            bad=self._quarantine.of(name),
            now_ms=self._now_ms,
        )
        self._quarantine.removed(name)
        self._report.deletes_finished += 1

    def _witness(self, name: BlockName) -> CatalogRow:
        """A row for a file in quarantine, from its tail where that can still be read."""
        for path in self._quarantine.of(name):
            with (
                contextlib.suppress(BlockCorrupt, OSError),
                BlockFile(path, name, disk=self._disk) as file,
            ):
                return row_of(file, name, StoredState.CORRUPT)
        return CatalogRow(
            name, 0, 0, bytes(BLOCK_HASH_BYTES), StoredState.CORRUPT, "", 0, self._now_ms
        )

    def _note(self, name: BlockName, reason: str) -> None:
        self._report.quarantined += 1
        self._report.reasons.append((name, reason))


def row_of(
    file: BlockFile,
    name: BlockName,
    state: StoredState,
    *,
    verified_ms: int = 0,
    reread: bool = False,
) -> CatalogRow:
    """The catalog row that an open block file's own tail gives."""
    status, truth, label = file.status(), file.truth, file.label
    return CatalogRow(
        name,
        truth.length_bytes,
        status.st_size,
        truth.hash,
        state,
        label.path,
        verified_ms,
        label.created_ms,
        status.st_mtime_ns,
        status.st_ino,
        reread=reread,
    )
