"""What a DataNode says it holds: pages, changes, and a look from outside."""

import json
import os
from pathlib import Path

import pytest

from dfs.base.checksum import block_hash
from dfs.base.errors import DfsError, ForeignFolder, LocalIoError
from dfs.base.records import BlockName, StockEntry
from dfs.base.states import StoredState
from dfs.blockstore import stock
from dfs.blockstore.offline import list_offline, packed_files, verify_offline
from dfs.daemons.datanode_offline import list_folders
from dfs.wire.packs import PackEntry, encode_table
from tests.unit.blockstore.disk_rig import DiskRig, block_name


def fill(rig: DiskRig) -> list[BlockName]:
    names = [block_name(100 - n, 3 + n, file=n % 7 + 1, number=n % 4) for n in range(50)]
    for name in names:
        rig.put(name, name.block.to_bytes(8, "big"))
    return sorted(names, key=stock.order)


def damage(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(b"XX" + raw[2:])


@pytest.mark.parametrize("limit", [1, 7, 50, 1000])
def test_pages_tell_everything_once_in_order(rig: DiskRig, tmp_path: Path, limit: int) -> None:
    rig.folders.append(tmp_path / "second")
    rig.reopen()
    names = fill(rig)
    told: list[BlockName] = []
    after = None
    while page := rig.store.stock(after=after, limit=limit):
        assert len(page) <= limit
        told += [entry.name for entry in page]
        after = told[-1]
    assert told == names


def test_entry_carries_what_a_report_needs(rig: DiskRig) -> None:
    truth = rig.put(block_name(1), b"hello", path="/a/b")
    (entry,) = rig.store.stock(after=None, limit=10)
    assert (entry.name, entry.length_bytes, entry.hash) == (block_name(1), 5, truth.hash)
    assert (entry.state, entry.path) == (StoredState.FINAL, "/a/b")
    assert entry.verified_ms == rig.clock.now_ms()
    assert entry.volume == rig.store.volumes()[0].volume


def test_block_good_on_one_disk_and_bad_on_another_is_told_as_good(rig: DiskRig) -> None:
    rig.put(block_name(1), b"x")
    (good,) = rig.store.stock(after=None, limit=10)
    bad = type(good)(good.name, 1, good.hash, StoredState.CORRUPT, 0)
    assert stock.merge([[bad], [good]], 10) == [good]


def test_changes_are_told_once_and_in_portions(rig: DiskRig) -> None:
    for n in range(1, 6):
        rig.put(block_name(n), b"x")
    new, gone = rig.store.take_changes(3)
    assert [entry.name.block for entry in new] == [1, 2, 3]
    assert gone == []
    rig.store.delete(block_name(1))
    rig.store.delete(block_name(5))  # its arrival was never told
    new, gone = rig.store.take_changes(10)
    assert [entry.name.block for entry in new] == [4]
    assert [entry.name.block for entry in gone] == [1, 5]
    assert rig.store.take_changes(10) == ([], [])


def test_block_that_came_back_is_not_told_as_gone(rig: DiskRig) -> None:
    rig.put(block_name(1), b"x")
    rig.store.delete(block_name(1))
    rig.put(block_name(1), b"x")
    new, gone = rig.store.take_changes(10)
    assert [entry.name for entry in new] == [block_name(1)]
    assert gone == []


def test_feed_that_overflows_says_so(rig: DiskRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "CHANGES_MAX", 3)
    for n in range(1, 6):
        rig.put(block_name(n), b"x")
    assert [rig.store.changes_lost, rig.store.changes_lost] == [True, False]
    new, _ = rig.store.take_changes(10)
    assert [entry.name.block for entry in new] == [3, 4, 5]


def test_changes_that_could_not_be_looked_up_are_told_by_a_full_report() -> None:
    def failing(_name: BlockName) -> StockEntry | None:
        raise LocalIoError("the catalog cannot be read")

    feed = stock.ChangeFeed()
    feed.changed(block_name(1))
    with pytest.raises(LocalIoError):
        feed.take(10, failing)
    assert feed.overflowed


# From outside.


def test_offline_listing_equals_the_stock(rig: DiskRig) -> None:
    fill(rig)
    beside_the_daemon = list(list_offline(rig.folder))
    assert beside_the_daemon == list(rig.store.stock(after=None, limit=1000))
    rig.store.close()
    assert list(list_offline(rig.folder)) == beside_the_daemon


def test_offline_listing_needs_no_catalog(rig: DiskRig) -> None:
    names = fill(rig)
    rig.store.close()
    (rig.folder / "catalog.sqlite").write_bytes(os.urandom(9999))
    listed = list(list_offline(rig.folder))
    assert [entry.name for entry in listed] == names
    assert {entry.state for entry in listed} == {StoredState.FOUND}
    assert {entry.path for entry in listed} == {"/a file"}


def test_offline_listing_shows_quarantine(rig: DiskRig) -> None:
    rig.put(block_name(1), b"hello")
    damage(rig.path(block_name(1)))
    rig.store.verify(block_name(1))
    (entry,) = list_offline(rig.folder)
    assert (entry.name, entry.state) == (block_name(1), StoredState.CORRUPT)


def test_offline_listing_names_what_a_pack_holds_without_anybody_else(rig: DiskRig) -> None:
    files = {"/a": b"first", "/b": b"second one"}
    entries = [
        PackEntry("/a", 0, 5, block_hash(files["/a"]), 0o644, 1),
        PackEntry("/b", 5, 10, block_hash(files["/b"]), 0o600, 2),
    ]
    rig.put(block_name(1), b"".join(files.values()), path="", pack=encode_table(entries))
    rig.put(block_name(2), b"lone", path="/lone")
    rig.put(block_name(3), b"12345", path="", pack=b"no table")
    rig.store.close()
    assert list(packed_files(rig.folder, block_name(1))) == entries
    assert list(packed_files(rig.folder, block_name(2))) == []
    assert list(packed_files(rig.folder, block_name(9))) == []
    with pytest.raises(DfsError):
        packed_files(rig.folder, block_name(3))


def test_offline_listing_prints_the_files_of_a_pack_under_it(
    rig: DiskRig, capsys: pytest.CaptureFixture[str]
) -> None:
    table = encode_table([PackEntry("/a", 0, 5, block_hash(b"first"), 0o644, 1 << 62)])
    rig.put(block_name(1), b"first", path="", pack=table)
    rig.put(block_name(2), b"12345", path="", pack=b"no table")
    rig.store.close()
    list_folders([rig.folder], as_json=False, with_files=True)
    _, _, packed, _, unreadable, _ = capsys.readouterr().out.splitlines()
    assert packed.endswith("/a")
    assert "cannot be read" in unreadable
    list_folders([rig.folder], as_json=True, with_files=True)
    first, second = json.loads(capsys.readouterr().out)
    assert first["files"] == [
        {
            "path": "/a",
            "offset": 0,
            "length_bytes": 5,
            "hash": block_hash(b"first").hex(),
            "mode": 0o644,
            "modified_ms": 1 << 62,
        }
    ]
    assert "cannot be read" in second["files_error"]


def test_offline_verify_finds_damage_and_changes_nothing(rig: DiskRig) -> None:
    names = fill(rig)
    rig.store.close()
    damage(rig.path(names[10]))
    before = sorted(path for path in rig.folder.rglob("*") if path.is_file())
    verdicts = list(verify_offline(rig.folder))
    assert [verdict.name for verdict in verdicts] == names
    assert [verdict.name for verdict in verdicts if not verdict.intact] == [names[10]]
    assert verdicts[10].reason == "hash"
    after = sorted(path for path in rig.folder.rglob("*") if path.is_file())
    assert [p for p in after if "-shm" not in p.name and "-wal" not in p.name] == before


def test_offline_look_at_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ForeignFolder):
        list(list_offline(tmp_path))
    with pytest.raises(ForeignFolder):
        list(verify_offline(tmp_path / "nowhere"))
