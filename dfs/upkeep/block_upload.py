"""The NameNode as a writing client: one small block of its own, onto its targets."""

from collections.abc import Iterator

from dfs.base.errors import DfsError, PlacementRefused
from dfs.base.records import AllocatedBlock, WrittenBlock
from dfs.transfer.channels import Channels
from dfs.transfer.node_memory import NodeMemory
from dfs.transfer.write_pipeline import BlockSender, WriteMode


class BlockUpload:
    """Sends blocks.  Safe to share between threads."""

    def __init__(self, channels: Channels, memory: NodeMemory) -> None:
        self._channels = channels
        self._sender = BlockSender(channels, memory)

    def write(self, allocated: AllocatedBlock, path: str, content: bytes) -> WrittenBlock:
        """Have the block on its targets, or on those of them that take it.

        Raises:
            DfsError: none did; what the first one said.
        """
        outcome = self._sender.write(allocated, path, _Content(content), mode=WriteMode.FAN_OUT)
        if outcome.truth is None:
            raise _refusal(outcome.failed[0].error if outcome.failed else None)
        return WrittenBlock(outcome.truth, outcome.receipts)

    def close(self) -> None:
        """End every conversation."""
        self._channels.close()


def _refusal(first: DfsError | None) -> DfsError:
    return first or PlacementRefused("the block had no target")


class _Content:
    """A block's content in memory: one piece."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length_bytes: int | None = len(content)

    def pieces(self) -> Iterator[bytes]:
        """The content from the start."""
        yield self._content
