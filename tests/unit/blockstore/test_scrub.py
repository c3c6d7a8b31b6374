"""The scrubber finds what the disk did to a block, once a pass, whatever ends it meanwhile."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfs.base.errors import BlockCorrupt
from dfs.base.events import Event
from dfs.base.records import BlockName
from dfs.base.states import StoredState
from dfs.base.units import MiB
from dfs.blockstore.disk import Disk
from dfs.blockstore.layout import parse_set_aside
from dfs.blockstore.scrub import COMMIT_S
from dfs.settings.sections import DAY_S, HOUR_S, ScrubConfig
from tests.unit.blockstore import test_block_damage as damages
from tests.unit.blockstore.disk_rig import block_name
from tests.unit.blockstore.scrub_rig import ScrubRig

SIZE = damages.SIZE


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ScrubRig]:
    made = ScrubRig(tmp_path)
    yield made
    made.store.close(clean=False)


def states(rig: ScrubRig) -> dict[BlockName, StoredState]:
    return {entry.name: entry.state for entry in rig.store.stock(after=None, limit=1_000)}


def quarantined(rig: ScrubRig) -> set[BlockName]:
    found = (parse_set_aside(name) for name in rig.names_in("quarantine"))
    return {what.name for what in found if what is not None}


def drain(rig: ScrubRig) -> dict[BlockName, StoredState]:
    return {entry.name: entry.state for entry in rig.store.take_changes(10_000)[0]}


@pytest.mark.parametrize("damage", damages.DAMAGES)
def test_pass_finds_damage_quarantines_and_reports_it(
    rig: ScrubRig, damage: Callable[[Path], None]
) -> None:
    good, bad = block_name(1), block_name(2)
    for name in (good, bad):
        rig.put(name, os.urandom(SIZE))
    rig.settle()
    drain(rig)
    damage(rig.path(bad))
    rig.a_pass_later()
    assert rig.settle() == 1
    assert quarantined(rig) == {bad}
    assert drain(rig) == {good: StoredState.FINAL, bad: StoredState.CORRUPT}
    assert states(rig)[good] is StoredState.FINAL
    assert rig.scrubber.status().found == 1
    assert rig.store.quarantined == 1


def test_pass_finds_swapped_and_vanished_files(rig: ScrubRig) -> None:
    names = rig.fill(4)
    one, two = rig.path(names[0]), rig.path(names[1])
    spare = one.with_name("spare")
    one.rename(spare)
    two.rename(one)
    spare.rename(two)
    rig.path(names[2]).unlink()
    rig.a_pass_later()
    assert rig.settle() == 1
    bad = {name for name, state in states(rig).items() if state is StoredState.CORRUPT}
    assert bad == set(names[:3])


class BlindDisk(Disk):
    """Cannot read the content of files with the inodes named."""

    def __init__(self) -> None:
        super().__init__(sync=False)
        self.blind: set[int] = set()

    def read(self, fd: int, length: int, offset: int) -> bytes:
        if os.fstat(fd).st_ino in self.blind:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(fd, length, offset)


def test_pass_finds_an_unreadable_file(rig: ScrubRig) -> None:
    rig.disk = disk = BlindDisk()
    rig.restart()
    names = rig.fill(3)
    disk.blind.add(rig.path(names[1]).stat().st_ino)
    rig.a_pass_later()
    assert rig.settle() == 2
    assert states(rig)[names[1]] is StoredState.CORRUPT
    assert rig.store.volumes()[0].errors == 1


def test_quick_pass_finds_what_size_and_tail_show_without_reading_content(rig: ScrubRig) -> None:
    names = [block_name(n) for n in range(1, 6)]
    for name in names:
        rig.put(name, os.urandom(SIZE))
    hurts = (damages.truncate, damages.extend, damages.spoil_trailer, damages.flip)
    for name, hurt in zip(names, hurts, strict=False):
        hurt(rig.path(name))
    (quick,) = rig.scrubber.quick
    assert quick.run_once().bad == 3
    assert quarantined(rig) == set(names[:3])  # a flipped byte is the scrubber's to find
    assert not quick.run_once()
    assert rig.scrubber.status().last_quick_ms == rig.clock.now_ms()
    rig.clock.advance(rig.scrub_config.quick_interval_s)
    assert quick.run_once().looked_at


def test_new_block_is_read_back_when_it_is_old_enough_and_then_once_a_pass(rig: ScrubRig) -> None:
    names = rig.fill(3)
    assert rig.settle() == 0
    assert rig.scrubber.status().unverified_blocks == 3
    rig.clock.advance(HOUR_S)
    assert rig.settle() == 3
    assert rig.settle() == 0
    assert rig.scrubber.status().unverified_blocks == 0
    entry = rig.store.entry(names[0])
    assert entry is not None
    assert entry.verified_ms >= rig.clock.now_ms() - 1_000
    rig.a_pass_later()
    assert rig.settle() == 3
    assert rig.settle() == 0


def test_suspects_come_before_all_others_and_survive_a_restart(rig: ScrubRig) -> None:
    names = rig.fill(20)
    rig.settle()
    rig.a_pass_later()
    suspect = names[11]
    assert rig.scrubber.suspect(suspect)
    assert not rig.scrubber.suspect(block_name(77))
    rig.restart(clean=False)
    assert rig.scrubber.status().suspects == 1
    drain(rig)
    rig.waits_left = 4
    rig.slice()
    assert next(iter(drain(rig))) == suspect
    rig.waits_left = -1
    assert rig.scrubber.status().suspects == 0
    rig.settle()
    assert rig.slice() == 0


def test_pause_holds_all_but_suspects_survives_a_restart_and_ends_by_itself(rig: ScrubRig) -> None:
    names = rig.fill(3)
    rig.settle()
    rig.scrubber.pause(rig.clock.now_ms() + int(8 * DAY_S * 1000))
    rig.a_pass_later()  # the longest pause is seven days: it is over
    assert rig.settle() == 3
    rig.scrubber.pause(rig.clock.now_ms() + int(2 * DAY_S * 1000))
    rig.restart()
    assert rig.scrubber.status().state == "paused"
    rig.scrubber.suspect(names[0])
    rig.clock.advance(DAY_S)
    rig.fill(1, first=9)
    assert rig.settle() == 1
    rig.clock.advance(DAY_S)
    assert rig.settle() == 1
    assert rig.scrubber.status().state == "idle"
    rig.scrubber.pause(rig.clock.now_ms() + 1_000_000)
    rig.scrubber.resume()
    assert rig.scrubber.status().paused_until_ms == 0


def test_ordered_pass_verifies_all_that_was_held_at_its_start_without_the_ceiling(
    rig: ScrubRig,
) -> None:
    rig.scrub_config = ScrubConfig(rate_min_bytes=1, rate_max_bytes=1, files_per_second_max=1)
    rig.new_scrubber()
    names = rig.fill(8)
    rig.scrubber.begin(5)
    status = rig.scrubber.status()
    assert (status.run, status.run_done, status.pass_blocks) == (5, False, 0)
    began_s = rig.clock.monotonic_s()
    assert rig.slice() == len(names)
    assert rig.clock.monotonic_s() == began_s
    status = rig.scrubber.status()
    assert (status.run, status.run_done, status.pass_blocks, status.state) == (5, True, 8, "idle")
    rig.scrubber.begin(5)
    assert rig.scrubber.status().run_done
    rig.scrubber.begin(6)
    assert not rig.scrubber.status().run_done
    rig.restart(clean=False)
    assert not rig.scrubber.status().run_done
    rig.slice()
    assert rig.scrubber.status().run_done


def test_damage_done_just_before_an_order_is_found_by_it(rig: ScrubRig) -> None:
    (name,) = rig.fill(1)
    rig.settle()
    rig.scrubber.begin(1)
    volume = rig.scrubber.volumes[0]
    rig.waits_left = 3  # the block is being read, or read and not written down
    volume.run_once()
    rig.waits_left = -1
    raw = bytearray(rig.path(name).read_bytes())
    raw[0] ^= 1
    rig.path(name).write_bytes(raw)
    rig.scrubber.begin(2)
    rig.settle()
    assert states(rig)[name] is StoredState.CORRUPT
    assert rig.scrubber.status().run_done


def test_pass_that_is_killed_goes_on_where_it_was(rig: ScrubRig) -> None:
    names = rig.fill(60)
    rig.settle()
    drain(rig)
    rig.a_pass_later()
    proved: list[BlockName] = []
    for _ in range(500):
        rig.waits_left = 17
        reports = [volume.run_once() for volume in rig.scrubber.volumes]
        proved += [name for name, state in drain(rig).items() if state is StoredState.FINAL]
        if not reports[0].verified and rig.scrubber.volumes[0].state.is_done:
            break
        rig.store._volumes[0].catalog.close()  # a crash: nothing is said to anybody
        rig.restart(clean=True)
    assert sorted(proved, key=lambda name: name.block) == names
    rig.waits_left = -1
    assert rig.settle() == 0


def test_large_block_is_read_over_several_slices_at_the_floor(rig: ScrubRig) -> None:
    rig.scrub_config = ScrubConfig(rate_min_bytes=MiB // 30, rate_max_bytes=MiB)
    rig.new_scrubber()
    name = block_name(1)
    rig.put(name, os.urandom(5 * MiB))
    rig.clock.advance(HOUR_S)
    reports = [rig.scrubber.volumes[0].run_once() for _ in range(5)]
    assert [report.verified for report in reports[:2]] == [0, 0]
    assert reports[0].has_more
    assert sum(report.verified for report in reports) == 1
    assert rig.clock.monotonic_s() > HOUR_S + 100


def test_breaker_opens_at_a_third_flipped_and_the_rest_is_left_in_place(rig: ScrubRig) -> None:
    names = rig.fill(100)
    hurt = names[::3]
    for name in hurt:
        raw = bytearray(rig.path(name).read_bytes())
        raw[100] ^= 8
        rig.path(name).write_bytes(raw)
    rig.scrubber.begin(1)
    rig.settle()
    status = rig.scrubber.status()
    assert (status.state, status.run_done, rig.store.quarantined) == ("doubtful", False, 10)
    assert [event for event, _ in rig.emit.events].count(Event.NODE_DOUBTFUL) == 1
    for name in set(hurt) - quarantined(rig):
        assert rig.path(name).exists()
        with pytest.raises(BlockCorrupt):
            rig.get(name)
    assert rig.store.quarantined == 10
    assert rig.settle() == 0  # it has stopped
    refused = len(set(hurt) - quarantined(rig))
    assert rig.scrubber.status().suspects == refused
    rig.restart()
    assert rig.scrubber.status().state != "doubtful"
    rig.settle()  # the suspects come first, and are as bad as before
    assert (rig.scrubber.status().state, rig.store.quarantined) == ("doubtful", 20)


def test_transient_mismatch_is_told_and_looked_at_again_later(rig: ScrubRig) -> None:
    rig.disk = disk = damages.MisreadingDisk(sync=False)
    rig.restart()
    (name,) = rig.fill(1)
    for count in (1, 2, 3):
        rig.scrubber.suspect(name)
        disk.times = 1
        assert rig.slice() == 1
        assert rig.scrubber.status().transients == count
        assert rig.scrubber.status().suspects == 1
        assert rig.slice() == 0  # not due yet
        rig.clock.advance(HOUR_S)
        assert rig.slice() == 1
        assert rig.scrubber.status().suspects == 0
    told = [fields for event, fields in rig.emit.events if event is Event.BLOCK_TRANSIENT]
    assert [fields["alarm"] for fields in told] == [False, False, True]
    assert rig.store.volumes()[0].errors == 1
    assert rig.store.volumes()[0].state == "online"


def test_status_tells_coverage_and_the_oldest_verification(rig: ScrubRig) -> None:
    rig.fill(4)
    born_ms = rig.clock.now_ms()
    rig.clock.advance(15 * DAY_S)
    rig.scrubber.pause(rig.clock.now_ms() + 10_000)
    rig.fill(2, first=11)
    rig.slice()
    status = rig.scrubber.status()
    assert (status.total_blocks, status.covered_blocks) == (6, 2)
    assert status.oldest_ms == born_ms
    rig.scrubber.resume()
    rig.settle()
    rig.clock.advance(COMMIT_S)
    rig.slice()
    status = rig.scrubber.status()
    assert (status.covered_blocks, status.verified_bytes > 0) == (6, True)
    assert status.oldest_ms > born_ms


def test_foreground_work_halves_the_rate(rig: ScrubRig) -> None:
    rig.scrub_config = ScrubConfig(rate_min_bytes=MiB, rate_max_bytes=MiB)
    took = []
    for is_busy, first in ((False, 1), (True, 50)):
        rig.new_scrubber()
        rig.fill(3, size=4 * MiB, first=first)
        rig.clock.advance(HOUR_S)
        rig.store.in_flight += is_busy
        began_s = rig.clock.monotonic_s()
        rig.settle()
        took.append(rig.clock.monotonic_s() - began_s)
        rig.store.in_flight -= is_busy
    assert 1.8 < took[1] / took[0] < 2.2


def test_disk_that_takes_no_record_is_not_read_for_ever(rig: ScrubRig) -> None:
    rig.fill(2)
    rig.settle()
    rig.a_pass_later()
    volume = rig.store.folders[0]
    volume._fail("a test says so")
    assert {entry.state for entry in rig.store.stock(after=None, limit=9)} == {StoredState.FAILING}
    assert rig.store.changes_lost
    assert rig.settle() == 2  # read-only, and the catalog still takes rows


def test_spoilt_canary_is_found_in_the_ordinary_order(rig: ScrubRig) -> None:
    data = os.urandom(9_000)
    canary, other = block_name(1, file=1), block_name(2, file=2)
    rig.put(canary, data, path="/.dfs/canary/week")
    rig.put(other, data, path="/.dfs/canaryfish")
    rig.clock.advance(HOUR_S)
    rig.settle()
    with pytest.raises(Exception, match="no canary"):
        rig.store.custody.spoil_canary(other)
    rig.store.custody.spoil_canary(canary)
    assert rig.scrubber.status().suspects == 0
    assert rig.settle() >= 0
    assert states(rig) == {canary: StoredState.CORRUPT, other: StoredState.FINAL}
