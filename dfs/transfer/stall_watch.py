"""Ends conversations in which the other side makes no step.

A deadline for a whole block would have to allow for the slowest link and the largest block; what
tells a dead peer from a slow one is whether anything moves.  So each conversation says when it
begins to wait for the other side and when it got what it waited for, and one thread cancels those
that have waited too long.  Time that our own side takes does not count.
"""

import threading
from collections.abc import Callable
from typing import Final

from dfs.base.clock import Clock

_CHECKS_PER_STALL: Final = 4


class Watched:
    """One conversation."""

    def __init__(self, clock: Clock, cancel: Callable[[], object]) -> None:
        self._clock = clock
        self._since_s: float | None = clock.monotonic_s()
        self.cancel = cancel
        self.stalled = False

    def waiting(self) -> None:
        """From now on it is the other side's turn."""
        self._since_s = self._clock.monotonic_s()

    def working(self) -> None:
        """The other side did something; it is our turn."""
        self._since_s = None

    def waited_s(self) -> float:
        """How long it has been the other side's turn."""
        since_s = self._since_s
        return 0.0 if since_s is None else self._clock.monotonic_s() - since_s


class StallWatch:
    """One thread for all conversations of a client; it lives while there are any.

    Args:
        stall_s: the longest silence that is allowed.
    """

    def __init__(self, *, clock: Clock, stall_s: float) -> None:
        self._clock = clock
        self.stall_s = stall_s
        self._lock = threading.Lock()
        self._watched: set[Watched] = set()
        self._thread: threading.Thread | None = None
        self._changed = threading.Event()

    def watch(self, cancel: Callable[[], object]) -> Watched:
        """Watch a conversation, which waits for the other side from now on."""
        watched = Watched(self._clock, cancel)
        with self._lock:
            self._watched.add(watched)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="dfs-stall-watch", daemon=True
                )
                self._thread.start()
        return watched

    def end(self, watched: Watched) -> None:
        """That conversation is over."""
        with self._lock:
            self._watched.discard(watched)

    def cancel_all(self) -> None:
        """End every conversation now."""
        with self._lock:
            watched = list(self._watched)
        for one in watched:
            one.cancel()

    def _run(self) -> None:
        while True:
            self._changed.wait(self.stall_s / _CHECKS_PER_STALL)
            with self._lock:
                late = [one for one in self._watched if one.waited_s() > self.stall_s]
                if not self._watched:
                    self._thread = None
                    return
            for one in late:
                one.stalled = True
                one.cancel()
