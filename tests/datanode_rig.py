"""DataNodes without a NameNode: real store, real gRPC server, and a ring to sign with."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from flask import Flask

from dfs.base.checksum import block_hash, chunk_hashes
from dfs.base.clock import SystemClock
from dfs.base.events import Event
from dfs.base.ids import BlockId, Generation, InodeId, NodeId
from dfs.base.records import BlockKey, BlockName, NodeAddress
from dfs.blockstore.identity import NodeIdentity
from dfs.blockstore.store import BlockStore
from dfs.nodes.standing import Standing
from dfs.observe.metrics import Metrics
from dfs.rpc.block_service import BlockService, Desk
from dfs.rpc.conversations import Conversations
from dfs.rpc.copy import Copies
from dfs.rpc.gate import Gate
from dfs.rpc.local_server import LocalServer, socket_path
from dfs.rpc.local_service import LocalService
from dfs.rpc.peers import Peers
from dfs.rpc.server import BlockServer
from dfs.rpc.stall import StallWatch
from dfs.rpc.stream_service import StreamService
from dfs.rpc.traffic import Traffic
from dfs.rpc.upload import Uploads
from dfs.settings.sections import DatanodeConfig
from dfs.web.http_server import HttpLimits, HttpServer
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.channel import PIECE_BYTES, open_channel
from dfs.wire.codec import block_ref
from dfs.wire.dataNode_pb2_grpc import DataNodeStub
from dfs.wire.nodes_api import BeatReply, KeyItem
from dfs.wire.tokens import BlockToken, KeyRing, Mode, digest_path, digest_peer, sign_token

CLUSTER = "c" * 32
KEY = BlockKey(1, b"k" * 32, 0, 4_000_000_000_000)
RING = KeyRing([KEY])
NOW_MS = SystemClock().now_ms()  # when the run began, which may be a while ago
DAY_MS = 86_400_000
PATH = "/user/anna/file"
NAME = BlockName(InodeId(21), 0, BlockId(7), Generation(9))


class BugsFail:
    """A log that remembers; `bugs` must stay empty."""

    def __init__(self) -> None:
        self.events: list[tuple[Event, dict[str, object]]] = []
        self.bugs: list[str] = []

    def emit(self, event: Event, **fields: object) -> None:
        self.events.append((event, fields))

    def exception(self, where: str, exc: BaseException) -> None:
        self.bugs.append(f"{where}: {exc!r}")


class RigNode:
    """One DataNode that serves blocks."""

    def __init__(
        self,
        folder: Path,
        *,
        node: int = 1,
        port: int = 0,
        stall_s: float = 10.0,
        tokens: bool = True,
        transfers_max: int = 16,
        reserve_percent: float = 0,
        peers: Peers | None = None,
        more_disks: Iterable[Path] = (),
    ) -> None:
        clock = SystemClock()
        config = DatanodeConfig(reserve_bytes=0, reserve_percent=reserve_percent, stall_s=stall_s)
        self.log = BugsFail()
        folders = [folder, *more_disks]
        self.store = BlockStore.open(folders, config=config, clock=clock, emit=self.log)
        self.store.adopt(NodeIdentity(CLUSTER, self.store.uuid, node, "secret"))
        self.standing = Standing(memory=self.store, clock=clock)
        self.standing.settle(CLUSTER, NodeId(node))
        self.node = node
        self.folder = folder
        self.hear(epoch=1, tokens=tokens)
        self.metrics = Metrics()
        self.traffic = Traffic(self.metrics)
        self.peers = peers or Peers()
        self.watch = StallWatch(stall_s=stall_s, clock=clock)
        self.watch.start()
        gate = Gate(self.standing, block_bytes_max=1 << 32)
        shared = {
            "disk": self.store,
            "gate": gate,
            "standing": self.standing,
            "peers": self.peers,
            "traffic": self.traffic,
            "stall_s": stall_s,
        }
        uploads = Uploads(**shared, log=self.log)
        self.service = BlockService(
            disk=self.store,
            gate=gate,
            standing=self.standing,
            uploads=uploads,
            copies=Copies(**shared, clock=clock),
            watch=self.watch,
            desk=Desk(self.log, self.traffic, stall_s),
        )
        self.server = BlockServer(
            self.service, host="127.0.0.1", port=port, transfers_max=transfers_max
        )
        self.server.start()
        self.address = f"127.0.0.1:{self.server.port}"
        self._serve_past_grpc(gate, uploads, stall_s=stall_s, transfers_max=transfers_max)
        self.channel = open_channel(self.address)
        self.stub = DataNodeStub(self.channel)
        self._open = True

    def _serve_past_grpc(
        self, gate: Gate, uploads: Uploads, *, stall_s: float, transfers_max: int
    ) -> None:
        local = LocalService(
            self.store, gate, self.standing, uploads, traffic=self.traffic, log=self.log
        )
        stream = StreamService(self.store, gate, self.standing, traffic=self.traffic, log=self.log)
        bounds = {"stall_s": stall_s, "transfers_max": transfers_max, "clock": SystemClock()}
        self.beside = Conversations("local", local.converse, **bounds)
        self.local = LocalServer(
            self.beside,
            path=socket_path([str(self.folder)], folder="", uuid=self.store.uuid),
            emit=self.log,
        )
        self.socket = self.local.start()
        self.streams = Conversations("stream", stream.converse, **bounds)
        self.http = HttpServer(
            Flask("datanode"),
            host="127.0.0.1",
            port=0,
            limits=HttpLimits(threads=1),
            clock=SystemClock(),
            streams=self.streams.take_over,
        )
        self.http.start()
        self.service.stream_port = self.http.port
        self.near = NodeAddress(
            NodeId(self.node), "127.0.0.1", self.server.port, self.http.port, local=self.socket
        )

    def hear(self, *, epoch: int, tokens: bool = True, now_ms: int = 0) -> None:
        """Learn what a beat would have told."""
        key = KeyItem(KEY.key_id, KEY.secret, KEY.created_ms, KEY.expires_ms)
        at_ms = SystemClock().now_ms()
        reply = BeatReply(
            epoch=epoch,
            now_ms=now_ms or at_ms,
            registered=True,
            block_tokens=tokens,
            keys=[key],
        )
        self.standing.learn(reply, sent_ms=at_ms, received_ms=at_ms)

    def target(self) -> pb.Target:
        return pb.Target(node=self.node, address=self.address)

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        self.channel.close()
        self.local.stop(0)
        self.streams.stop(0)
        self.http.stop(0)
        self.server.stop(0)
        self.peers.close()
        self.watch.stop()
        self.store.close()
        assert self.log.bugs == [], self.log.bugs


def token(
    mode: Mode = Mode.WRITE,
    name: BlockName = NAME,
    *,
    path: str = PATH,
    length_max: int = 1 << 30,
    expires_ms: int = NOW_MS + DAY_MS,
    cluster: str = CLUSTER,
    key: BlockKey = KEY,
    peers: Iterable[pb.Target] = (),
    window: tuple[int, int] | None = None,
) -> bytes:
    """What a NameNode would sign."""
    return sign_token(
        BlockToken(
            key.key_id,
            expires_ms,
            cluster,
            "anna",
            mode,
            name.block,
            name.generation,
            name.file,
            name.number,
            length_max,
            digest_path(path),
            b"".join(digest_peer(each.node, each.address) for each in peers),
            window,
        ),
        key,
    )


def ref(
    mode: Mode = Mode.WRITE,
    name: BlockName = NAME,
    *,
    size: int = 0,
    peers: Iterable[pb.Target] = (),
) -> pb.BlockRef:
    return block_ref(name, path=PATH, token=token(mode, name, peers=peers), size_bytes=size)


def upload_messages(
    data: bytes,
    *,
    block: pb.BlockRef | None = None,
    pipeline: tuple[pb.Target, ...] = (),
    pack: bytes = b"",
    piece_bytes: int = PIECE_BYTES,
    digest: bytes | None = None,
) -> Iterator[pb.BlockChunk]:
    """An upload as a client sends it."""
    header = pb.UploadHeader(block=block or ref(peers=pipeline), pipeline=pipeline, pack=pack)
    yield pb.BlockChunk(header=header)
    for offset in range(0, len(data), piece_bytes):
        piece = data[offset : offset + piece_bytes]
        yield pb.BlockChunk(offset=offset, data=piece, hashes=chunk_hashes(piece))
    footer = pb.UploadFooter(length=len(data), hash=digest or block_hash(data))
    yield pb.BlockChunk(footer=footer)


def download(node: RigNode, request: pb.BlockRange | None = None) -> bytes:
    """The bytes of a block, joined."""
    request = request or pb.BlockRange(block=ref(Mode.READ))
    return b"".join(chunk.data for chunk in node.stub.DownloadBlock(request))
