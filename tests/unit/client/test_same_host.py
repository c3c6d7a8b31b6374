"""Blocks of DataNodes of this computer, over their sockets: the same bytes, checks and refusals."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dfs.base.checksum import block_hash
from dfs.base.clock import SystemClock
from dfs.base.entropy import Random
from dfs.base.errors import DataUnavailable, DiskFull, SourceChanged, TokenRefused
from dfs.base.ids import NodeId
from dfs.base.records import (
    AllocatedBlock,
    BlockName,
    BlockTruth,
    Holder,
    LocatedExtent,
    NodeAddress,
)
from dfs.base.states import NodeState, ReplicaState
from dfs.blockstore.disk import Disk
from dfs.transfer.channels import Channels
from dfs.transfer.local_links import LocalLinks
from dfs.transfer.local_read import LocalReader
from dfs.transfer.local_upload import LocalUploads
from dfs.transfer.node_memory import NodeMemory
from dfs.transfer.ranges import stretches
from dfs.transfer.read_parallel import PlacedOutlet, stream
from dfs.transfer.replica_reader import ReplicaReader
from dfs.transfer.write_pipeline import BlockSender, WriteMode, WriteOutcome
from dfs.wire.channel import PIECE_BYTES
from dfs.wire.tokens import Mode
from tests.datanode_rig import NAME, NOW_MS, PATH, RigNode, download, token, upload_messages

MIB = 1 << 20
SIZES = [1, 256 * 1024, 256 * 1024 + 1, PIECE_BYTES, 6 * PIECE_BYTES + 11]


def some(length: int, salt: int = 0) -> bytes:
    return (bytes((n + salt) % 249 for n in range(4099)) * (length // 4099 + 1))[:length]


class Content:
    """A block's content in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length_bytes = len(data)
        self.before_piece: Callable[[int], None] = lambda _offset: None

    def pieces(self) -> Iterator[bytes]:
        for offset in range(0, len(self.data), PIECE_BYTES):
            self.before_piece(offset)
            yield self.data[offset : offset + PIECE_BYTES]


@dataclass
class Client:
    """What a client has, with or without the way over sockets."""

    channels: Channels
    links: LocalLinks
    sender: BlockSender
    reader: ReplicaReader
    suspects: list[tuple[BlockName, NodeId, str]]

    def write(
        self,
        nodes: list[RigNode],
        source: Content,
        *,
        mode: WriteMode = WriteMode.PIPELINE,
        sent: Callable[[int], None] = lambda _length: None,
    ) -> WriteOutcome:
        raw = token(Mode.WRITE, NAME, peers=[node.target() for node in nodes])
        block = AllocatedBlock(NAME, 64 * MIB, tuple(node.near for node in nodes), raw)
        return self.sender.write(block, PATH, source, mode=mode, sent=sent)

    def read(self, extent: LocatedExtent, offset: int = 0, length: int = 1 << 40) -> bytes:
        """As a stream."""
        return b"".join(
            stream(
                self.reader,
                PATH,
                stretches([extent], offset, length),
                relocate=lambda old: replace(old),
                blocks_ahead=2,
                pieces_in_flight=8,
            )
        )

    def place(self, extent: LocatedExtent, folder: Path) -> bytes:
        """Into a file."""
        whole = stretches([extent], 0, extent.length_bytes)[0]
        fd = os.open(folder / "part", os.O_RDWR | os.O_CREAT)
        try:
            outlet = PlacedOutlet(fd, 0, lambda _size: None)
            self.reader.read(PATH, whole, outlet, lambda old: replace(old))
            return os.pread(fd, extent.length_bytes + 1, 0)
        finally:
            os.close(fd)


@pytest.fixture(params=["local", "network"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def new_client() -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(way: str = "local", *, stall_s: float = 20.0) -> Client:
        channels = Channels(clock=SystemClock(), stall_s=stall_s)
        memory = NodeMemory(clock=SystemClock())
        links = LocalLinks(channels, clock=SystemClock())
        suspects: list[tuple[BlockName, NodeId, str]] = []
        on = way == "local"
        made.append(
            Client(
                channels,
                links,
                BlockSender(channels, memory, local=LocalUploads(links) if on else None),
                ReplicaReader(
                    channels,
                    memory,
                    rng=Random(1),
                    here=frozenset(),
                    suspect=lambda *found: suspects.append(found),
                    local=LocalReader(links) if on else None,
                ),
                suspects,
            )
        )
        return made[-1]

    yield make
    for client in made:
        client.channels.close()


@pytest.fixture
def client(new_client: Callable[..., Client], way: str) -> Client:
    return new_client(way)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[RigNode]]:
    made = [RigNode(tmp_path / f"dn{number}", node=number) for number in (1, 2)]
    yield made
    for node in made:
        node.close()


def stored(nodes: list[RigNode], data: bytes, *, window: tuple[int, int] | None = None):
    """An extent of a block that those nodes hold, the first being read first."""
    for node in nodes:
        if node.store.entry(NAME) is None:
            node.stub.UploadBlock(upload_messages(data))
    ranks = [NodeState.LIVE, NodeState.STALE, NodeState.DEAD]
    holders = tuple(
        Holder(node.near, ReplicaState.LIVE, rank)
        for node, rank in zip(nodes, ranks, strict=False)
    )
    truth = BlockTruth(NAME.block, NAME.generation, len(data), block_hash(data))
    raw = token(Mode.READ, NAME, window=window)
    return LocatedExtent(0, len(data), 0, truth, NAME, holders, raw)


def calls(node: RigNode, call: str, outcome: str = "ok") -> int:
    """How many calls of that kind it has served."""
    line = f'dfs_datanode_calls_total{{call="{call}",outcome="{outcome}"}} '
    text = node.metrics.exposition().decode()
    found = [float(row.rpartition(" ")[2]) for row in text.splitlines() if row.startswith(line)]
    return int(found[0]) if found else 0


@pytest.mark.parametrize("mode", list(WriteMode))
@pytest.mark.parametrize("size", SIZES)
def test_block_written_either_way_reads_back_either_way(
    new_client, nodes: list[RigNode], way: str, mode: WriteMode, size: int, tmp_path: Path
) -> None:
    data, counted = some(size), []
    done = new_client(way).write(nodes, Content(data), mode=mode, sent=counted.append)
    assert {receipt.node for receipt in done.receipts} == {1, 2}
    assert not done.failed
    assert not done.untried
    assert sum(counted) == size
    extent = stored(nodes, data)
    assert done.truth == extent.truth
    for node in nodes:
        assert node.store.verify(NAME).intact
        assert calls(node, "local_write") == (way == "local")
    for other in ("local", "network"):
        reader = new_client(other)
        assert reader.read(extent) == data
        assert reader.read(extent, size // 3, size // 2) == data[size // 3 :][: size // 2]
        assert reader.place(extent, tmp_path) == data
        assert reader.suspects == []
    assert calls(nodes[0], "local_read") >= 2
