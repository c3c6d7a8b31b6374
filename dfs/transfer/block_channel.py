"""One conversation with one DataNode: upload, download, probe, copy.

It knows the wire and checks everything that can be checked here: pieces against their hashes,
offsets against what was asked, receipts against what was sent.  gRPC's exceptions end here; whom
to talk to, and what to do when it fails, is decided above.
"""

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import grpc

from dfs.base import crashpoint
from dfs.base.checksum import BlockHasher, Buffer, chunk_hashes
from dfs.base.errors import (
    BlockCorrupt,
    DfsError,
    LengthMismatch,
    PeerUnreachable,
    Stopping,
    from_code,
)
from dfs.base.ids import NodeId, node_name
from dfs.base.records import BlockName, BlockTruth, NodeAddress, Receipt
from dfs.transfer.ranges import RangeCutter
from dfs.transfer.stall_watch import StallWatch, Watched
from dfs.wire import codec
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.channel import PIECE_BYTES
from dfs.wire.data_calls import DataCalls
from dfs.wire.frames import Frame, data_frame, footer_frame, header_frame
from dfs.wire.grpc_errors import from_rpc_error

PROBE_DEADLINE_S: Final = 30.0
# A verifying probe reads the block at the pace of a busy disk (20 MiB/s), and is refused no more.
VERIFY_BYTES_PER_S: Final = 20 * 1024 * 1024


class PieceSource(Protocol):
    """A block's content, readable from its start as often as it has to be sent.

    `length_bytes` is None while it is not known (a stream).  Every piece but the last is exactly
    `dfs.wire.channel.PIECE_BYTES` long.
    """

    @property
    def length_bytes(self) -> int | None:
        """How long the block is."""
        ...

    def pieces(self) -> Iterator[Buffer]:
        """The content from the start.  May raise `DfsError` (or `SourceIdle`)."""
        ...


@runtime_checkable
class PlacedSource(PieceSource, Protocol):
    """A source of known length that can be read straight to where its bytes are wanted."""

    def read_into(self, offset: int, room: memoryview) -> None:
        """Fill the room with the content at that offset.  May raise `DfsError`."""
        ...


class SourceIdle(Exception):
    """Nothing came from the source for so long that the conversation is better ended and repeated.

    Not a DfsError: it says nothing about any node and never reaches a user.
    """


@dataclass(frozen=True, slots=True)
class BlockAccess:
    """A block and the right to do something with it."""

    name: BlockName
    path: str  # of the file, as the NameNode bound it into the token
    token: bytes
    pack: bytes = b""  # table of contents to store with it, of a block that holds many files


@dataclass(frozen=True, slots=True)
class Label:
    """What was stored with a block beside its content."""

    path: str
    pack: bytes


