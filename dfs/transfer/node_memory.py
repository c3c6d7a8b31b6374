"""What one client remembers of DataNodes: who failed it lately, and how busy it keeps each.

A failure is forgotten after a while or at the next success, so that a restarted node is used
again; until then reads go elsewhere first and writes ask for another target at once, instead of
running into the same dead node once a block.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import DfsError
from dfs.base.ids import NodeId

FORGET_AFTER_S: Final = 30.0  # as long as the NameNode needs to see that a node is silent


class NodeMemory:
    """Safe to share between threads."""

    def __init__(self, *, clock: Clock, forget_after_s: float = FORGET_AFTER_S) -> None:
        self._clock = clock
        self._forget_after_s = forget_after_s
        self._lock = threading.Lock()
        self._failures: dict[NodeId, tuple[int, float, DfsError]] = {}
        self._load: Counter[NodeId] = Counter()

    def failed(self, node: NodeId, error: DfsError) -> None:
        """It failed us just now."""
        with self._lock:
            count = self._failures[node][0] if node in self._failures else 0
            self._failures[node] = (count + 1, self._clock.monotonic_s(), error)

    def succeeded(self, node: NodeId) -> None:
        """It served us: what was before is forgotten."""
        with self._lock:
            self._failures.pop(node, None)

    def last_failure(self, node: NodeId) -> DfsError | None:
        """Why it failed us lately, if it did."""
        self._forget()
        with self._lock:
            found = self._failures.get(node)
            return found[2] if found else None

    def failures(self) -> dict[NodeId, int]:
        """How often each node failed us lately."""
        self._forget()
        with self._lock:
            return {node: count for node, (count, _at, _why) in self._failures.items()}

    def load(self) -> dict[NodeId, int]:
        """How many transfers we have at each node."""
        with self._lock:
            return dict(self._load)

    @contextlib.contextmanager
    def busy(self, node: NodeId) -> Iterator[None]:
        """One more transfer at that node, for the time of the `with` block."""
        with self._lock:
            self._load[node] += 1
        try:
            yield
        finally:
            with self._lock:
                self._load[node] -= 1
                if not self._load[node]:
                    del self._load[node]

    def _forget(self) -> None:
        oldest_s = self._clock.monotonic_s() - self._forget_after_s
        with self._lock:
            for node in [n for n, (_c, at_s, _w) in self._failures.items() if at_s <= oldest_s]:
                del self._failures[node]
