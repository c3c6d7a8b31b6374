"""A DataNode of a test: real gRPC, blocks in a dict, every fault an attribute."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc

from dfs.base.checksum import BlockHasher, block_hash, chunk_hashes
from dfs.base.errors import BlockCorrupt, BlockNotFound, DfsError, LengthMismatch, TokenRefused
from dfs.base.ids import NodeId, node_name
from dfs.base.records import BlockKey, BlockName, BlockTruth, NodeAddress
from dfs.wire import codec
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.channel import PIECE_BYTES, SERVER_OPTIONS, open_channel
from dfs.wire.dataNode_pb2_grpc import (
    DataNodeServicer,
    DataNodeStub,
    add_DataNodeServicer_to_server,
)
from dfs.wire.grpc_errors import error_metadata
from dfs.wire.tokens import sign_receipt

KEY = BlockKey(1, b"k" * 32, 0, 4_000_000_000_000)


class FakeDataNode(DataNodeServicer):
    """Holds blocks in a dict.  Faults are attributes, looked at as calls go by."""

    def __init__(self, node: int) -> None:
        self.node = NodeId(node)
        self.blocks: dict[BlockName, bytes] = {}
        self.seals: dict[BlockName, bytes] = {}
        self.tokens_valid: Callable[[bytes], bool] = lambda _token: True
        self.refuse: DfsError | None = None  # every call
        self.refuse_reads: DfsError | None = None
        self.upload_ends_after: int | None = None  # bytes; then the call is lost
        self.download_ends_after: int | None = None
        self.wrong_byte_at: int | None = None  # sent wrong, with the hash of the right bytes
        self.lies = False  # sends other bytes, with hashes that fit them
        self.discards = False  # hashes what comes and keeps nothing
        self.silent = threading.Event()  # set: downloads and uploads hang
        self.released = threading.Event()
        self.calls: Counter[str] = Counter()
        self.uploads: Counter[BlockName] = Counter()  # begun
        self.sent_bytes = 0
        self.lock = threading.Lock()
        self.server = grpc.server(futures.ThreadPoolExecutor(32), options=SERVER_OPTIONS)
        add_DataNodeServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.address = NodeAddress(self.node, "127.0.0.1", self.port, 1)

    def stop(self) -> None:
        """Be dead from now on."""
        self.released.set()
        self.server.stop(None).wait()

    def UploadBlock(self, request_iterator, context):  # noqa: N802
        with _answers(context):
            self._enter("upload")
            return self._store(request_iterator, context)

    def _store(self, messages: Iterator[pb.BlockChunk], context) -> pb.BlockReceipt:
        header = next(messages).header
        self._check(header.block.token)
        name, data = codec.read_block_ref(header.block), bytearray()
        with self.lock:
            self.uploads[name] += 1
        footer, hasher = None, BlockHasher()
        for message in messages:
            if self.silent.is_set():
                self.released.wait()
            if message.WhichOneof("head") == "footer":
                footer = message.footer
                break
            piece = message.data
            assert message.offset == hasher.length_bytes, "pieces follow each other"
            assert chunk_hashes(piece) == message.hashes
            hasher.update(piece)
            data += b"" if self.discards else piece
            ends_after = self.upload_ends_after
            if ends_after is not None and hasher.length_bytes >= ends_after:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the node died")
        if footer is None:
            raise LengthMismatch("ended before its footer")
        content = bytes(data)
        if (hasher.length_bytes, hasher.digest()) != (footer.length, footer.hash):
            raise BlockCorrupt("not what the footer says")
        self.hold(name, content)
        truth = BlockTruth(name.block, name.generation, footer.length, footer.hash)
        answer = codec.write_receipt(sign_receipt(truth, node=self.node, epoch=1, key=KEY))
        if header.pipeline:
            self._pass_on(header, content, answer)
        return answer

    def _pass_on(self, header: pb.UploadHeader, content: bytes, answer: pb.BlockReceipt) -> None:
        following = header.pipeline[0]
        onward = pb.UploadHeader(block=header.block, pipeline=header.pipeline[1:])
        with open_channel(following.address) as channel:
            try:
                receipt = DataNodeStub(channel).UploadBlock(_messages(onward, content))
            except grpc.RpcError as exc:
                for target in header.pipeline:
                    failure = pb.TargetFailure(
                        node=target.node, code="peer_unreachable", message=str(exc.code())
                    )
                    answer.failures.append(failure)
                return
        answer.downstream.extend([*receipt.downstream])
        del receipt.downstream[:]
        answer.failures.extend(receipt.failures)
        answer.downstream.append(receipt)

    def hold(self, name: BlockName, content: bytes) -> None:
        with self.lock:
            self.blocks[name] = content
            self.seals[name] = block_hash(content)

    def DownloadBlock(self, request, context):  # noqa: N802
        with _answers(context):
            self._enter("download")
            self._check(request.block.token)
            if self.refuse_reads is not None:
                raise self.refuse_reads
            name = codec.read_block_ref(request.block)
            if name not in self.blocks:
                raise BlockNotFound(f"{node_name(self.node)} does not hold it")
            yield from self._pieces(name, request, context)

    def _pieces(self, name: BlockName, request: pb.BlockRange, context) -> Iterator[pb.BlockChunk]:
        content, sent = self.blocks[name], 0
        if self.lies:
            content = bytes(len(content))
        ranges = request.ranges or [pb.Range(offset=0, length=len(content))]
        for each in ranges:
            end = each.offset + each.length
            for offset in range(each.offset, end, PIECE_BYTES):
                if self.silent.is_set():
                    self.released.wait()
                piece = content[offset : min(end, offset + PIECE_BYTES)]
                hashes = chunk_hashes(piece)
                at = self.wrong_byte_at
                if at is not None and offset <= at < offset + len(piece):
                    spoilt = bytearray(piece)
                    spoilt[at - offset] ^= 1
                    piece = bytes(spoilt)
                sent += len(piece)
                with self.lock:
                    self.sent_bytes += len(piece)
                yield pb.BlockChunk(offset=offset, data=piece, hashes=hashes)
                if self.download_ends_after is not None and sent >= self.download_ends_after:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the node died")

    def ProbeBlock(self, request, context):  # noqa: N802
        with _answers(context):
            self._enter("probe")
            self._check(request.block.token)
            name = codec.read_block_ref(request.block)
            if name not in self.blocks:
                return pb.ProbeReply(held=False, node=self.node)
            content, seal = self.blocks[name], self.seals[name]
            found = block_hash(content) if request.verify else seal
            return pb.ProbeReply(
                held=True,
                length=len(content),
                hash=found,
                state="final",
                intact=found == seal,
                node=self.node,
            )

    def CopyBlock(self, request, context):  # noqa: N802
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "")

    def DeleteBlock(self, request, context):  # noqa: N802
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "")

    def _enter(self, call: str) -> None:
        with self.lock:
            self.calls[call] += 1
        if self.refuse is not None:
            raise self.refuse

    def _check(self, token: bytes) -> None:
        if not self.tokens_valid(token):
            raise TokenRefused("the block token has expired")


class _answers:  # noqa: N801 - reads as a verb
    """Refusals leave as the real block service sends them."""

    def __init__(self, context) -> None:
        self._context = context

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, exc, trace) -> None:
        if isinstance(exc, DfsError):
            self._context.set_trailing_metadata(error_metadata(exc))
            self._context.abort(grpc.StatusCode.FAILED_PRECONDITION, exc.message)


def _messages(header: pb.UploadHeader, content: bytes) -> Iterator[pb.BlockChunk]:
    yield pb.BlockChunk(header=header)
    for offset in range(0, len(content), PIECE_BYTES):
        piece = content[offset : offset + PIECE_BYTES]
        yield pb.BlockChunk(offset=offset, data=piece, hashes=chunk_hashes(piece))
    yield pb.BlockChunk(footer=pb.UploadFooter(length=len(content), hash=block_hash(content)))
