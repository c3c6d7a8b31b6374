"""Rows of blocks and replicas as stock intake and garbage collection need them."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, bindparam, exists, select, text, tuple_

from dfs.base.ids import BlockId, Generation, InodeId, NodeId
from dfs.base.records import BlockName
from dfs.base.states import BlockState, ReplicaState
from dfs.blocks.reconcile import Expected, Location
from dfs.meta.cluster_tables import NODE
from dfs.meta.prepared import ByKeys, Prepared
from dfs.meta.tables import BLOCK, EXTENT, GC_QUEUE, REPLICA
from dfs.meta.txn import Txn
from dfs.wire.stock_sums import Condition, StockSums

KEYS_PER_SELECT: Final = 500
_BLOCKS: Final = ByKeys(select(BLOCK), BLOCK.c.id)
_REPLICAS: Final = ByKeys(select(REPLICA), REPLICA.c.block)
_EXPECTED: Final = ByKeys(
    select(
        BLOCK.c.file,
        BLOCK.c.number,
        BLOCK.c.id,
        BLOCK.c.generation,
        BLOCK.c.state,
        BLOCK.c.length_bytes,
        BLOCK.c.hash,
    ),
    BLOCK.c.id,
)

# Looked up, not called: a full report asks for these ten thousand times a page.
_BLOCK_STATES: Final = {state.value: state for state in BlockState}
_REPLICA_STATES: Final = {state.value: state for state in ReplicaState}
_LOCATIONS: Final = select(
    REPLICA.c.block, REPLICA.c.generation, REPLICA.c.state, REPLICA.c.verified_ms
).where(REPLICA.c.node == bindparam("of_node"))
_LOCATIONS_OF: Final = ByKeys(_LOCATIONS, REPLICA.c.block)
_PAGE_OF: Final = Prepared(
    _LOCATIONS.where(REPLICA.c.block > bindparam("after"))
    .order_by(REPLICA.c.block)
    .limit(bindparam("rows_max"))
)

# Written out, not bound: SQLite uses a partial index only for a condition it can read.
_UNUSUAL: Final = text("replica.state != 'live'")
SUMMED_ROWS: Final = 20_000
# What a node would say of a copy that we have in that state; it does not know of our doubts.
_CONDITIONS: Final = {
    ReplicaState.LIVE.value: Condition.GOOD,
    ReplicaState.SUSPECT.value: Condition.GOOD,
    ReplicaState.RETIRING.value: Condition.GOOD,
    ReplicaState.FAILING.value: Condition.FAILING,
    ReplicaState.CORRUPT.value: Condition.BAD,
    ReplicaState.DISPUTED.value: Condition.UNSETTLED,
    ReplicaState.MISSING.value: Condition.UNSETTLED,
}
# Asks for the first extent of each block alone: a pack has thousands.
_IN_USE: Final = ByKeys(
    select(BLOCK.c.id).where(exists().where(EXTENT.c.block == BLOCK.c.id)), BLOCK.c.id
)
_SUMMED: Final = Prepared(
    select(
        BLOCK.c.file,
        BLOCK.c.number,
        REPLICA.c.block,
        REPLICA.c.generation,
        BLOCK.c.length_bytes,
        BLOCK.c.hash,
        REPLICA.c.state,
    )
    .join(BLOCK, BLOCK.c.id == REPLICA.c.block)
    .where(REPLICA.c.node == bindparam("of_node"), REPLICA.c.block > bindparam("after"))
    .order_by(REPLICA.c.block)
    .limit(bindparam("rows_max"))
)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a block on a node."""

    block: BlockId
    node: NodeId
    generation: Generation


@dataclass(frozen=True, slots=True)
class Garbage:
    """A block in the queue of those to delete, and where it is."""

    name: BlockName
    committed: bool  # whether it ever was
    reason: str
    copies: tuple[Copy, ...]


def chunks(keys: Iterable[int]) -> Iterator[list[int]]:
    """Keys without repeats, as many at a time as one statement takes."""
    listed = list(dict.fromkeys(keys))
    for start in range(0, len(listed), KEYS_PER_SELECT):
        yield listed[start : start + KEYS_PER_SELECT]


