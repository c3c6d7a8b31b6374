"""The circuit breaker of a DataNode: so many bad blocks at once are not the disks' rot any more.

Owns the times at which blocks turned out bad.  Decides when they are too many for belief: then
memory, code or the way to the disk is the likelier culprit, and moving blocks to quarantine would
take good copies out of service.  Once open it stays open until somebody looked (`close`) or the
process starts again; what bad blocks become meanwhile is the business of `holdings`.
"""

import threading
from collections import deque
from typing import Final

from dfs.base.clock import Clock
from dfs.settings.sections import ScrubConfig

DOUBT_WINDOW_S: Final = 600.0
BAD_MIN: Final = 10  # of a node with few blocks: a share of them alone would be one or two


def doubt_limit(config: ScrubConfig, held: int) -> int:
    """Pure: how many bad blocks within the window open the breaker of a node that holds `held`."""
    share = int(held * config.doubt_percent / 100)
    return min(config.doubt_blocks, max(BAD_MIN, share))


class Breaker:
    """See the module.  Safe for many threads."""

    def __init__(self, config: ScrubConfig, *, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._bad_s: deque[float] = deque(maxlen=config.doubt_blocks)
        self.is_open = False

    def note(self, *, held: int) -> bool:
        """One more block turned out bad; whether that opened the breaker.

        Args:
            held: blocks on this node, good and bad.
        """
        now_s = self._clock.monotonic_s()
        with self._lock:
            if self.is_open:
                return False
            self._bad_s.append(now_s)
            recent = sum(now_s - at_s < DOUBT_WINDOW_S for at_s in self._bad_s)
            self.is_open = recent >= doubt_limit(self._config, held)
            return self.is_open

    def close(self) -> bool:
        """An operator looked: begin to count anew.  Whether it was open."""
        with self._lock:
            was, self.is_open = self.is_open, False
            self._bad_s.clear()
            return was
