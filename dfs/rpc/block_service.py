"""The five calls of `dataNode.proto`: parse, check, ask the disk, answer.

Every call is checked at the gate before anything is read or written, counted, and wrapped so that
only refusals of ours leave (`dfs.rpc.errors`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base import crashpoint
from dfs.base.errors import BlockNotFound, LimitExceeded
from dfs.base.records import BlockName
from dfs.nodes.standing import Standing
from dfs.rpc.block_disk import BlockDisk
from dfs.rpc.copy import Copies
from dfs.rpc.errors import Context, ServiceLog, answers, streams
from dfs.rpc.gate import Gate
from dfs.rpc.inflow import Inflow
from dfs.rpc.joining import joined
from dfs.rpc.stall import StallWatch
from dfs.rpc.traffic import Traffic
from dfs.rpc.upload import Uploads
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.codec import block_ref
from dfs.wire.frames import Frame, data_frame, header_frame

RANGES_MAX: Final = 10_000
HEADER_WAIT_S: Final = 5.0  # an upload that does not say what it is gives its place up


@dataclass(frozen=True, slots=True)
class Desk:
    """What every call here shares: the log, the counters, the longest silence."""

    log: ServiceLog
    traffic: Traffic
    stall_s: float


class BlockService:
    """See the module.  Method names are those of the proto."""

    def __init__(
        self,
        *,
        disk: BlockDisk,
        gate: Gate,
        standing: Standing,
        uploads: Uploads,
        copies: Copies,
        watch: StallWatch,
        desk: Desk,
    ) -> None:
        self.stream_port = 0  # where `StreamService` is reached; 0: nowhere
        self._disk = disk
        self._gate = gate
        self._standing = standing
        self._uploads = uploads
        self._copies = copies
        self._watch = watch
        self.log = desk.log
        self._traffic = desk.traffic
        self._stall_s = desk.stall_s

    @answers
    def UploadBlock(  # noqa: N802 - the proto's name
        self, request_iterator: Iterator[Frame], context: Context
    ) -> pb.BlockReceipt:
        """Store a block, and pass it on."""
        del context
        with (
            self._traffic.call("upload"),
            Inflow(request_iterator, stall_s=self._stall_s, first_s=HEADER_WAIT_S) as messages,
        ):
            return self._uploads.receive(messages)

    @streams
    def DownloadBlock(  # noqa: N802 - the proto's name
        self, request: pb.BlockRange, context: Context
    ) -> Iterator[Frame]:
        """Send verified bytes of the ranges asked."""
        with self._traffic.call("download"), self._watch.watching(context) as progressed:
            ranges = read_ranges(request)
            # Its label names all that a block ever held.
            name = self._gate.admit_reader(request.block, () if request.label else ranges)
            if request.label:
                yield self._label(name)
            with self._disk.read(name, ranges) as pieces:
                for piece in joined(pieces) if request.joined else pieces:
                    yield data_frame(piece.offset, piece.data, piece.hashes)
                    progressed()
                    self._traffic.sent(len(piece.data))

    @answers
    def CopyBlock(  # noqa: N802 - the proto's name
        self, request: pb.CopyRequest, context: Context
    ) -> pb.BlockReceipt:
        """Fetch a block from another DataNode."""
        del context
        with self._traffic.call("copy"):
            return self._copies.pull(request)

    @answers
    def DeleteBlock(  # noqa: N802 - the proto's name
        self, request: pb.DeleteRequest, context: Context
    ) -> pb.DeleteReply:
        """Retire one generation of a block, at the word of today's leader."""
        del context
        with self._traffic.call("delete"):
            name = self._gate.admit_deletion(request.block)
            with self._standing.obeying(request.epoch):
                deleted = self._disk.delete(name)
            crashpoint.reach("dn.delete.answering")
            return pb.DeleteReply(deleted=deleted)

    @answers
    def ProbeBlock(  # noqa: N802 - the proto's name
        self, request: pb.ProbeRequest, context: Context
    ) -> pb.ProbeReply:
        """Say what is held of a block; with `verify`, after reading all of it."""
        del context
        with self._traffic.call("probe"):
            name = self._gate.admit_probe(request.block)
            reply = self._verified(name) if request.verify else self._stored(name)
            reply.node = self._standing.node
            return reply

    def _label(self, name: BlockName) -> Frame:
        label = self._disk.label(name)
        header = pb.UploadHeader(block=block_ref(name, path=label.path, token=b""))
        header.pack = label.pack
        header.stream_port = self.stream_port
        return header_frame(header)

    def _stored(self, name: BlockName) -> pb.ProbeReply:
        entry = self._disk.entry(name)
        if entry is None:
            return pb.ProbeReply(held=False)
        return pb.ProbeReply(
            held=True,
            length=entry.length_bytes,
            hash=entry.hash,
            state=entry.state,
            verified_ms=entry.verified_ms,
        )

    def _verified(self, name: BlockName) -> pb.ProbeReply:
        try:
            verdict = self._disk.verify(name)
        except BlockNotFound:
            return pb.ProbeReply(held=False)
        return pb.ProbeReply(
            held=True,
            length=verdict.length_bytes,
            hash=verdict.hash,
            state=verdict.state,
            verified_ms=verdict.verified_ms,
            intact=verdict.intact,
        )


def read_ranges(request: pb.BlockRange) -> Sequence[tuple[int, int]]:
    """The `(offset, length)` ranges asked; none means the whole block.

    Raises:
        LimitExceeded: too many for one call.
    """
    if len(request.ranges) > RANGES_MAX:
        raise LimitExceeded(f"one call reads at most {RANGES_MAX} ranges")
    return [(each.offset, each.length) for each in request.ranges]
