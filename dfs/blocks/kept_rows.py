"""Rows of committed blocks with every copy known of them, as values that `redundancy.py` judges.

Two ways in: `read_kept` for blocks that are named, and `page_of_unusual` for a walk over all of
them that passes those by in which nothing needs a thought.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    text,
)

from dfs.base.ids import BlockId, Generation, NodeId
from dfs.base.records import BlockTruth
from dfs.base.states import BlockState, ReplicaState
from dfs.blocks.redundancy import BlockCopy, KeptBlock, NodeWorth, Standings
from dfs.blocks.replica_rows import block_name, chunks
from dfs.meta.cluster_tables import NODE
from dfs.meta.tables import BLOCK, REPLICA

_STATES: Final = {state.value: state for state in ReplicaState}
_COMMITTED: Final = text("block.state = 'committed'")
_COUNTS: Final = (ReplicaState.LIVE, ReplicaState.SUSPECT)
_MAY_COUNT: Final = frozenset({NodeWorth.FULL, NodeWorth.AWAY, NodeWorth.SILENT})
_NOT_SIMPLE: Final = 1_000  # more copies than any block wants


class Unusual(msgspec.Struct, frozen=True):
    """A block that is not simply healthy.

    Blocks of one `shape` are judged alike at one moment: it has the wanted number, and node, state
    and generation (less the block's own) of every copy.
    """

    block: BlockId
    length_bytes: int
    shape: tuple[int, str]


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of the committed blocks, by id.

    Attributes:
        upto: the last block of the stretch; None when there was none.
        blocks: how many it holds, of `size_bytes` together.
    """

    upto: BlockId | None
    blocks: int
    size_bytes: int
    unusual: tuple[Unusual, ...]


def read_kept(connection: Connection, blocks: Collection[BlockId]) -> dict[BlockId, KeptBlock]:
    """Those of the blocks that are committed, with their copies."""
    found: dict[BlockId, KeptBlock] = {}
    for chunk in chunks(blocks):
        copies: dict[int, list[BlockCopy]] = defaultdict(list)
        for row in connection.execute(select(REPLICA).where(REPLICA.c.block.in_(chunk))):
            copies[row.block].append(_copy(row))
        wanted = select(BLOCK).where(BLOCK.c.id.in_(chunk), BLOCK.c.state == BlockState.COMMITTED)
        for row in connection.execute(wanted.order_by(BLOCK.c.id)):
            found[BlockId(row.id)] = _kept(row, copies[row.id])
    return found


def _kept(row: Row[Any], copies: list[BlockCopy]) -> KeptBlock:
    name = block_name(row)
    return KeptBlock(
        truth=BlockTruth(name.block, name.generation, row.length_bytes, row.hash),
        name=name,
        wanted=row.replication,
        created_ms=row.created_ms,
        copies=tuple(copies),
    )


def _copy(row: Row[Any]) -> BlockCopy:
    return BlockCopy(
        NodeId(row.node), Generation(row.generation), _STATES[row.state], row.verified_ms
    )


def page_of_unusual(connection: Connection, at: Standings, *, after: BlockId, limit: int) -> Page:
    """The next so many committed blocks, and which of them are not simply healthy.

    Simply healthy: as many live copies of the right generation on nodes in full service as are
    wanted, no other copy, and not all on one rack where there are several.
    """
    upto, blocks, size_bytes = _stretch(connection, after, limit)
    if upto is None:
        return Page(None, 0, 0, ())
    rows = connection.execute(_unusual(at, after, upto)).all()
    unusual = tuple(
        Unusual(block, length, (wanted, said or "")) for block, length, wanted, said in rows
    )
    return Page(BlockId(upto), blocks, size_bytes, unusual)


def page_of_short(
    connection: Connection, node: NodeId, at: Standings, *, after: BlockId, limit: int
) -> list[BlockId]:
    """The next so many committed blocks on that node which the others do not keep well enough.

    They do with as many copies that count as are wanted, one of them sure (`redundancy.py`).
    """
    other = REPLICA.alias("other")
    elsewhere = and_(
        other.c.block == REPLICA.c.block,
        other.c.generation == BLOCK.c.generation,
        other.c.node != node,
    )
    counted = sorted(_of_worth(at, _MAY_COUNT))
    counting = (
        select(func.count())
        .where(elsewhere, other.c.state.in_(_COUNTS), other.c.node.in_(counted))
        .scalar_subquery()
    )
    here = _of_worth(at, {NodeWorth.FULL}) & at.fresh
    sure = exists().where(
        elsewhere, other.c.state == ReplicaState.LIVE, other.c.node.in_(sorted(here))
    )
    wanted = (
        select(REPLICA.c.block)
        .join(BLOCK, BLOCK.c.id == REPLICA.c.block)
        .where(REPLICA.c.node == node, _COMMITTED, REPLICA.c.block > after)
        .where(or_(counting < BLOCK.c.replication, ~sure))
        .order_by(REPLICA.c.block)
        .limit(limit)
    )
    return [BlockId(block) for block in connection.execute(wanted).scalars()]


def _of_worth(at: Standings, wanted: Collection[NodeWorth]) -> frozenset[NodeId]:
    return frozenset(node for node, worth in at.worth.items() if worth in wanted)


def _stretch(connection: Connection, after: int, limit: int) -> tuple[int | None, int, int]:
    part = (
        select(BLOCK.c.id, BLOCK.c.length_bytes)
        .where(_COMMITTED, BLOCK.c.id > after)
        .order_by(BLOCK.c.id)
        .limit(limit)
        .subquery()
    )
    total = func.coalesce(func.sum(part.c.length_bytes), 0)
    found = connection.execute(select(func.max(part.c.id), func.count(), total)).one()
    return found[0], found[1], found[2]


def _unusual(at: Standings, after: int, upto: int) -> Select[Any]:
    odd = _odd(at, after, upto).subquery()
    said = (
        cast(REPLICA.c.node, String)
        + literal(".")
        + REPLICA.c.state
        + literal(".")
        + cast(REPLICA.c.generation - BLOCK.c.generation, String)
    )
    return (
        select(
            BLOCK.c.id,
            BLOCK.c.length_bytes,
            BLOCK.c.replication,
            func.aggregate_strings(said, " "),
        )
        .select_from(odd)
        .join(BLOCK, BLOCK.c.id == odd.c.id)
        .outerjoin(REPLICA, REPLICA.c.block == BLOCK.c.id)
        .group_by(BLOCK.c.id)
        .order_by(BLOCK.c.id)
    )


def _odd(at: Standings, after: int, upto: int) -> Select[Any]:
    """The blocks whose copies do not add up to what is wanted, each copy a plain good one."""
    full = [node for node, worth in at.worth.items() if worth is NodeWorth.FULL]
    plain = and_(
        REPLICA.c.state == ReplicaState.LIVE,
        REPLICA.c.generation == BLOCK.c.generation,
        REPLICA.c.node.in_(full),
    )
    total = func.sum(case((plain, 1), else_=_NOT_SIMPLE))
    stretch = and_(_COMMITTED, BLOCK.c.id > after, BLOCK.c.id <= upto)
    if len({at.racks[node] for node in full} | at.open_racks) > 1:
        return _odd_by_rack(total, stretch)
    # A look-up for each block costs half of a join with an aggregate.
    copies = (
        select(total)
        .select_from(REPLICA)
        .where(REPLICA.c.block == BLOCK.c.id)
        .correlate(BLOCK)
        .scalar_subquery()
    )
    return select(BLOCK.c.id).where(stretch, copies.is_distinct_from(BLOCK.c.replication))


def _odd_by_rack(total: Any, stretch: ColumnElement[bool]) -> Select[Any]:
    same_rack = and_(BLOCK.c.replication > 1, func.min(NODE.c.rack) == func.max(NODE.c.rack))
    return (
        select(BLOCK.c.id)
        .outerjoin(REPLICA, REPLICA.c.block == BLOCK.c.id)
        .outerjoin(NODE, NODE.c.id == REPLICA.c.node)
        .where(stretch)
        .group_by(BLOCK.c.id)
        .having(or_(total != BLOCK.c.replication, same_rack))
    )