class BlockRecord(NamedTuple):
    """A row of `block`; see `BlockRow` for what is always true of it."""

    id: int
    generation: int
    length_bytes: int
    hash: bytes
    state: str
    file: int
    number: int
    replication: int
    created_ms: int
    acked: str


assert tuple(column.key for column in BLOCK.columns) == BlockRecord._fields


def read_blocks(connection: Connection, blocks: Collection[BlockId]) -> list[BlockRecord]:
    """The rows of those blocks."""
    return [BlockRecord(*row) for row in _BLOCKS.run(connection, list(blocks))]


def replicas_of(connection: Connection, blocks: Collection[int]) -> list[tuple[Any, ...]]:
    """The rows of those blocks' copies: block, node, generation, state, verified_ms."""
    return _REPLICAS.run(connection, list(blocks))


def block_name(row: Row[Any] | BlockRecord) -> BlockName:
    """The place on disk of a row of `block`."""
    return BlockName(InodeId(row.file), row.number, BlockId(row.id), Generation(row.generation))


def read_expected(connection: Connection, blocks: Collection[BlockId]) -> dict[BlockId, Expected]:
    """What is known of those blocks."""
    return to_expected(expected_rows(connection, blocks))


def expected_rows(connection: Connection, blocks: Collection[BlockId]) -> list[tuple[Any, ...]]:
    """As `read_expected`, but as the database has it: cheap to compare."""
    return _EXPECTED.run(connection, list(blocks))


def to_expected(rows: Iterable[tuple[Any, ...]]) -> dict[BlockId, Expected]:
    """What those rows say."""
    return {
        block: Expected(
            BlockName(file, number, block, generation), _BLOCK_STATES[state], length_bytes, digest
        )
        for file, number, block, generation, state, length_bytes, digest in rows
    }


def read_locations(
    connection: Connection, node: NodeId, blocks: Collection[BlockId]
) -> dict[BlockId, Location]:
    """What is known of that node's copies of those blocks."""
    return to_locations(location_rows(connection, node, blocks))


def location_rows(
    connection: Connection, node: NodeId, blocks: Collection[BlockId]
) -> list[tuple[Any, ...]]:
    """As `read_locations`, but as the database has it: cheap to compare."""
    return _LOCATIONS_OF.run(connection, list(blocks), of_node=node)


def page_of_node(
    connection: Connection, node: NodeId, *, after: int, limit: int
) -> dict[BlockId, Location]:
    """The copies that node should have, in the order of blocks, from after that block on."""
    return to_locations(_PAGE_OF.run(connection, of_node=node, after=after, rows_max=limit))


def sums_of_node(connection: Connection, node: NodeId) -> StockSums:
    """Sums over the copies that node should have: equal to its own when it holds exactly those."""
    found = StockSums()
    after = -1
    while rows := _SUMMED.run(connection, of_node=node, after=after, rows_max=SUMMED_ROWS):
        found.add(
            (file, number, block, generation, length_bytes, digest, _CONDITIONS[state])
            for file, number, block, generation, length_bytes, digest, state in rows
        )
        if len(rows) < SUMMED_ROWS:
            break
        after = rows[-1][2]
    return found


def to_locations(rows: Iterable[tuple[Any, ...]]) -> dict[BlockId, Location]:
    """What those rows say."""
    return {
        block: Location(generation, _REPLICA_STATES[state], verified_ms)
        for block, generation, state, verified_ms in rows
    }


def put_locations(txn: Txn, node: NodeId, locations: Mapping[BlockId, Location | None]) -> None:
    """Write down what is known of that node's copies now (soft); None takes the row away."""
    txn.put_soft(
        REPLICA,
        *(
            {
                "block": block,
                "node": node,
                "generation": location.generation,
                "state": location.state,
                "verified_ms": location.verified_ms,
            }
            for block, location in locations.items()
            if location is not None
        ),
    )
    gone = [block for block, location in locations.items() if location is None]
    txn.drop_soft(REPLICA, *((block, node) for block in gone))


