"""What moves through the block service: counted for `/metrics`, `/health` and the beats."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

from dfs.base.errors import DfsError
from dfs.observe.metrics import Metrics


class Traffic:
    """Calls under way and bytes moved.  Safe to share between threads."""

    def __init__(self, metrics: Metrics) -> None:
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()
        self._calls = metrics.counter(
            "dfs_datanode_calls", "Calls of the block service", ("call", "outcome")
        )
        moved = metrics.counter(
            "dfs_datanode_bytes", "Block bytes taken in, sent, lent as files", ("direction",)
        )
        self._in, self._out = moved.labels("in"), moved.labels("out")
        self._lent = moved.labels("lent")
        metrics.gauge(
            "dfs_datanode_calls_under_way", "Calls served now", lambda: float(self.total())
        )

    @contextlib.contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Count a call while it runs and by how it ended."""
        outcome = "failed"
        with self._lock:
            self._under_way[name] += 1
        try:
            yield
            outcome = "ok"
        except DfsError as err:
            outcome = err.code
            raise
        finally:
            with self._lock:
                self._under_way[name] -= 1
            self._calls.labels(name, outcome).inc()

    def received(self, count: int) -> None:
        """Bytes that came in."""
        self._in.inc(count)

    def sent(self, count: int) -> None:
        """Bytes that went out to a reader."""
        self._out.inc(count)

    def lent(self, count: int) -> None:
        """Bytes of a file that was lent to a reader of this computer."""
        self._lent.inc(count)

    def under_way(self) -> dict[str, int]:
        """Calls running now, by name."""
        with self._lock:
            return {name: count for name, count in self._under_way.items() if count}

    def total(self) -> int:
        """How many calls run now."""
        with self._lock:
            return sum(self._under_way.values())
