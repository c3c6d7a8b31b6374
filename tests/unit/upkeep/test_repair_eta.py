"""How long repair says that it will take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs.base.clock import ManualClock
from dfs.base.ids import NodeId
from dfs.base.units import KiB, MiB
from dfs.blocks.redundancy import RepairClass
from dfs.upkeep.copy_rates import CopyRates
from dfs.upkeep.executor import CopyOutcome
from dfs.upkeep.repair_eta import Pace, eta_s, total_eta_s
from dfs.upkeep.steps import CopyBlock
from dfs.upkeep.survey import SurveyTotals, Tally
from tests.builders import a_name, a_truth

UNDER, LAST = RepairClass.UNDER, RepairClass.LAST_COPY
LARGE = 64 * MiB
BYTES_PER_S = 100 * MiB  # of a disk that needs ten milliseconds more for every copy
PER_COPY_S = 0.01


def owed(copies: int, size_bytes: int) -> Tally:
    return Tally(copies, copies * size_bytes, copies * size_bytes, copies)


def disk_takes_s(copies: int, size_bytes: int) -> float:
    return copies * (PER_COPY_S + size_bytes / BYTES_PER_S)


def disk_pace(size_bytes: int) -> Pace:
    each_s = disk_takes_s(1, size_bytes)
    return Pace(1 / each_s, size_bytes / each_s)


@pytest.mark.parametrize("lately", [KiB, MiB, LARGE])
@pytest.mark.parametrize("left", [KiB, MiB, LARGE])
def test_eta_is_right_whatever_the_sizes_lately_and_now(lately: int, left: int) -> None:
    said_s = eta_s(owed(10_000, left), disk_pace(lately))
    assert said_s == pytest.approx(disk_takes_s(10_000, left), rel=0.1)


def test_eta_is_nothing_when_nothing_is_owed_and_unknown_when_nothing_was_copied() -> None:
    assert eta_s(Tally(7, 700), Pace()) == 0.0
    assert eta_s(owed(1, MiB), Pace()) is None


def test_eta_of_all_adds_up_what_is_owed_and_what_was_copied() -> None:
    totals = SurveyTotals(by_class={UNDER: owed(30, MiB), LAST: owed(10, MiB)})
    paces = {UNDER: Pace(1, MiB), LAST: Pace(3, 3 * MiB)}
    assert total_eta_s(totals, paces) == pytest.approx(10)
    assert total_eta_s(SurveyTotals(), {}) == 0.0


@given(
    copies=st.integers(1, 10**6),
    more=st.integers(0, 10**6),
    size=st.integers(1, LARGE),
    pace=st.builds(Pace, st.floats(0.01, 1e4), st.floats(0.01, 1e9)),
)
def test_more_that_is_owed_never_takes_less(copies: int, more: int, size: int, pace: Pace) -> None:
    fewer_s, more_s = eta_s(owed(copies, size), pace), eta_s(owed(copies + more, size), pace)
    assert fewer_s is not None
    assert more_s is not None
    assert 0 < fewer_s <= more_s


def test_pace_is_that_of_the_last_minute_in_copies_and_bytes() -> None:
    clock = ManualClock()
    rates = CopyRates(clock)
    for block in range(1, 11):
        truth = a_truth(block)
        step = CopyBlock(a_name(block), truth, NodeId(1), NodeId(2), "short", urgency=UNDER)
        rates.take(CopyOutcome(step, 0.1))
        clock.advance(1.0)
    pace = rates.paces()[UNDER]
    assert pace.copies_per_s == pytest.approx(1.0)
    assert pace.bytes_per_s == pytest.approx(truth.length_bytes)
    clock.advance(61.0)
    assert rates.paces() == {}