@dataclass(frozen=True, slots=True)
class TargetFailed:
    """A target that does not hold the block, and why."""

    address: NodeAddress
    error: DfsError


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What came of an upload: what was sent, who holds it (fsynced), who does not."""

    truth: BlockTruth
    receipts: tuple[Receipt, ...]
    failed: tuple[TargetFailed, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """What a node says of a block it may hold.

    Args:
        hash: as sealed when it was written; after `verify`, of what the disk says now.
        intact: after `verify`, whether the disk agrees with the seal.
    """

    held: bool
    length_bytes: int
    hash: bytes
    state: str
    verified_ms: int
    intact: bool

    def matches(self, truth: BlockTruth) -> bool:
        """Whether what is held is what the NameNode says the block is."""
        return self.held and (self.length_bytes, self.hash) == (truth.length_bytes, truth.hash)


class BlockChannel:
    """Conversations with the DataNode at one address.  Safe to share between threads."""

    def __init__(self, channel: grpc.Channel, address: NodeAddress, watch: StallWatch) -> None:
        self._calls = DataCalls(channel)
        self.address = address
        self._watch = watch
        self._peer = f"{node_name(address.node)} at {address.grpc}"

    def upload(
        self,
        access: BlockAccess,
        source: PieceSource,
        *,
        pipeline: Sequence[NodeAddress] = (),
        sent: Callable[[int], None] | None = None,
    ) -> Uploaded:
        """Send a block; answered when it is fsynced there and on those of `pipeline` that live.

        Args:
            sent: told the length of each piece that left.

        Raises:
            DfsError: what that node refused it with, or what reading the source raised.
            PeerUnreachable: it is not reached, or was silent for `stall_s`.
            SourceIdle: as the source raised it.
        """
        outgoing = _Outgoing(access, source, pipeline, sent or (lambda _length: None))
        watched = outgoing.watched = self._watch.watch(outgoing.cancel)
        try:
            outgoing.call = self._calls.UploadBlock.future(outgoing.messages())
            answer = outgoing.call.result()
        except (grpc.RpcError, grpc.FutureCancelledError, ValueError) as exc:
            raise (outgoing.error or self._error(exc, watched)) from exc
        finally:
            self._watch.end(watched)
            outgoing.over = True
            outgoing.cancel()
        if outgoing.error is not None:
            raise outgoing.error
        crashpoint.reach("client.block.acknowledged")
        return uploaded(outgoing.truth(), answer, self.address, pipeline)

    def download(self, access: BlockAccess, *, offset: int, length_bytes: int) -> Iterator[Buffer]:
        """The bytes of one range, in order, in pieces that match the hashes sent with them.

        Raises:
            BlockCorrupt: a piece does not match, is not the one due, or is missing.
            DfsError: what the node refused.
            PeerUnreachable: it is not reached, or was silent for `stall_s`.
        """
        request = pb.BlockRange(
            block=codec.block_ref(access.name, path=access.path, token=access.token),
            ranges=[pb.Range(offset=offset, length=length_bytes)],
        )
        due, end = offset, offset + length_bytes
        for chunk in self._chunks(request):
            due += self._checked(chunk, due, end)
            yield chunk.data
        if due != end:
            raise BlockCorrupt(f"{self._peer}: block ended at {due}, not at {end}")

    def download_ranges(
        self, access: BlockAccess, ranges: Sequence[tuple[int, int]]
    ) -> Generator[tuple[int, bytes], None, None]:
        """The bytes of `(offset, length)` ranges in the order asked, each piece with its offset.

        Raises:
            BlockCorrupt, DfsError, PeerUnreachable: as `download`.
        """
        request = pb.BlockRange(
            block=codec.block_ref(access.name, path=access.path, token=access.token),
            ranges=[pb.Range(offset=offset, length=length) for offset, length in ranges],
            joined=True,
        )
        cutter = RangeCutter([each for each in ranges if each[1]])
        with contextlib.closing(self._chunks(request)) as chunks:
            for chunk in chunks:
                if chunk.offset != cutter.due or not 0 < len(chunk.data) <= cutter.left_bytes:
                    raise BlockCorrupt(
                        f"{self._peer}: sent {len(chunk.data)} bytes for offset {chunk.offset} "
                        f"where {cutter.due} was due"
                    )
                self._check_hashes(chunk)
                yield from cutter.cut(chunk.data)
        if cutter.left_bytes:
            raise BlockCorrupt(f"{self._peer}: the block ended before all that was asked of it")

    def label(self, access: BlockAccess) -> Label:
        """What was stored with the block.

        Raises:
            DfsError, PeerUnreachable: as `download`.
        """
        ref = codec.block_ref(access.name, path=access.path, token=access.token)
        with contextlib.closing(self._chunks(pb.BlockRange(block=ref, label=True))) as messages:
            first = next(messages, None)
        if first is None or first.header is None:
            raise BlockCorrupt(f"{self._peer}: did not begin with the block's label")
        return Label(first.header.block.filename, first.header.pack)

    def probe(self, access: BlockAccess, *, verify: bool = False, length_bytes: int = 0) -> Probe:
        """What that node holds of the block; with `verify` it reads the file again first.

        Raises:
            DfsError: as `download`.
            PeerUnreachable: as `download`, or another node is at its address.
        """
        request = pb.ProbeRequest(
            block=codec.block_ref(access.name, path=access.path, token=access.token), verify=verify
        )
        deadline_s = PROBE_DEADLINE_S + (length_bytes / VERIFY_BYTES_PER_S if verify else 0.0)
        try:
            reply = self._calls.ProbeBlock(request, timeout=deadline_s)
        except grpc.RpcError as exc:
            raise from_rpc_error(exc, self._peer) from exc
        except ValueError as exc:
            raise _closed() from exc
        if reply.node != self.address.node:
            other = node_name(NodeId(reply.node))
            raise PeerUnreachable(f"{self._peer}: {other} is at that address")
        return Probe(
            reply.held,
            reply.length,
            reply.hash,
            reply.state,
            reply.verified_ms,
            reply.intact,
        )

    def copy(
        self,
        access: BlockAccess,
        *,
        source: NodeAddress,
        source_token: bytes,
        truth: BlockTruth,
        deadline_s: float,
    ) -> Receipt:
        """Have that node pull the block from another, and store it if it is the truth.

        Raises:
            DfsError, PeerUnreachable: as `download`.
        """
        request = pb.CopyRequest(
            block=codec.block_ref(
                access.name, path=access.path, token=access.token, size_bytes=truth.length_bytes
            ),
            source=codec.target(source),
            source_token=source_token,
            length=truth.length_bytes,
            hash=truth.hash,
        )
        try:
            answer = self._calls.CopyBlock(request, timeout=deadline_s)
        except grpc.RpcError as exc:
            raise from_rpc_error(exc, self._peer) from exc
        except ValueError as exc:
            raise _closed() from exc
        return _checked_receipt(codec.read_receipt(answer), truth, self._peer)

    def _chunks(self, request: pb.BlockRange) -> Generator[Frame, None, None]:
        """The messages of a download; the call is over when the iterator is."""
        try:
            call = self._calls.DownloadBlock(request)
        except ValueError as exc:
            raise _closed() from exc
        watched = self._watch.watch(call.cancel)
        try:
            for chunk in call:
                watched.working()
                yield chunk
                watched.waiting()
        except grpc.RpcError as exc:
            raise self._error(exc, watched) from exc
        finally:
            self._watch.end(watched)
            call.cancel()

    def _checked(self, chunk: Frame, due: int, end: int) -> int:
        if chunk.offset != due or not chunk.data or due + len(chunk.data) > end:
            raise BlockCorrupt(
                f"{self._peer}: sent {len(chunk.data)} bytes for offset {chunk.offset} "
                f"where {due} to {end} was due"
            )
        self._check_hashes(chunk)
        return len(chunk.data)

    def _check_hashes(self, chunk: Frame) -> None:
        if chunk_hashes(chunk.data) != chunk.hashes:
            raise BlockCorrupt(
                f"{self._peer}: bytes at offset {chunk.offset} do not match their hash"
            )

    def _error(self, exc: BaseException, watched: Watched) -> DfsError:
        if watched.stalled:
            return PeerUnreachable(f"{self._peer}: silent for {self._watch.stall_s:.0f} s")
        if isinstance(exc, grpc.RpcError):
            return from_rpc_error(exc, self._peer)
        return _closed()


class _Outgoing:
    """The messages of one upload, made while gRPC asks for them, and what went wrong in making.

    gRPC iterates in a thread of its own and would print an exception raised there, so errors of
    the source are kept here and the stream ends without its footer, which no DataNode accepts.
    """

    def __init__(
        self,
        access: BlockAccess,
        source: PieceSource,
        pipeline: Sequence[NodeAddress],
        sent: Callable[[int], None],
    ) -> None:
        self._access = access
        self._source = source
        self._pipeline = pipeline
        self._sent = sent
        self._hasher = BlockHasher()
        self.error: Exception | None = None
        self.over = False
        self.watched: Watched | None = None
        self.call: grpc.Future[pb.BlockReceipt] | None = None

    def cancel(self) -> None:
        """End the conversation, if it is not over."""
        if self.call is not None:
            self.call.cancel()

    def messages(self) -> Iterator[Frame]:
        """Header, data, footer."""
        access = self._access
        header = upload_header(access, self._source.length_bytes, self._pipeline)
        yield header_frame(header)
        self._turn(ours=True)
        try:
            yield from self._data()
        except (DfsError, SourceIdle) as exc:
            self.error = exc
        if self.error is None and not self.over:
            footer = pb.UploadFooter(length=self._hasher.length_bytes, hash=self._hasher.digest())
            crashpoint.reach("client.block.sent")
            yield footer_frame(footer)
        self._turn(ours=False)

    def truth(self) -> BlockTruth:
        """What was sent."""
        name = self._access.name
        return BlockTruth(
            name.block, name.generation, self._hasher.length_bytes, self._hasher.digest()
        )

    def _data(self) -> Iterator[Frame]:
        for piece in self._source.pieces():
            if self.over:
                return
            assert len(piece) <= PIECE_BYTES
            offset = self._hasher.length_bytes
            self._hasher.update(piece)
            message = data_frame(offset, piece, chunk_hashes(piece))
            crashpoint.reach("client.piece.sent")
            self._turn(ours=False)
            yield message
            self._turn(ours=True)
            self._sent(len(piece))

    def _turn(self, *, ours: bool) -> None:
        if self.watched is not None:
            (self.watched.working if ours else self.watched.waiting)()


def upload_header(
    access: BlockAccess, length_bytes: int | None, pipeline: Sequence[NodeAddress]
) -> pb.UploadHeader:
    """What the first message of an upload says."""
    ref = codec.block_ref(
        access.name, path=access.path, token=access.token, size_bytes=length_bytes or 0
    )
    header = pb.UploadHeader(block=ref, pipeline=[codec.target(each) for each in pipeline])
    header.pack = access.pack
    return header


def uploaded(
    truth: BlockTruth,
    answer: pb.BlockReceipt,
    address: NodeAddress,
    pipeline: Sequence[NodeAddress],
) -> Uploaded:
    """Sort out who holds it: a target that neither vouched for it nor failed did fail."""
    receipts: list[Receipt] = []
    reasons: dict[NodeId, DfsError] = {
        NodeId(each.node): from_code(each.code, each.message) for each in answer.failures
    }
    expected = {each.node: each for each in (address, *pipeline)}
    for receipt in codec.read_receipts(answer):
        try:
            _checked_receipt(receipt, truth, node_name(receipt.node))
        except DfsError as exc:
            reasons[receipt.node] = exc
            continue
        if receipt.node in expected and receipt.node not in {one.node for one in receipts}:
            receipts.append(receipt)
    held = {one.node for one in receipts}
    failed = [
        TargetFailed(
            each,
            reasons.get(node) or PeerUnreachable(f"{node_name(node)} did not vouch for it"),
        )
        for node, each in expected.items()
        if node not in held
    ]
    return Uploaded(truth, tuple(receipts), tuple(failed))


def _checked_receipt(receipt: Receipt, truth: BlockTruth, peer: str) -> Receipt:
    """The receipt, if it vouches for exactly what was meant."""
    said = BlockTruth(receipt.block, receipt.generation, receipt.length_bytes, receipt.hash)
    if said != truth:
        error = LengthMismatch if said.length_bytes != truth.length_bytes else BlockCorrupt
        raise error(f"{peer}: vouches for another block than was sent")
    return receipt


def _closed() -> DfsError:
    return Stopping("the transfer was ended on this side")
