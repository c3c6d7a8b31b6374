"""Taking a block file out of sight without losing it: into quarantine, or into the purge area.

Both are renames within the volume, made durable before the catalog follows.  Nothing here unlinks
content; only the purge area is ever emptied, by `empty_purge`, after its grace.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dfs.base import crashpoint
from dfs.base.records import BlockName
from dfs.base.states import StoredState
from dfs.blockstore.catalog import Catalog
from dfs.blockstore.catalog_table import CatalogRow
from dfs.blockstore.disk import Disk
from dfs.blockstore.layout import Layout, SetAside, parse_set_aside


def condemn(
    layout: Layout, disk: Disk, catalog: Catalog, row: CatalogRow, *, now_ms: int, reason: str
) -> Path | None:
    """Move a bad block's file to quarantine and say so in the catalog.  The order is the contract:

    1 the file leaves its place    (rename, fsync the quarantine)
    2 the row says CORRUPT         (commit)
    A crash in between leaves a row without a file, whose file recovery finds in quarantine.

    Returns:
        Where the file is now; None when there was none.
    """
    path = layout.block(row.name)
    target: Path | None = None
    try:
        target = set_aside(layout, disk, path, row.name, now_ms=now_ms, reason=reason)
    except FileNotFoundError:
        if os.path.lexists(path):  # the quarantine is missing: the file is where it was
            raise
    catalog.put(replace(row, state=StoredState.CORRUPT))
    crashpoint.reach("dn.quarantine.committed")
    return target


def set_aside(
    layout: Layout, disk: Disk, path: Path, name: BlockName, *, now_ms: int, reason: str
) -> Path:
    """Rename a block file into quarantine, durably; returns where it is now."""
    target = layout.quarantined(name, at_ms=now_ms, reason=reason)
    while os.path.lexists(target):
        now_ms += 1
        target = layout.quarantined(name, at_ms=now_ms, reason=reason)
    _move(disk, path, target)
    return target


def set_aside_stray(layout: Layout, disk: Disk, path: Path, *, now_ms: int) -> Path:
    """The same for a file or folder that is no block's."""
    target = layout.quarantine / f"stray.{now_ms}.{path.name[:100]}"
    while os.path.lexists(target):  # a link to nothing is one that is kept, too
        now_ms += 1
        target = layout.quarantine / f"stray.{now_ms}.{path.name[:100]}"
    _move(disk, path, target)
    return target


def _move(disk: Disk, path: Path, target: Path) -> None:
    path.rename(target)
    crashpoint.reach("dn.quarantine.renamed")
    disk.fsync_folder(target.parent)
    crashpoint.reach("dn.quarantine.dirsynced")


def retire(
    layout: Layout,
    disk: Disk,
    catalog: Catalog,
    name: BlockName,
    *,
    bad: Sequence[Path],
    now_ms: int,
) -> None:
    """Delete a block: its file, and its `bad` files in quarantine, go to the purge area.

    1 the row says DELETING        (commit): no reader finds the block any more
    2 the files move to purge/     (rename, fsync the day's folder)
    3 the row goes                 (commit)
    Recovery goes on from wherever a crash stopped it.
    """
    catalog.set_state(name, StoredState.DELETING)
    crashpoint.reach("dn.delete.marked")
    _purge(layout, disk, name, (layout.block(name), *bad), now_ms=now_ms)
    catalog.forget(name)
    crashpoint.reach("dn.delete.committed")


def retire_bad(
    layout: Layout,
    disk: Disk,
    catalog: Catalog,
    name: BlockName,
    *,
    bad: Sequence[Path],
    now_ms: int,
) -> None:
    """Let go of a block's files in quarantine only; a good copy of the same generation stays.

    1 the files move to purge/     (rename, fsync the day's folder)
    2 a row in state CORRUPT goes  (commit)
    A crash in between leaves a row in state CORRUPT without a file, which recovery forgets.
    """
    _purge(layout, disk, name, bad, now_ms=now_ms)
    row = catalog.row(name)
    if row is not None and row.state is StoredState.CORRUPT:
        catalog.forget(name)
    crashpoint.reach("dn.purge.committed")


def _purge(
    layout: Layout, disk: Disk, name: BlockName, paths: Sequence[Path], *, now_ms: int
) -> None:
    target = layout.retired(name, at_ms=now_ms)
    if not target.parent.exists():
        target.parent.mkdir(exist_ok=True, mode=0o700)
        disk.fsync_folder(layout.purge)
    for path in paths:
        while target.exists():
            now_ms += 1
            target = target.with_name(layout.retired(name, at_ms=now_ms).name)
        try:
            path.rename(target)
        except FileNotFoundError:
            if os.path.lexists(path):  # the place to go to is missing: the block is not gone
                raise
        crashpoint.reach("dn.delete.renamed")
    disk.fsync_folder(target.parent)
    crashpoint.reach("dn.delete.dirsynced")


def purged_files(layout: Layout, name: BlockName) -> list[Path]:
    """The files in the purge area that were once this block, the newest first."""
    found = [
        (what.at_ms, path)
        for day in layout.purge.iterdir()
        if day.is_dir()
        for path, what in set_aside_files(day)
        if what.name == name
    ]
    return [path for _at_ms, path in sorted(found, reverse=True)]


def set_aside_files(folder: Path) -> Iterator[tuple[Path, SetAside]]:
    """The block files in quarantine, or in one day's folder of the purge area."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            what = parse_set_aside(entry.name)
            if what is not None:
                yield Path(entry.path), what


def empty_purge(layout: Layout, *, before_ms: int, files_max: int) -> int:
    """Unlink what was retired before a time, at most so many files; returns how many."""
    gone = 0
    for day in layout.purge.iterdir():
        if not day.is_dir():
            continue
        for path, what in set_aside_files(day):
            if what.at_ms < before_ms and gone < files_max:
                path.unlink(missing_ok=True)
                gone += 1
        if day.name < layout.purge_day(before_ms):  # a delete may be about to use a younger one
            with contextlib.suppress(OSError):  # not empty yet
                day.rmdir()
    return gone
