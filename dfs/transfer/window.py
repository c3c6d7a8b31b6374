"""A bounded window of pieces between one thread that makes them and one that takes them.

The maker waits when the window is full, so memory is bounded by what the taker has not taken; the
taker waits when it is empty.  Either side can end it: the maker by `finish` (or `fail`), the taker
by `cancel`, after which `put` says that nobody wants more.
"""

import threading
from collections import deque
from collections.abc import Iterator
from functools import partial

from dfs.base.checksum import Buffer
from dfs.transfer.waiting import awake_until


class Window:
    """At most `pieces_max` pieces wait in it."""

    def __init__(self, *, pieces_max: int) -> None:
        assert pieces_max >= 1
        self._pieces_max = pieces_max
        self._pieces: deque[Buffer] = deque()
        self._moved = threading.Condition()
        self._ended = False
        self._cancelled = False
        self._error: BaseException | None = None

    def put(self, piece: Buffer) -> bool:
        """Add the next piece when there is room; False when the taker went away."""
        with self._moved:
            self._moved.wait_for(lambda: self._cancelled or len(self._pieces) < self._pieces_max)
            if self._cancelled:
                return False
            self._pieces.append(piece)
            self._moved.notify_all()
            return True

    def finish(self) -> None:
        """There are no more pieces."""
        with self._moved:
            self._ended = True
            self._moved.notify_all()

    def fail(self, error: BaseException) -> None:
        """There are no more pieces, because of that; the taker gets those before it, then it."""
        with self._moved:
            self._error = error
            self._ended = True
            self._moved.notify_all()

    def cancel(self) -> None:
        """Nobody takes any more; what waits is dropped."""
        with self._moved:
            self._cancelled = True
            self._pieces.clear()
            self._moved.notify_all()

    def __iter__(self) -> Iterator[Buffer]:
        """The pieces in order.

        Raises:
            DfsError: what the maker failed with, after the last piece it made.
        """
        while True:
            with self._moved:
                awake_until(partial(self._moved.wait_for, self._may_take))
                if not self._pieces:
                    break
                piece = self._pieces.popleft()
                self._moved.notify_all()
            yield piece
        if self._error is not None:
            raise self._error

    def _may_take(self) -> bool:
        return self._cancelled or self._ended or bool(self._pieces)


class Held:
    """Keeps the newest bytes of a stream back until they are known to be good.

    Small enough streams are kept whole; of longer ones the last `keep_bytes` are.  Not for
    several threads.
    """

    def __init__(self, window: Window, *, keep_bytes: int) -> None:
        self.window = window
        self.keep_bytes = keep_bytes
        self._kept: deque[Buffer] = deque()
        self._kept_bytes = 0
        self.released_bytes = 0

    def add(self, piece: Buffer) -> None:
        """Keep the piece, and let go of the oldest above the limit.

        Raises:
            TakerGone: nobody wants more.
        """
        self._kept.append(piece)
        self._kept_bytes += len(piece)
        while self._kept_bytes > self.keep_bytes:
            self._release()

    def drop(self) -> bool:
        """Forget everything, if none of it was let go; whether that could be done."""
        if self.released_bytes:
            return False
        self._kept.clear()
        self._kept_bytes = 0
        return True

    def release_all(self) -> None:
        """Let go of all of it: it is good.

        Raises:
            TakerGone: nobody wants more.
        """
        while self._kept:
            self._release()

    def _release(self) -> None:
        piece = self._kept.popleft()
        self._kept_bytes -= len(piece)
        self.released_bytes += len(piece)
        if not self.window.put(piece):
            raise TakerGone


class TakerGone(Exception):
    """The taker of a window cancelled it: the maker stops.  Never leaves `dfs.transfer`."""
