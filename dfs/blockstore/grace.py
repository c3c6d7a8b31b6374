"""How long ago a file must have been deleted for its bytes to go, by a clock that may be set.

A wall clock that jumps ahead would end the grace of everything at once, and with it the way back
from a wrong deletion.  After a jump nothing goes until a whole grace has passed once more; a clock
that was wrong when the process started is not found out.
"""

import threading
from typing import Final

from dfs.base.clock import Clock

STEP_S: Final = 60.0  # ahead within one look: more than a slewed clock or a leap second


class Grace:
    """See the module.  Safe for many threads.

    Args:
        keep_s: the grace.
    """

    def __init__(self, clock: Clock, *, keep_s: float) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._ahead_s = self._lead_s()
        self._held_until_s = clock.monotonic_s()

    def ended_before_ms(self) -> int:
        """What was deleted before that time may go; 0 while nothing may."""
        with self._lock:
            before_s, self._ahead_s = self._ahead_s, self._lead_s()
            now_s = self._clock.monotonic_s()
            if self._ahead_s - before_s > STEP_S:
                self._held_until_s = now_s + self._keep_s
            if now_s < self._held_until_s:
                return 0
        return self._clock.now_ms() - int(self._keep_s * 1000)

    def _lead_s(self) -> float:
        """How far the wall clock is ahead of the one that nobody sets."""
        return self._clock.now_ms() / 1000 - self._clock.monotonic_s()
