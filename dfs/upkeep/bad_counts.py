"""What became of blocks that have a bad copy: rows, judged by `redundancy.assess`."""

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import Connection, func, select

from dfs.base.ids import BlockId
from dfs.base.states import ReplicaState
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import UNREADABLE, Standings, assess
from dfs.meta.tables import REPLICA
from dfs.wire.scrub_api import BadBlocks

BAD_BLOCKS_MAX: Final = 100_000  # assessed at once; beyond that the figures are a floor
# What does not read back, and what reads back as other bytes than were written.
_BAD: Final = (ReplicaState.CORRUPT, ReplicaState.DISPUTED)


def count_bad_blocks(
    connection: Connection, at: Standings, *, leave_out: Collection[BlockId]
) -> BadBlocks:
    """What became of the blocks that have a copy known to be bad."""
    wanted = (
        select(REPLICA.c.block).where(REPLICA.c.state.in_(_BAD)).distinct().limit(BAD_BLOCKS_MAX)
    )
    blocks = set(connection.execute(wanted).scalars()) - set(leave_out)
    bad = healed = lost = 0
    for kept in read_kept(connection, blocks).values():
        assessment = assess(kept, at)
        bad += 1
        lost += assessment.health in UNREADABLE
        healed += len(assessment.counting) >= kept.wanted
    return BadBlocks(bad=bad, healed=healed, healing=bad - healed - lost, lost=lost)


def count_bad_copies(connection: Connection) -> Mapping[int, int]:
    """How many copies of each node are known to be bad."""
    counted = connection.execute(
        select(REPLICA.c.node, func.count())
        .where(REPLICA.c.state.in_(_BAD))
        .group_by(REPLICA.c.node)
    )
    return {node: count for node, count in counted}  # noqa: C416 - rows are no pairs to mypy
