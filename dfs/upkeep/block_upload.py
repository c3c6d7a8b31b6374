"""The NameNode as a writing client: one block that is in memory, onto its targets."""

from collections.abc import Iterator

from dfs.base.checksum import Buffer
from dfs.base.errors import DfsError, PlacementRefused
from dfs.base.records import AllocatedBlock, WrittenBlock
from dfs.transfer.channels import Channels
from dfs.transfer.node_memory import NodeMemory
from dfs.transfer.write_pipeline import BlockSender, WriteMode
from dfs.wire.channel import PIECE_BYTES


class BlockUpload:
    """Sends blocks.  Safe to share between threads."""

    def __init__(self, channels: Channels, memory: NodeMemory) -> None:
        self._channels = channels
        self._sender = BlockSender(channels, memory)

    def write(
        self,
        allocated: AllocatedBlock,
        path: str,
        content: bytes | bytearray,
        *,
        pack: bytes = b"",
    ) -> WrittenBlock:
        """Have the block on its targets, or on those of them that take it.

        Args:
            pack: the table of contents, of a block that holds many files; such a one leaves here
                once, and the first target passes it on.

        Raises:
            DfsError: none did; what the first one said.
        """
        mode = WriteMode.PIPELINE if pack else WriteMode.FAN_OUT
        outcome = self._sender.write(allocated, path, _Content(content), mode=mode, pack=pack)
        if outcome.truth is None:
            raise _refusal(outcome.failed[0].error if outcome.failed else None)
        return WrittenBlock(outcome.truth, outcome.receipts)

    def close(self) -> None:
        """End every conversation."""
        self._channels.close()


def _refusal(first: DfsError | None) -> DfsError:
    return first or PlacementRefused("the block had no target")


class _Content:
    """A block's content in memory."""

    def __init__(self, content: bytes | bytearray) -> None:
        self._content = memoryview(content)
        self.length_bytes: int | None = len(content)

    def pieces(self) -> Iterator[Buffer]:
        """The content from the start."""
        for start in range(0, len(self._content), PIECE_BYTES):
            yield self._content[start : start + PIECE_BYTES]
