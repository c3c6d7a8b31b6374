"""What a start finds on the disk, and what it makes of it."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs.base.errors import BlockCorrupt, BlockNotFound
from dfs.base.events import Event
from dfs.base.records import BlockName
from dfs.base.states import StoredState
from dfs.base.units import KiB
from dfs.blockstore import recovery
from dfs.blockstore.catalog_table import CatalogRow
from dfs.blockstore.recovery import Adopt, Condemn, FinishDelete, Forget, Step, Witness
from tests.unit.blockstore.disk_rig import DiskRig, block_name


def opened(rig: DiskRig) -> dict[str, object]:
    """The facts of the last start."""
    events = [fields for event, fields in rig.emit.events if event is Event.VOLUME_OPENED]
    return dict(events[-1])


def spoil(path: Path, offset: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


# The plan, pure.


def a_row(block: int, state: StoredState = StoredState.FINAL, size: int = 100) -> CatalogRow:
    return CatalogRow(block_name(block), 10, size, bytes(16), state, "/x", 0, 0)


@pytest.mark.parametrize(
    ("state", "size", "aside", "step"),
    [
        (StoredState.FINAL, 100, False, None),
        (StoredState.FOUND, 100, False, None),
        (StoredState.FINAL, 99, False, Condemn(a_row(1), "size")),
        (StoredState.FINAL, None, False, Forget(block_name(1))),
        (StoredState.FINAL, None, True, Condemn(a_row(1), "quarantined")),
        (StoredState.CORRUPT, None, True, None),
        (StoredState.CORRUPT, None, False, Forget(block_name(1))),
        (StoredState.CORRUPT, 100, True, Adopt(block_name(1), must_hash=True)),
        (StoredState.DELETING, 100, False, FinishDelete(block_name(1))),
        (StoredState.DELETING, None, False, FinishDelete(block_name(1))),
        (None, 100, False, Adopt(block_name(1))),
        (None, 100, True, Adopt(block_name(1))),
        (None, None, True, Witness(block_name(1))),
        (None, None, False, None),
    ],
)
def test_plan_for_each_case(
    state: StoredState | None, size: int | None, *, aside: bool, step: Step | None
) -> None:
    rows = [] if state is None else [a_row(1, state)]
    files = {} if size is None else {block_name(1): size}
    plan = recovery.plan_bucket(files, rows, {block_name(1)} if aside else set())
    assert plan == ([] if step is None else [step])


States = st.sampled_from(StoredState)


@given(
    rows=st.dictionaries(st.integers(1, 6), st.tuples(States, st.integers(100, 101))),
    files=st.dictionaries(st.integers(1, 6), st.just(100)),
    aside=st.sets(st.integers(1, 6)),
    done=st.integers(0, 6),
)
def test_plan_converges_after_any_interruption(
    rows: dict[int, tuple[StoredState, int]],
    files: dict[int, int],
    aside: set[int],
    done: int,
) -> None:
    disk = _Model(rows, files, aside)
    before = disk.contents()
    disk.perform(disk.plan()[:done])
    disk.perform(disk.plan())
    assert disk.plan() == []
    assert disk.contents() == before  # nothing but a finished delete leaves blocks/ and quarantine/


class _Model:
    """What performing the steps does to sets of names, in so many words."""

    def __init__(
        self, rows: dict[int, tuple[StoredState, int]], files: dict[int, int], aside: set[int]
    ) -> None:
        self.rows = {block_name(n): a_row(n, *of) for n, of in rows.items()}
        self.files = {block_name(n): size for n, size in files.items()}
        self.aside = {block_name(n) for n in aside}
        self.purged: set[BlockName] = set()

    def plan(self) -> Sequence[Step]:
        return recovery.plan_bucket(self.files, list(self.rows.values()), self.aside)

    def contents(self) -> set[BlockName]:
        return set(self.files) | self.aside | self.purged

    def perform(self, steps: Sequence[Step]) -> None:
        for step in steps:
            match step:
                case Adopt(name):
                    self.rows[name] = a_row(name.block, StoredState.FOUND, self.files[name])
                case Forget(name):
                    del self.rows[name]
                case Witness(name):
                    self.rows[name] = a_row(name.block, StoredState.CORRUPT)
                case Condemn(row):
                    if self.files.pop(row.name, None) is not None:
                        self.aside.add(row.name)
                    self.rows[row.name] = a_row(row.name.block, StoredState.CORRUPT)
                case FinishDelete(name):
                    if self.files.pop(name, None) is not None or name in self.aside:
                        self.purged.add(name)
                    self.aside.discard(name)
                    del self.rows[name]


# The disk, real.


def test_restart_keeps_everything(rig: DiskRig) -> None:
    blobs = {block_name(n, file=n): os.urandom(n * 1000) for n in range(1, 30)}
    truths = {name: rig.put(name, blob) for name, blob in blobs.items()}
    stock = list(rig.store.stock(after=None, limit=100))
    rig.reopen()
    assert opened(rig)["found"] == opened(rig)["missing"] == opened(rig)["doubted"] == 0
    assert list(rig.store.stock(after=None, limit=100)) == stock
    for name, blob in blobs.items():
        assert rig.get(name) == blob
        assert rig.store.truth(name) == truths[name]
    assert rig.store.clean_stop
    assert rig.store.restarts == 2


def test_leftover_part_is_removed(rig: DiskRig) -> None:
    (rig.folder / "tmp" / "x.part").write_bytes(b"half a block")
    rig.reopen()
    assert rig.names_in("tmp") == []
    assert opened(rig)["parts_removed"] == 1


def test_newest_blocks_are_read_again_after_an_unclean_stop(rig: DiskRig) -> None:
    good, bad, old = block_name(1), block_name(2), block_name(3)
    for name in (good, bad, old):
        rig.put(name, os.urandom(10 * KiB))
    two_minutes_ago = rig.path(old).stat().st_mtime - 120
    rig.store.close(clean=False)
    os.utime(rig.path(old), (two_minutes_ago, two_minutes_ago))
    with sqlite3.connect(rig.folder / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE block SET mtime_ns = mtime_ns - 120000000000 WHERE block = 3")
    catalog.close()
    spoil(rig.path(bad), 5000)
    spoil(rig.path(old), 5000)
    rig.clock.advance(10)
    rig.open()
    assert not rig.store.clean_stop
    assert opened(rig)["doubted"] == 2  # not the old one: that is the scrubber's
    assert opened(rig)["quarantined"] == 1
    with pytest.raises(BlockCorrupt):
        rig.store.truth(bad)
    entry = rig.store.entry(good)
    assert entry is not None
    assert entry.verified_ms == rig.clock.now_ms()


def test_newest_blocks_are_trusted_after_a_clean_stop(rig: DiskRig) -> None:
    rig.put(block_name(1), b"x")
    rig.reopen(clean=True)
    assert opened(rig)["doubted"] == 0
    rig.reopen(clean=False)
    assert opened(rig)["doubted"] == 1


def test_row_without_file_is_missing(rig: DiskRig) -> None:
    rig.put(block_name(1), b"x")
    rig.path(block_name(1)).unlink()
    rig.reopen()
    assert opened(rig)["missing"] == 1
    with pytest.raises(BlockNotFound):
        rig.get(block_name(1))


def test_file_of_another_size_goes_to_quarantine(rig: DiskRig) -> None:
    rig.put(block_name(1), b"hello")
    with rig.path(block_name(1)).open("ab") as file:
        file.write(b"more")
    rig.reopen()
    entry = rig.store.entry(block_name(1))
    assert entry is not None
    assert entry.state is StoredState.CORRUPT
    (kept,) = rig.names_in("quarantine")
    assert kept.endswith(".size")


@pytest.mark.parametrize("how", ["deleted", "zeroed", "garbage", "truncated", "other_schema"])
def test_catalog_is_rebuilt_from_the_files(rig: DiskRig, how: str) -> None:
    blobs = {block_name(n, n + 3, file=n % 5 + 1, number=n): os.urandom(2000) for n in range(1, 20)}
    truths = {name: rig.put(name, blob, path=f"/{name.block}") for name, blob in blobs.items()}
    rig.store.close()
    catalog = rig.folder / "catalog.sqlite"
    if how == "deleted":
        catalog.unlink()
    elif how == "other_schema":
        with sqlite3.connect(catalog) as connection:
            connection.execute("DROP TABLE block")
            connection.execute("CREATE TABLE block (a)")
        connection.close()
    else:
        size = catalog.stat().st_size
        damaged = {"zeroed": bytes(size), "garbage": os.urandom(size), "truncated": b"SQLite f"}
        catalog.write_bytes(damaged[how])
    rig.open()
    assert any(event is Event.CATALOG_REBUILT for event, _ in rig.emit.events)
    if how != "deleted":
        assert any("catalog.sqlite" in kept for kept in rig.names_in("quarantine"))
    for name, blob in blobs.items():
        assert rig.get(name) == blob
        assert rig.store.truth(name) == truths[name]
        entry = rig.store.entry(name)
        assert entry is not None
        assert (entry.state, entry.path) == (StoredState.FOUND, f"/{name.block}")
    assert rig.store.verify(next(iter(blobs))).intact  # and FOUND becomes FINAL
    assert rig.store.entry(next(iter(blobs))).state is StoredState.FINAL  # type: ignore[union-attr]


def test_damaged_page_of_the_catalog_is_noticed(rig: DiskRig) -> None:
    for n in range(1, 200):
        rig.put(block_name(n), b"x")
    rig.store.close()
    catalog = rig.folder / "catalog.sqlite"
    raw = bytearray(catalog.read_bytes())
    raw[2 * 4096 : 3 * 4096] = os.urandom(4096)
    catalog.write_bytes(raw)
    rig.open()
    assert any(event is Event.CATALOG_REBUILT for event, _ in rig.emit.events)
    assert len(rig.store.stock(after=None, limit=1000)) == 199


def test_file_without_row_and_with_a_bad_tail_goes_to_quarantine(rig: DiskRig) -> None:
    rig.put(block_name(1), b"hello")
    rig.put(block_name(2), b"hello")
    rig.store.close()
    (rig.folder / "catalog.sqlite").unlink()
    spoil(rig.path(block_name(1)), rig.path(block_name(1)).stat().st_size - 10)
    rig.open()
    assert rig.get(block_name(2)) == b"hello"
    entry = rig.store.entry(block_name(1))
    assert entry is not None
    assert entry.state is StoredState.CORRUPT


def test_block_copied_to_another_name_is_not_believed(rig: DiskRig) -> None:
    rig.put(block_name(1), b"hello")
    rig.path(block_name(2)).write_bytes(rig.path(block_name(1)).read_bytes())
    rig.reopen()
    entry = rig.store.entry(block_name(2))
    assert entry is not None
    assert entry.state is StoredState.CORRUPT
    assert rig.get(block_name(1)) == b"hello"


def test_strays_go_to_quarantine_and_empty_folders_go(rig: DiskRig) -> None:
    (rig.folder / "blocks" / "ab" / "note").write_text("hi")
    (rig.folder / "blocks" / "ab" / "00000000000001ab").mkdir()
    (rig.folder / "blocks" / "ab" / "00000000000002ab").mkdir()
    (rig.folder / "blocks" / "ab" / "00000000000002ab" / "stray").write_text("ho")
    rig.reopen()
    assert rig.names_in("blocks/ab") == []
    kept = [(rig.folder / "quarantine" / n).read_text() for n in rig.names_in("quarantine")]
    assert sorted(kept) == ["hi", "ho"]


def test_quarantine_is_remembered_when_the_catalog_is_lost(rig: DiskRig) -> None:
    rig.put(block_name(1), b"hello" * 100)
    spoil(rig.path(block_name(1)))
    assert not rig.store.verify(block_name(1)).intact
    rig.store.close()
    (rig.folder / "catalog.sqlite").unlink()
    rig.open()
    entry = rig.store.entry(block_name(1))
    assert entry is not None
    assert (entry.state, entry.length_bytes) == (StoredState.CORRUPT, 500)


def test_delete_that_was_begun_is_finished(rig: DiskRig) -> None:
    rig.put(block_name(1), b"hello")
    rig.store.close()
    with sqlite3.connect(rig.folder / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE block SET state = 'deleting'")
    catalog.close()
    rig.open()
    assert rig.store.entry(block_name(1)) is None
    assert not rig.path(block_name(1)).exists()
    assert len(list((rig.folder / "purge").glob("*/*"))) == 1


def test_file_published_without_its_row_is_taken_over_by_the_retry(rig: DiskRig) -> None:
    rig.put(block_name(1), b"hello")
    rig.store._volumes[0].catalog.forget(block_name(1))
    rig.put(block_name(1), b"hello")
    assert rig.get(block_name(1)) == b"hello"
    assert rig.names_in("tmp") == []


def test_damaged_file_without_a_row_makes_way(rig: DiskRig) -> None:
    rig.put(block_name(1), b"hello")
    rig.store._volumes[0].catalog.forget(block_name(1))
    spoil(rig.path(block_name(1)))
    rig.put(block_name(1), b"hello")
    assert rig.get(block_name(1)) == b"hello"
    assert len(rig.names_in("quarantine")) == 1
