"""A thread that does one piece of work after the other, for whoever may not wait.

A piece handles the world's faults itself: an exception out of it is a bug and ends the thread,
which the composition root's thread hook takes for the end of the daemon.
"""

import queue
import threading
from collections.abc import Callable
from typing import Final

JOIN_S: Final = 5.0


class Lane:
    """See the module.  What is asked of it is bounded by who asks: a core, one thing at a time."""

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def do(self, piece: Callable[[], None]) -> None:
        """Have it done after what was asked for before."""
        self._work.put(piece)

    def stop(self) -> None:
        """Begin nothing more; wait shortly for what is being done, which may be left behind."""
        self._stopping.set()
        self._work.put(None)
        if self._thread.ident is not None:
            self._thread.join(JOIN_S)

    def finish(self, last: Callable[[], None]) -> None:
        """Have that done after all that was asked for, and end; waits for both.

        Where the thread never began, or a bug ended it, it is done here: whoever closes something
        by it would wait for ever.
        """
        begun = threading.Event()

        def piece() -> None:
            begun.set()
            last()

        self._work.put(piece)
        self._work.put(None)
        if self._thread.ident is not None:
            self._thread.join()
        if not begun.is_set():
            last()

    def _run(self) -> None:
        while (piece := self._work.get()) is not None and not self._stopping.is_set():
            piece()
