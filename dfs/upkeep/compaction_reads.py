"""Reads what is in use of some blocks, and believes none of it unproven.

Every piece matches the hash that came with it, which its DataNode has held against the disk.  On
top of that each stretch is held against its file's checksum, or the whole block against its hash,
so that what is copied is what was written, whatever happened to disks or memory since.  A copy that
fails this is doubted, and the next one is tried.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dfs.accounts.block_keys import BlockKeys
from dfs.base.checksum import BlockHasher
from dfs.base.errors import BlockCorrupt, BlockNotFound, DfsError, LengthMismatch, Stopping
from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.records import BlockName, NodeAddress
from dfs.blocks.redundancy import KeptBlock, Standings, assess
from dfs.transfer.block_channel import BlockAccess
from dfs.transfer.channels import Channels
from dfs.upkeep.compaction_layout import Segment
from dfs.upkeep.mini_client import USER
from dfs.wire.tokens import Mode

RANGES_MAX: Final = 1_024  # in one call
_DOUBTED: Final = (BlockCorrupt, BlockNotFound, LengthMismatch)


class Nodes(Protocol):
    """Where DataNodes are."""

    def address(self, node: NodeId) -> NodeAddress:
        """Raises NodeNotFound."""
        ...


class Doubts(Protocol):
    """Who is told of a copy that could not be read; `dfs.upkeep.executor.Executor`."""

    def doubt(self, name: BlockName, node: NodeId, *, actor: str, why: str) -> None:
        """It is suspect until its own node has looked."""
        ...


@dataclass(frozen=True, slots=True)
class Proven:
    """What was read: `content` is that of the segments, one after another."""

    segments: tuple[Segment, ...]
    content: bytearray
    left_out: Mapping[BlockId, str]


class StretchReader:
    """See the module."""

    def __init__(
        self,
        channels: Channels,
        keys: BlockKeys,
        *,
        nodes: Nodes,
        doubts: Doubts,
        standings: Callable[[], Standings],
    ) -> None:
        self._channels = channels
        self._keys = keys
        self._nodes = nodes
        self._doubts = doubts
        self._standings = standings

    def read(
        self, kept: Mapping[BlockId, KeptBlock], segments: Mapping[BlockId, Sequence[Segment]]
    ) -> Proven:
        """The content of those segments; blocks that nobody could prove are left out.

        Raises:
            Stopping: the NameNode ends.
        """
        content = bytearray()
        proven: list[Segment] = []
        left_out: dict[BlockId, str] = {}
        for block, some in segments.items():
            begins = len(content)
            why = self._read_block(kept[block], some, content)
            if why:
                del content[begins:]
                left_out[block] = why
            else:
                proven += some
        return Proven(tuple(proven), content, left_out)

    def close(self) -> None:
        """End what is under way."""
        self._channels.close()

    def _read_block(self, block: KeptBlock, segments: Sequence[Segment], content: bytearray) -> str:
        """Add what those segments hold, from the first copy that proves it; why not, or ""."""
        whole = any(not segment.checksums for segment in segments)
        read = self._read_whole if whole else self._read_segments
        why = "no copy of it can be read"
        begins = len(content)
        for node in assess(block, self._standings()).sure:
            del content[begins:]
            try:
                read(block, segments, content, self._nodes.address(node))
            except DfsError as err:
                if self._channels.closed:  # it is we who end, not that DataNode
                    raise Stopping("compaction was ended") from err
                why = f"{node_name(node)}: {err.message}"
                if isinstance(err, _DOUBTED):
                    self._doubts.doubt(block.name, node, actor="compaction", why=err.message)
            else:
                return ""
        return why

    def _read_segments(
        self,
        block: KeptBlock,
        segments: Sequence[Segment],
        content: bytearray,
        holder: NodeAddress,
    ) -> None:
        """The stretches alone, each held against the checksum of its file."""
        access = self._access(block)
        for start in range(0, len(segments), RANGES_MAX):
            some = segments[start : start + RANGES_MAX]
            ranges = [(each.offset, each.length_bytes) for each in some]
            at = len(content)
            with self._channels.to(holder) as channel:
                for _, piece in channel.download_ranges(access, ranges):
                    content += piece
            _check_segments(some, content, at)

    def _read_whole(
        self,
        block: KeptBlock,
        segments: Sequence[Segment],
        content: bytearray,
        holder: NodeAddress,
    ) -> None:
        """All of the block, held against its hash; what is not in use is not kept."""
        length_bytes = block.truth.length_bytes
        hasher, at = BlockHasher(), 0
        waiting = list(reversed(segments))
        with self._channels.to(holder) as channel:
            pieces = channel.download(self._access(block), offset=0, length_bytes=length_bytes)
            for piece in pieces:
                hasher.update(piece)
                _take(content, waiting, memoryview(piece), at)
                at += len(piece)
        if hasher.digest() != block.truth.hash:
            raise BlockCorrupt(f"block {block.truth.block} is not what was written")

    def _access(self, block: KeptBlock) -> BlockAccess:
        token = self._keys.mint(user=USER, mode=Mode.COPY, name=block.name, length_max=0, path="")
        return BlockAccess(block.name, "", token)


def _check_segments(segments: Sequence[Segment], content: bytearray, at: int) -> None:
    with memoryview(content) as view:
        for segment in segments:
            end = at + segment.length_bytes
            if not segment.is_proven_by(view[at:end]):
                raise BlockCorrupt(
                    f"bytes {segment.offset} to {segment.end} of block {segment.block} are not"
                    f" what inode {segment.named_for.inode} says they are"
                )
            at = end


def _take(content: bytearray, waiting: list[Segment], piece: memoryview, at: int) -> None:
    """Keep what of a piece that begins at `at` lies in a segment; `waiting` has the next last."""
    end = at + len(piece)
    while waiting and waiting[-1].offset < end:
        segment = waiting[-1]
        content += piece[max(segment.offset, at) - at : min(segment.end, end) - at]
        if segment.end > end:
            return
        waiting.pop()
