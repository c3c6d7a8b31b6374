"""Putting blocks: what is accepted, what is refused, and what is left behind."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dfs.base.checksum import CHUNK_SIZE_BYTES, block_hash, chunk_hashes
from dfs.base.errors import (
    BadRequest,
    BlockConflict,
    BlockCorrupt,
    BlockNotFound,
    DiskFull,
    LengthMismatch,
    LimitExceeded,
    StaleGeneration,
    Stopping,
    VolumeReadOnly,
)
from dfs.base.states import StoredState, VolumeState
from dfs.base.units import GiB, KiB, MiB
from dfs.blockstore.disk import Disk
from dfs.blockstore.format import PACK_BYTES_MAX
from dfs.blockstore.part_file import GROW_BYTES
from tests.unit.blockstore.disk_rig import DiskRig, block_name

CHUNK = CHUNK_SIZE_BYTES


def leftovers(rig: DiskRig) -> list[str]:
    return rig.names_in("tmp")


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    "size", [0, 1, 8 * KiB, CHUNK - 1, CHUNK, CHUNK + 1, MiB, MiB + 1, 3 * MiB - 1]
)
def test_block_reads_back_as_written(rig: DiskRig, size: int, *, is_stream: bool) -> None:
    data = os.urandom(size)
    truth = rig.put(block_name(1), data, is_stream=is_stream)
    assert (truth.length_bytes, truth.hash) == (size, block_hash(data))
    assert rig.get(block_name(1)) == data
    assert rig.store.truth(block_name(1)) == truth
    assert leftovers(rig) == []


def test_stream_longer_than_its_first_room_grows(rig: DiskRig) -> None:
    data = os.urandom(2 * GROW_BYTES + 12_345)
    rig.put(block_name(1), data, is_stream=True)
    assert rig.get(block_name(1)) == data
    tail = rig.path(block_name(1)).stat().st_size - len(data)
    assert 64 < tail < 4 * KiB  # room taken in steps is given back


def test_content_is_at_offset_zero_of_a_private_file(rig: DiskRig) -> None:
    rig.put(block_name(1), b"hello")
    path = rig.path(block_name(1))
    assert path.read_bytes().startswith(b"hello")
    assert path.stat().st_mode & 0o777 == 0o600


def test_label_tells_where_the_block_belongs(rig: DiskRig) -> None:
    rig.put(block_name(1, number=4), b"hello", path="/données/x", pack=b"toc")
    label = rig.store.label(block_name(1, number=4))
    assert (label.path, label.pack, label.file, label.number) == ("/données/x", b"toc", 7, 4)
    assert label.cluster == rig.store.identity.cluster  # type: ignore[union-attr]


def test_block_is_invisible_until_it_is_finished(rig: DiskRig) -> None:
    name = block_name(1)
    with rig.store.begin(name, path="/x", length_max=10, length=5) as writer:
        writer.write(0, b"hello", chunk_hashes(b"hello"))
        assert rig.store.entry(name) is None
        assert not rig.path(name).exists()
        assert rig.store.in_flight == 1
        writer.finish(length=5, hash=block_hash(b"hello"))
    assert rig.store.entry(name) is not None
    assert rig.store.in_flight == 0


def test_abandoned_block_leaves_nothing(rig: DiskRig) -> None:
    free = rig.store.free_bytes
    with rig.store.begin(block_name(1), path="/x", length_max=MiB, length=MiB) as writer:
        writer.write(0, bytes(CHUNK), chunk_hashes(bytes(CHUNK)))
        assert len(leftovers(rig)) == 1
    assert leftovers(rig) == []
    assert rig.store.entry(block_name(1)) is None
    assert rig.store.in_flight == 0
    assert abs(rig.store.free_bytes - free) < 64 * MiB  # others use the same disk


def test_piece_damaged_on_its_way_is_refused(rig: DiskRig) -> None:
    with (
        rig.store.begin(block_name(1), path="/x", length_max=9, length=5) as writer,
        pytest.raises(BlockCorrupt),
    ):
        writer.write(0, b"hellO", chunk_hashes(b"hello"))
    assert leftovers(rig) == []


@pytest.mark.parametrize("offset", [0, CHUNK - 1, 2 * CHUNK])
def test_gap_repeat_or_overlap_is_refused(rig: DiskRig, offset: int) -> None:
    piece = bytes(CHUNK)
    with rig.store.begin(block_name(1), path="/x", length_max=MiB, length=MiB) as writer:
        writer.write(0, piece, chunk_hashes(piece))
        with pytest.raises(LengthMismatch):
            writer.write(offset, piece, chunk_hashes(piece))


def test_only_the_last_piece_may_end_inside_a_chunk(rig: DiskRig) -> None:
    with rig.store.begin(block_name(1), path="/x", length_max=MiB, length=None) as writer:
        writer.write(0, b"abc", chunk_hashes(b"abc"))
        with pytest.raises(LengthMismatch):
            writer.write(3, b"def", chunk_hashes(b"def"))


def test_piece_without_all_its_hashes_is_refused(rig: DiskRig) -> None:
    with (
        rig.store.begin(block_name(1), path="/x", length_max=MiB, length=None) as writer,
        pytest.raises(LengthMismatch),
    ):
        writer.write(0, bytes(2 * CHUNK), chunk_hashes(bytes(CHUNK)))


def test_more_than_announced_is_refused(rig: DiskRig) -> None:
    with (
        rig.store.begin(block_name(1), path="/x", length_max=100, length=3) as writer,
        pytest.raises(LengthMismatch),
    ):
        writer.write(0, b"four", chunk_hashes(b"four"))
    with pytest.raises(LengthMismatch):
        rig.store.begin(block_name(1), path="/x", length_max=2, length=3)


def test_less_than_announced_is_refused(rig: DiskRig) -> None:
    with rig.store.begin(block_name(1), path="/x", length_max=9, length=5) as writer:
        writer.write(0, b"abc", chunk_hashes(b"abc"))
        with pytest.raises(LengthMismatch):
            writer.finish(length=3, hash=block_hash(b"abc"))
        with pytest.raises(LengthMismatch):
            writer.finish(length=5, hash=block_hash(b"abc"))
    assert rig.store.entry(block_name(1)) is None


def test_whole_that_does_not_match_its_senders_hash_is_refused(rig: DiskRig) -> None:
    with rig.store.begin(block_name(1), path="/x", length_max=9, length=3) as writer:
        writer.write(0, b"abc", chunk_hashes(b"abc"))
        with pytest.raises(BlockCorrupt):
            writer.finish(length=3, hash=block_hash(b"abd"))
    assert rig.store.entry(block_name(1)) is None
    assert leftovers(rig) == []


def test_impossible_names_and_packs_are_refused(rig: DiskRig) -> None:
    with pytest.raises(BadRequest):
        rig.store.begin(block_name(0), path="/x", length_max=1, length=1)
    with pytest.raises(LimitExceeded):
        rig.put(block_name(1), b"x", pack=bytes(PACK_BYTES_MAX + 1))
    assert rig.store.in_flight == 0


# The replacement rule.


def test_higher_generation_is_stored_beside_the_lower(rig: DiskRig) -> None:
    rig.put(block_name(1, 5), b"old")
    rig.put(block_name(1, 6), b"new")
    assert rig.get(block_name(1, 5)) == b"old"
    assert rig.get(block_name(1, 6)) == b"new"


def test_equal_generation_and_bytes_succeed_without_writing(rig: DiskRig) -> None:
    first = rig.put(block_name(1, 5), b"same")
    inode = rig.path(block_name(1, 5)).stat().st_ino
    with rig.store.begin(block_name(1, 5), path="/x", length_max=9, length=4) as writer:
        assert writer.already
        assert leftovers(rig) == []
        writer.write(0, b"same", chunk_hashes(b"same"))
        assert writer.finish(length=4, hash=block_hash(b"same")) == first
    assert rig.path(block_name(1, 5)).stat().st_ino == inode


def test_equal_generation_with_other_bytes_is_a_conflict(rig: DiskRig) -> None:
    rig.put(block_name(1, 5), b"same")
    with pytest.raises(BlockConflict):
        rig.put(block_name(1, 5), b"else")
    with pytest.raises(BlockConflict):  # the same block as part of another file
        rig.put(block_name(1, 5, file=8), b"same")
    assert rig.get(block_name(1, 5)) == b"same"


def test_lower_generation_is_stale(rig: DiskRig) -> None:
    rig.put(block_name(1, 5), b"new")
    with pytest.raises(StaleGeneration):
        rig.put(block_name(1, 4), b"old")
    rig.put(block_name(2, 4), b"another block has generations of its own")


def test_generation_that_became_stale_while_it_was_written_is_refused(rig: DiskRig) -> None:
    with rig.store.begin(block_name(1, 5), path="/x", length_max=9, length=3) as slow:
        slow.write(0, b"old", chunk_hashes(b"old"))
        rig.put(block_name(1, 6), b"new")
        with pytest.raises(StaleGeneration):
            slow.finish(length=3, hash=block_hash(b"old"))
    assert rig.store.entry(block_name(1, 5)) is None
    assert leftovers(rig) == []


def test_two_writers_of_one_generation_both_succeed_with_the_same_bytes(rig: DiskRig) -> None:
    data = os.urandom(300 * KiB)
    with ThreadPoolExecutor(4) as pool:
        truths = list(pool.map(lambda _: rig.put(block_name(1), data), range(8)))
    assert len(set(truths)) == 1
    assert rig.get(block_name(1)) == data
    assert len(rig.store.stock(after=None, limit=10)) == 1
    assert leftovers(rig) == []


def test_two_writers_of_one_generation_with_other_bytes_have_one_winner(rig: DiskRig) -> None:
    barrier = threading.Barrier(4)

    def write(letter: str) -> str:
        data = letter.encode() * 1000
        with rig.store.begin(block_name(1), path="/x", length_max=1000, length=1000) as writer:
            writer.write(0, data, chunk_hashes(data))
            barrier.wait(30)
            try:
                writer.finish(length=1000, hash=block_hash(data))
            except BlockConflict:
                return ""
        return letter

    with ThreadPoolExecutor(4) as pool:
        winners = [letter for letter in pool.map(write, "abcd") if letter]
    assert len(winners) == 1
    assert rig.get(block_name(1)) == winners[0].encode() * 1000


def test_many_blocks_of_one_file_are_written_at_once(rig: DiskRig) -> None:
    blobs = {number: os.urandom(20 * KiB) for number in range(60)}

    def write(number: int) -> None:
        rig.put(block_name(100 + number, number=number), blobs[number])
        if number % 3 == 0:  # deletes empty and remove the folder in between
            rig.store.delete(block_name(100 + number, number=number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, blobs))
    for number, blob in blobs.items():
        if number % 3:
            assert rig.get(block_name(100 + number, number=number)) == blob


# Room.


def test_full_disk_is_refused_before_data_flows(rig: DiskRig) -> None:
    rig.config = type(rig.config)(reserve_bytes=1 << 60, sync=False)
    rig.reopen()
    with pytest.raises(DiskFull, match="above the reserve"):
        rig.store.begin(block_name(1), path="/x", length_max=1, length=1)
    assert leftovers(rig) == []
    assert rig.store.in_flight == 0
    assert rig.store.free_bytes == 0


def test_reserve_is_the_larger_of_bytes_and_percent(rig: DiskRig) -> None:
    rig.config = type(rig.config)(reserve_bytes=0, reserve_percent=99.9, sync=False)
    rig.reopen()
    with pytest.raises(DiskFull):
        rig.put(block_name(1), b"x")


def test_room_promised_to_one_writer_is_not_promised_to_another(rig: DiskRig) -> None:
    volume = rig.store._volumes[0]
    room = volume.room_bytes()
    volume.promise(room - 64 * MiB, what="a test")
    with pytest.raises(DiskFull):
        rig.store.begin(block_name(1), path="/x", length_max=GiB, length=GiB)
    volume.keep_promise(room - 64 * MiB)
    rig.put(block_name(1), b"x")


def test_room_is_taken_while_a_block_is_written(rig: DiskRig) -> None:
    with rig.store.begin(block_name(1), path="/x", length_max=8 * MiB, length=8 * MiB):
        (part,) = (rig.folder / "tmp").iterdir()
        assert part.stat().st_blocks * 512 >= 8 * MiB


def test_closed_store_takes_no_blocks(rig: DiskRig) -> None:
    rig.store.close()
    with pytest.raises(Stopping):
        rig.put(block_name(1), b"x")


# Deleting.


def test_deleted_block_waits_in_the_purge_area(rig: DiskRig) -> None:
    rig.put(block_name(1), b"hello")
    assert rig.store.delete(block_name(1))
    with pytest.raises(BlockNotFound):
        rig.get(block_name(1))
    assert not rig.path(block_name(1)).parent.exists()  # an empty folder goes, too
    (kept,) = (rig.folder / "purge").glob("*/*")
    assert kept.read_bytes().startswith(b"hello")
    assert rig.store.purge_expired() == 0
    rig.clock.advance(rig.config.purge_keep_s + 1)
    assert rig.store.purge_expired() == 1
    assert not kept.exists()
    rig.clock.advance(86_400)  # its day is over: the folder goes, too
    rig.store.purge_expired()
    assert list((rig.folder / "purge").iterdir()) == []


def test_delete_takes_exactly_one_generation(rig: DiskRig) -> None:
    rig.put(block_name(1, 5), b"old")
    rig.put(block_name(1, 6), b"new")
    assert rig.store.delete(block_name(1, 5))
    assert rig.get(block_name(1, 6)) == b"new"


def test_delete_of_what_is_not_here_says_so(rig: DiskRig) -> None:
    assert not rig.store.delete(block_name(1))


def test_reader_keeps_what_it_began_when_the_block_is_deleted(rig: DiskRig) -> None:
    data = os.urandom(3 * MiB)
    rig.put(block_name(1), data)
    pieces = rig.store.read(block_name(1), [])
    first = next(pieces).data
    rig.store.delete(block_name(1))
    assert first + b"".join(piece.data for piece in pieces) == data


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_reading_that_nobody_drives_leaves_nothing_open(rig: DiskRig) -> None:
    rig.put(block_name(1), b"x" * MiB)
    before = open_files()
    with rig.store.read(block_name(1), []) as undriven, rig.store.read(block_name(1), []) as begun:
        next(begun)
        assert open_files() == before + 2
    assert open_files() == before
    assert rig.store.in_flight == 0
    assert list(undriven) == list(begun) == []


def test_delete_that_finds_no_place_to_go_to_fails_and_is_finished_later(
    rig: DiskRig,
) -> None:
    rig.put(block_name(1), b"data")
    purge = rig.folder / "purge"

    class Vanishing(Disk):
        def fsync_folder(self, path: Path) -> None:
            super().fsync_folder(path)
            if path == purge:
                for day in purge.iterdir():
                    day.rmdir()

    rig.store.close()
    rig.disk = Vanishing(sync=False)
    rig.open()
    with pytest.raises(VolumeReadOnly):
        rig.store.delete(block_name(1))
    assert rig.path(block_name(1)).read_bytes()[:4] == b"data"
    rig.disk = None
    rig.reopen(clean=False)
    assert not rig.path(block_name(1)).exists()
    assert [file for day in purge.iterdir() for file in day.iterdir()], "what began is finished"


def test_idle_part_that_nobody_writes_expires(rig: DiskRig) -> None:
    dead = rig.folder / "tmp" / "dead.part"
    dead.write_bytes(b"x")
    long_ago = rig.clock.now_ms() / 1000 - rig.config.part_idle_s - 1
    os.utime(dead, (long_ago, long_ago))
    with rig.store.begin(block_name(1), path="/x", length_max=9, length=3):
        (live,) = set((rig.folder / "tmp").iterdir()) - {dead}
        os.utime(live, (long_ago, long_ago))
        assert rig.store.purge_expired() == 1
        assert live.exists()
    assert not dead.exists()


def test_part_that_ends_while_idle_ones_are_looked_for_is_no_fault_of_the_disk(
    rig: DiskRig,
) -> None:
    (rig.folder / "tmp" / "ended.part").symlink_to(rig.folder / "gone")  # listed, then not there
    rig.store.purge_expired()
    assert rig.store.volumes()[0].state is VolumeState.ONLINE


def test_purge_leaves_the_folder_of_a_delete_under_way(rig: DiskRig) -> None:
    rig.put(block_name(1), b"x")
    rig.store.delete(block_name(1))
    (today,) = (rig.folder / "purge").iterdir()
    (kept,) = today.iterdir()
    kept.unlink()  # as empty as the first delete of a day finds it
    rig.store.purge_expired()
    assert today.exists()


# Telling.


def test_stored_blocks_are_counted(rig: DiskRig) -> None:
    rig.put(block_name(1), bytes(1000))
    rig.put(block_name(2), bytes(1000))
    (volume,) = rig.store.volumes()
    assert volume.blocks == 2
    assert volume.used_bytes == sum(rig.path(block_name(n)).stat().st_size for n in (1, 2))
    rig.store.delete(block_name(1))
    assert rig.store.volumes()[0].blocks == 1
    assert rig.store.entry(block_name(2)).state is StoredState.FINAL  # type: ignore[union-attr]
