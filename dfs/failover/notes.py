"""What a member told its operators lately, and who waits for the next word.

An order (a switchover, say) is answered with what was said after it was given.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from dfs.ha.effects import Note

KEPT: Final = 50


class Said(NamedTuple):
    """A note, its number, and when it came."""

    number: int
    at_ms: int
    note: Note


class Notes:
    """See the module.  Safe to share between threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._said: deque[Said] = deque(maxlen=KEPT)
        self._number = 0

    def add(self, note: Note, at_ms: int) -> None:
        """Keep it, and wake who waits."""
        with self._changed:
            self._number += 1
            self._said.append(Said(self._number, at_ms, note))
            self._changed.notify_all()

    @property
    def number(self) -> int:
        """Of the newest; 0 before the first."""
        return self._number

    def after(self, number: int) -> list[Said]:
        """Those that are newer, oldest first."""
        with self._changed:
            return [each for each in self._said if each.number > number]

    def wait(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until that holds; it is asked after each note."""
        with self._changed:
            return self._changed.wait_for(until, timeout_s)
