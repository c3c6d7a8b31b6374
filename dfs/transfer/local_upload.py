"""Writing a block to DataNodes of this computer, through one ring of shared memory for all of them.

The content is read, hashed and put into the ring once; each DataNode takes its own copy of every
piece, verifies it, stores it and says that the place is free.  So the slowest sets the pace, as in
a pipeline.  Targets on other computers are behind the first one here, which passes the block on.

A way that breaks is no verdict on its DataNode: the caller sends the block there over gRPC.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from dfs.base import crashpoint
from dfs.base.checksum import BlockHasher, chunk_hashes
from dfs.base.errors import DfsError
from dfs.base.records import BlockTruth, NodeAddress
from dfs.transfer.block_channel import (
    BlockAccess,
    PieceSource,
    PlacedSource,
    Uploaded,
    upload_header,
    uploaded,
)
from dfs.transfer.local_links import Elsewhere, LocalLine, LocalLinks
from dfs.transfer.ranges import pieces
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.channel import PIECE_BYTES
from dfs.wire.frames import data_head, footer_frame, header_frame
from dfs.wire.local_socket import SLOTS, Asked, Kind, Ring


@dataclass(slots=True)
class LocalTarget:
    """What came of one target.

    Args:
        pipeline: the targets behind it.
        failure: why it does not hold the block; `Elsewhere` when it is to be asked over gRPC.
    """

    address: NodeAddress
    pipeline: tuple[NodeAddress, ...] = ()
    uploaded: Uploaded | None = None
    failure: DfsError | Elsewhere | None = None
    line: LocalLine | None = field(default=None, repr=False)
    freed: int = 0

    def free(self, frames: int, *, patience_s: float) -> None:
        """Wait until it has taken so many frames."""
        assert self.line is not None
        while self.freed < frames:
            message = self.line.receive(timeout_s=patience_s)
            if message.kind is not Kind.FREE or message.file is not None:
                message.drop()
                raise Elsewhere("not what was due")
            self.freed += 1

    def receipt(self) -> pb.BlockReceipt:
        """Its answer to all of it."""
        assert self.line is not None
        message = self.line.receive()
        try:
            if message.kind is not Kind.RECEIPT:
                raise Elsewhere("not what was due")
            return pb.BlockReceipt.FromString(message.payload)
        except DecodeError as exc:
            raise Elsewhere("not what was due") from exc
        finally:
            message.drop()


class LocalUploads:
    """Writes blocks.  Safe to share between threads."""

    def __init__(self, links: LocalLinks) -> None:
        self._links = links

    def may_reach(self, address: NodeAddress) -> bool:
        """Whether it is worth trying."""
        return self._links.may_reach(address)

    def upload(
        self,
        access: BlockAccess,
        source: PieceSource,
        *,
        near: Sequence[NodeAddress],
        far: tuple[NodeAddress, ...],
        sent: Callable[[int], None],
    ) -> list[LocalTarget]:
        """What came of each of `near`; those of `far` are behind the first that is reached.

        Raises:
            DfsError, SourceIdle: what reading the source raised, and nothing else.
        """
        targets = [LocalTarget(address) for address in near]
        with contextlib.ExitStack() as stack:
            try:
                ring = Ring()
            except OSError as exc:  # no memory or open files left
                targets[0].pipeline = far
                for target in targets:
                    target.failure = Elsewhere(str(exc))
                return targets
            stack.callback(ring.close)
            for target in targets:
                with _noting(target):
                    asked = Asked(target.address.node)
                    way = self._links.to(target.address, Kind.WRITE, asked, file=ring.file)
                    target.line = stack.enter_context(way)
            reached = [target for target in targets if target.failure is None]
            (reached or targets)[0].pipeline = far
            if reached:
                _Sending(access, source, reached, ring, sent, self._links.stall_s / 2).run()
        for target in targets:
            target.line = None
            if isinstance(target.failure, Elsewhere):
                self._links.avoid(target.address.node)
        return targets


class _Sending:
    """One block on its way to the targets that were reached."""

    def __init__(
        self,
        access: BlockAccess,
        source: PieceSource,
        targets: list[LocalTarget],
        ring: Ring,
        sent: Callable[[int], None],
        patience_s: float,
    ) -> None:
        self._access = access
        self._source = source
        self._targets = targets
        self._ring = ring
        self._sent = sent
        # While one is waited for, the others hear nothing: less than they bear.
        self._patience_s = patience_s
        self._hasher = BlockHasher()
        self._frames = 0

    def run(self) -> None:
        """Send it, and hear what became of it."""
        for target in self._targets:
            header = upload_header(self._access, self._source.length_bytes, target.pipeline)
            self._tell(target, Kind.HEADER, header_frame(header).raw)
        self._send_pieces()
        truth = self._truth()
        footer = footer_frame(pb.UploadFooter(length=truth.length_bytes, hash=truth.hash)).raw
        if self._live():
            crashpoint.reach("client.block.sent")
        for target in self._live():
            self._tell(target, Kind.FOOTER, footer)
        for target in self._live():
            with _noting(target):
                target.free(self._frames, patience_s=self._patience_s)
                answer = target.receipt()
                target.uploaded = uploaded(truth, answer, target.address, target.pipeline)
        if self._live():
            crashpoint.reach("client.block.acknowledged")

    def _send_pieces(self) -> None:
        for data in self._placed():
            head = data_head(self._hasher.length_bytes, len(data), chunk_hashes(data))
            place = self._ring.put(self._frames, head, len(data))
            self._hasher.update(data)
            crashpoint.reach("client.piece.sent")
            for target in self._live():
                self._tell(target, Kind.PIECE, place)
            self._frames += 1
            self._sent(len(data))

    def _placed(self) -> Iterator[memoryview]:
        """The content piece by piece, where it lies in the ring; ends when nobody takes it."""
        source = self._source
        if isinstance(source, PlacedSource) and source.length_bytes is not None:
            for offset, length in pieces(source.length_bytes, PIECE_BYTES):
                if not self._make_room():
                    return
                room = self._ring.room(self._frames, length)
                source.read_into(offset, room)
                yield room
            return
        for piece in source.pieces():
            if not self._make_room():
                return
            room = self._ring.room(self._frames, len(piece))
            room[:] = piece
            yield room

    def _make_room(self) -> bool:
        """Until all have taken the frame that lay where the next one goes; whether any is left."""
        for target in self._live():
            with _noting(target):
                target.free(self._frames - SLOTS + 1, patience_s=self._patience_s)
        return bool(self._live())

    def _live(self) -> list[LocalTarget]:
        return [target for target in self._targets if target.failure is None]

    def _tell(self, target: LocalTarget, kind: Kind, payload: bytes) -> None:
        with _noting(target):
            assert target.line is not None
            target.line.send(kind, payload)

    def _truth(self) -> BlockTruth:
        name, hasher = self._access.name, self._hasher
        return BlockTruth(name.block, name.generation, hasher.length_bytes, hasher.digest())


@contextlib.contextmanager
def _noting(target: LocalTarget) -> Iterator[None]:
    """What goes wrong with a target is written down with it; the others go on."""
    try:
        yield
    except (DfsError, Elsewhere) as exc:
        target.failure = exc
