"""Orders about copies: each does exactly one generation's worth, and never costs a good copy."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dfs.base.errors import BlockCorrupt, BlockNotFound, StaleGeneration, VolumeReadOnly
from dfs.base.events import Event
from dfs.base.states import StoredState, VolumeState
from dfs.blockstore.custody import CANARY_FOLDER
from dfs.blockstore.disk import Disk
from dfs.settings.sections import DAY_S
from tests.unit.blockstore.disk_rig import DiskRig, block_name

NAME = block_name(1)
DATA = os.urandom(300_000)


def spoil(path: Path, *, at: int = 200_000) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 4
    path.write_bytes(raw)


def break_it(rig: DiskRig) -> None:
    """The block is written, rots, and is found out."""
    rig.put(NAME, DATA)
    spoil(rig.path(NAME))
    with pytest.raises(BlockCorrupt):
        rig.get(NAME)


def purged(rig: DiskRig) -> list[Path]:
    return sorted((rig.folder / "purge").glob("*/*"))


# Purge the bad copy.


def test_purging_the_bad_copy_leaves_the_good_one_of_the_same_generation(rig: DiskRig) -> None:
    break_it(rig)
    rig.put(NAME, DATA)
    rig.store.take_changes(10)
    assert rig.store.custody.purge_bad(NAME)
    assert rig.get(NAME) == DATA
    assert (rig.names_in("quarantine"), len(purged(rig)), rig.store.quarantined) == ([], 1, 0)
    assert [e.state for e in rig.store.take_changes(10)[0]] == [StoredState.FINAL]
    assert not rig.store.custody.purge_bad(NAME)


def test_purging_the_only_and_bad_copy_makes_the_block_gone(rig: DiskRig) -> None:
    break_it(rig)
    rig.store.take_changes(10)
    assert rig.store.custody.purge_bad(NAME)
    assert rig.store.entry(NAME) is None
    assert [entry.name for entry in rig.store.take_changes(10)[1]] == [NAME]
    rig.reopen(clean=False)
    assert rig.store.entry(NAME) is None


def test_purging_leaves_other_generations_alone(rig: DiskRig) -> None:
    break_it(rig)
    newer = block_name(1, 2)
    rig.put(newer, DATA)
    spoil(rig.path(newer))
    with pytest.raises(BlockCorrupt):
        rig.get(newer)
    assert rig.store.custody.purge_bad(NAME)
    assert rig.store.quarantined == 1
    assert not rig.store.custody.purge_bad(block_name(1, 3))


def test_quarantine_is_due_after_its_grace_the_oldest_first(rig: DiskRig) -> None:
    first, second = block_name(1), block_name(2, file=8)
    for name in (second, first):
        rig.put(name, DATA)
        spoil(rig.path(name))
        rig.clock.advance(10)
        with pytest.raises(BlockCorrupt):
            rig.get(name)
    keep_s = 7 * DAY_S
    assert rig.store.custody.quarantine_due(10, keep_s=keep_s) == []
    rig.clock.advance(keep_s - 5)
    assert rig.store.custody.quarantine_due(10, keep_s=keep_s) == [second]
    rig.reopen()
    rig.clock.advance(10)
    assert rig.store.custody.quarantine_due(10, keep_s=keep_s) == [second, first]
    assert rig.store.custody.quarantine_due(1, keep_s=keep_s) == [second]
    assert rig.store.custody.quarantine_due(1, keep_s=keep_s) == [first], "all have their turn"
    assert rig.store.custody.quarantine_due(1, keep_s=keep_s) == [second]
    rig.store.custody.purge_bad(second)
    assert rig.store.custody.quarantine_due(10, keep_s=keep_s) == [first]


# Bring a deleted one back.


def test_block_restored_after_its_deletion_reads_back(rig: DiskRig) -> None:
    truth = rig.put(NAME, DATA)
    rig.store.delete(NAME)
    rig.store.take_changes(10)
    assert rig.store.custody.restore(NAME)
    assert (rig.get(NAME), rig.store.truth(NAME)) == (DATA, truth)
    assert [e.state for e in rig.store.take_changes(10)[0]] == [StoredState.FINAL]
    assert (purged(rig), rig.names_in("tmp")) == ([], [])
    assert rig.emit.events[-1][0] is Event.BLOCK_RESTORED
    assert rig.store.custody.restore(NAME)  # a repeated order finds it done
    assert rig.store.volumes()[0].blocks == 1
    rig.reopen(clean=False)
    assert rig.get(NAME) == DATA


def test_spoilt_file_in_the_purge_area_is_not_restored_and_stays(rig: DiskRig) -> None:
    rig.put(NAME, DATA)
    rig.store.delete(NAME)
    spoil(purged(rig)[0])
    assert not rig.store.custody.restore(NAME)
    assert len(purged(rig)) == 1
    assert rig.names_in("tmp") == []
    with pytest.raises(BlockNotFound):
        rig.get(NAME)


def test_of_a_good_and_a_bad_purged_file_the_good_one_is_restored(rig: DiskRig) -> None:
    break_it(rig)
    rig.put(NAME, DATA)
    rig.store.delete(NAME)
    assert len(purged(rig)) == 2
    assert rig.store.custody.restore(NAME)
    assert rig.get(NAME) == DATA


def test_disk_whose_purge_area_cannot_be_listed_fails_and_not_the_process(rig: DiskRig) -> None:
    rig.put(NAME, DATA)
    rig.store.delete(NAME)
    (rig.folder / "purge").rename(rig.folder / "elsewhere")
    with pytest.raises(VolumeReadOnly):
        rig.store.custody.restore(NAME)
    assert rig.store.volumes()[0].state is VolumeState.READ_ONLY


def test_canary_on_a_disk_that_takes_no_writes_is_not_spoilt(rig: DiskRig) -> None:
    rig.disk = disk = StuckDisk()
    rig.reopen()
    rig.put(NAME, DATA, path=f"{CANARY_FOLDER}dn-1.1")
    disk.stuck = True
    with pytest.raises(VolumeReadOnly):
        rig.store.custody.spoil_canary(NAME)


def test_nothing_older_comes_back_beside_what_followed_it(rig: DiskRig) -> None:
    rig.put(NAME, DATA)
    rig.store.delete(NAME)
    rig.put(block_name(1, 2), b"newer")
    with pytest.raises(StaleGeneration):
        rig.store.custody.restore(NAME)
    assert not rig.store.custody.restore(block_name(5))


# Set aside what is not the truth.


def test_copy_that_is_not_the_truth_is_moved_aside_and_kept(rig: DiskRig) -> None:
    rig.put(NAME, DATA)
    rig.store.take_changes(10)
    assert rig.store.custody.quarantine(NAME, "the NameNode has another hash")
    with pytest.raises(BlockCorrupt):
        rig.get(NAME)
    assert rig.names_in("quarantine")[0].endswith(".untrue")
    assert [e.state for e in rig.store.take_changes(10)[0]] == [StoredState.CORRUPT]
    assert not rig.store.custody.quarantine(NAME, "again")
    assert (rig.store.found, rig.store.is_doubtful) == (0, False)


# Disks that take no writes.


def test_blocks_of_a_disk_that_takes_no_writes_are_failing_and_a_full_report_is_due(
    rig: DiskRig,
) -> None:
    rig.put(NAME, DATA)
    assert not rig.store.changes_lost
    rig.store.folders[0]._fail("a test says so")
    assert rig.store.changes_lost
    entry = rig.store.entry(NAME)
    assert entry is not None
    assert entry.state is StoredState.FAILING
    assert rig.get(NAME) == DATA


class StuckDisk(Disk):
    """Takes no fsync."""

    stuck = False

    def fsync(self, fd: int) -> None:
        if self.stuck:
            raise OSError(errno.EIO, "Input/output error")


def test_probe_at_the_start_finds_a_disk_that_takes_no_writes(rig: DiskRig) -> None:
    rig.put(NAME, DATA)
    rig.disk = disk = StuckDisk()
    folder = rig.store.folders[0]
    rig.store.close()
    begin = folder.identity.begin
    assert callable(begin)

    class LateDisk(StuckDisk):
        """Fails only the probe: small files still go through."""

        def write(self, fd: int, data: object, offset: int) -> None:
            disk.stuck = self.stuck = data == b"?"
            super().write(fd, data, offset)  # type: ignore[arg-type]

    rig.disk = LateDisk()
    rig.open()
    (volume,) = rig.store.volumes()
    assert volume.state is VolumeState.READ_ONLY
    assert rig.names_in("tmp") == []
    assert rig.get(NAME) == DATA
    rig.disk = None
    rig.reopen()
    assert rig.store.volumes()[0].state is VolumeState.ONLINE


# The catalog is an index that can be thrown away.


def drop(catalog: Path) -> None:
    for path in catalog.parent.glob("catalog.sqlite*"):
        path.unlink()


def garble(catalog: Path) -> None:
    catalog.write_bytes(os.urandom(40_000))


def spoil_a_page(catalog: Path) -> None:
    with catalog.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(2048))


def make_old(catalog: Path) -> None:
    """As an earlier version made it."""
    with closing(sqlite3.connect(catalog, isolation_level=None)) as db:
        db.execute("DROP INDEX block_by_pass")
        db.execute("DROP INDEX block_unread")
        db.execute("ALTER TABLE block DROP COLUMN passed")
        db.execute("PRAGMA user_version=0")


@pytest.mark.parametrize("hurt", [drop, garble, spoil_a_page, make_old])
def test_lost_catalog_is_rebuilt_from_the_files_and_nothing_is_lost(
    rig: DiskRig, hurt: Callable[[Path], None]
) -> None:
    names = [block_name(n, file=n) for n in range(1, 40)]
    contents = {name: os.urandom(3_000) for name in names}
    for name, data in contents.items():
        rig.put(name, data)
    spoil(rig.path(names[0]), at=10)
    with pytest.raises(BlockCorrupt):
        rig.get(names[0])
    rig.store.close()
    hurt(rig.folder / "catalog.sqlite")
    rig.open()
    assert Event.CATALOG_REBUILT in [event for event, _ in rig.emit.events]
    told = {entry.name: entry.state for entry in rig.store.stock(after=None, limit=100)}
    assert told.pop(names[0]) is StoredState.CORRUPT
    assert told == dict.fromkeys(names[1:], StoredState.FOUND)
    assert all(rig.get(name) == contents[name] for name in names[1:])
