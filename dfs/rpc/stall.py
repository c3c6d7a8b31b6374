"""Ending calls whose reader takes nothing.

A stream handler that sends is held inside gRPC until the reader takes what was sent; nothing there
times out as long as the reader's machine answers pings.  One thread looks at all such calls.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from dfs.base.clock import Clock


class Cancellable(Protocol):
    """A call that can be ended from another thread: `grpc.ServicerContext` is one."""

    def cancel(self) -> object:
        """End it."""
        ...


class StallWatch:
    """Cancels calls that made no progress for `stall_s`.  Safe to share between threads."""

    def __init__(self, *, stall_s: float, clock: Clock) -> None:
        self._stall_s = stall_s
        self._clock = clock
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._moved_s: dict[int, float] = {}
        self._calls: dict[int, Cancellable] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stall-watch", daemon=True)

    def start(self) -> None:
        """Begin to look, a few times in each `stall_s`."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    @contextlib.contextmanager
    def watching(self, call: Cancellable) -> Iterator[Callable[[], None]]:
        """Watch a call; the function given must be called at every progress."""
        number = next(self._numbers)

        def progressed() -> None:
            self._moved_s[number] = self._clock.monotonic_s()

        with self._lock:
            progressed()
            self._calls[number] = call
        try:
            yield progressed
        finally:
            with self._lock:
                del self._calls[number], self._moved_s[number]

    def end_stalled(self) -> int:
        """Cancel what stalls now; how many."""
        limit_s = self._clock.monotonic_s() - self._stall_s
        with self._lock:
            stalled = [call for n, call in self._calls.items() if self._moved_s[n] < limit_s]
        for call in stalled:
            call.cancel()
        return len(stalled)

    def _run(self) -> None:
        while not self._stop.wait(self._stall_s / 4):
            self.end_stalled()
