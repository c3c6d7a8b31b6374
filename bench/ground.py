"""What the workloads stand on: folders, a cluster, the files that are moved, the figures.

Everything is made when the first workload needs it and gone with the run.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from bench import disk
from bench.clusters import a_cluster
from bench.commands import program, run, settle
from bench.figures import Figures
from dfs.base.units import GiB, KiB, MiB, format_size
from dfs.client import DfsClient, connect
from dfs.local.cluster import LocalCluster

DATANODES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything."""

    rounds: int = 3
    large_bytes: int = GiB
    memory_bytes: int = 4 * GiB
    folders: int = 50
    files_each: int = 100
    file_bytes: int = 8 * KiB
    seconds: float = 3.0  # of requests, each round
    batches: int = 10  # of 1,000 creates, each round
    repair_bytes: int = GiB
    scrub_bytes: int = 2 * GiB
    wide_entries: int = 100_000
    idle_clients: int = 1_000
    transfers: int = 64
    transfer_bytes: int = 16 * MiB

    def words(self) -> str:
        """As the title of a table says it."""
        return (
            f"{format_size(self.large_bytes)} file; {self.folders * self.files_each:,} files of"
            f" {format_size(self.file_bytes)}; {DATANODES} DataNodes, 2 copies;"
            f" {os.cpu_count()} cores"
        )


QUICK = Sizes(
    rounds=1,
    large_bytes=32 * MiB,
    memory_bytes=64 * MiB,
    folders=5,
    files_each=20,
    seconds=0.5,
    batches=1,
    repair_bytes=16 * MiB,
    scrub_bytes=32 * MiB,
    wide_entries=2_000,
    idle_clients=20,
    transfers=4,
    transfer_bytes=MiB,
)


class Ground:
    """See the module.

    Args:
        folder: on the disk that is measured; made, and removed at the end.
        memory: a tmpfs; where what is read goes, in a folder of its own.
    """

    def __init__(self, folder: Path, *, memory: Path, sizes: Sizes) -> None:
        self.folder = folder
        self.sizes = sizes
        self.figures = Figures()
        self._memory = memory
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / "source").mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def cluster(self) -> LocalCluster:
        """Three DataNodes on this disk."""
        return self._stack.enter_context(a_cluster(self.folder / "cluster", datanodes=DATANODES))

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """What points `dfs` at it."""
        return {**os.environ, **self.cluster.variables()}

    @cached_property
    def client(self) -> DfsClient:
        """The library, at it."""
        made = connect(config=self.cluster.config(), environment=self.environment)
        return self._stack.enter_context(made)

    @cached_property
    def large(self) -> Path:
        """The large file."""
        return self.file("large", self.sizes.large_bytes)

    @cached_property
    def tree(self) -> Path:
        """The folder of small files."""
        root = self.folder / "source" / "tree"
        disk.make_tree(
            root, self.sizes.folders, self.sizes.files_each, file_bytes=self.sizes.file_bytes
        )
        return root

    def file(self, name: str, size_bytes: int) -> Path:
        """A file of random bytes among the sources."""
        path = self.folder / "source" / name
        disk.make_large(path, size_bytes)
        return path

    @contextmanager
    def out(self) -> Iterator[Path]:
        """A new folder on the disk, gone after the block."""
        path = Path(tempfile.mkdtemp(prefix="out-", dir=self.folder))
        yield path
        shutil.rmtree(path)

    @contextmanager
    def memory(self) -> Iterator[Path]:
        """A new folder in memory, gone after the block."""
        path = Path(tempfile.mkdtemp(prefix="dfs-bench-", dir=self._memory))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def time(self, name: str, action: Callable[[], None]) -> None:
        """One round of an action, begun with nothing left to be written."""
        settle()
        with self.figures.series(name).timed():
            action()

    def time_command(self, name: str, *words: str) -> None:
        """One round of a command."""
        self.time(name, lambda: run(words))

    def time_dfs(
        self, name: str, words: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        """One round of a `dfs` command as a person types it, its start included."""
        given = environment or self.environment
        command = [*program(), *words]
        self.time(name, lambda: run(command, given))

    def dfs(self, *words: str) -> None:
        """A `dfs` command that is not measured."""
        run([*program(), *words], self.environment)
