"""The blocks of one volume that somebody doubts: the scrubber reads them before any other.

Written down in the catalog, so that a restart forgets none; when each is due is kept in memory, and
after a restart all are due at once.  Who doubts and why is the callers' business.
"""

import contextlib
import threading

from dfs.base.clock import Clock
from dfs.base.errors import DfsError
from dfs.base.records import BlockName
from dfs.blockstore.scrub_rows import SUSPECTS_MAX, ScrubRows


class Suspects:
    """See the module.  Safe for many threads."""

    def __init__(self, rows: ScrubRows, *, clock: Clock) -> None:
        self._rows = rows
        self._clock = clock
        self._lock = threading.Lock()
        self._due_s = dict.fromkeys(rows.suspects(), 0.0)

    def __len__(self) -> int:
        with self._lock:
            return len(self._due_s)

    def add(self, name: BlockName, *, after_s: float = 0.0) -> bool:
        """Doubt a block, to be read when so many seconds have passed; False when too many wait."""
        due_s = self._clock.monotonic_s() + after_s
        with self._lock:
            if name not in self._due_s and len(self._due_s) >= SUSPECTS_MAX:
                return False
            self._due_s[name] = min(due_s, self._due_s.get(name, due_s))
        with contextlib.suppress(DfsError):  # a disk that takes no writes: memory must do
            self._rows.suspect([name])
        return True

    def take_due(self) -> BlockName | None:
        """One that is due, for its reader to acquit; it may be doubted again meanwhile."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            due = (name for name, due_s in self._due_s.items() if due_s <= now_s)
            name = next(due, None)
            if name is not None:
                del self._due_s[name]
            return name

    def acquit(self, name: BlockName) -> None:
        """It was looked at, or is gone; unless somebody doubts it anew it is written off."""
        with self._lock:
            if name in self._due_s:
                return
        with contextlib.suppress(DfsError):  # it is looked at again after a restart: no harm
            self._rows.acquit([name])
