"""What lies on the disks of a cluster's DataNodes, held against what its metadata promises."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from dfs.base.errors import DfsError
from dfs.base.records import BlockName, BlockTruth
from dfs.base.states import BlockState
from dfs.blockstore.disk import Disk
from dfs.blockstore.layout import parse_block, parse_set_aside
from dfs.blockstore.reader import BlockFile
from dfs.meta.tables import BLOCK
from tests.cluster_rig import RigCluster, files_now

LOOKS = 8  # at a block without an intact copy, until it is believed


@dataclass(frozen=True)
class Lying:
    """A block file on a disk; `at` is blocks, quarantine or purge."""

    node: str
    name: BlockName
    path: Path
    at: str


def lying(cluster: RigCluster, *, purge: bool = False) -> Iterator[Lying]:
    """Every block file of every DataNode."""
    for node in cluster.datanodes:
        data = cluster.data(node)
        for path in files_now(data, "blocks/*/*/*"):
            name = parse_block(path.parent.parent.name, path.parent.name, path.name)
            if name is not None:
                yield Lying(node, name, path, "blocks")
        asides = files_now(data, "quarantine/*")
        asides += files_now(data, "purge/*/*") if purge else []
        for path in asides:
            aside = parse_set_aside(path.name)
            if aside is not None:
                at = "quarantine" if path.parent.name == "quarantine" else "purge"
                yield Lying(node, aside.name, path, at)


def is_intact(file: Lying, truth: BlockTruth) -> bool:
    """Whether its bytes are those that were written."""
    try:
        with BlockFile(file.path, file.name, disk=Disk()) as opened:
            opened.scan()
            return opened.truth == truth
    except (OSError, DfsError):
        return False


def truths(cluster: RigCluster) -> dict[int, tuple[BlockTruth, int]]:
    """Every committed block: what it is and how many copies it should have."""
    with cluster.metadata() as connection:
        rows = connection.execute(
            select(
                BLOCK.c.id,
                BLOCK.c.generation,
                BLOCK.c.length_bytes,
                BLOCK.c.hash,
                BLOCK.c.replication,
            ).where(BLOCK.c.state == BlockState.COMMITTED)
        ).all()
    return {row[0]: (BlockTruth(row[0], row[1], row[2], row[3]), row[4]) for row in rows}


def intact_copies(cluster: RigCluster, *, purge: bool = False) -> dict[int, list[Lying]]:
    """Every committed block and its intact files, wherever they lie."""
    known = truths(cluster)
    found: dict[int, list[Lying]] = {block: [] for block in known}
    for file in lying(cluster, purge=purge):
        if file.name.block in known and is_intact(file, known[file.name.block][0]):
            found[file.name.block].append(file)
    return found


def bereft(cluster: RigCluster) -> list[int]:
    """Committed blocks of which no disk has an intact copy, seen so more than once."""
    suspected: set[int] | None = None
    for _ in range(LOOKS):
        found = {block for block, files in intact_copies(cluster).items() if not files}
        suspected = found if suspected is None else suspected & found
        if not suspected:
            return []
        time.sleep(0.25)
    return sorted(suspected or ())
