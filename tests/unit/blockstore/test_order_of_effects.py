"""What is on the disk before what: the order that makes an acknowledgement true."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.checksum import chunk_hashes
from dfs.base.errors import DfsError, DiskFull
from dfs.base.states import VolumeState
from dfs.base.units import KiB, MiB
from dfs.blockstore.disk import Disk
from dfs.blockstore.part_file import FLUSH_BYTES
from tests.unit.blockstore.disk_rig import DiskRig, block_name


class WatchedDisk(Disk):
    """Writes down each flush, and whether the block's name was there at that moment."""

    def __init__(self) -> None:
        super().__init__(sync=True)
        self.target = Path()
        self.seen: list[tuple[str, str, bool]] = []

    def fsync(self, fd: int) -> None:
        self._see("fsync", Path(f"/proc/self/fd/{fd}").readlink())
        super().fsync(fd)

    def fdatasync(self, fd: int) -> None:
        self._see("fdatasync", Path(f"/proc/self/fd/{fd}").readlink())
        super().fdatasync(fd)

    def fsync_folder(self, folder: Path) -> None:
        self._see("fsync_folder", folder)
        super().fsync_folder(folder)

    def _see(self, call: str, place: Path) -> None:
        self.seen.append((call, place.parent.name, self.target.exists()))


@pytest.fixture
def watched(rig: DiskRig) -> WatchedDisk:
    rig.disk = disk = WatchedDisk()
    rig.reopen()
    disk.seen.clear()
    return disk


def test_bytes_are_fsynced_before_the_name_and_the_name_before_the_answer(
    rig: DiskRig, watched: WatchedDisk
) -> None:
    name = block_name(1, file=0x2AB)
    watched.target = rig.path(name)
    rig.put(name, b"hello")
    assert watched.seen == [
        ("fsync", "tmp", False),  # the bytes, while nobody can see them
        ("fsync_folder", "ab", True),  # the name
        ("fsync_folder", "blocks", True),  # the new folder's name
    ]


def test_further_block_of_a_file_needs_two_flushes(rig: DiskRig, watched: WatchedDisk) -> None:
    rig.put(block_name(1, number=0), b"hello")
    watched.seen.clear()
    rig.put(block_name(2, number=1), bytes(8 * KiB))
    assert [call for call, _, _ in watched.seen] == ["fsync", "fsync_folder"]


def test_folder_that_was_removed_and_made_again_is_made_durable_again(
    rig: DiskRig, watched: WatchedDisk
) -> None:
    rig.put(block_name(1), b"hello")
    rig.store.delete(block_name(1))
    watched.seen.clear()
    rig.put(block_name(2), b"hello")
    assert [place for call, place, _ in watched.seen if call == "fsync_folder"] == ["07", "blocks"]


def test_folder_of_an_earlier_run_is_not_taken_for_durable(
    rig: DiskRig, watched: WatchedDisk
) -> None:
    rig.put(block_name(1), b"hello")
    rig.reopen(clean=False)
    watched.seen.clear()
    rig.put(block_name(2), b"hello")
    assert "blocks" in [place for call, place, _ in watched.seen if call == "fsync_folder"]


def test_large_block_is_pushed_to_the_disk_as_it_comes(rig: DiskRig, watched: WatchedDisk) -> None:
    rig.put(block_name(1), bytes(2 * FLUSH_BYTES + MiB))
    assert [call for call, _, _ in watched.seen].count("fdatasync") == 2


def test_delete_makes_the_purge_durable_before_the_row_goes(
    rig: DiskRig, watched: WatchedDisk
) -> None:
    rig.put(block_name(1), b"hello")
    watched.target = rig.path(block_name(1))
    watched.seen.clear()
    rig.store.delete(block_name(1))
    assert watched.seen[-1] == ("fsync_folder", "purge", False)


def test_adopted_file_is_made_durable_before_it_is_told(rig: DiskRig, watched: WatchedDisk) -> None:
    rig.put(block_name(1), b"hello")
    rig.store.close()
    (rig.folder / "catalog.sqlite").unlink()
    watched.seen.clear()
    rig.open()
    places = [place for call, place, _ in watched.seen if call == "fsync_folder"]
    assert {"07", "blocks"} <= set(places)


def test_unsynced_store_flushes_nothing() -> None:
    Disk(sync=False).fsync(-1)
    Disk(sync=False).fdatasync(-1)
    Disk(sync=False).fsync_folder(Path("/nowhere"))


# A disk that is really full.


@pytest.fixture
def small_disk(rig: DiskRig, tmp_path: Path) -> Iterator[DiskRig]:
    """The store on a file system of 24 MiB, where we may mount one."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        rig.store.close()
        rig.folders = [mount / "disk"]
        rig.open()
        yield rig
    finally:
        rig.store.close()
        subprocess.run(["umount", str(mount)], check=True)


def fill(rig: DiskRig, size: int, *, is_stream: bool) -> list[int]:
    kept: list[int] = []
    for block in range(1, 100):
        try:
            rig.put(block_name(block), bytes([block]) * size, is_stream=is_stream)
        except DiskFull:
            return kept
        kept.append(block)
    raise AssertionError("the disk never filled")


@pytest.mark.parametrize("is_stream", [False, True])
def test_disk_that_fills_refuses_and_keeps_what_it_has(
    small_disk: DiskRig, *, is_stream: bool
) -> None:
    rig = small_disk
    kept = fill(rig, 5 * MiB, is_stream=is_stream)
    assert 1 <= len(kept) <= 4
    assert rig.names_in("tmp") == []
    assert rig.store.volumes()[0].state is VolumeState.ONLINE
    for block in kept:
        assert rig.get(block_name(block)) == bytes([block]) * 5 * MiB
    rig.store.delete(block_name(kept[0]))
    rig.clock.advance(rig.config.purge_keep_s + 1)
    rig.store.purge_expired()
    rig.put(block_name(500), bytes(5 * MiB))
    rig.reopen()
    assert len(rig.store.stock(after=None, limit=100)) == len(kept)


def test_room_that_others_take_while_a_block_is_written_is_not_its_own(
    small_disk: DiskRig,
) -> None:
    """Its room is taken at the beginning: a file that fills the disk meanwhile changes nothing."""
    rig = small_disk
    size = 8 * MiB
    with rig.store.begin(block_name(1), path="/x", length_max=size, length=size) as writer:
        hog = rig.folders[0].parent / "hog"
        with pytest.raises(OSError, match="No space"):
            hog.write_bytes(bytes(24 * MiB))
        for offset in range(0, size, MiB):
            writer.write(offset, bytes(MiB), chunk_hashes(bytes(MiB)))
    with pytest.raises(DfsError):
        rig.put(block_name(2), bytes(20 * MiB))
