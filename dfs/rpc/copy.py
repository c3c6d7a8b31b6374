"""Fetching a block from another DataNode and storing it as an upload would.

A long block comes as a bare stream (`stream_service.py`); where that does not bring all of it, and
right, it is fetched over gRPC, which reads it verified and says what is wrong.

The NameNode orders copies (repair, balancing) and says what the block must be; anything else is
refused, whatever the source believes.  Errors name the side they came from in
`details["side"]`, so that who ordered the copy knows which node to try another of.
"""

import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Final

import grpc

from dfs.base import crashpoint
from dfs.base.checksum import BLOCK_HASH_BYTES, Buffer
from dfs.base.clock import Clock
from dfs.base.errors import (
    BadRequest,
    BlockCorrupt,
    BlockNotFound,
    DfsError,
    LengthMismatch,
    LimitExceeded,
    PeerUnreachable,
)
from dfs.base.ids import NodeId, node_name
from dfs.base.records import BlockName, BlockTruth
from dfs.base.units import MiB
from dfs.nodes.standing import Standing
from dfs.rpc.block_disk import BlockDisk
from dfs.rpc.gate import Admission, Gate
from dfs.rpc.inflow import Inflow
from dfs.rpc.peers import Peers
from dfs.rpc.traffic import Traffic
from dfs.rpc.upload import PACK_BYTES_MAX, check_piece, own_receipt
from dfs.transfer.stream_read import arriving
from dfs.wire import dataNode_pb2 as pb
from dfs.wire import streams
from dfs.wire.codec import block_ref
from dfs.wire.grpc_errors import from_rpc_error
from dfs.wire.local_socket import Kind, Lent, LocalSocket, Wanted, pack, read_payload

STREAMED_BYTES_MIN: Final = 4 * MiB  # of less, the second conversation costs more than it saves
CONNECT_S: Final = 1.0
RETRY_AFTER_S: Final = 30.0  # a port that a firewall keeps shut costs `CONNECT_S` each time
_SHUT_MAX: Final = 1000
_NOTHING: Final = (pb.Range(offset=0, length=0),)


