"""Rows of strays: block files on DataNodes that are no copy of what the NameNode knows."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select, tuple_

from dfs.base.ids import BlockId, Generation, InodeId, NodeId
from dfs.base.records import BlockName
from dfs.blocks.lost_ids import read_lost_ids
from dfs.blocks.replica_rows import chunks
from dfs.blocks.strays import Frontier, Stray, StrayKey, StrayKind
from dfs.meta.cluster_tables import SEQUENCE
from dfs.meta.tables import STRAY
from dfs.meta.txn import Txn

_KINDS: Final = {kind.value: kind for kind in StrayKind}


@dataclass(frozen=True, slots=True)
class StrayPlace:
    """Where a walk over all strays has come; the first is before every other."""

    node: NodeId = NodeId(0)
    block: BlockId = BlockId(0)
    generation: Generation = Generation(0)


def read_frontier(connection: Connection) -> Frontier:
    """Where the numbers end that were handed out."""
    wanted = select(SEQUENCE.c.name, SEQUENCE.c.next).where(
        SEQUENCE.c.name.in_(("block", "generation"))
    )
    following = {row.name: row.next for row in connection.execute(wanted)}
    lost = read_lost_ids(connection)
    return Frontier(
        BlockId(following.get("block", 1)),
        Generation(following.get("generation", 1)),
        lost.blocks,
        lost.generations,
    )


def read_strays(
    connection: Connection, node: NodeId, blocks: Collection[BlockId]
) -> dict[StrayKey, Stray]:
    """The strays known on that node that have those blocks' ids."""
    some = select(STRAY.c.block).where(STRAY.c.node == node).limit(1)
    if connection.execute(some).scalar() is None:
        return {}
    found: dict[StrayKey, Stray] = {}
    for chunk in chunks(blocks):
        wanted = select(STRAY).where(STRAY.c.node == node, STRAY.c.block.in_(chunk))
        for row in connection.execute(wanted):
            stray = _stray(row)
            found[stray.key] = stray
    return found


def page_of_strays(connection: Connection, *, after: StrayPlace, limit: int) -> list[Stray]:
    """Strays of every node in the order of (node, block, generation)."""
    place = tuple_(STRAY.c.node, STRAY.c.block, STRAY.c.generation)
    wanted = select(STRAY).where(place > (after.node, after.block, after.generation))
    ordered = wanted.order_by(STRAY.c.node, STRAY.c.block, STRAY.c.generation).limit(limit)
    return [_stray(row) for row in connection.execute(ordered)]


def page_of_node(
    connection: Connection, node: NodeId, *, after: StrayPlace, limit: int
) -> list[Stray]:
    """The same of one node."""
    place = tuple_(STRAY.c.block, STRAY.c.generation)
    wanted = select(STRAY).where(STRAY.c.node == node, place > (after.block, after.generation))
    ordered = wanted.order_by(STRAY.c.block, STRAY.c.generation).limit(limit)
    return [_stray(row) for row in connection.execute(ordered)]


def put_strays(txn: Txn, changes: Mapping[tuple[NodeId, StrayKey], Stray | None]) -> None:
    """Write down what is known of strays now (soft); None takes the row away."""
    txn.put_soft(STRAY, *(_image(stray) for stray in changes.values() if stray is not None))
    drop_strays(txn, (key for key, stray in changes.items() if stray is None))


def drop_strays(txn: Txn, keys: Iterable[tuple[NodeId, StrayKey]]) -> None:
    """They are gone (soft)."""
    txn.drop_soft(STRAY, *((node, key.block, key.generation) for node, key in keys))


@dataclass(frozen=True, slots=True)
class StrayTotal:
    """So many strays of a kind, of so many bytes, on all nodes."""

    count: int = 0
    size_bytes: int = 0


def count_strays(connection: Connection) -> dict[StrayKind, StrayTotal]:
    """What strays of each kind are known."""
    wanted = select(STRAY.c.kind, func.count(), func.sum(STRAY.c.length_bytes))
    rows = connection.execute(wanted.group_by(STRAY.c.kind))
    totals = {_KINDS[kind]: StrayTotal(count, int(size)) for kind, count, size in rows}
    return {kind: totals.get(kind, StrayTotal()) for kind in StrayKind}


def drop_strays_of_strangers(txn: Txn, known: frozenset[NodeId]) -> int:
    """Forget strays on nodes that were removed; how many nodes had some."""
    nodes = set(txn.connection.execute(select(STRAY.c.node).distinct()).scalars()) - known
    for node in sorted(nodes):
        keys = select(STRAY.c.block, STRAY.c.generation).where(STRAY.c.node == node)
        rows = txn.connection.execute(keys).all()
        txn.drop_soft(STRAY, *((node, block, generation) for block, generation in rows))
    return len(nodes)


def _stray(row: Row[Any]) -> Stray:
    return Stray(
        node=NodeId(row.node),
        name=BlockName(
            InodeId(row.file), row.number, BlockId(row.block), Generation(row.generation)
        ),
        length_bytes=row.length_bytes,
        kind=_KINDS[row.kind],
        first_ms=row.first_ms,
        last_ms=row.last_ms,
        sightings=row.sightings,
    )


def _image(stray: Stray) -> dict[str, Any]:
    return {
        "node": stray.node,
        "block": stray.name.block,
        "generation": stray.name.generation,
        "file": stray.name.file,
        "number": stray.name.number,
        "length_bytes": stray.length_bytes,
        "kind": stray.kind,
        "first_ms": stray.first_ms,
        "last_ms": stray.last_ms,
        "sightings": stray.sightings,
    }
