"""Pure: how long to wait between attempts."""

from collections.abc import Iterator
from itertools import repeat

from dfs.base.entropy import Random


def backoff_delays(
    *, first_s: float, cap_s: float, retries_max: int | None, rng: Random
) -> Iterator[float]:
    """Yield `retries_max` delays in seconds: doubling from `first_s` to `cap_s`, with full jitter.

    None yields for ever; the caller's own limit ends it.

    Jitter is uniform over the upper half of each step (AWS Architecture Blog, "Exponential Backoff
    And Jitter", 2015, its "equal jitter"), so that clients which failed together return apart.
    """
    assert first_s >= 0
    assert cap_s >= first_s
    step_s = first_s
    for _ in repeat(None) if retries_max is None else repeat(None, retries_max):
        yield step_s / 2 + rng.random() * step_s / 2
        step_s = min(cap_s, step_s * 2)
