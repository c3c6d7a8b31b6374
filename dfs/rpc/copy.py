"""Fetching a block from another DataNode and storing it as an upload would.

The NameNode orders copies (repair, balancing) and says what the block must be; anything else is
refused, whatever the source believes.  Errors name the side they came from in
`details["side"]`, so that who ordered the copy knows which node to try another of.
"""

import contextlib
from collections.abc import Iterator

import grpc

from dfs.base import crashpoint
from dfs.base.checksum import BLOCK_HASH_BYTES
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
from dfs.nodes.standing import Standing
from dfs.rpc.block_disk import BlockDisk
from dfs.rpc.gate import Admission, Gate
from dfs.rpc.inflow import Inflow
from dfs.rpc.peers import Peers
from dfs.rpc.traffic import Traffic
from dfs.rpc.upload import PACK_BYTES_MAX, check_piece, own_receipt
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.codec import block_ref
from dfs.wire.grpc_errors import from_rpc_error


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
    ) -> None:
        self._disk = disk
        self._gate = gate
        self._standing = standing
        self._peers = peers
        self._traffic = traffic
        self._stall_s = stall_s

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
        with self._source(admission, request) as inflow:
            label = inflow.next()
            if label is None or label.header is None:
                raise _at_source(BadRequest("the source did not begin with the block's label"))
            if len(label.header.pack) > PACK_BYTES_MAX:
                raise _at_source(LimitExceeded("the source sent too long a table of contents"))
            self._store(admission, request, label.header, inflow)

    def _store(
        self,
        admission: Admission,
        request: pb.CopyRequest,
        label: pb.UploadHeader,
        inflow: Inflow,
    ) -> None:
        with self._disk.begin(
            admission.name,
            path=admission.path or label.block.filename,
            length_max=request.length,
            length=request.length,
            pack=label.pack,
        ) as sink:
            while (message := inflow.next()) is not None:
                data = message.data
                check_piece(message.offset, data, message.hashes, length_max=request.length)
                sink.write(message.offset, data, message.hashes)
                self._traffic.received(len(data))
            sink.finish(length=request.length, hash=request.hash)
            crashpoint.reach("dn.copy.stored")

    @contextlib.contextmanager
    def _source(self, admission: Admission, request: pb.CopyRequest) -> Iterator[Inflow]:
        """The block as the source sends it; its refusals and its silence come out as errors."""
        peer = node_name(NodeId(request.source.node))
        ref = block_ref(admission.name, path=admission.path, token=request.source_token)
        try:
            with self._peers.line(request.source.address) as calls:
                call = calls.DownloadBlock(pb.BlockRange(block=ref, label=True))
                try:
                    with Inflow(call, stall_s=self._stall_s) as inflow:
                        yield inflow
                finally:
                    call.cancel()
        except grpc.RpcError as exc:
            raise _at_source(from_rpc_error(exc, peer)) from exc
        except PeerUnreachable as err:
            raise _at_source(err) from err


def _at_source(err: DfsError) -> DfsError:
    err.details["side"] = "source"
    return err
