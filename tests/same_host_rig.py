"""A client beside its DataNodes, with and without the way over their sockets."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from dfs.base.checksum import block_hash
from dfs.base.ids import NodeId
from dfs.base.records import (
    AllocatedBlock,
    BlockName,
    BlockTruth,
    Holder,
    LocatedExtent,
)
from dfs.base.states import NodeState, ReplicaState
from dfs.transfer.channels import Channels
from dfs.transfer.local_links import LocalLinks
from dfs.transfer.ranges import stretches
from dfs.transfer.read_parallel import PlacedOutlet, stream
from dfs.transfer.replica_reader import ReplicaReader
from dfs.transfer.write_pipeline import BlockSender, WriteMode, WriteOutcome
from dfs.wire.channel import PIECE_BYTES
from dfs.wire.tokens import Mode
from tests.cluster_rig import wait_until
from tests.datanode_rig import NAME, PATH, RigNode, token, upload_messages

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


def stored(nodes: list[RigNode], data: bytes, *, window: tuple[int, int] | None = None):
    """An extent of a block that those nodes hold, the first being read first."""
    for node in nodes:
        if node.store.entry(NAME) is None:
            node.stub.UploadBlock(upload_messages(data))
    ranks = [NodeState.LIVE, NodeState.STALE, NodeState.DEAD]
    holders = tuple(
        Holder(node.near, ReplicaState.LIVE, rank) for node, rank in zip(nodes, ranks, strict=False)
    )
    truth = BlockTruth(NAME.block, NAME.generation, len(data), block_hash(data))
    raw = token(Mode.READ, NAME, window=window)
    return LocatedExtent(0, len(data), 0, truth, NAME, holders, raw)


def calls(node: RigNode, call: str, outcome: str = "ok") -> int:
    """How many calls of that kind it has served."""
    wait_until(lambda: not node.traffic.total(), "all calls have ended and are counted")
    line = f'dfs_datanode_calls_total{{call="{call}",outcome="{outcome}"}} '
    text = node.metrics.exposition().decode()
    found = [float(row.rpartition(" ")[2]) for row in text.splitlines() if row.startswith(line)]
    return int(found[0]) if found else 0


def block_file(node: RigNode) -> Path:
    (path,) = (node.folder / "blocks").glob("*/*/*")
    return path


def flip(node: RigNode, at: int) -> None:
    """Damage the stored block."""
    with block_file(node).open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def halves(extent: LocatedExtent, client: Client) -> Iterator[bytes]:
    """A stream of the block that has given its first piece."""
    pieces = stream(
        client.reader,
        PATH,
        stretches([extent], 0, extent.length_bytes),
        relocate=lambda old: replace(old),
        blocks_ahead=1,
        pieces_in_flight=2,
    )
    first = next(pieces)
    yield bytes(first)
    yield b"".join(pieces)
