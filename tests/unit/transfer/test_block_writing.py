"""Writing one block to DataNodes over real gRPC: pipeline and fan-out, and what fails."""

from collections.abc import Iterator

import pytest

from dfs.base.clock import SystemClock
from dfs.base.errors import (
    DiskFull,
    LocalIoError,
    PeerUnreachable,
    SourceChanged,
    Stopping,
    TokenRefused,
)
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import AllocatedBlock, BlockName
from dfs.transfer.block_channel import SourceIdle
from dfs.transfer.channels import Channels
from dfs.transfer.node_memory import NodeMemory
from dfs.transfer.ranges import pieces
from dfs.transfer.write_pipeline import BlockSender, WriteMode
from dfs.wire.channel import PIECE_BYTES
from tests.fake_datanode import FakeDataNode

NAME = BlockName(InodeId(5), 0, BlockId(6), Generation(7))
BOTH = pytest.mark.parametrize("mode", list(WriteMode))
CHUNK = 256 * 1024


class Source:
    """Bytes in memory; remembers how often it was read."""

    def __init__(self, data: bytes, *, fails_at: int | None = None, error=None) -> None:
        self._data = data
        self._fails_at = fails_at
        self._error = error
        self.readings = 0

    @property
    def length_bytes(self) -> int | None:
        return len(self._data)

    def pieces(self) -> Iterator[bytes]:
        self.readings += 1
        for offset, length in pieces(len(self._data), PIECE_BYTES):
            if self._fails_at is not None and offset >= self._fails_at:
                raise self._error
            yield self._data[offset : offset + length]


