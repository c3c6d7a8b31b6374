"""Rewrites some blocks into one pack: the steps of one, and what each leaves behind.

    1 what is in use is read, each stretch proven by its file's checksum or its block's hash
    2 a pack is begun (commit): a lease and a block that expiry takes away when nobody comes back
    3 its block is on every DataNode wanted, fsynced, by signed receipts
    4 one transaction: the block is believed, every extent points at it, what nothing points at
      any more becomes garbage, kept as long as anybody may hold a token to read it

Cut short before 4, files are where they were, after it where they are now.  4 looks again: a block
that is to have more copies by now, or of which nothing is left, is another matter for another
round.  A block is touched only while it has all its copies, good, and no bad one.
"""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection

from dfs.base import crashpoint
from dfs.base.errors import DfsError
from dfs.base.ids import BlockId, InodeId
from dfs.base.records import AllocatedBlock, WrittenBlock
from dfs.blocks.commit import Commit
from dfs.blocks.extent_moves import Move, Repointed, repoint, used_stretches
from dfs.blocks.history import BlockEvent, What, note
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import BlockHealth, KeptBlock, Standings, assess
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.upkeep.compaction_layout import (
    Segment,
    by_block,
    name_in_table,
    segments_of,
    table_of,
    what_fits,
)
from dfs.upkeep.compaction_plan import EXTENTS_MAX, PackPlan
from dfs.upkeep.compaction_reads import Proven, StretchReader
from dfs.upkeep.compaction_rows import copies_wanted, read_uses
from dfs.wire.pack_api import OpenedPack
from dfs.wire.packs import encode_table

ACTOR = "compaction"


class OwnPacks(Protocol):
    """Packs that DFS itself writes; `dfs.namespace.packing.Packing`."""

    def begin_own(self, txn: Txn, *, size_bytes: int, copies: int) -> OpenedPack:
        """A pack to write."""
        ...

    def close_own(self, txn: Txn, pack: OpenedPack, written: WrittenBlock) -> Commit:
        """Believe its block, in the transaction that points extents at it."""
        ...

    def abandon_own(self, txn: Txn, pack: OpenedPack) -> None:
        """Give it up."""
        ...


class BlockWriter(Protocol):
    """How the bytes reach DataNodes; `dfs.upkeep.block_upload.BlockUpload`."""

    def write(
        self, allocated: AllocatedBlock, path: str, content: bytes | bytearray, *, pack: bytes
    ) -> WrittenBlock:
        """Have the block on its targets; raises when none took it."""
        ...


