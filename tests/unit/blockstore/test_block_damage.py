"""Reading: ranges, and what happens to a block that does not read back."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfs.base.checksum import CHUNK_SIZE_BYTES, chunk_hashes
from dfs.base.errors import BadRequest, BlockCorrupt, BlockNotFound
from dfs.base.events import Event
from dfs.base.states import StoredState
from dfs.base.units import MiB
from dfs.blockstore.breaker import BAD_MIN, DOUBT_WINDOW_S, doubt_limit
from dfs.blockstore.disk import Disk
from dfs.blockstore.reader import PIECE_BYTES, BlockFile
from dfs.settings.sections import ScrubConfig
from tests.unit.blockstore.disk_rig import DiskRig, block_name

SIZE = 2 * MiB + 70_001
NAME = block_name(1)


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[MiB + 5] ^= 0x10
    path.write_bytes(raw)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def cut_to_nothing(path: Path) -> None:
    os.truncate(path, 0)


def extend(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def zero_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(bytes(4096))


def zero_all(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def spoil_trailer(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-20, os.SEEK_END)
        file.write(b"\xff\xff")


def spoil_label(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(SIZE + 10)
        file.write(b"\xff\xff")


DAMAGES = [
    flip,
    truncate,
    cut_to_nothing,
    extend,
    zero_a_page,
    zero_all,
    spoil_trailer,
    spoil_label,
]


def quarantined(rig: DiskRig) -> list[str]:
    return rig.names_in("quarantine")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ranges=st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)), max_size=4))
def test_ranges_come_back_exactly(rig: DiskRig, ranges: list[tuple[int, int]]) -> None:
    data = bytes(range(256)) * (SIZE // 256 + 1)
    data = data[:SIZE]
    if rig.store.entry(NAME) is None:
        rig.put(NAME, data)
    wanted = [(start, min(count, SIZE - start)) for start, count in ranges]
    pieces = list(rig.store.read(NAME, wanted))
    expected = [data[start : start + count] for start, count in wanted] or [data]
    assert b"".join(piece.data for piece in pieces) == b"".join(expected)
    for piece in pieces:
        assert 0 < len(piece.data) <= PIECE_BYTES
        assert data[piece.offset : piece.offset + len(piece.data)] == piece.data
        assert chunk_hashes(piece.data) == piece.hashes


class CountingDisk(Disk):
    """Remembers how much each read was for."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []

    def read(self, fd: int, length: int, offset: int) -> bytes:
        self.reads.append(length)
        return super().read(fd, length, offset)


