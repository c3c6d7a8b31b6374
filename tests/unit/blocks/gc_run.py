"""Collects one garbage block on two obedient nodes to the end: `python -m ... DATABASE`.

Run as a process of its own by `test_gc_crashes.py`, armed to end at a crash point.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from dfs.base import crashpoint
from dfs.base.clock import SystemClock
from tests.metadata_rig import MetadataRig
from tests.unit.blocks.stock_rig import StockRig, an_entry


@contextlib.contextmanager
def opened(database: Path) -> Iterator[StockRig]:
    """A NameNode's knowledge, as one run of it has it."""
    metadata = MetadataRig(database.parent, clock=SystemClock())
    yield StockRig(metadata.writer, metadata.reader, SystemClock())
    metadata.close()


def collect(rig: StockRig, disks: Path) -> None:
    """What a NameNode and its nodes do; a node's disk is a folder with a file for each block."""
    nodes = [view.node for view in rig.registry.views()]
    for node in nodes:
        rig.register(node)
        held = sorted(int(file.name) for file in (disks / str(node)).iterdir())
        rig.full(node, *(an_entry(block) for block in held))
    for _ in range(4):
        rig.collect()
        for node in nodes:
            done = []
            for command in rig.beat(node):
                assert command.block is not None
                (disks / str(node) / str(command.block.block)).unlink(missing_ok=True)
                done.append(command.command)
            rig.beat(node, done)


if __name__ == "__main__":
    crashpoint.arm(os.environ)
    with opened(Path(sys.argv[1])) as opened_rig:
        collect(opened_rig, Path(sys.argv[2]))
