"""The threads that answer requests: a queue in C hands them out.

Waitress's own dispatcher has a condition variable around its queue, whose every wait makes a lock
and whose every wake-up takes two: at some thousand requests a second that shows.
"""

import logging
import queue
import threading
from typing import Any, Final, Protocol

from dfs.base.clock import Clock

_POLL_S: Final = 0.02
_log = logging.getLogger("waitress")  # where it writes what its own threads break of


class Task(Protocol):
    """What a worker does: answer the first request of a connection."""

    def service(self) -> None:
        """Do it."""
        ...

    def cancel(self) -> None:
        """It will not be done."""
        ...


class Workers:
    """See the module.  It is what waitress calls a task dispatcher."""

    def __init__(self, threads: int, *, clock: Clock) -> None:
        self._clock = clock
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._active: set[int] = set()  # the numbers of those that are answering
        self._threads = [
            threading.Thread(target=self._work, args=(n,), name=f"http-{n}", daemon=True)
            for n in range(threads)
        ]

    def start(self) -> None:
        """Take up what waits."""
        for each in self._threads:
            each.start()

    def add_task(self, task: Task) -> None:
        """Have one of them do it."""
        self._queue.put(task)

    def is_busy(self) -> bool:
        """Whether something waits or is being done."""
        return bool(self._active) or not self._queue.empty()

    def shutdown(self, timeout: float = 5) -> None:
        """Take up nothing more, and wait so long for what is being done."""
        self._cancel_waiting()
        for _ in self._threads:
            self._queue.put(None)
        until_s = self._clock.monotonic_s() + timeout
        while any(each.is_alive() for each in self._threads):
            if self._clock.monotonic_s() >= until_s:
                break
            self._clock.sleep(_POLL_S)

    def _cancel_waiting(self) -> None:
        while True:
            try:
                task = self._queue.get_nowait()
            except queue.Empty:
                return
            if task is not None:
                task.cancel()

    def _work(self, number: int) -> None:
        while True:
            task = self._queue.get()
            if task is None:
                return
            self._active.add(number)
            try:
                task.service()
            except Exception:  # noqa: BLE001 - a bug must not end the thread
                _log.exception("while answering %r", task)
            finally:
                self._active.discard(number)
