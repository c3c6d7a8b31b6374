"""Pointing files at another block that holds the same bytes: how packs are rewritten.

The extents change in place: a file stays the same file, as it is and as it was, and only where its
bytes lie is another matter.  In the same transaction a block that nothing points at any more
becomes garbage.  Whoever asks for it has the new block committed in this transaction or before, and
has held what is in it against the files' checksums.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select

from dfs.base.ids import BlockId
from dfs.base.states import BlockState
from dfs.blocks.blockmap import discard, unreferenced
from dfs.blocks.replica_rows import chunks
from dfs.blocks.wanted_copies import refresh_wanted
from dfs.meta.tables import BLOCK, EXTENT
from dfs.meta.txn import Txn

GARBAGE_REASON: Final = "rewritten into another block"


@dataclass(frozen=True, slots=True)
class Move:
    """A stretch of a block, and where its bytes stand now."""

    block: BlockId
    offset: int
    length_bytes: int
    to_block: BlockId
    to_offset: int

    @property
    def end(self) -> int:
        """Where the stretch ends in the old block."""
        return self.offset + self.length_bytes


@dataclass(frozen=True, slots=True)
class UsedStretch:
    """A stretch that at least one file has of a block, living or kept for the past."""

    block: BlockId
    offset: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class Repointed:
    """What `repoint` did: how many extents it changed, and which blocks are garbage now."""

    extents: int
    garbage: tuple[BlockId, ...]


def used_stretches(connection: Connection, blocks: Collection[BlockId]) -> list[UsedStretch]:
    """Which stretches of those blocks files have, each once, by block and offset."""
    found: list[UsedStretch] = []
    for part in chunks(blocks):
        columns = EXTENT.c.block, EXTENT.c.block_offset, EXTENT.c.length_bytes
        wanted = select(*columns).where(EXTENT.c.block.in_(part)).distinct().order_by(*columns)
        found += (UsedStretch(*row) for row in connection.execute(wanted))
    return found


def repoint(txn: Txn, moves: Sequence[Move], *, keep_ms: int) -> Repointed:
    """Let every extent that lies within a moved stretch point at where its bytes stand now.

    Extents that lie within none, or came to be since the moves were planned, stay as they are, and
    so does their block.  Asking twice changes nothing the second time.

    Args:
        moves: stretches of one block do not overlap.
        keep_ms: how long replicas of what becomes garbage stay: the life of a token to read them.
    """
    _check_targets(txn, moves)
    sources = sorted({move.block for move in moves})
    by_block: dict[BlockId, list[Move]] = {block: [] for block in sources}
    for move in sorted(moves, key=lambda move: (move.block, move.offset)):
        by_block[move.block].append(move)
    images = []
    for part in chunks(sources):
        for row in txn.connection.execute(select(EXTENT).where(EXTENT.c.block.in_(part))):
            moved = _moved(row, by_block[row.block])
            if moved is not None:
                images.append(moved)
    txn.put_images(EXTENT, images)
    garbage = tuple(sorted(unreferenced(txn, sources)))
    discard(txn, garbage, reason=GARBAGE_REASON, not_before_ms=txn.now_ms + keep_ms)
    refresh_wanted(txn, {*sources, *(move.to_block for move in moves)} - set(garbage))
    return Repointed(len(images), garbage)


def _check_targets(txn: Txn, moves: Sequence[Move]) -> None:
    """A wrong move would lose content: the plan has a bug, and nothing of it is done."""
    lengths: dict[int, int] = {}
    for part in chunks({move.to_block for move in moves}):
        wanted = select(BLOCK.c.id, BLOCK.c.length_bytes).where(
            BLOCK.c.id.in_(part), BLOCK.c.state == BlockState.COMMITTED
        )
        lengths.update((block, length) for block, length in txn.connection.execute(wanted))
    for move in moves:
        assert move.to_block in lengths, f"block {move.to_block} is not committed"
        assert 0 <= move.to_offset <= lengths[move.to_block] - move.length_bytes, move
        assert move.block != move.to_block, move


def _moved(row: Any, moves: Sequence[Move]) -> tuple[Any, ...] | None:
    """The extent as it is afterwards, in the order of its columns."""
    place = bisect_right(moves, row.block_offset, key=lambda move: move.offset) - 1
    if place < 0 or row.block_offset + row.length_bytes > moves[place].end:
        return None
    move = moves[place]
    offset = move.to_offset + row.block_offset - move.offset
    return tuple({**row._mapping, "block": move.to_block, "block_offset": offset}.values())
