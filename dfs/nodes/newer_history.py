"""Whether a DataNode has seen newer metadata than this NameNode has.

Every answer to a beat names the epoch and the newest transaction, and a DataNode says with each
beat the highest it was ever told.  What it says first in a run of the NameNode it was told by an
earlier run, so that is held against what the database had when it was opened; later words against
what it has now.  A NameNode that is behind has lost transactions: somebody started an old copy of
its database.
"""

import threading
from dataclasses import dataclass

from dfs.base.ids import NodeId


@dataclass(frozen=True, slots=True, order=True)
class Reached:
    """How far metadata had come: a transaction of an epoch."""

    epoch: int
    txid: int


@dataclass(frozen=True, slots=True)
class Newer:
    """A DataNode saw more than there is."""

    node: NodeId
    seen: Reached
    ours: Reached


class NewerHistory:
    """Keeps the newest that any DataNode saw beyond ours.  Safe to share between threads.

    Args:
        opened: how far the database had come when it was opened.
    """

    def __init__(self, opened: Reached) -> None:
        self._opened = opened
        self._accepted = Reached(0, 0)
        self._lock = threading.Lock()
        self._heard: set[NodeId] = set()
        self._newest: Newer | None = None

    def note(self, node: NodeId, seen: Reached, *, now: Reached) -> None:
        """A DataNode said what it saw."""
        with self._lock:
            first = node not in self._heard
            self._heard.add(node)
            ours = max(self._opened if first else now, self._accepted)
            if seen > ours and (self._newest is None or seen > self._newest.seen):
                self._newest = Newer(node, seen, ours)

    def newest(self) -> Newer | None:
        """What was seen beyond ours; None when nothing was."""
        with self._lock:
            return self._newest

    def accept(self, reached: Reached) -> None:
        """It was dealt with: there a new epoch began, above all that was seen.

        Who is heard later may tell of the same loss, or have told of it a moment ago.
        """
        with self._lock:
            self._accepted = reached
            self._newest = None
