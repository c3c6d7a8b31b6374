"""What became of blocks that have a bad copy: rows, judged by `redundancy.assess`."""

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import Connection, func, select

from dfs.base.ids import BlockId, Generation, NodeId
from dfs.base.records import BlockTruth
from dfs.base.states import BlockState, ReplicaState
from dfs.blocks.redundancy import UNREADABLE, BlockCopy, KeptBlock, Standings, assess
from dfs.blocks.replica_rows import block_name, chunks
from dfs.meta.tables import BLOCK, REPLICA
from dfs.wire.scrub_api import BadBlocks

BAD_BLOCKS_MAX: Final = 100_000  # assessed at once; beyond that the figures are a floor


def read_kept(connection: Connection, blocks: Collection[BlockId]) -> dict[BlockId, KeptBlock]:
    """Those of the blocks that are committed."""
    found: dict[BlockId, KeptBlock] = {}
    for chunk in chunks(blocks):
        copies = _copies(connection, chunk)
        committed = select(BLOCK).where(
            BLOCK.c.id.in_(chunk), BLOCK.c.state == BlockState.COMMITTED
        )
        for row in connection.execute(committed):
            name = block_name(row)
            found[name.block] = KeptBlock(
                truth=BlockTruth(name.block, name.generation, row.length_bytes, row.hash),
                name=name,
                wanted=row.replication,
                created_ms=row.created_ms,
                copies=tuple(copies.get(name.block, ())),
            )
    return found


def _copies(connection: Connection, blocks: Collection[int]) -> dict[BlockId, list[BlockCopy]]:
    found: dict[BlockId, list[BlockCopy]] = {}
    for row in connection.execute(select(REPLICA).where(REPLICA.c.block.in_(blocks))):
        copy = BlockCopy(
            NodeId(row.node), Generation(row.generation), ReplicaState(row.state), row.verified_ms
        )
        found.setdefault(BlockId(row.block), []).append(copy)
    return found


def count_bad_blocks(
    connection: Connection, at: Standings, *, leave_out: Collection[BlockId]
) -> BadBlocks:
    """What became of the blocks that have a copy known to be bad."""
    wanted = (
        select(REPLICA.c.block)
        .where(REPLICA.c.state == ReplicaState.CORRUPT)
        .distinct()
        .limit(BAD_BLOCKS_MAX)
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
        .where(REPLICA.c.state == ReplicaState.CORRUPT)
        .group_by(REPLICA.c.node)
    )
    return {node: count for node, count in counted}  # noqa: C416 - rows are no pairs to mypy