def copies_in_state(
    connection: Connection, state: ReplicaState, *, after: tuple[int, int], limit: int
) -> list[Copy]:
    """Copies in a state other than live, by (block, node), from the one after `after`."""
    place = tuple_(REPLICA.c.block, REPLICA.c.node)
    wanted = select(REPLICA).where(_UNUSUAL, REPLICA.c.state == state, place > after)
    ordered = wanted.order_by(REPLICA.c.block, REPLICA.c.node).limit(limit)
    return [
        Copy(BlockId(row.block), NodeId(row.node), Generation(row.generation))
        for row in connection.execute(ordered)
    ]


# ---- garbage


def due_garbage(connection: Connection, *, now_ms: int, after: int, limit: int) -> list[Garbage]:
    """Queued blocks whose time has come, in the order of blocks, with their copies."""
    wanted = (
        select(BLOCK, GC_QUEUE.c.reason)
        .join(GC_QUEUE, GC_QUEUE.c.block == BLOCK.c.id)
        .where(
            GC_QUEUE.c.not_before_ms <= now_ms,
            GC_QUEUE.c.block > after,
            BLOCK.c.state == BlockState.GARBAGE,
        )
        .order_by(GC_QUEUE.c.block)
        .limit(limit)
    )
    rows = connection.execute(wanted).all()
    copies = read_copies(connection, [row.id for row in rows])
    return [
        Garbage(block_name(row), bool(row.hash), row.reason, tuple(copies.get(row.id, ())))
        for row in rows
    ]


def read_copies(connection: Connection, blocks: Collection[int]) -> dict[int, list[Copy]]:
    """Where those blocks are."""
    found: dict[int, list[Copy]] = {}
    for block, node, generation, _, _ in replicas_of(connection, blocks):
        copy = Copy(BlockId(block), NodeId(node), Generation(generation))
        found.setdefault(block, []).append(copy)
    return found


def referenced(connection: Connection, blocks: Collection[BlockId]) -> set[BlockId]:
    """Those of the blocks that an extent points at, live or retained."""
    return {block for (block,) in _IN_USE.run(connection, list(blocks))}


def drop_copies(txn: Txn, copies: Iterable[Copy]) -> int:
    """Forget copies that were deleted or went with their node, unless others took their place."""
    listed = list(copies)
    known = read_copies(txn.connection, [copy.block for copy in listed])
    gone = [copy for copy in listed if copy in known.get(copy.block, ())]
    txn.drop(REPLICA, *((copy.block, copy.node) for copy in gone))
    return len(gone)


def drop_blocks(txn: Txn, blocks: Collection[BlockId]) -> int:
    """Forget garbage that is nowhere any more; what is not garbage or still somewhere stays."""
    expected = read_expected(txn.connection, blocks)
    kept = set(read_copies(txn.connection, blocks)) | referenced(txn.connection, blocks)
    gone = [
        block
        for block, known in expected.items()
        if known.state is BlockState.GARBAGE and block not in kept
    ]
    txn.drop(BLOCK, *((block,) for block in gone))
    txn.drop(GC_QUEUE, *((block,) for block in gone))
    return len(gone)


def known_nodes(connection: Connection) -> frozenset[NodeId]:
    """Every node that was not removed."""
    return frozenset(NodeId(node) for node in connection.execute(select(NODE.c.id)).scalars())


def copies_on_strangers(
    connection: Connection, known: frozenset[NodeId], *, limit: int
) -> list[Copy]:
    """Copies on nodes that were removed; walks the nodes by index, not their copies."""
    found: list[Copy] = []
    node = 0
    while len(found) < limit:
        following = select(REPLICA.c.node).where(REPLICA.c.node > node)
        following = following.order_by(REPLICA.c.node).limit(1)
        node = connection.execute(following).scalar() or 0
        if not node:
            break
        if node not in known:
            left = select(REPLICA).where(REPLICA.c.node == node).limit(limit - len(found))
            found += [
                Copy(BlockId(row.block), NodeId(row.node), Generation(row.generation))
                for row in connection.execute(left)
            ]
    return found
