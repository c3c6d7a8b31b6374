"""What compaction reads of blocks and extents, and what it remembers of itself.

The look at all blocks is a walk by their ids, a stretch to a snapshot, through the extents' index
by block: it costs the writer nothing, and each step is bounded.  The job is one value of `setting`,
journaled; it says what an operator wants and what was done, never what is to do: a round that was
cut short is a round more.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Connection, case, func, select, text

from dfs.base.ids import BlockId, InodeId
from dfs.blocks.canary_blocks import canary_blocks
from dfs.blocks.replica_rows import chunks
from dfs.meta.tables import BLOCK, EXTENT, INODE
from dfs.meta.txn import Txn
from dfs.upkeep.compaction_layout import Use
from dfs.upkeep.compaction_plan import EXTENTS_MAX, Candidate
from dfs.upkeep.remembered import Key, put_value, read_value

_COMMITTED: Final = text("block.state = 'committed'")


class CompactionJob(msgspec.Struct, frozen=True, kw_only=True):
    """What compaction was told, and what it did since the cluster was made.

    Attributes:
        stopped_by: who had it stopped; "" while it may run.
        asked_ms: when somebody last wanted a round now, and `asked_by` who.
        began_ms, ended_ms: of the last round; one that was cut short ended before it began.
        why: how the last round ended, where it ended badly.
    """

    stopped_by: str = ""
    asked_by: str = ""
    asked_ms: int = 0
    began_ms: int = 0
    ended_ms: int = 0
    why: str = ""
    packs: int = 0
    blocks: int = 0
    extents: int = 0
    moved_bytes: int = 0
    won_bytes: int = 0
    failed: int = 0

    @property
    def is_asked(self) -> bool:
        """Whether a round is wanted now: asked for, or begun and not ended."""
        return max(self.asked_ms, self.began_ms) > self.ended_ms


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some committed blocks, by id; `upto` is the last, None when there was none."""

    upto: BlockId | None
    blocks: tuple[Candidate, ...]


def read_job(connection: Connection) -> CompactionJob:
    """What is remembered; a fresh one when there is nothing."""
    return read_value(connection, Key.COMPACTION, CompactionJob) or CompactionJob()


def put_job(txn: Txn, job: CompactionJob) -> None:
    """Remember it."""
    put_value(txn, Key.COMPACTION, job)


def newest_block(connection: Connection) -> BlockId:
    """The last block there is; 0 when there is none."""
    return BlockId(connection.execute(select(func.max(BLOCK.c.id))).scalar() or 0)


def look_on(
    connection: Connection, *, after: BlockId, upto: BlockId, length_max: int, limit: int
) -> Stretch:
    """What files have of the next so many committed blocks, no longer than that, canaries aside."""
    part = (
        select(BLOCK.c.id, BLOCK.c.length_bytes, BLOCK.c.replication, BLOCK.c.created_ms)
        .where(_COMMITTED, BLOCK.c.id > after, BLOCK.c.id <= upto)
        .order_by(BLOCK.c.id)
        .limit(limit)
    )
    rows = connection.execute(part).all()
    if not rows:
        return Stretch(None, ())
    own = canary_blocks(connection)
    used = _used(connection, after, BlockId(rows[-1].id), length_max)
    return Stretch(
        BlockId(rows[-1].id),
        tuple(
            Candidate(BlockId(row.id), row.length_bytes, row.replication, row.created_ms, *found)
            for row in rows
            if row.id not in own and (found := used.get(row.id)) is not None
        ),
    )


def _used(
    connection: Connection, after: BlockId, upto: BlockId, length_max: int
) -> dict[int, tuple[int, int, int, bool]]:
    """Of each block: bytes in use, in how many stretches, by how many extents, whether whole."""
    in_parts = case((INODE.c.size_bytes != EXTENT.c.length_bytes, 1), else_=0)
    distinct = (
        select(
            EXTENT.c.block,
            EXTENT.c.length_bytes,
            func.count().label("extents"),
            func.max(in_parts).label("in_parts"),
        )
        .select_from(BLOCK)
        .join(EXTENT, EXTENT.c.block == BLOCK.c.id)
        .join(INODE, INODE.c.id == EXTENT.c.inode)
        .where(_COMMITTED, BLOCK.c.id > after, BLOCK.c.id <= upto)
        .where(BLOCK.c.length_bytes <= length_max)
        .group_by(EXTENT.c.block, EXTENT.c.block_offset, EXTENT.c.length_bytes)
        .subquery()
    )
    wanted = select(
        distinct.c.block,
        func.sum(distinct.c.length_bytes),
        func.count(),
        func.sum(distinct.c.extents),
        func.max(distinct.c.in_parts),
    ).group_by(distinct.c.block)
    return {
        block: (used, stretches, extents, not in_parts)
        for block, used, stretches, extents, in_parts in connection.execute(wanted)
    }


def read_uses(connection: Connection, blocks: Collection[BlockId]) -> list[Use]:
    """What every file has of those blocks, living or kept for the past; more than EXTENTS_MAX is
    too much, and cut short.
    """
    found: list[Use] = []
    for part in chunks(blocks):
        wanted = (
            select(
                EXTENT.c.block,
                EXTENT.c.block_offset,
                EXTENT.c.length_bytes,
                EXTENT.c.inode,
                EXTENT.c.died_tx,
                INODE.c.size_bytes,
                INODE.c.checksum,
                INODE.c.mode,
                INODE.c.modified_ms,
            )
            .join(INODE, INODE.c.id == EXTENT.c.inode)
            .where(EXTENT.c.block.in_(part))
            .limit(EXTENTS_MAX + 1)
        )
        for row in connection.execute(wanted):
            alone = row.died_tx is None and row.size_bytes == row.length_bytes
            found.append(
                Use(
                    block=BlockId(row.block),
                    offset=row.block_offset,
                    length_bytes=row.length_bytes,
                    inode=InodeId(row.inode),
                    checksum=row.checksum if alone else b"",
                    mode=row.mode,
                    modified_ms=row.modified_ms,
                )
            )
    return found


def copies_wanted(connection: Connection, blocks: Collection[BlockId]) -> int:
    """How many copies the most demanding of those blocks should have."""
    wanted = [
        connection.execute(
            select(func.max(BLOCK.c.replication)).where(BLOCK.c.id.in_(part))
        ).scalar()
        for part in chunks(blocks)
    ]
    return max((copies or 0 for copies in wanted), default=0)
