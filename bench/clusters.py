"""The cluster that is measured: a local one, made for the run and ended with it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from bench.commands import end_in_order
from dfs.base.clock import SystemClock
from dfs.base.entropy import SystemRandom
from dfs.local.cluster import LocalCluster


@contextmanager
def a_cluster(folder: Path, *, datanodes: int, namenodes: int = 1) -> Iterator[LocalCluster]:
    """A local cluster that ends with the block."""
    end_in_order()
    console = Console(stderr=True)
    cluster = LocalCluster(
        folder,
        clock=SystemClock(),
        rng=SystemRandom(),
        environment=os.environ,
        say=lambda text: console.print(text, style="dim", markup=False),
    )
    try:
        cluster.up(datanodes=datanodes, namenodes=namenodes)
        yield cluster
    finally:
        cluster.down()
        cluster.close()
