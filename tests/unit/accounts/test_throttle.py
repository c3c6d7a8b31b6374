"""Guessing gets slow, nobody is locked out for good, memory stays bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs.accounts.throttle import Patience, Tally, Throttle, after_failure, wait_left_s
from dfs.base.clock import ManualClock
from dfs.base.errors import Throttled

PATIENCE = Patience(free=5, cap_s=900.0, leak_s=900.0)


def _throttle(clock: ManualClock, *, keys_max: int = 100) -> Throttle:
    return Throttle(PATIENCE, of="failed logins", clock=clock, keys_max=keys_max)


def _fail(throttle: Throttle, times: int, key: str = "ada") -> None:
    for _ in range(times):
        throttle.failed(key)


@pytest.mark.parametrize(
    ("failures", "wait_s"),
    [(0, 0), (4, 0), (5, 1), (6, 2), (7, 4), (8, 8), (14, 512), (15, 900), (1_000_000, 900)],
)
def test_wait_doubles_from_the_fifth_failure_up_to_the_cap(failures: int, wait_s: int) -> None:
    assert wait_left_s(Tally(failures, 100.0), PATIENCE, 100.0) == wait_s


def test_wait_passes_with_time() -> None:
    tally = Tally(8, 100.0)
    assert wait_left_s(tally, PATIENCE, 105.0) == 3.0
    assert wait_left_s(tally, PATIENCE, 108.0) == 0.0


def test_failures_are_forgiven_one_by_one() -> None:
    assert after_failure(Tally(8, 0.0), PATIENCE, 900.0).failures == 8.0
    assert after_failure(Tally(8, 0.0), PATIENCE, 90_000.0).failures == 1.0


@given(gaps=st.lists(st.floats(0, 10_000), min_size=1, max_size=60))
def test_wait_is_never_longer_than_the_cap(gaps: list[float]) -> None:
    now_s, tally = 0.0, None
    for gap_s in gaps:
        now_s += gap_s
        tally = after_failure(tally, PATIENCE, now_s)
        assert 0 <= wait_left_s(tally, PATIENCE, now_s) <= PATIENCE.cap_s
        assert wait_left_s(tally, PATIENCE, now_s + PATIENCE.cap_s) == 0


def test_throttle_says_how_long_to_wait() -> None:
    clock = ManualClock()
    throttle = _throttle(clock)
    _fail(throttle, 7)
    with pytest.raises(Throttled, match="failed logins") as refused:
        throttle.check("ada")
    assert refused.value.details == {"retry_after_s": 4}
    clock.advance(3.5)
    with pytest.raises(Throttled) as refused:
        throttle.check("ada")
    assert refused.value.details == {"retry_after_s": 1}
    clock.advance(0.5)
    throttle.check("ada")


def test_throttle_keeps_keys_apart() -> None:
    throttle = _throttle(ManualClock())
    _fail(throttle, 20)
    throttle.check("bob")


def test_throttle_forgives_a_success() -> None:
    throttle = _throttle(ManualClock())
    _fail(throttle, 20)
    throttle.forgive("ada")
    throttle.check("ada")


def test_refused_attempts_do_not_lengthen_the_wait() -> None:
    clock = ManualClock()
    throttle = _throttle(clock)
    _fail(throttle, 7)
    for _ in range(100):
        with pytest.raises(Throttled):
            throttle.check("ada")
    clock.advance(4)
    throttle.check("ada")


def test_throttle_forgets_the_oldest_when_its_memory_is_full() -> None:
    throttle = _throttle(ManualClock(), keys_max=3)
    for key in ("ada", "bob", "eve"):
        _fail(throttle, 6, key)
    _fail(throttle, 1, "ada")
    _fail(throttle, 1, "new")
    throttle.check("bob")
    for key in ("ada", "eve"):
        with pytest.raises(Throttled):
            throttle.check(key)


def test_throttle_cuts_long_keys_alike() -> None:
    throttle = _throttle(ManualClock())
    _fail(throttle, 6, "x" * 1_000_000)
    with pytest.raises(Throttled):
        throttle.check("x" * 64)