def test_ranges_that_share_a_chunk_read_it_once(rig: DiskRig) -> None:
    data = (bytes(range(256)) * (SIZE // 256 + 1))[:SIZE]
    rig.put(NAME, data)
    disk = CountingDisk()
    with BlockFile(rig.path(NAME), NAME, disk=disk) as file:
        disk.reads.clear()
        ranges = [(at, 100) for at in range(0, CHUNK_SIZE_BYTES - 100, 1000)]
        pieces = list(file.pieces(ranges))

    assert disk.reads == [CHUNK_SIZE_BYTES]
    assert [piece.data for piece in pieces] == [data[at : at + n] for at, n in ranges]


@pytest.mark.parametrize("wrong", [(SIZE, 1), (0, SIZE + 1), (-1, 2), (5, -1)])
def test_range_past_the_end_is_refused(rig: DiskRig, wrong: tuple[int, int]) -> None:
    rig.put(NAME, bytes(SIZE))
    with pytest.raises(BadRequest):
        rig.store.read(NAME, [wrong])
    assert rig.store.in_flight == 0


def test_unknown_block_or_generation_is_not_found(rig: DiskRig) -> None:
    rig.put(NAME, b"x")
    others = [block_name(2), block_name(1, 2), block_name(1, file=8), block_name(1, number=1)]
    for other in (*others, block_name(1 << 63), block_name(0)):
        with pytest.raises(BlockNotFound):
            rig.store.read(other, [])
        with pytest.raises(BlockNotFound):
            rig.store.truth(other)
        with pytest.raises(BlockNotFound):
            rig.store.verify(other)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_block_is_never_delivered_and_kept_aside(
    rig: DiskRig, damage: Callable[[Path], None]
) -> None:
    data = os.urandom(SIZE)
    rig.put(NAME, data)
    before = rig.store.volumes()[0].blocks
    damage(rig.path(NAME))
    with pytest.raises(BlockCorrupt):
        rig.get(NAME)
    assert not rig.path(NAME).exists()
    assert len(quarantined(rig)) == 1
    assert rig.store.volumes()[0].blocks == before - 1
    entry = rig.store.entry(NAME)
    assert entry is not None
    assert entry.state is StoredState.CORRUPT
    changed, _ = rig.store.take_changes(10)
    assert [each.state for each in changed] == [StoredState.CORRUPT]
    assert rig.emit.events[-1][0] is Event.BLOCK_QUARANTINED
    with pytest.raises(BlockCorrupt, match="quarantine"):
        rig.get(NAME)


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_finds_damage(rig: DiskRig, damage: Callable[[Path], None]) -> None:
    rig.put(NAME, os.urandom(SIZE))
    damage(rig.path(NAME))
    verdict = rig.store.verify(NAME)
    assert not verdict.intact
    assert verdict.reason in quarantined(rig)[0]
    assert verdict.state is StoredState.CORRUPT
    assert rig.store.verify(NAME).reason == "quarantined"


def test_verify_of_a_good_block_remembers_when(rig: DiskRig) -> None:
    truth = rig.put(NAME, os.urandom(SIZE))
    rig.clock.advance(5)
    verdict = rig.store.verify(NAME)
    assert (verdict.intact, verdict.hash, verdict.length_bytes) == (True, truth.hash, SIZE)
    entry = rig.store.entry(NAME)
    assert entry is not None
    assert entry.verified_ms == rig.clock.now_ms() == verdict.verified_ms
    assert rig.store.verified_bytes >= SIZE


def test_damage_elsewhere_does_not_spoil_a_range(rig: DiskRig) -> None:
    data = os.urandom(SIZE)
    rig.put(NAME, data)
    flip(rig.path(NAME))  # in the fifth chunk
    assert rig.get(NAME, (0, CHUNK_SIZE_BYTES)) == data[:CHUNK_SIZE_BYTES]


def test_two_swapped_files_are_both_found_out(rig: DiskRig) -> None:
    names = [block_name(1), block_name(2)]
    for name in names:
        rig.put(name, os.urandom(5000))
    one, two = (rig.path(name) for name in names)
    spare = one.with_name("spare")
    one.rename(spare)
    two.rename(one)
    spare.rename(two)
    for name in names:
        with pytest.raises(BlockCorrupt):
            rig.get(name)


def test_file_replaced_by_an_older_one_of_its_own_name_is_found_out(rig: DiskRig) -> None:
    rig.put(NAME, b"first")
    old = rig.path(NAME).read_bytes()
    rig.store.delete(NAME)
    rig.put(NAME, b"later")
    rig.path(NAME).write_bytes(old)  # intact in itself, and not what was recorded
    with pytest.raises(BlockCorrupt):
        rig.get(NAME)


def test_link_in_place_of_a_block_is_not_followed(rig: DiskRig, tmp_path: Path) -> None:
    rig.put(NAME, b"hello")
    path = rig.path(NAME)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BlockCorrupt):
        rig.get(NAME)


def test_pipe_in_place_of_a_block_is_not_waited_for(rig: DiskRig) -> None:
    rig.put(NAME, b"hello")
    path = rig.path(NAME)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BlockCorrupt):
        rig.get(NAME)


def test_vanished_file_is_corrupt_not_silently_absent(rig: DiskRig) -> None:
    rig.put(NAME, b"hello")
    rig.path(NAME).unlink()
    with pytest.raises(BlockCorrupt):
        rig.get(NAME)


def test_good_copy_replaces_a_quarantined_one(rig: DiskRig) -> None:
    data = os.urandom(SIZE)
    rig.put(NAME, data)
    flip(rig.path(NAME))
    with pytest.raises(BlockCorrupt):
        rig.get(NAME)
    rig.put(NAME, data)
    assert rig.get(NAME) == data
    assert len(quarantined(rig)) == 1
    assert rig.store.delete(NAME)  # and takes the bad copy with it
    assert quarantined(rig) == []
    assert len(list((rig.folder / "purge").glob("*/*"))) == 2


class MisreadingDisk(Disk):
    """Delivers a wrong byte the first `times` times, as bad memory would."""

    times = 0

    def read(self, fd: int, length: int, offset: int) -> bytes:
        data = super().read(fd, length, offset)
        if self.times and len(data) > 1000:
            self.times -= 1
            return b"\0" + data[1:-1] + b"\0"
        return data


