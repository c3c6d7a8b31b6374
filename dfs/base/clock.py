"""The door by which time comes in.  Pure functions take `now`; services take a `Clock`."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What a service may know about time."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970 UTC: for display, file times and expiry."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some start, going on through suspend: for intervals and time-outs."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        ...


class SystemClock:
    """The machine's clocks.  CLOCK_BOOTTIME counts suspended time; CLOCK_MONOTONIC would not."""

    def now_ms(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        time.sleep(seconds)


class ManualClock:
    """A clock that tests move by hand; both of its faces move together."""

    def __init__(self, *, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._elapsed_s = 0.0
        self._lock = threading.Lock()

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        assert seconds >= 0
        with self._lock:
            self._elapsed_s += seconds

    def now_ms(self) -> int:
        """See `Clock`."""
        return self._now_ms + int(self._elapsed_s * 1000)

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return self._elapsed_s

    def sleep(self, seconds: float) -> None:
        """See `Clock`; advances instead of waiting."""
        self.advance(seconds)
