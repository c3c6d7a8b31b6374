"""What waits for the thread that owns a core: letters, of which some may be lost, and events.

A letter that finds the inbox full is dropped, as the network might have done.  An event is what
happened on this machine, and is never dropped: there are no more of them than things under way.
"""

import threading
from collections import deque
from typing import Final, Generic, TypeVar

from dfs.base.units import KiB, MiB
from dfs.ha.messages import Append, Letter

LETTERS_MAX: Final = 1_024
WEIGHT_MAX_BYTES: Final = 64 * MiB
_LETTER_BYTES: Final = 1 * KiB  # any but those with records

E = TypeVar("E")


class Inbox(Generic[E]):
    """Any thread puts in, one takes out.  In the order of arrival.

    Args:
        letters_max: that wait; those beyond are dropped.
    """

    def __init__(self, *, letters_max: int = LETTERS_MAX) -> None:
        self._letters_max = letters_max
        self._changed = threading.Condition()
        self._items: deque[Letter | E] = deque()
        self._letters = 0
        self._weight_bytes = 0
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Letters that found no room."""
        return self._dropped

    def offer(self, letter: Letter) -> bool:
        """Put a letter in, if there is room for it."""
        weight_bytes = _weight(letter)
        with self._changed:
            full = (
                self._letters >= self._letters_max
                or self._weight_bytes + weight_bytes > WEIGHT_MAX_BYTES
            )
            if self._closed or full:
                self._dropped += 1
                return False
            self._letters += 1
            self._weight_bytes += weight_bytes
            self._items.append(letter)
            self._changed.notify()
            return True

    def put(self, event: E) -> None:
        """Put in what happened here."""
        with self._changed:
            if not self._closed:
                self._items.append(event)
                self._changed.notify()

    def take(self, timeout_s: float) -> Letter | E | None:
        """The oldest; None when nothing came in time, or the inbox was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, max(0.0, timeout_s))
            if not self._items:
                return None
            item = self._items.popleft()
            if isinstance(item, Letter):
                self._letters -= 1
                self._weight_bytes -= _weight(item)
            return item

    def close(self) -> None:
        """Take nothing more in, forget what waits, and let nobody wait for more."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


def _weight(letter: Letter) -> int:
    """About how much memory it takes."""
    body = letter.body
    records = body.records if isinstance(body, Append) else ()
    return _LETTER_BYTES + sum(_LETTER_BYTES + len(each.changes) for each in records)