def test_mismatch_that_a_second_read_does_not_confirm_is_counted_and_served(rig: DiskRig) -> None:
    rig.disk = disk = MisreadingDisk(sync=False)
    rig.reopen()
    data = os.urandom(SIZE)
    rig.put(NAME, data)
    disk.times = 1
    assert rig.get(NAME) == data
    assert rig.store.transients == 1
    assert quarantined(rig) == []


class UnreadableDisk(Disk):
    """Cannot read content."""

    broken = False

    def read(self, fd: int, length: int, offset: int) -> bytes:
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(fd, length, offset)


def test_unreadable_blocks_are_set_aside_and_too_many_close_the_volume(rig: DiskRig) -> None:
    rig.disk = disk = UnreadableDisk(sync=False)
    rig.reopen()
    names = [block_name(n) for n in range(1, 6)]
    for name in names:
        rig.put(name, b"hello")
    disk.broken = True
    for count, name in enumerate(names[:4], start=1):
        with pytest.raises(BlockCorrupt, match="cannot be read"):
            rig.get(name)
        (volume,) = rig.store.volumes()
        assert volume.errors == count
        assert volume.state == ("online" if count < 4 else "read_only")
    disk.broken = False
    assert rig.get(names[4]) == b"hello"


def spoil_first_byte(path: Path) -> None:
    path.write_bytes(b"\xff" + path.read_bytes()[1:])


def test_so_much_damage_at_once_is_not_believed(rig: DiskRig) -> None:
    names = [block_name(n) for n in range(1, BAD_MIN + 3)]
    for name in names:
        rig.put(name, b"hello")
        spoil_first_byte(rig.path(name))
    for name in names:
        with pytest.raises(BlockCorrupt):
            rig.get(name)
    assert rig.store.is_doubtful
    assert [event for event, _ in rig.emit.events].count(Event.NODE_DOUBTFUL) == 1
    assert len(quarantined(rig)) == BAD_MIN
    assert rig.path(names[-1]).exists()  # refused, but left where it is
    with pytest.raises(BlockCorrupt):
        rig.get(names[-1])
    told = {entry.name: entry.state for entry in rig.store.stock(after=None, limit=100)}
    assert told[names[-1]] is StoredState.CORRUPT  # whatever is refused does not count as a copy
    assert rig.store.entry(names[-1]) == rig.store.stock(after=names[-2], limit=1)[0]
    rig.clock.advance(DOUBT_WINDOW_S + 1)
    assert rig.store.is_doubtful  # until somebody looked
    assert rig.store.verify(names[-1]).reason == "quarantined"


def test_operators_trust_closes_the_breaker_and_what_was_left_is_judged_anew(rig: DiskRig) -> None:
    names = [block_name(n) for n in range(1, BAD_MIN + 3)]
    for name in names:
        rig.put(name, b"hello")
        spoil_first_byte(rig.path(name))
        with pytest.raises(BlockCorrupt):
            rig.get(name)
    bad, mended = names[-2:]
    content = rig.path(mended).read_bytes()
    rig.path(mended).write_bytes(b"h" + content[1:])
    assert rig.store.trust()
    assert not rig.store.is_doubtful
    assert not rig.store.trust()
    assert not rig.store.verify(bad).intact
    assert not rig.path(bad).exists()
    assert rig.store.verify(mended).intact
    assert rig.get(mended) == b"hello"


def test_damage_spread_over_time_is_rot_and_believed(rig: DiskRig) -> None:
    names = [block_name(n) for n in range(1, BAD_MIN + 3)]
    for name in names:
        rig.put(name, b"hello")
        spoil_first_byte(rig.path(name))
        with pytest.raises(BlockCorrupt):
            rig.get(name)
        rig.clock.advance(DOUBT_WINDOW_S / (BAD_MIN - 2))
    assert not rig.store.is_doubtful
    assert len(quarantined(rig)) == len(names)


@pytest.mark.parametrize(
    ("held", "limit"), [(0, BAD_MIN), (500, BAD_MIN), (3_000, 30), (100_000, 50)]
)
def test_breaker_opens_at_a_share_of_what_is_held_between_two_bounds(held: int, limit: int) -> None:
    assert doubt_limit(ScrubConfig(), held) == limit
