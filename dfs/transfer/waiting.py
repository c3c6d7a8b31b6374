"""Waiting for other threads so that Ctrl-C is heard.

The kernel may give SIGINT to any thread, and Python's handler runs in the main one alone, when that
runs Python again.  A main thread that waits for another one without a time-out is not woken by a
signal that went elsewhere, nor by one that came just before it slept: it would wait on as if nobody
had pressed Ctrl-C.  So whatever may wait in the main thread of a program waits here.
"""

from collections.abc import Callable
from typing import Final

AWAKE_EVERY_S: Final = 0.5  # how late Ctrl-C may be heard


def awake_until(has_come: Callable[[float], object]) -> None:
    """Wait for something, waking every half second, when the interpreter looks for signals.

    Args:
        has_come: waits for it, that many seconds at most; whether it came.
    """
    while not has_come(AWAKE_EVERY_S):
        pass
