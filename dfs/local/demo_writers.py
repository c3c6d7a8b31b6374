"""Writers in the background of the demo: what they were told is written, and how long they waited.

They write small files one after the other, and note a file once it was acknowledged.  Nothing here
knows of failover: a write that takes long is just a write that takes long.
"""

import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.errors import DfsError
from dfs.client import DfsClient

WRITERS: Final = 4
REST_S: Final = 0.02  # two cores run the whole cluster as well
BYTES: Final = range(100, 5_000)
COPIES: Final = 2


class Written(NamedTuple):
    """A file that was acknowledged: the SHA-256 of what was written, and when."""

    path: str
    digest: str
    began_s: float
    ended_s: float


class Writers:
    """See the module.  A context manager: they write until it is left.

    Args:
        folder: in DFS; the files go right below it.
    """

    def __init__(self, client: DfsClient, folder: str, *, clock: Clock) -> None:
        self._client = client
        self._folder = folder
        self._clock = clock
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(WRITERS, "demo-writer")
        self._running: list[Future[None]] = []
        self._written: list[Written] = []
        self.refused: list[str] = []

    def __enter__(self) -> "Writers":
        """They begin."""
        self._client.mkdir(self._folder)
        self._running = [self._pool.submit(self._write, number) for number in range(WRITERS)]
        return self

    def __exit__(self, *_why: object) -> None:
        """They end, each after the answer it waits for."""
        self.stop()

    def stop(self) -> None:
        """As leaving it does.

        Raises:
            Exception: a bug of ours in one of them.
        """
        self._stop.set()
        self._pool.shutdown()
        for each in self._running:
            each.result()

    def written(self) -> Sequence[Written]:
        """What was acknowledged by now."""
        return tuple(self._written)

    def since(self, moment_s: float) -> int:
        """How many writes began after that moment and were acknowledged."""
        return sum(each.began_s >= moment_s for each in self._written)

    def longest_wait_s(self, moment_s: float) -> float:
        """The longest that any write took of those that ended after that moment."""
        return max(
            (each.ended_s - each.began_s for each in self._written if each.ended_s >= moment_s),
            default=0.0,
        )

    def missing(self) -> tuple[int, list[str]]:
        """How many were acknowledged by now, and in words each that is not as it was written."""
        told = {each.path: each.digest for each in self.written()}
        words = []
        for path, data in self._client.read_many(list(told)):
            if isinstance(data, DfsError):
                words.append(f"{path}: {data.message}")
            elif hashlib.sha256(data).hexdigest() != told[path]:
                words.append(f"differs: {path}")
        return len(told), words

    def _write(self, number: int) -> None:
        rng = Random(number)
        count = 0
        while not self._stop.wait(REST_S):
            count += 1
            path, data = f"{self._folder}/{number}-{count}", rng.randbytes(rng.choice(BYTES))
            began_s = self._clock.monotonic_s()
            try:
                with self._client.open(path, "xb", replication=COPIES) as out:
                    out.write(data)
            except DfsError as exc:
                self.refused.append(f"{path}: {exc.message}")
                continue
            digest = hashlib.sha256(data).hexdigest()
            self._written.append(Written(path, digest, began_s, self._clock.monotonic_s()))
