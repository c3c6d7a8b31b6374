"""Receiving a block: from a client or the target before us in a pipeline, onto our disk and on.

The order of effects of one upload:

1 the caller is checked, room is reserved: a refusal comes before any data
2 the call to the next target opens
3 each piece goes to the next target's queue, then to our disk
4 the footer goes on, so that all disks fsync at the same time
5 our own copy is made durable and visible
6 the next target's answer is waited for, and one receipt for all goes back
"""

from typing import Final, Protocol

from dfs.base import crashpoint
from dfs.base.checksum import CHUNK_HASH_BYTES, Buffer, chunk_count
from dfs.base.errors import BadRequest, LengthMismatch, LimitExceeded
from dfs.base.events import Event
from dfs.base.records import BlockTruth
from dfs.base.units import MiB
from dfs.nodes.standing import Standing
from dfs.rpc.block_disk import BlockDisk, BlockSink
from dfs.rpc.errors import ServiceLog
from dfs.rpc.gate import Admission, Gate, check_targets
from dfs.rpc.peers import Peers
from dfs.rpc.pipeline import Downstream
from dfs.rpc.traffic import Traffic
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.channel import PIECE_BYTES
from dfs.wire.codec import write_receipt
from dfs.wire.frames import Frame
from dfs.wire.tokens import sign_receipt

PACK_BYTES_MAX: Final = 3 * MiB  # with the rest of the header it fits in one message
TARGETS_MAX: Final = 15  # with this node, [replication] maximum


class Messages(Protocol):
    """The messages of one upload, wherever they come from."""

    def next(self) -> Frame | None:
        """The next one; None at the end.  Raises PeerUnreachable when there is silence."""
        ...


class Uploads:
    """Takes blocks in."""

    def __init__(
        self,
        *,
        disk: BlockDisk,
        gate: Gate,
        standing: Standing,
        peers: Peers,
        traffic: Traffic,
        log: ServiceLog,
        stall_s: float,
    ) -> None:
        self._disk = disk
        self._gate = gate
        self._standing = standing
        self._peers = peers
        self._traffic = traffic
        self._log = log
        self._stall_s = stall_s

    def receive(self, messages: Messages) -> pb.BlockReceipt:
        """One upload from header to receipt.

        Raises:
            BadRequest, LimitExceeded, LengthMismatch: the stream is not as it must be.
            TokenRefused: see `Gate`.
            DiskFull, VolumeReadOnly, StaleGeneration, BlockConflict, BlockCorrupt: see the disk.
            PeerUnreachable: the stream went silent.
        """
        first = messages.next()
        if first is None or first.header is None:
            raise BadRequest("an upload begins with its header")
        header = first.header
        admission = self._gate.admit_writer(header.block)
        check_targets(list(header.pipeline), own=self._standing.node, targets_max=TARGETS_MAX)
        admission.check_peers(header.pipeline)
        if len(header.pack) > PACK_BYTES_MAX:
            raise LimitExceeded(f"a table of contents has at most {PACK_BYTES_MAX} bytes")
        with (
            self._begin(admission, header.pack) as sink,
            Downstream(first, peers=self._peers, stall_s=self._stall_s) as downstream,
        ):
            footer = self._store(first, messages, sink, downstream, admission.length_max)
            truth = sink.finish(length=footer.length, hash=footer.hash)
            crashpoint.reach("dn.upload.stored")
            receipts, failures = downstream.outcome(truth)
        return self._receipt(truth, receipts, failures)

    def _begin(self, admission: Admission, pack: bytes) -> BlockSink:
        return self._disk.begin(
            admission.name,
            path=admission.path,
            length_max=admission.length_max,
            length=admission.length,
            pack=pack,
        )

    def _store(
        self,
        first: Frame,
        messages: Messages,
        sink: BlockSink,
        downstream: Downstream,
        length_max: int,
    ) -> pb.UploadFooter:
        """Everything up to the footer.  Header and footer may carry a piece as well."""
        message, passed = first, True  # the header is on its way to the next target already
        while True:
            if not passed:
                downstream.send(message)
            self._take_piece(message, sink, length_max)
            if message.footer is not None:
                downstream.end()
                return message.footer
            following = messages.next()
            if following is None:
                raise LengthMismatch("the upload ended before its footer")
            if following.header is not None:
                raise BadRequest("an upload has one header")
            message, passed = following, False

    def _take_piece(self, message: Frame, sink: BlockSink, length_max: int) -> None:
        data = message.data
        if not data:
            return
        check_piece(message.offset, data, message.hashes, length_max=length_max)
        sink.write(message.offset, data, message.hashes)
        self._traffic.received(len(data))

    def _receipt(
        self,
        truth: BlockTruth,
        receipts: list[pb.BlockReceipt],
        failures: list[pb.TargetFailure],
    ) -> pb.BlockReceipt:
        answer = own_receipt(truth, self._standing)
        answer.downstream.extend(receipts)
        answer.failures.extend(failures)
        for failure in failures:
            self._log.emit(
                Event.BLOCK_REFUSED,
                block=truth.block,
                target=failure.node,
                code=failure.code,
                why=failure.message,
            )
        crashpoint.reach("dn.upload.answering")
        return answer


def own_receipt(truth: BlockTruth, standing: Standing) -> pb.BlockReceipt:
    """This node's signed word that it holds the block."""
    key = standing.ring.newest()
    return write_receipt(sign_receipt(truth, node=standing.node, epoch=standing.epoch, key=key))


def check_piece(offset: int, data: Buffer, hashes: bytes, *, length_max: int) -> None:
    """Refuse a piece that is too large, passes the block's end or lacks hashes.

    That it follows the last one, and that the hashes hold, is the disk's check.

    Raises:
        LimitExceeded, LengthMismatch, BadRequest: with the reason.
    """
    if len(data) > PIECE_BYTES:
        raise LimitExceeded(f"a piece has at most {PIECE_BYTES} bytes, this one {len(data)}")
    if offset + len(data) > length_max:
        raise LengthMismatch(f"the block may have {length_max} bytes, more were sent")
    if len(hashes) != CHUNK_HASH_BYTES * chunk_count(len(data)):
        raise BadRequest("a piece needs the hash of each 256 KiB of it")
