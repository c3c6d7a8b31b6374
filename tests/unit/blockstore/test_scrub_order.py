"""Every pass reads every block once, whatever the clock does and whoever ends it meanwhile."""

from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs.base.units import MiB
from dfs.blockstore import scrub_pace
from dfs.blockstore.scrub_order import (
    BATCH_MAX,
    PassState,
    begin_pass,
    begin_run,
    disk_order,
    due_pass,
    end_pass,
    is_paused,
)
from dfs.settings.sections import DAY_S, ScrubConfig

CONFIG = ScrubConfig()


@dataclass(frozen=True)
class Row:
    """A block as far as its order goes."""

    inode: int
    passed: int
    verified_ms: int


class Volume:
    """The rules of `scrub_order` over rows in memory, as `scrub` applies them."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.rows: dict[int, Row] = {}
        self.saved = begin_pass(PassState(), now_ms=0)
        self.now_ms = 0
        self.reads: list[int] = []

    def write(self) -> None:
        inode = self.rng.randrange(1 << 40)
        self.rows[inode] = Row(inode, self.saved.number, self.now_ms)

    def slice(self, reads_max: int, *, batch_max: int) -> None:
        """Read at most so many blocks; what was not saved when it ends is lost."""
        if due_pass(self.saved, now_ms=self.now_ms, slo_s=CONFIG.slo_s):
            self.saved = begin_pass(self.saved, now_ms=self.now_ms)
        for _ in range(reads_max):
            due = [row for row in self.rows.values() if row.passed < self.saved.number]
            due.sort(key=lambda row: (row.passed, row.verified_ms))
            batch = disk_order(due[:batch_max])
            if not batch:
                if not self.saved.is_done:
                    self.saved = end_pass(self.saved, now_ms=self.now_ms)
                return
            row = batch[0]
            self.reads.append(row.inode)
            self.rows[row.inode] = replace(row, passed=self.saved.number, verified_ms=self.now_ms)


@pytest.mark.parametrize("seed", range(200))
def test_pass_reads_each_block_it_found_exactly_once(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - repeatable
    volume = Volume(rng)
    for _ in range(rng.randrange(1, 40)):
        volume.write()
    held = set(volume.rows)
    volume.saved = begin_run(volume.saved, 1, now_ms=volume.now_ms)
    number = volume.saved.number
    while not volume.saved.is_done and volume.saved.number == number:
        jump = rng.choice((1_000, 60_000, -40 * 86_400_000, 3 * 86_400_000))
        volume.now_ms += jump  # a clock that is set back and forth
        if rng.random() < 0.3:
            volume.write()
        volume.slice(rng.randrange(1, 8), batch_max=rng.choice((1, 3, BATCH_MAX)))
    assert sorted(volume.reads) == sorted(held)
    assert volume.saved.run_pass == 0


@pytest.mark.parametrize("seed", range(50))
def test_no_block_waits_longer_than_was_promised(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - repeatable
    volume = Volume(rng)
    for _ in range(30):
        volume.write()
    step_ms = 3_600_000
    for _ in range(24 * 60):
        volume.now_ms += step_ms
        volume.slice(rng.randrange(1, 3), batch_max=BATCH_MAX)
        oldest = min(row.verified_ms for row in volume.rows.values())
        assert volume.now_ms - oldest <= CONFIG.slo_s * 1000


def test_first_pass_begins_at_once_and_the_next_half_an_interval_later() -> None:
    assert due_pass(PassState(), now_ms=5, slo_s=10)
    state = begin_pass(PassState(), now_ms=0)
    assert not due_pass(state, now_ms=100_000, slo_s=10)
    done = end_pass(state, now_ms=1_000)
    assert not due_pass(done, now_ms=4_999, slo_s=10)
    assert due_pass(done, now_ms=5_000, slo_s=10)
    assert due_pass(done, now_ms=-1, slo_s=10)


def test_ordered_pass_is_begun_once_and_is_told_apart_from_the_others() -> None:
    state = end_pass(begin_pass(PassState(), now_ms=0), now_ms=1)
    ordered = begin_run(state, 7, now_ms=2)
    assert (ordered.number, ordered.is_ordered, ordered.run) == (2, True, 7)
    assert begin_run(ordered, 7, now_ms=3) is ordered
    assert begin_run(ordered, 6, now_ms=3) is ordered
    assert begin_run(ordered, 8, now_ms=3).number == 3
    assert not end_pass(ordered, now_ms=4).is_ordered


@pytest.mark.parametrize(
    ("until_ms", "paused"), [(0, False), (999, False), (1_001, True), (10**15, False)]
)
def test_pause_ends_by_itself_even_when_the_clock_went_back(until_ms: int, *, paused: bool) -> None:
    assert is_paused(until_ms, now_ms=1_000, pause_max_s=DAY_S) == paused


@given(
    left=st.integers(0, 1 << 50),
    elapsed_s=st.floats(-1e9, 1e9),
    is_busy=st.booleans(),
)
def test_pace_stays_between_floor_and_ceiling(
    left: int, elapsed_s: float, *, is_busy: bool
) -> None:
    pace = scrub_pace.pace_for(CONFIG, left_bytes=left, elapsed_s=elapsed_s, is_busy=is_busy)
    share = 0.5 if is_busy else 1.0
    assert CONFIG.rate_min_bytes * share <= pace.bytes_per_s <= CONFIG.rate_max_bytes * share
    assert pace.files_per_s == CONFIG.files_per_second_max * share


def test_pace_finishes_the_pass_in_time() -> None:
    held = 8 * MiB * int(CONFIG.slo_s)  # eight times the floor
    pace = scrub_pace.pace_for(CONFIG, left_bytes=held, elapsed_s=0, is_busy=False)
    assert held / pace.bytes_per_s <= CONFIG.slo_s * 0.81
    late = scrub_pace.pace_for(
        CONFIG, left_bytes=held // 2, elapsed_s=CONFIG.slo_s * 0.6, is_busy=False
    )
    assert late.bytes_per_s > pace.bytes_per_s


@given(sizes=st.lists(st.integers(1, 4 * MiB), min_size=5, max_size=60))
def test_reads_take_the_time_the_pace_gives_them(sizes: list[int]) -> None:
    state, now_s = scrub_pace.PaceState(), 0.0
    pace = scrub_pace.Pace(bytes_per_s=MiB, files_per_s=2.0)
    for size in sizes:
        state, wait_s = scrub_pace.take(state, pace, now_s=now_s, size_bytes=size, files=1)
        now_s += wait_s
    least_s = max(sum(sizes) / MiB, len(sizes) / 2)
    assert least_s - scrub_pace.BURST_S <= now_s <= least_s + scrub_pace.BURST_S + 60
