"""A bounded hand-over between two threads that either side can close.

Unlike `queue.Queue`, a close wakes whoever waits, so no thread outlives the transfer it serves.
"""

import threading
from collections import deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):  # noqa: N818 - a state, not a fault
    """Nothing more goes in, or nothing more comes out."""


class TimedOut(Exception):  # noqa: N818 - the caller says what it means
    """The other side did not move in time."""


class Handover(Generic[T]):
    """First in, first out, at most `depth` waiting."""

    def __init__(self, depth: int) -> None:
        assert depth >= 1
        self._depth: Final = depth
        self._waiting: deque[T] = deque()
        self._moved = threading.Condition()
        self._ended = False
        self._dropped = False

    def put(self, item: T, *, timeout_s: float | None = None) -> None:
        """Hand over; waits while full.

        Raises:
            Closed: the taker is gone.
            TimedOut: the taker did not take in time.
        """
        with self._moved:
            if not self._moved.wait_for(self._has_room, timeout_s):
                raise TimedOut
            if self._dropped:
                raise Closed
            assert not self._ended
            self._waiting.append(item)
            self._moved.notify_all()

    def take(self, *, timeout_s: float | None = None) -> T:
        """The next item; waits while there is none.

        Raises:
            Closed: the giver ended and everything was taken, or the hand-over was dropped.
            TimedOut: the giver gave nothing in time.
        """
        with self._moved:
            if not self._moved.wait_for(self._has_word, timeout_s):
                raise TimedOut
            if self._dropped or not self._waiting:
                raise Closed
            item = self._waiting.popleft()
            self._moved.notify_all()
            return item

    def end(self) -> None:
        """The giver has no more; what waits can still be taken."""
        with self._moved:
            self._ended = True
            self._moved.notify_all()

    def drop(self) -> None:
        """Either side gives up: what waits is thrown away, and both sides hear `Closed`."""
        with self._moved:
            self._dropped = True
            self._waiting.clear()
            self._moved.notify_all()

    def _has_room(self) -> bool:
        return self._dropped or len(self._waiting) < self._depth

    def _has_word(self) -> bool:
        return self._dropped or self._ended or bool(self._waiting)