class Copies:
    """Pulls blocks from peers."""

    def __init__(
        self,
        *,
        disk: BlockDisk,
        gate: Gate,
        standing: Standing,
        peers: Peers,
        traffic: Traffic,
        stall_s: float,
        clock: Clock,
    ) -> None:
        self._disk = disk
        self._gate = gate
        self._standing = standing
        self._peers = peers
        self._traffic = traffic
        self._stall_s = stall_s
        self._clock = clock
        self._shut_until_s: dict[tuple[str, int], float] = {}  # where no stream was to be had

    def pull(self, request: pb.CopyRequest) -> pb.BlockReceipt:
        """Fetch and store; a receipt when it is fsynced here.

        Raises:
            BadRequest, LengthMismatch, TokenRefused: the order is not as it must be.
            BlockCorrupt: what came is not what was ordered.
            DfsError: from the source, or from our disk.
        """
        admission = self._gate.admit_writer(request.block)
        if not request.source.address or len(request.hash) != BLOCK_HASH_BYTES:
            raise BadRequest("a copy needs a source, and the length and hash the block must have")
        admission.check_peers([request.source])
        if request.length > admission.length_max:
            raise LengthMismatch(f"{request.length} bytes ordered, {admission.length_max} allowed")
        if not self._held(admission.name, request):
            self._fetch(admission, request)
        name = admission.name
        truth = BlockTruth(name.block, name.generation, request.length, request.hash)
        crashpoint.reach("dn.copy.answering")
        return own_receipt(truth, self._standing)

    def _held(self, name: BlockName, request: pb.CopyRequest) -> bool:
        """Whether the very same block is here already, so that no byte need move.

        A copy in quarantine is none: the new one goes beside it.
        """
        try:
            truth = self._disk.truth(name)
        except (BlockNotFound, BlockCorrupt):
            return False
        return (truth.length_bytes, truth.hash) == (request.length, request.hash)

    def _fetch(self, admission: Admission, request: pb.CopyRequest) -> None:
        if request.length >= STREAMED_BYTES_MIN and self._fetch_streamed(admission, request):
            return
        with self._source(admission, request) as inflow:
            label = _label(inflow)
            self._store(admission, request, label, _framed(inflow, request.length))

    def _fetch_streamed(self, admission: Admission, request: pb.CopyRequest) -> bool:
        """Whether it came, all of it and right."""
        with self._source(admission, request, ranges=_NOTHING) as inflow:
            label = _label(inflow)
        host = request.source.address.rpartition(":")[0].strip("[]")
        sock = self._connect(host, label.stream_port)
        if sock is None:
            return False
        line = LocalSocket(sock, clock=self._clock, timeout_s=self._stall_s)
        with contextlib.closing(line):
            try:
                self._store(admission, request, label, _streamed(line, admission, request))
            except _Broken:
                return False
        return True

    def _connect(self, host: str, port: int) -> socket.socket | None:
        """Where the source sends streams; None where it does not, or did not a moment ago."""
        now_s = self._clock.monotonic_s()
        if not port or now_s < self._shut_until_s.get((host, port), 0.0):
            return None
        try:
            return streams.connect(host, port, timeout_s=CONNECT_S)
        except OSError:
            if len(self._shut_until_s) >= _SHUT_MAX:
                self._shut_until_s.clear()
            self._shut_until_s[host, port] = now_s + RETRY_AFTER_S
            return None

    def _store(
        self,
        admission: Admission,
        request: pb.CopyRequest,
        label: pb.UploadHeader,
        pieces: Iterator[tuple[int, Buffer, bytes]],
    ) -> None:
        with self._disk.begin(
            admission.name,
            path=admission.path or label.block.filename,
            length_max=request.length,
            length=request.length,
            pack=label.pack,
        ) as sink:
            for offset, data, hashes in pieces:
                sink.write(offset, data, hashes)
                self._traffic.received(len(data))
            sink.finish(length=request.length, hash=request.hash)
            crashpoint.reach("dn.copy.stored")

    @contextlib.contextmanager
    def _source(
        self,
        admission: Admission,
        request: pb.CopyRequest,
        *,
        ranges: Sequence[pb.Range] = (),
    ) -> Iterator[Inflow]:
        """The block, or those ranges of it, as the source sends it, behind its label; refusals and
        silence of the source come out as errors.
        """
        peer = node_name(NodeId(request.source.node))
        ref = block_ref(admission.name, path=admission.path, token=request.source_token)
        try:
            with self._peers.line(request.source.address) as calls:
                call = calls.DownloadBlock(pb.BlockRange(block=ref, ranges=ranges, label=True))
                try:
                    with Inflow(call, stall_s=self._stall_s) as inflow:
                        yield inflow
                finally:
                    call.cancel()
        except grpc.RpcError as exc:
            raise _at_source(from_rpc_error(exc, peer)) from exc
        except PeerUnreachable as err:
            raise _at_source(err) from err


class _Broken(Exception):  # noqa: N818 - a direction, not a fault
    """The stream did not bring the block: take gRPC."""


def _label(inflow: Inflow) -> pb.UploadHeader:
    """What the source says of the block first."""
    first = inflow.next()
    if first is None or first.header is None:
        raise _at_source(BadRequest("the source did not begin with the block's label"))
    if len(first.header.pack) > PACK_BYTES_MAX:
        raise _at_source(LimitExceeded("the source sent too long a table of contents"))
    return first.header


def _framed(inflow: Inflow, length: int) -> Iterator[tuple[int, Buffer, bytes]]:
    """The pieces of the block as they come over gRPC, checked."""
    while (message := inflow.next()) is not None:
        check_piece(message.offset, message.data, message.hashes, length_max=length)
        yield message.offset, message.data, message.hashes


def _streamed(
    line: LocalSocket, admission: Admission, request: pb.CopyRequest
) -> Iterator[tuple[int, Buffer, bytes]]:
    """The same, as they come bare."""
    ref = block_ref(admission.name, path=admission.path, token=request.source_token)
    wanted = Wanted(request.source.node, ref.SerializeToString(), 0, request.length)
    try:
        line.send(Kind.STREAM, pack(wanted))
        message = line.receive()
        if message is None or message.kind is not Kind.LENT:
            raise _Broken
        lent = read_payload(message, Lent)
        if (lent.length_bytes, lent.hash) != (request.length, request.hash):
            raise _Broken
        for offset, data, hashes in arriving(line.receive_bytes, lent, request.length):
            if hashes is None:
                raise _Broken
            yield offset, data, hashes
    except DfsError as exc:
        raise _Broken from exc


def _at_source(err: DfsError) -> DfsError:
    err.details["side"] = "source"
    return err
