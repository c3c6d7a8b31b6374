"""Pure: whether a file may consist of the blocks its writer says it does.

A block is believed on two words that must agree: the writing client's (its truth) and, signed, that
of each DataNode which has it on disk.  Nothing here reads or writes the database; `blockmap.py`
says what was allocated and applies what was accepted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dfs.base.checksum import BLOCK_HASH_BYTES
from dfs.base.errors import BadRequest, PlacementRefused
from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.records import BlockName, BlockTruth, Receipt, WrittenBlock
from dfs.wire.tokens import KeyRing, receipt_holds


@dataclass(frozen=True, slots=True)
class AllocatedRow:
    """A block that was allocated and not committed yet."""

    name: BlockName
    length_max_bytes: int
    replication: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    """A block as it will be committed, and who holds it."""

    name: BlockName
    truth: BlockTruth
    replication: int
    created_ms: int
    holders: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """The blocks of one file, checked.

    Attributes:
        owed: copies fewer than asked for, over all blocks.
        leftover: allocated blocks of the file that are not part of it (replaced attempts, more than
            was needed); whoever applies the commit discards them.
    """

    blocks: tuple[CommittedBlock, ...]
    owed: int
    leftover: tuple[BlockId, ...]


def check_commit(
    allocated: Mapping[BlockId, AllocatedRow],
    written: Sequence[WrittenBlock],
    *,
    ring: KeyRing,
    min_acks: int,
    replication: int,
    check_signatures: bool,
    first_number: int = 0,
) -> Commit:
    """Whether a file may consist of these blocks.  Looks at nothing but its arguments.

    Args:
        allocated: what `allocated` says of the file.
        written: the file's blocks in order.
        min_acks: on how many nodes each block must be, by receipt.
        replication: on how many it should be.
        check_signatures: false only where block tokens are switched off.
        first_number: the part number that `written` begins with.

    Raises:
        BadRequest: a block was not allocated for this file, comes twice or out of order, or its
            truth cannot be.
        PlacementRefused: too few valid receipts; details name the block and what is wrong.
    """
    blocks = []
    for number, item in enumerate(written, first_number):
        row = allocated.get(item.truth.block)
        _check_block(item.truth, row, number)
        assert row is not None
        holders = _holders_by_receipt(item, ring, check_signatures=check_signatures)
        if len(holders) < min(min_acks, replication):
            raise _too_few(item, holders, min(min_acks, replication))
        blocks.append(CommittedBlock(row.name, item.truth, replication, row.created_ms, holders))
    kept = {block.name.block for block in blocks}
    return Commit(
        blocks=tuple(blocks),
        owed=sum(max(0, replication - len(block.holders)) for block in blocks),
        leftover=tuple(block for block in allocated if block not in kept),
    )


def _check_block(truth: BlockTruth, row: AllocatedRow | None, number: int) -> None:
    if row is None:
        raise BadRequest(f"block {truth.block} is not allocated for this file")
    if row.name.generation != truth.generation:
        raise BadRequest(f"block {truth.block} has generation {row.name.generation}")
    if row.name.number != number:
        raise BadRequest(
            f"block {truth.block} is part {row.name.number} of its file, given as part {number}"
        )
    if not 0 < truth.length_bytes <= row.length_max_bytes:
        raise BadRequest(
            f"block {truth.block} cannot have {truth.length_bytes} bytes:"
            f" it was allocated for 1 to {row.length_max_bytes}"
        )
    if len(truth.hash) != BLOCK_HASH_BYTES:
        raise BadRequest(f"block {truth.block}: a hash has {BLOCK_HASH_BYTES} bytes")


def _holders_by_receipt(
    item: WrittenBlock, ring: KeyRing, *, check_signatures: bool
) -> tuple[NodeId, ...]:
    """The nodes whose receipts say the truth of the block, each once."""
    valid = (
        receipt.node
        for receipt in item.receipts
        if _says(receipt, item.truth) and (not check_signatures or receipt_holds(receipt, ring))
    )
    return tuple(dict.fromkeys(valid))


def _says(receipt: Receipt, truth: BlockTruth) -> bool:
    said = BlockTruth(receipt.block, receipt.generation, receipt.length_bytes, receipt.hash)
    return said == truth


def _too_few(item: WrittenBlock, holders: tuple[NodeId, ...], needed: int) -> PlacementRefused:
    invalid = len({receipt.node for receipt in item.receipts} - set(holders))
    return PlacementRefused(
        f"block {item.truth.block} is on {len(holders)} DataNodes, {needed} needed"
        + (f" ({invalid} receipts do not hold)" if invalid else ""),
        hint="send the block again to other DataNodes",
        details={
            "block": item.truth.block,
            "holders": [node_name(node) for node in holders],
            "needed": needed,
            "invalid_receipts": invalid,
        },
    )
