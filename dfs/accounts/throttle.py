"""How guessing passwords is made slow: failures cost waiting, twice as long each time.

The first `free` failures of an account or an address cost nothing; then 1 s, 2 s, 4 s ... up to a
cap.  Failures are forgiven one by one as time passes (`leak_s` each), so nobody is locked out for
good and memory empties by itself.  Memory is bounded: the key touched longest ago is forgotten
first.  It lives in the process: a restart forgives, which costs a guesser a restart.
"""

import math
import threading
from dataclasses import dataclass
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import Throttled

KEYS_MAX: Final = 10_000
KEY_LENGTH_MAX: Final = 64
_DOUBLINGS_MAX: Final = 32  # far beyond any cap, and far from overflowing a float


@dataclass(frozen=True, slots=True)
class Patience:
    """How much is borne."""

    free: int
    cap_s: float
    leak_s: float


@dataclass(frozen=True, slots=True)
class Tally:
    """Failures that are not forgiven yet, as of the last one."""

    failures: float
    last_s: float


def after_failure(tally: Tally | None, patience: Patience, now_s: float) -> Tally:
    """The tally with one failure more, less what was forgiven meanwhile."""
    return Tally(_unforgiven(tally, patience, now_s) + 1, now_s)


def wait_left_s(tally: Tally | None, patience: Patience, now_s: float) -> float:
    """Seconds until the next attempt may be made; 0 when it may be made now."""
    if tally is None or tally.failures < patience.free:
        return 0.0
    doublings = min(int(tally.failures) - patience.free, _DOUBLINGS_MAX)
    wait_s = min(2.0**doublings, patience.cap_s)
    return max(0.0, tally.last_s + wait_s - now_s)


def _unforgiven(tally: Tally | None, patience: Patience, now_s: float) -> float:
    if tally is None:
        return 0.0
    return max(0.0, tally.failures - (now_s - tally.last_s) / patience.leak_s)


class Throttle:
    """Remembers failures by key.

    Args:
        of: what the failures are, as the refusal says it.
    """

    def __init__(
        self, patience: Patience, *, of: str, clock: Clock, keys_max: int = KEYS_MAX
    ) -> None:
        self._patience = patience
        self._of = of
        self._clock = clock
        self._keys_max = keys_max
        self._lock = threading.Lock()
        self._tallies: dict[str, Tally] = {}  # in the order of the last failure

    def check(self, key: str) -> None:
        """Refuse an attempt that comes too early; it does not count as a failure.

        Raises:
            Throttled: `details.retry_after_s` says how long to wait, in whole seconds.
        """
        with self._lock:
            tally = self._tallies.get(key[:KEY_LENGTH_MAX])
        left_s = math.ceil(wait_left_s(tally, self._patience, self._clock.monotonic_s()))
        if left_s > 0:
            raise Throttled(
                f"too many {self._of}: wait {left_s} s", details={"retry_after_s": left_s}
            )

    def failed(self, key: str) -> None:
        """Count a failure."""
        key, now_s = key[:KEY_LENGTH_MAX], self._clock.monotonic_s()
        with self._lock:
            tally = self._tallies.pop(key, None)
            self._tallies[key] = after_failure(tally, self._patience, now_s)
            if len(self._tallies) > self._keys_max:
                del self._tallies[next(iter(self._tallies))]

    def forgive(self, key: str) -> None:
        """Forget the failures of a key."""
        with self._lock:
            self._tallies.pop(key[:KEY_LENGTH_MAX], None)