def pattern(length: int) -> bytes:
    return bytes(n % 251 for n in range(min(length, 4096))) * (length // 4096 + 1)


def some(length: int) -> bytes:
    return pattern(length)[:length]


def allocated(nodes: list[FakeDataNode]) -> AllocatedBlock:
    return AllocatedBlock(NAME, 1 << 30, tuple(node.address for node in nodes), b"token")


SIZES = [
    1,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    PIECE_BYTES - 1,
    PIECE_BYTES,
    PIECE_BYTES + 1,
    3 * PIECE_BYTES + CHUNK + 7,
]


@BOTH
@pytest.mark.parametrize("size", SIZES)
def test_write_puts_the_same_bytes_on_every_target(
    sender: BlockSender, nodes: list[FakeDataNode], mode: WriteMode, size: int
) -> None:
    data = some(size)
    outcome = sender.write(allocated(nodes), "/f", Source(data), mode=mode)
    assert [node.blocks[NAME] for node in nodes] == [data] * 3
    assert {receipt.node for receipt in outcome.receipts} == {1, 2, 3}
    assert outcome.truth is not None
    assert outcome.truth.length_bytes == size
    assert outcome.failed == outcome.untried == ()


def test_pipeline_sends_once_and_fan_out_to_each(
    sender: BlockSender, nodes: list[FakeDataNode]
) -> None:
    piped, fanned = Source(some(100)), Source(some(100))
    sender.write(allocated(nodes), "/f", piped, mode=WriteMode.PIPELINE)
    sender.write(allocated(nodes), "/f", fanned, mode=WriteMode.FAN_OUT)
    assert (piped.readings, fanned.readings) == (1, 3)


@BOTH
def test_write_names_a_later_target_that_is_dead_and_keeps_the_others(
    sender: BlockSender, nodes: list[FakeDataNode], memory: NodeMemory, mode: WriteMode
) -> None:
    nodes[2].stop()
    outcome = sender.write(allocated(nodes), "/f", Source(some(3_000_000)), mode=mode)
    assert {receipt.node for receipt in outcome.receipts} == {1, 2}
    assert [failed.address.node for failed in outcome.failed] == [3]
    assert isinstance(outcome.failed[0].error, PeerUnreachable)
    assert memory.last_failure(nodes[2].node) is not None


def test_pipeline_reports_the_rest_untried_when_its_first_target_dies_in_mid_block(
    sender: BlockSender, nodes: list[FakeDataNode]
) -> None:
    nodes[0].upload_ends_after = 2 * PIECE_BYTES
    outcome = sender.write(
        allocated(nodes), "/f", Source(some(5 * PIECE_BYTES)), mode=WriteMode.PIPELINE
    )
    assert outcome.truth is None
    assert [failed.address.node for failed in outcome.failed] == [1]
    assert [address.node for address in outcome.untried] == [2, 3]


def test_fan_out_keeps_the_others_when_one_target_dies_in_mid_block(
    sender: BlockSender, nodes: list[FakeDataNode]
) -> None:
    nodes[0].upload_ends_after = 2 * PIECE_BYTES
    data = some(5 * PIECE_BYTES)
    outcome = sender.write(allocated(nodes), "/f", Source(data), mode=WriteMode.FAN_OUT)
    assert {receipt.node for receipt in outcome.receipts} == {2, 3}
    assert [failed.address.node for failed in outcome.failed] == [1]
    assert nodes[1].blocks[NAME] == data


@BOTH
def test_write_gives_the_reason_that_a_target_gave(
    sender: BlockSender, nodes: list[FakeDataNode], mode: WriteMode
) -> None:
    nodes[0].refuse = DiskFull("no room above the reserve")
    outcome = sender.write(allocated(nodes), "/f", Source(some(10)), mode=mode)
    assert isinstance(outcome.failed[0].error, DiskFull)
    assert "no room above the reserve" in outcome.failed[0].error.message


@BOTH
def test_write_raises_a_refused_token_and_blames_no_node(
    sender: BlockSender, nodes: list[FakeDataNode], memory: NodeMemory, mode: WriteMode
) -> None:
    nodes[0].tokens_valid = lambda _token: False
    with pytest.raises(TokenRefused):
        sender.write(allocated(nodes), "/f", Source(some(10)), mode=mode)
    assert memory.failures() == {}


@BOTH
@pytest.mark.parametrize("error", [LocalIoError("disk"), SourceChanged("shorter"), SourceIdle()])
def test_write_raises_what_the_source_raised_and_nothing_is_stored(
    sender: BlockSender,
    nodes: list[FakeDataNode],
    memory: NodeMemory,
    mode: WriteMode,
    error: Exception,
) -> None:
    source = Source(some(3 * PIECE_BYTES), fails_at=PIECE_BYTES, error=error)
    with pytest.raises(type(error)):
        sender.write(allocated(nodes), "/f", source, mode=mode)
    assert all(NAME not in node.blocks for node in nodes)
    assert memory.failures() == {}


def test_write_ends_when_a_target_makes_no_step(nodes: list[FakeDataNode]) -> None:
    nodes[0].silent.set()
    channels = Channels(clock=SystemClock(), stall_s=0.3)
    sender = BlockSender(channels, NodeMemory(clock=SystemClock()))
    outcome = sender.write(
        allocated(nodes[:1]), "/f", Source(some(2_000_000)), mode=WriteMode.PIPELINE
    )
    assert "silent" in outcome.failed[0].error.message
    channels.close()


def test_write_after_close_is_refused_as_ended_here(
    channels: Channels, sender: BlockSender, nodes: list[FakeDataNode]
) -> None:
    channels.close()
    with pytest.raises(Stopping):
        sender.write(allocated(nodes), "/f", Source(some(10)), mode=WriteMode.PIPELINE)


def test_write_counts_each_byte_once_however_many_the_targets(
    sender: BlockSender, nodes: list[FakeDataNode]
) -> None:
    sent: list[int] = []
    source = Source(some(2 * PIECE_BYTES + 1))
    sender.write(allocated(nodes), "/f", source, mode=WriteMode.FAN_OUT, sent=sent.append)
    assert sum(sent) == 2 * PIECE_BYTES + 1


def test_channel_reaches_a_node_that_came_back_at_once(
    sender: BlockSender, nodes: list[FakeDataNode]
) -> None:
    first = sender.write(allocated(nodes[:1]), "/f", Source(some(10)), mode=WriteMode.PIPELINE)
    assert first.receipts
    nodes[0].refuse = PeerUnreachable("restarting")
    assert sender.write(
        allocated(nodes[:1]), "/f", Source(some(10)), mode=WriteMode.PIPELINE
    ).failed
    nodes[0].refuse = None
    again = sender.write(allocated(nodes[:1]), "/f", Source(some(10)), mode=WriteMode.PIPELINE)
    assert again.receipts