PathsOf = Callable[[Connection, Collection[InodeId]], Mapping[InodeId, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RewriterParts:
    """What a `Rewriter` works with.

    Attributes:
        paths_of: the paths of files, for the pack's table of contents.
        why_wait: asked once more before the change; what it says gives the pack up.
        keep_ms: how long replicas of what becomes garbage stay.
    """

    writer: Writer
    reader: Reader
    packs: OwnPacks
    blocks: BlockWriter
    stretches: StretchReader
    standings: Callable[[], Standings]
    paths_of: PathsOf
    why_wait: Callable[[], str]
    keep_ms: int
    pack_bytes: int


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What came of a pack.

    Attributes:
        block: the new one; 0 when there is none, and `why` says why not.
        left_out: blocks that stay as they are, and why.
        won_bytes: how many fewer bytes one copy of everything takes.
    """

    block: int = 0
    why: str = ""
    left_out: Mapping[BlockId, str] = field(default_factory=dict)
    gone: tuple[BlockId, ...] = ()
    extents: int = 0
    moved_bytes: int = 0
    won_bytes: int = 0

    @property
    def done(self) -> bool:
        """Whether files lie in the new pack now."""
        return not self.why


@dataclass(frozen=True, slots=True)
class _Sources:
    """What is to be copied, and what stays."""

    kept: Mapping[BlockId, KeptBlock]
    segments: Mapping[BlockId, Sequence[Segment]]
    names: Mapping[InodeId, str]
    left_out: Mapping[BlockId, str]


class Rewriter:
    """See the module.  One pack at a time: its content is in memory."""

    def __init__(self, parts: RewriterParts) -> None:
        self._parts = parts

    def rewrite(self, plan: PackPlan) -> Rewritten:
        """Make one pack of those of the planned blocks that may still be touched.

        Raises:
            DfsError: what a DataNode or the metadata refused; files are where they were.
        """
        parts = self._parts
        sources = self._sources(plan)
        if not sources.segments:
            return Rewritten(why="nothing is left of it to rewrite", left_out=sources.left_out)
        proven = parts.stretches.read(sources.kept, sources.segments)
        left_out = {**sources.left_out, **proven.left_out}
        if not proven.segments:
            return Rewritten(why="no block of it could be read", left_out=left_out)
        crashpoint.reach("nn.compact.read")
        return self._write(plan, sources, proven, left_out)

    # ---- what is to be copied

    def _sources(self, plan: PackPlan) -> _Sources:
        at = self._parts.standings()
        with self._parts.reader.view() as connection:
            kept = read_kept(connection, plan.blocks)
            left_out = dict.fromkeys(set(plan.blocks) - kept.keys(), "it is not in use any more")
            for block, each in kept.items():
                if why := why_untouched(each, at, plan.copies):
                    left_out[block] = why
            going = [block for block in plan.blocks if block not in left_out]
            uses = read_uses(connection, going)
            if len(uses) > EXTENTS_MAX:
                why = f"more than {EXTENTS_MAX} stretches of files are in it by now"
                return _Sources({}, {}, {}, {**left_out, **dict.fromkeys(going, why)})
            segments = by_block(segments_of(uses))
            inodes = {each.named_for.inode for some in segments.values() for each in some}
            found = self._parts.paths_of(connection, inodes)
        names = {inode: name_in_table(found.get(inode, ""), inode) for inode in inodes}
        left_out |= {block: "no file has any of it" for block in going if block not in segments}
        left_out |= what_fits(segments, names, pack_bytes=self._parts.pack_bytes)
        fits = {block: some for block, some in segments.items() if block not in left_out}
        return _Sources(kept, fits, names, left_out)

    # ---- the new block

    def _write(
        self, plan: PackPlan, sources: _Sources, proven: Proven, left_out: Mapping[BlockId, str]
    ) -> Rewritten:
        parts, size_bytes = self._parts, len(proven.content)
        table = encode_table(table_of(proven.segments, proven.content, sources.names))
        pack = parts.writer.submit(
            lambda txn: parts.packs.begin_own(txn, size_bytes=size_bytes, copies=plan.copies)
        )
        crashpoint.reach("nn.compact.begun")
        try:
            written = parts.blocks.write(pack.block, "", proven.content, pack=table)
            crashpoint.reach("nn.compact.written")
            done = self._why_not(pack, written) or parts.writer.submit(
                lambda txn: self._commit(txn, pack, written, proven.segments, sources.kept)
            )
        except DfsError:
            self._abandon(pack)
            raise
        if isinstance(done, str):
            self._abandon(pack)
            return Rewritten(why=done, left_out=left_out)
        crashpoint.reach("nn.compact.committed")
        gone_bytes = sum(sources.kept[block].truth.length_bytes for block in done.garbage)
        return Rewritten(
            block=written.truth.block,
            left_out=left_out,
            gone=done.garbage,
            extents=done.extents,
            moved_bytes=size_bytes,
            won_bytes=gone_bytes - size_bytes,
        )

    def _why_not(self, pack: OpenedPack, written: WrittenBlock) -> str:
        """Why the pack is given up: the new block is kept as well as the old ones, or is none."""
        held = len({receipt.node for receipt in written.receipts})
        if held < pack.replication:
            return f"{held} of {pack.replication} DataNodes took the pack"
        return self._parts.why_wait()

    def _abandon(self, pack: OpenedPack) -> None:
        """Give it up at once; the lease's expiry does it where this cannot."""
        with contextlib.suppress(DfsError):
            self._parts.writer.submit(lambda txn: self._parts.packs.abandon_own(txn, pack))

    # ---- the change

    def _commit(
        self,
        txn: Txn,
        pack: OpenedPack,
        written: WrittenBlock,
        segments: Sequence[Segment],
        kept: Mapping[BlockId, KeptBlock],
    ) -> Repointed | str:
        """All of it, or why none of it."""
        blocks = sorted({segment.block for segment in segments})
        if why := _why_no_more(txn, blocks, segments, pack.replication):
            return why
        parts = self._parts
        to = parts.packs.close_own(txn, pack, written).blocks[0].truth
        done = repoint(txn, moves_of(segments, to.block), keep_ms=parts.keep_ms)
        crashpoint.reach("nn.compact.repointed")
        news = [
            BlockEvent(
                block,
                kept[block].truth.generation,
                What.REWRITTEN,
                actor=ACTOR,
                detail=f"into block {to.block}",
            )
            for block in done.garbage
        ]
        came = f"from {len(blocks)} blocks, {len(segments)} stretches"
        news.append(BlockEvent(to.block, to.generation, What.REWRITTEN, actor=ACTOR, detail=came))
        note(txn, news)
        return done


def _why_no_more(
    txn: Txn, blocks: Sequence[BlockId], segments: Sequence[Segment], copies: int
) -> str:
    """Why what was worth it when it was read is not any more, or ""."""
    if copies_wanted(txn.connection, blocks) > copies:
        return "more copies are wanted of some of it now"
    used = sum(each.length_bytes for each in used_stretches(txn.connection, blocks))
    if used * 2 < sum(segment.length_bytes for segment in segments):
        return "most of it was removed meanwhile"
    return ""


def why_untouched(block: KeptBlock, at: Standings, copies: int) -> str:
    """Pure: why a block is not rewritten now, or ""."""
    if block.wanted > copies:
        return f"{block.wanted} copies are wanted of it by now"
    found = assess(block, at)
    if found.bad or found.disputed:
        return "a copy of it is bad"
    if found.health not in (BlockHealth.HEALTHY, BlockHealth.EXCESS):
        return found.reason
    if len(found.sure) < block.wanted:
        return f"{len(found.sure)} of {block.wanted} copies are sure"
    return ""


def moves_of(segments: Sequence[Segment], to: BlockId) -> list[Move]:
    """Pure: where each segment goes, one after another without a gap."""
    moves, at = [], 0
    for segment in segments:
        moves.append(Move(segment.block, segment.offset, segment.length_bytes, to, at))
        at += segment.length_bytes
    return moves
