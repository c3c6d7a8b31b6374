"""The map of blocks: allocate, commit, discard, locate.

Owns the rows of `block` and `replica`, and puts rows into `gc_queue`; `gc.py` takes them out.  A
block's truth (generation, length, hash) is written once, at commit, on the word of the writing
client and the signed receipts of the DataNodes that hold it.  Everything takes many blocks in one
call.  Which file a block belongs to now is the namespace's business (extents), not ours: `file` in
a block is the folder of its name on the disks.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select, text

from dfs.base import crashpoint
from dfs.base.entropy import Random
from dfs.base.errors import PlacementRefused
from dfs.base.ids import BlockId, Generation, InodeId, NodeId, node_name
from dfs.base.records import (
    BlockName,
    BlockTruth,
    Holder,
    NodeAddress,
    NodeView,
    Refusal,
)
from dfs.base.states import BlockState, NodeState, ReplicaState
from dfs.base.units import format_size
from dfs.blocks.commit import AllocatedRow, Commit, check_commit
from dfs.blocks.placement import Placement, PlacementRound
from dfs.blocks.promises import Promises
from dfs.blocks.replica_rows import block_name, read_blocks, referenced, replicas_of
from dfs.meta.prepared import ByKeys
from dfs.meta.tables import BLOCK, GC_QUEUE, REPLICA
from dfs.meta.txn import Txn

__all__ = [
    "AllocatedRow",
    "BlockWish",
    "Commit",
    "LocatedBlock",
    "NewBlock",
    "allocate",
    "allocated",
    "apply_commits",
    "check_commit",
    "discard",
    "locate",
    "placement_refused",
    "raise_replication",
    "unreferenced",
]

# Written out, not bound: SQLite uses a partial index only for a condition it can read.
_UNWRITTEN: Final = text("block.state = 'allocated'")
_ALLOCATED: Final = ByKeys(
    select(
        BLOCK.c.file,
        BLOCK.c.number,
        BLOCK.c.id,
        BLOCK.c.generation,
        BLOCK.c.length_bytes,
        BLOCK.c.replication,
        BLOCK.c.created_ms,
    ).where(_UNWRITTEN),
    BLOCK.c.file,
)
_REPLICA_ORDER: Final[Mapping[str, int]] = {
    ReplicaState.LIVE: 0,
    ReplicaState.FAILING: 1,
    ReplicaState.SUSPECT: 2,
    ReplicaState.RETIRING: 3,
    ReplicaState.MISSING: 4,
    ReplicaState.DISPUTED: 5,
    ReplicaState.CORRUPT: 6,
}
_NODE_ORDER: Final[Mapping[NodeState, int]] = {
    NodeState.LIVE: 0,
    NodeState.JOINED: 1,
    NodeState.STALE: 2,
    NodeState.DEAD: 3,
}


@dataclass(frozen=True, slots=True)
class BlockWish:
    """A block to allocate: part `number` of `file`, on `copies` nodes, none in `exclude`."""

    file: InodeId
    number: int
    length_max_bytes: int
    copies: int
    exclude: frozenset[NodeId] = frozenset()


@dataclass(frozen=True, slots=True)
class NewBlock:
    """A block that may be written now, on those targets."""

    name: BlockName
    length_max_bytes: int
    targets: tuple[NodeAddress, ...]
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class LocatedBlock:
    """A block, the truth about it, and its holders: the best first."""

    truth: BlockTruth
    name: BlockName
    holders: tuple[Holder, ...]


# ---- allocate


def allocate(
    txn: Txn,
    wishes: Sequence[BlockWish],
    *,
    nodes: Sequence[NodeView],
    rng: Random,
    promises: Promises | None = None,
) -> list[NewBlock]:
    """Give every wish a block with fresh ids and the targets to write it to, in the same order.

    Args:
        nodes: every DataNode, as of now.
        promises: what earlier calls promised; without it this call knows only of its own.  What is
            promised here stays so when the transaction is undone: until the next beats only.

    Raises:
        PlacementRefused: a block found no target at all; details list every node with its reason.
    """
    if not wishes:
        return []
    promises = promises or Promises()
    placing = PlacementRound(nodes, promises.outstanding(nodes))
    placements = [_place(wish, placing, rng) for wish in wishes]
    first_block = txn.take("block", len(wishes))
    first_generation = txn.take("generation", len(wishes))
    names = [
        BlockName(
            wish.file, wish.number, BlockId(first_block + i), Generation(first_generation + i)
        )
        for i, wish in enumerate(wishes)
    ]
    txn.put(
        BLOCK,
        *(
            _block_row(
                name,
                state=BlockState.ALLOCATED,
                length_bytes=wish.length_max_bytes,
                digest=b"",
                replication=wish.copies,
                created_ms=txn.now_ms,
                acked="",
            )
            for name, wish in zip(names, wishes, strict=True)
        ),
    )
    crashpoint.reach("nn.allocate.put")
    new = []
    for name, wish, placement in zip(names, wishes, placements, strict=True):
        for view in placement.targets:
            promises.add(view.node, wish.length_max_bytes)
        targets = tuple(view.address for view in placement.targets)
        new.append(NewBlock(name, wish.length_max_bytes, targets, placement.refusals))
    return new


def _place(wish: BlockWish, placing: PlacementRound, rng: Random) -> Placement:
    placement = placing.choose(
        size_bytes=wish.length_max_bytes, copies=wish.copies, exclude=wish.exclude, rng=rng
    )
    if placement.targets:
        return placement
    raise placement_refused(wish.length_max_bytes, placement.refusals)


def placement_refused(size_bytes: int, refusals: Sequence[Refusal]) -> PlacementRefused:
    """The error that names every node with its reason."""
    if not refusals:
        return PlacementRefused(
            "no DataNode has joined yet", hint="start one: docs/configure.md, dfs-datanode serve"
        )
    why = "; ".join(f"{node_name(refusal.node)}: {refusal.reason}" for refusal in refusals)
    return PlacementRefused(
        f"no DataNode can take a block of {format_size(size_bytes)}: {why}",
        details={"nodes": {node_name(refusal.node): refusal.reason for refusal in refusals}},
    )


def allocated(txn: Txn, files: Sequence[InodeId]) -> dict[InodeId, dict[BlockId, AllocatedRow]]:
    """The blocks allocated for those files and not committed; every file asked for has an entry."""
    found: dict[InodeId, dict[BlockId, AllocatedRow]] = {file: {} for file in files}
    for file, number, block, generation, *rest in _ALLOCATED.run(txn.connection, files):
        name = BlockName(file, number, block, generation)
        found[name.file][name.block] = AllocatedRow(name, *rest)
    return found


# ---- commit


def apply_commits(txn: Txn, commits: Iterable[Commit]) -> None:
    """Write down the truth of the blocks and who holds them."""
    blocks = [block for commit in commits for block in commit.blocks]
    txn.put(
        BLOCK,
        *(
            _block_row(
                block.name,
                state=BlockState.COMMITTED,
                length_bytes=block.truth.length_bytes,
                digest=block.truth.hash,
                replication=block.replication,
                created_ms=block.created_ms,
                acked=",".join(str(node) for node in block.holders),
            )
            for block in blocks
        ),
    )
    txn.put(
        REPLICA,
        *(
            {
                "block": block.truth.block,
                "node": node,
                "generation": block.truth.generation,
                "state": ReplicaState.LIVE,
                "verified_ms": txn.now_ms,
            }
            for block in blocks
            for node in block.holders
        ),
    )


# ---- discard


def unreferenced(txn: Txn, blocks: Collection[BlockId]) -> set[BlockId]:
    """Those of the blocks that no extent points at, live or retained."""
    return set(blocks) - referenced(txn.connection, blocks)


def discard(txn: Txn, blocks: Collection[BlockId], *, reason: str, not_before_ms: int) -> int:
    """Declare blocks garbage and queue their replicas for deletion; how many were not so before.

    A block that an extent points at is never discarded: asking for it is a bug of the caller.

    Args:
        reason: for the queue and the logs, at most 64 characters.
        not_before_ms: no replica is deleted earlier.
    """
    in_use = referenced(txn.connection, blocks)
    assert not in_use, f"blocks in use cannot be discarded: {sorted(in_use)[:10]}"
    garbage = [
        row._asdict() | {"state": BlockState.GARBAGE}
        for row in read_blocks(txn.connection, blocks)
        if row.state != BlockState.GARBAGE
    ]
    txn.put(BLOCK, *garbage)
    txn.put(
        GC_QUEUE,
        *(
            {
                "block": row["id"],
                "generation": row["generation"],
                "not_before_ms": not_before_ms,
                "reason": reason[:64],
            }
            for row in garbage
        ),
    )
    return len(garbage)


def raise_replication(txn: Txn, blocks: Collection[BlockId], replication: int) -> int:
    """Want at least so many copies of each block; how many wanted fewer before.

    Never lowers: a block may be shared with a file that wants more.
    """
    low = [
        row._asdict() | {"replication": replication}
        for row in read_blocks(txn.connection, blocks)
        if row.replication < replication
    ]
    txn.put(BLOCK, *low)
    return len(low)


# ---- locate


def locate(
    connection: Connection, blocks: Collection[BlockId], nodes: Mapping[NodeId, NodeView]
) -> dict[BlockId, LocatedBlock]:
    """Where committed blocks are, the best holder first; a block without holders has none listed.

    Copies of another generation and those on nodes not in `nodes` are left out.
    """
    rows = {row.id: row for row in read_blocks(connection, blocks) if row.hash}
    holders: dict[int, list[Holder]] = {block: [] for block in rows}
    for block, node, generation, state, _ in replicas_of(connection, list(rows)):
        view = nodes.get(node)
        if view is not None and generation == rows[block].generation:
            holders[block].append(Holder(view.address, state, view.state))
    return {
        BlockId(block): LocatedBlock(
            BlockTruth(BlockId(block), Generation(row.generation), row.length_bytes, row.hash),
            block_name(row),
            tuple(sorted(holders[block], key=_holder_order)),
        )
        for block, row in rows.items()
    }


def _holder_order(holder: Holder) -> tuple[int, int, NodeId]:
    return _REPLICA_ORDER[holder.state], _NODE_ORDER[holder.node_state], holder.address.node


# ---- rows


def _block_row(
    name: BlockName,
    *,
    state: BlockState,
    length_bytes: int,
    digest: bytes,
    replication: int,
    created_ms: int,
    acked: str,
) -> dict[str, Any]:
    return {
        "id": name.block,
        "generation": name.generation,
        "length_bytes": length_bytes,
        "hash": digest,
        "state": state,
        "file": name.file,
        "number": name.number,
        "replication": replication,
        "created_ms": created_ms,
        "acked": acked,
    }
