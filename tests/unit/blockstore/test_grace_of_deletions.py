from dfs.base.clock import ManualClock
from dfs.blockstore.grace import Grace

DAY_S = 86_400


class SetClock(ManualClock):
    """A wall clock that somebody sets."""

    ahead_s = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_s * 1000


def test_what_was_deleted_a_grace_ago_may_go() -> None:
    clock = SetClock()
    grace = Grace(clock, keep_s=DAY_S)
    deleted_ms = clock.now_ms()
    clock.advance(DAY_S - 1)
    assert grace.ended_before_ms() < deleted_ms
    clock.advance(2)
    assert grace.ended_before_ms() > deleted_ms


def test_clock_that_jumps_ahead_ends_no_grace_before_a_whole_one_has_passed() -> None:
    clock = SetClock()
    grace = Grace(clock, keep_s=DAY_S)
    deleted_ms = clock.now_ms()
    clock.ahead_s = 30 * DAY_S
    assert grace.ended_before_ms() == 0
    clock.advance(DAY_S - 1)
    assert grace.ended_before_ms() == 0
    clock.advance(1)
    assert grace.ended_before_ms() > deleted_ms


def test_clock_that_is_put_back_ends_no_grace() -> None:
    clock = SetClock()
    grace = Grace(clock, keep_s=DAY_S)
    deleted_ms = clock.now_ms()
    clock.ahead_s = -30 * DAY_S
    clock.advance(DAY_S + 1)
    assert grace.ended_before_ms() < deleted_ms
