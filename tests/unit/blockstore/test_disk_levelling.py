"""Levelling disks ends nearer to the mean, and no reader misses a block meanwhile."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from dfs.base.events import Event
from dfs.base.records import BlockName, VolumeStatus
from dfs.base.states import StoredState, VolumeState
from dfs.blockstore.disk import Disk, Space
from dfs.blockstore.disk_mover import DiskMover
from dfs.blockstore.levelling import left_bytes, next_move
from tests.unit.blockstore.disk_rig import DiskRig, block_name


def a_disk(number: int, *, used: int, total: int = 1_000, online: bool = True) -> VolumeStatus:
    state = VolumeState.ONLINE if online else VolumeState.READ_ONLY
    return VolumeStatus(f"v{number}", f"/d{number}", state, total, total - used, used, 1)


def test_the_fullest_gives_to_the_emptiest_what_brings_one_to_the_mean() -> None:
    disks = [a_disk(1, used=900), a_disk(2, used=100), a_disk(3, used=500)]
    move = next_move(disks, threshold=0.1)
    assert move is not None
    assert (move.source, move.target, move.size_bytes) == ("v1", "v2", 400)
    assert left_bytes(disks) == 400


@pytest.mark.parametrize(
    "disks",
    [
        [],
        [a_disk(1, used=900)],
        [a_disk(1, used=500), a_disk(2, used=520)],
        [a_disk(1, used=900), a_disk(2, used=0, online=False)],
        [a_disk(1, used=0), a_disk(2, used=0)],
    ],
)
def test_nothing_moves_where_nothing_can_or_need(disks: list[VolumeStatus]) -> None:
    assert next_move(disks, threshold=0.1) is None


@pytest.mark.parametrize("seed", range(100))
def test_moves_of_any_sizes_end_and_only_lessen_the_difference(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - repeatable
    totals = [rng.randrange(1_000, 100_000) for _ in range(rng.randrange(2, 7))]
    used = [rng.randrange(total // 20, total) for total in totals]
    threshold = rng.choice((0.01, 0.1, 0.3))

    def disks() -> list[VolumeStatus]:
        return [
            a_disk(n, used=u, total=t) for n, (u, t) in enumerate(zip(used, totals, strict=True))
        ]

    before = left_bytes(disks())
    for _ in range(20_000):
        move = next_move(disks(), threshold=threshold)
        if move is None:
            break
        size = rng.randrange(1, move.size_bytes + 1) if rng.random() < 0.5 else move.size_bytes
        used[int(move.source[1:])] -= size
        used[int(move.target[1:])] += size
        after = left_bytes(disks())
        assert after < before + len(totals)  # rounding
        before = after
    else:
        raise AssertionError("it does not end")
    mean = sum(used) / sum(totals)
    for u, t in zip(used, totals, strict=True):
        assert abs(u / t - mean) <= mean * threshold + 2 / min(totals)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DiskRig]:
    """Two disks; all blocks are on the first."""
    made = DiskRig(tmp_path)
    for number in range(1, 21):
        made.put(block_name(number, file=number), os.urandom(50_000))
    made.store.close()
    made.folders.append(tmp_path / "second")
    made.open()
    yield made
    made.store.close(clean=False)


def a_mover(rig: DiskRig, *, bytes_per_s: int = 1 << 40) -> DiskMover:
    def wait(seconds: float) -> bool:
        rig.clock.advance(seconds)
        return False

    return DiskMover(rig.store, bytes_per_s=bytes_per_s, clock=rig.clock, emit=rig.emit, wait=wait)


NAMES = [block_name(number, file=number) for number in range(1, 21)]


def test_disks_end_alike_and_every_block_reads_back(rig: DiskRig) -> None:
    before = {name: rig.get(name) for name in NAMES}
    rig.store.take_changes(100)
    mover = a_mover(rig)
    mover.begin(0.05)
    assert mover.status().running
    assert mover.run_once().moved == 10
    assert not mover.status().running
    assert mover.status().moved_bytes > 10 * 50_000
    assert [volume.blocks for volume in rig.store.volumes()] == [10, 10]
    assert {name: rig.get(name) for name in NAMES} == before
    assert len(rig.store.take_changes(100)[0]) == 10
    entries = rig.store.stock(after=None, limit=100)
    assert [entry.state for entry in entries] == [StoredState.FINAL] * 20
    assert len({entry.volume for entry in entries}) == 2
    assert Event.DISKS_LEVELLED in [event for event, _ in rig.emit.events]
    rig.reopen()
    assert [volume.blocks for volume in rig.store.volumes()] == [10, 10]


def test_reader_that_found_a_block_before_it_moved_is_served(rig: DiskRig) -> None:
    before = {name: rig.get(name) for name in NAMES}
    open_ones = {name: rig.store.read(name, []) for name in NAMES[:5]}
    find, found = rig.store.holdings.find_readable, {}

    def slow_find(name: BlockName) -> object:
        """As it was before the move, the first time."""
        return found.pop(name, None) or find(name)

    found = {name: find(name) for name in NAMES}
    rig.store.holdings.find_readable = slow_find  # type: ignore[assignment,method-assign]
    mover = a_mover(rig)
    mover.begin(0.1)
    mover.run_once()
    for name, reading in open_ones.items():
        assert b"".join(piece.data for piece in reading) == before[name]
    for name in NAMES:
        assert rig.get(name) == before[name]


def test_bad_block_is_not_spread_and_one_with_a_bad_twin_stays(rig: DiskRig) -> None:
    for name in NAMES[:4]:
        path = rig.path(name)
        path.write_bytes(b"\xff" + path.read_bytes()[1:])
    mover = a_mover(rig)
    mover.begin(0.1)
    mover.run_once()
    assert rig.store.quarantined == 4
    bad = {e.name for e in rig.store.stock(after=None, limit=99) if e.state is StoredState.CORRUPT}
    assert bad == set(NAMES[:4])
    assert [volume.blocks for volume in rig.store.volumes()] == [8, 8]


def test_order_to_stop_ends_it_in_the_middle_of_a_block(rig: DiskRig) -> None:
    mover = a_mover(rig)

    def wait(_seconds: float) -> bool:
        if mover.status().moved_bytes:
            mover.stop()
        return False

    mover._wait = wait
    mover.begin(0.1)
    assert mover.run_once().moved == 1
    assert not mover.status().running
    assert rig.names_in("tmp") == []
    assert len(rig.store.stock(after=None, limit=100)) == 20


def test_budget_is_kept(rig: DiskRig) -> None:
    mover = a_mover(rig, bytes_per_s=5_000)
    mover.begin(0.1)
    report = mover.run_once()
    assert report.has_more
    assert 60 <= rig.clock.monotonic_s() < 75
    assert report.moved_bytes <= 65 * 5_000 + 50_000


class DyingDisk(Disk):
    """Answers once more for one folder, and then no more."""

    dying: Path | None = None
    answers = 1

    def space(self, folder: Path) -> Space:
        if folder == self.dying:
            if not self.answers:
                raise OSError(errno.EIO, "Input/output error")
            self.answers -= 1
        return super().space(folder)


def test_target_that_dies_is_not_blamed_on_the_blocks_that_were_to_move(rig: DiskRig) -> None:
    rig.disk = disk = DyingDisk()
    rig.reopen()
    target = min(rig.store.folders, key=lambda volume: volume.blocks)
    mover = a_mover(rig)
    disk.dying = target.layout.root
    mover.begin(0.1)
    mover.run_once()
    assert target.state is VolumeState.READ_ONLY
    assert rig.store.quarantined == 0
    assert all(rig.get(name) for name in NAMES)


def test_disk_without_room_ends_it_with_the_reason(rig: DiskRig) -> None:
    mover = a_mover(rig)
    mover.begin(0.1)
    for volume in rig.store.folders[1:]:
        volume._fail("a test says so")
    mover.run_once()
    assert not mover.status().running
    assert len(rig.store.stock(after=None, limit=100)) == 20
