"""What a DataNode says it holds: pages in one order over all its volumes, and what changed.

The feed is kept in memory: a restart is followed by a full report, which says it all.  It is
bounded; what overflows it is told by the next full report, too, and `overflowed` says so.
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName, StockEntry
from dfs.base.states import StoredState

EVERY_BUCKET: Final = frozenset[int]()  # none named
CHANGES_MAX: Final = 200_000  # about 100 MB at worst, hours of writing 8 KiB blocks without a beat


def order(name: BlockName) -> tuple[InodeId, int, BlockId, Generation]:
    """How stock is sorted: by file, then part, then block and generation."""
    return (name.file, name.number, name.block, name.generation)


def merge(pages: Iterable[Sequence[StockEntry]], limit: int) -> list[StockEntry]:
    """Pure: the first `limit` of several ordered pages, in order.

    A block that two volumes have is told once, by the better copy.
    """
    merged = heapq.merge(*pages, key=lambda entry: order(entry.name))
    groups = itertools.groupby(merged, key=lambda entry: entry.name)
    once = (min(group, key=_rank) for _, group in groups)
    return list(itertools.islice(once, limit))


def _rank(entry: StockEntry) -> tuple[bool, bool]:
    return (entry.state is StoredState.CORRUPT, entry.state is StoredState.FAILING)


class ChangeFeed:
    """Which blocks came, changed or went since the last take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed: dict[BlockName, None] = {}  # a dict keeps the order
        self._gone: dict[BlockName, StockEntry] = {}
        self.overflowed = False

    def changed(self, name: BlockName) -> None:
        """It is new, or its state is another."""
        with self._lock:
            self._gone.pop(name, None)
            self._changed[name] = None
            self._bound()

    def gone(self, entry: StockEntry) -> None:
        """It was deleted."""
        with self._lock:
            self._changed.pop(entry.name, None)
            self._gone[entry.name] = entry
            self._bound()

    def lose_track(self) -> None:
        """More changed than is told one by one: only a full report says it."""
        self.overflowed = True

    def take(
        self, limit: int, entry: Callable[[BlockName], StockEntry | None]
    ) -> tuple[list[StockEntry], list[StockEntry]]:
        """The oldest changes, at most `limit` in all, as `(new or changed, gone)`.

        Args:
            limit: how many at most.
            entry: how to look a block up as it is now.
        """
        with self._lock:
            gone = list(itertools.islice(self._gone, limit))
            names = list(itertools.islice(self._changed, limit - len(gone)))
            went = [self._gone.pop(name) for name in gone]
            for name in names:
                del self._changed[name]
        try:
            found = [entry(name) for name in names]
        except BaseException:
            self.overflowed = True  # what was taken here is lost: a full report tells it
            raise
        return [each for each in found if each is not None], went

    def _bound(self) -> None:
        while len(self._changed) + len(self._gone) > CHANGES_MAX:
            oldest: dict[BlockName, None] | dict[BlockName, StockEntry]
            oldest = self._changed or self._gone
            del oldest[next(iter(oldest))]
            self.overflowed = True
