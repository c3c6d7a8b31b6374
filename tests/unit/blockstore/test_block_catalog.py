"""The SQLite catalog by itself."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dfs.base.errors import LocalIoError, MetadataCorrupt, Stopping
from dfs.base.states import StoredState
from dfs.blockstore.catalog import Catalog, read_all
from dfs.blockstore.catalog_table import CatalogRow, open_reader
from tests.unit.blockstore.disk_rig import block_name


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = Catalog(tmp_path / "catalog.sqlite", sync=False)
    yield made
    made.close()


def a_row(block: int, generation: int = 1, *, file: int = 7, mtime_ns: int = 0) -> CatalogRow:
    return CatalogRow(
        block_name(block, generation, file=file),
        length_bytes=10,
        size_bytes=100,
        hash=bytes(16),
        state=StoredState.FINAL,
        path="/π/\n",
        verified_ms=5,
        created_ms=5,
        mtime_ns=mtime_ns,
        inode=1000 - block,
    )


def test_row_reads_back_as_written(catalog: Catalog) -> None:
    row = a_row((1 << 63) - 1)
    catalog.put(row)
    assert catalog.row(row.name) == row
    assert catalog.rows_of(row.name.block) == [row]


def test_second_row_of_a_generation_replaces_the_first(catalog: Catalog) -> None:
    catalog.put(a_row(1))
    catalog.put(replace(a_row(1), state=StoredState.CORRUPT))
    (row,) = catalog.rows_of(block_name(1).block)
    assert row.state is StoredState.CORRUPT


def test_every_write_that_returned_is_there_for_every_reader(catalog: Catalog) -> None:
    def write(block: int) -> bool:
        catalog.put(a_row(block))
        return catalog.row(block_name(block)) is not None

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(write, range(1, 500)))
    assert catalog.totals() == (499, 49_900)


def test_writes_survive_a_process_that_just_stops(catalog: Catalog, tmp_path: Path) -> None:
    catalog.put(a_row(1))
    with open_reader(tmp_path / "catalog.sqlite") as other:  # as another process would see it
        assert other.execute("SELECT count(*) FROM block").fetchone() == (1,)
    other.close()


def test_verified_remembers_when_and_settles_found(catalog: Catalog) -> None:
    catalog.put(replace(a_row(1), state=StoredState.FOUND))
    catalog.put(replace(a_row(2), state=StoredState.CORRUPT))
    for block in (1, 2):
        catalog.verified(block_name(block), 99)
    found, corrupt = catalog.row(block_name(1)), catalog.row(block_name(2))
    assert found is not None
    assert corrupt is not None
    assert (found.state, found.verified_ms) == (StoredState.FINAL, 99)
    assert (corrupt.state, corrupt.verified_ms) == (StoredState.CORRUPT, 5)


def test_newest_blocks_come_in_the_order_of_the_disk(catalog: Catalog) -> None:
    catalog.put_all([a_row(block, mtime_ns=block * 10) for block in range(1, 10)])
    assert catalog.newest_ns() == 90
    assert [row.name.block for row in catalog.finished_since(70)] == [9, 8, 7]


def test_bucket_holds_the_files_of_its_folder(catalog: Catalog) -> None:
    catalog.put_all([a_row(block, file=block) for block in (1, 2, 257, 513)])
    assert {row.name.file for row in catalog.bucket(1)} == {1, 257, 513}


def test_bad_value_is_refused_by_the_table_and_spoils_no_other(catalog: Catalog) -> None:
    def write(block: int) -> bool:
        row = a_row(block) if block % 5 else replace(a_row(block), hash=b"short")
        try:
            catalog.put(row)
        except LocalIoError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        written = list(pool.map(write, range(1, 201)))
    assert written == [bool(block % 5) for block in range(1, 201)]
    assert catalog.totals()[0] == 160


def test_closed_catalog_refuses_and_leaves_one_file(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "c.sqlite")
    catalog.put(a_row(1))
    catalog.page(after=None, limit=1)
    catalog.close()
    with pytest.raises(Stopping):
        catalog.put(a_row(2))
    assert [path.name for path in tmp_path.iterdir()] == ["c.sqlite"]
    assert [row.name for row in read_all(tmp_path / "c.sqlite")] == [block_name(1)]


def test_file_that_is_no_catalog_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").write_bytes(b"not a database, but long enough to be looked at" * 99)
    with pytest.raises(MetadataCorrupt):
        Catalog(tmp_path / "c.sqlite")


def test_readers_cannot_write(catalog: Catalog, tmp_path: Path) -> None:
    reader = open_reader(tmp_path / "catalog.sqlite")
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("DELETE FROM block")
    reader.close()
