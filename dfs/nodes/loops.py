"""A thread that does one thing over and over: no more than `turn`, rest, stop and wake.

A turn handles every fault of the world itself.  An exception out of it is a bug and ends the
thread; the composition root's thread hook then ends the daemon, because a DataNode that silently
beats no more is worse than one that restarts.
"""

import threading
from collections.abc import Callable


class Loop:
    """Calls `turn` in a thread of its own; a turn answers how many seconds to rest after it."""

    def __init__(self, name: str, turn: Callable[[], float]) -> None:
        self._turn = turn
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin with a turn at once."""
        self._thread.start()

    def wake(self) -> None:
        """End the rest under way."""
        self._wake.set()

    def stop(self) -> None:
        """Take no further turn; `join` waits for the one under way."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end; a turn that hangs is left behind (the thread is a daemon)."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def is_over(self) -> bool:
        """Whether it was started, and its thread has ended."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            rest_s = self._turn()
            self._wake.wait(rest_s)
            self._wake.clear()
