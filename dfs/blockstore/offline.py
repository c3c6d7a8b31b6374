"""Looking into a data folder without serving it: `dfs-datanode ls` and `dfs-datanode verify`.

Reads only, takes no lock and changes nothing, so it works on a folder whose daemon is down, beside
one that runs (blocks that come and go meanwhile may be missed), and without a catalog: the files
explain themselves.  The catalog, where it can be read, adds when each was last verified.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dfs.base.checksum import BLOCK_HASH_BYTES
from dfs.base.errors import BlockCorrupt, DfsError
from dfs.base.records import BlockName, StockEntry
from dfs.base.states import StoredState
from dfs.blockstore import catalog, removal, stock
from dfs.blockstore.catalog_table import CatalogRow
from dfs.blockstore.disk import Disk
from dfs.blockstore.identity import read_card
from dfs.blockstore.layout import BUCKETS, Layout
from dfs.blockstore.reader import BlockFile, Verdict
from dfs.blockstore.recovery import row_of, walk_bucket
from dfs.wire.packs import PackEntry, decode_table


def list_offline(folder: Path) -> Iterator[StockEntry]:
    """Every block file in the folder, ordered by file, number, block and generation.

    One without a row in the catalog is FOUND; one in quarantine, or whose tail cannot be read, is
    CORRUPT.

    Raises:
        ForeignFolder: it is no data folder.
    """
    layout = Layout(folder)
    volume = read_card(layout).volume
    rows = _rows(layout)
    for name, path in _files(layout):
        is_aside = path.parent == layout.quarantine
        row = rows.get(name)
        if row is not None and not is_aside and row.state is not StoredState.CORRUPT:
            yield row.entry(volume)
        else:
            entry = _entry(name, path, volume, is_aside=is_aside)
            if entry is not None:
                yield entry


def packed_files(folder: Path, name: BlockName) -> Sequence[PackEntry]:
    """The files that a published block was written with, if it is a pack that can be read.

    Raises:
        BadRequest, LimitExceeded: what its label says is no table of contents.
    """
    try:
        with BlockFile(Layout(folder).block(name), name, disk=Disk()) as file:
            if not file.label.pack:
                return ()
            return decode_table(file.label.pack, length_bytes=file.truth.length_bytes)
    except (BlockCorrupt, OSError):
        return ()


def verify_offline(folder: Path) -> Iterator[Verdict]:
    """Read and hash every published block file again, and say of each whether it is intact.

    Nothing is moved or written down; a file in quarantine is not read.

    Raises:
        ForeignFolder: it is no data folder.
    """
    layout = Layout(folder)
    read_card(layout)
    rows = _rows(layout)
    for name, path in _files(layout):
        if path.parent != layout.quarantine:
            verdict = _verify(name, path, rows.get(name))
            if verdict is not None:
                yield verdict


def _verify(name: BlockName, path: Path, row: CatalogRow | None) -> Verdict | None:
    """None if the file left while we looked."""
    state = row.state if row is not None else StoredState.FOUND
    verified_ms = row.verified_ms if row is not None else 0
    length = row.length_bytes if row is not None else 0
    try:
        with BlockFile(path, name, disk=Disk()) as file:
            truth = file.truth
            length = truth.length_bytes
            file.scan()
            is_same = row is None or row.truth == truth
    except FileNotFoundError:
        return None
    except BlockCorrupt as exc:
        reason = str(exc.details["reason"])
        return Verdict.bad(name, reason, length, state, verified_ms)
    except OSError:
        return Verdict.bad(name, "io", length, state, verified_ms)
    if not is_same:
        return Verdict.bad(name, "swapped", length, state, verified_ms)
    return replace(Verdict.good(truth, name, verified_ms), state=state)


def _files(layout: Layout) -> list[tuple[BlockName, Path]]:
    found = [
        (name, path)
        for number in range(BUCKETS)
        for name, path, _size in walk_bucket(layout, number)
        if name is not None
    ]
    found += [(what.name, path) for path, what in removal.set_aside_files(layout.quarantine)]
    return sorted(found, key=lambda each: (stock.order(each[0]), each[1]))


def _rows(layout: Layout) -> dict[BlockName, CatalogRow]:
    try:
        return {row.name: row for row in catalog.read_all(layout.catalog)}
    except DfsError:
        return {}  # damaged, or not there: the files tell what matters


def _entry(name: BlockName, path: Path, volume: str, *, is_aside: bool) -> StockEntry | None:
    state = StoredState.CORRUPT if is_aside else StoredState.FOUND
    try:
        with BlockFile(path, name, disk=Disk()) as file:
            return row_of(file, name, state).entry(volume)
    except FileNotFoundError:
        return None
    except (BlockCorrupt, OSError):
        blank = bytes(BLOCK_HASH_BYTES)
        return StockEntry(name, 0, blank, StoredState.CORRUPT, 0, "", volume)
