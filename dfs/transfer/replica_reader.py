"""Reading a stretch of a block from whichever replicas give it, and nothing but right bytes.

What makes a byte right
-----------------------
The NameNode knows one hash a block, over all of it.  The DataNode checks each 256 KiB chunk
against the hashes in the block's label and sends hashes along; the label was sealed, under the
block's own hash, by a DataNode that had compared that hash with the writer's.  So:

1  every piece is compared with the hashes sent with it, before anybody sees it;
2  a whole block is compared with the NameNode's hash, a whole file that has its block in common
   with others with its own checksum.  Who can take bytes back (a file under a temporary name, a
   stream not yet let go of) starts over from another replica when it differs;
3  bytes that must be handed on before the whole block has been seen - a long block in a stream, a
   part of a block - come only from a replica whose seal equals the NameNode's hash, asked for
   first by a probe.  The chain writer -> seal -> chunk hashes then stands for the block hash;
4  should a long stream still end with another hash than the NameNode's, which takes a DataNode
   that lies consistently, its last bytes are kept back and the read ends in `BlockCorrupt`: the
   reader has a short result and an error, never a complete one.

A replica that fails in mid-block is followed by the next at the offset reached.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from dfs.base.checksum import BlockHasher, Buffer
from dfs.base.errors import BlockCorrupt, DataUnavailable, DfsError, Stopping, TokenRefused
from dfs.base.ids import NodeId, node_name
from dfs.base.records import BlockTruth, Holder, LocatedExtent, NodeAddress
from dfs.transfer.block_channel import BlockAccess
from dfs.transfer.channels import Channels
from dfs.transfer.ranges import Stretch
from dfs.transfer.replicas import Replicas, is_proof

Relocate = Callable[[LocatedExtent], LocatedExtent]


class Outlet(Protocol):
    """Where verified bytes go."""

    @property
    def keeps_bytes(self) -> int:
        """How much of a stretch can still be taken back; a block up to this long needs no seal."""
        ...

    def take(self, offset: int, data: Buffer) -> None:
        """Bytes at that offset of the stretch; they follow what was taken before."""
        ...

    def restart(self) -> bool:
        """Forget what was taken, if it can be; whether it could."""
        ...


class ShortWay(Protocol):
    """A way to the bytes of some replicas that copies less than gRPC does."""

    def pieces(
        self,
        address: NodeAddress,
        access: BlockAccess,
        truth: BlockTruth,
        offset: int,
        length_bytes: int,
    ) -> Iterator[Buffer]:
        """Bytes of that range in order, verified, of a replica sealed as `truth`.

        They end early, or before they begin, where the way is not open, breaks or is refused: why,
        gRPC finds out.

        Raises:
            BlockCorrupt: they are not those that were written, or are not there.
        """
        ...


@dataclass(slots=True)
class _Attempt:
    """How far the reading of one stretch has come."""

    path: str
    stretch: Stretch
    queue: deque[Holder]
    done: int = 0
    hasher: BlockHasher = field(default_factory=BlockHasher)
    givers: list[Holder] = field(default_factory=list)
    reasons: dict[NodeId, DfsError] = field(default_factory=dict)
    alone: bool = False  # from now on, each replica has to give all of it by itself
    relocated: bool = False

    def reset(self) -> None:
        self.done, self.hasher, self.givers = 0, BlockHasher(), []


class ReplicaReader:
    """Reads stretches.  Safe to share between threads.

    Args:
        ways: tried in this order before gRPC.
    """

    def __init__(
        self, channels: Channels, replicas: Replicas, *, ways: Sequence[ShortWay] = ()
    ) -> None:
        self._channels = channels
        self._replicas = replicas
        self._ways = ways

    def read(self, path: str, stretch: Stretch, outlet: Outlet, relocate: Relocate) -> bytes:
        """Give the outlet all bytes of the stretch; their xxh3_128.

        Args:
            relocate: asks the NameNode again where an extent is, with a fresh token; raises if the
                file is another one by now.

        Raises:
            DataUnavailable: no replica gives them all; names each and why.
            BlockCorrupt: bytes that cannot be taken back turned out wrong.
            DfsError: what the outlet or `relocate` raised.
        """
        attempt = _Attempt(path, stretch, deque(self._replicas.ordered(stretch.extent.holders)))
        while True:
            while attempt.queue:
                holder = attempt.queue.popleft()
                failure = self._pass(attempt, holder, outlet)
                if failure is None and self._is_right(attempt):
                    return attempt.hasher.digest()
                self._after(attempt, holder, failure, outlet)
                if isinstance(failure, TokenRefused) and not attempt.relocated:
                    break
            if attempt.relocated:
                raise _unavailable(attempt)
            self._relocate(attempt, outlet, relocate)

    def _relocate(self, attempt: _Attempt, outlet: Outlet, relocate: Relocate) -> None:
        """Ask once more where the bytes are: tokens expire, and copies move while one reads.

        The bytes may have moved to another block.  What was read of the old one is then read again
        where it can be taken back, as no hash covers both.
        """
        attempt.relocated = True
        old = attempt.stretch
        extent = relocate(old.extent)
        block_offset = extent.block_offset + old.file_offset - extent.file_offset
        attempt.stretch = replace(old, extent=extent, block_offset=block_offset)
        if extent.truth != old.extent.truth:
            attempt.reasons.clear()
            if attempt.done and outlet.restart():
                attempt.reset()
        condemned = {n for n, why in attempt.reasons.items() if is_proof(why)}
        left = [each for each in extent.holders if each.address.node not in condemned]
        attempt.queue = deque(self._replicas.ordered(left))

    def _pass(self, attempt: _Attempt, holder: Holder, outlet: Outlet) -> DfsError | None:
        """Read on from one replica; why it did not give the rest, or None when it did.

        Errors of the outlet are raised; they are no replica's fault.
        """
        begun = attempt.done

        def take(piece: Buffer) -> None:
            attempt.hasher.update(piece)
            outlet.take(attempt.done, piece)
            attempt.done += len(piece)

        pieces = self._pieces(attempt, holder, outlet)
        failure = self._replicas.hand_on(holder.address.node, pieces, take)
        if failure is not None and self._channels.closed:
            raise failure
        if attempt.done > begun or failure is None:
            attempt.givers.append(holder)
        return failure

    def _pieces(
        self, attempt: _Attempt, holder: Holder, outlet: Outlet
    ) -> Generator[Buffer, None, None]:
        stretch = attempt.stretch
        access = BlockAccess(stretch.extent.name, attempt.path, stretch.extent.token)
        for way in self._ways:
            yield from self._short(way, attempt, holder, access)
        left = stretch.length_bytes - attempt.done
        if not left:
            return
        with self._channels.to(holder.address) as channel:
            can_wait = stretch.has_proof and stretch.length_bytes <= outlet.keeps_bytes
            if not can_wait and not channel.probe(access).matches(stretch.extent.truth):
                raise BlockCorrupt("its copy is not sealed with the hash that the NameNode has")
            yield from channel.download(
                access, offset=stretch.block_offset + attempt.done, length_bytes=left
            )

    def _short(
        self, way: ShortWay, attempt: _Attempt, holder: Holder, access: BlockAccess
    ) -> Generator[Buffer, None, None]:
        """What comes by that way; the rest is asked of the next, and at last over gRPC.

        So a replica whose bytes are not intact is judged by its DataNode at once, which reads it
        again past the page cache and takes it out of service; the NameNode hears of it as well.
        """
        stretch = attempt.stretch
        left = stretch.length_bytes - attempt.done
        if not left:
            return
        at, truth = stretch.block_offset + attempt.done, stretch.extent.truth
        try:
            for piece in way.pieces(holder.address, access, truth, at, left):
                if self._channels.closed:
                    raise Stopping("the transfer was ended on this side")
                yield piece
        except BlockCorrupt as exc:
            self._replicas.suspect(stretch.extent.name, holder.address.node, exc.message)

    def _is_right(self, attempt: _Attempt) -> bool:
        stretch = attempt.stretch
        if stretch.has_proof and not stretch.is_proven_by(attempt.hasher.digest()):
            return False
        for giver in attempt.givers:
            self._replicas.gave(giver.address.node)
        return True

    def _after(
        self, attempt: _Attempt, holder: Holder, failure: DfsError | None, outlet: Outlet
    ) -> None:
        """Draw the consequence of a replica that did not bring the stretch to a good end."""
        if failure is not None:
            self._blame(attempt, holder, failure)
            if attempt.alone and attempt.done:
                self._start_over(attempt, outlet)
            return
        givers = attempt.givers
        if len(givers) == 1:
            block = attempt.stretch.extent.truth.block
            wrong = BlockCorrupt(f"its bytes do not have the hash of block {block}")
            self._blame(attempt, holder, wrong)
        else:
            # Several replicas gave parts; each must now show that it is not the one.
            attempt.alone = True
            waiting = {each.address.node for each in attempt.queue}
            attempt.queue.extend(
                each
                for each in givers
                if each.address.node not in waiting
                and not is_proof(attempt.reasons.get(each.address.node))
            )
        self._start_over(attempt, outlet)

    def _start_over(self, attempt: _Attempt, outlet: Outlet) -> None:
        truth = attempt.stretch.extent.truth
        if not outlet.restart():
            raise BlockCorrupt(
                f"{attempt.path}: block {truth.block} read from "
                f"{', '.join(node_name(g.address.node) for g in attempt.givers)} "
                "does not have the hash the NameNode knows; "
                "bytes of it were already delivered and must not be trusted",
                details={
                    "path": attempt.path,
                    "block": truth.block,
                    "file_offset": attempt.stretch.file_offset,
                    "length": attempt.done,
                },
            )
        attempt.reset()

    def _blame(self, attempt: _Attempt, holder: Holder, failure: DfsError) -> None:
        node = holder.address.node
        attempt.reasons[node] = failure
        self._replicas.failed(attempt.stretch.extent.name, node, failure)


def _unavailable(attempt: _Attempt) -> DataUnavailable:
    extent = attempt.stretch.extent
    reasons = {node_name(node): why.message for node, why in attempt.reasons.items()}
    said = "; ".join(
        # What this end says of a conversation names the node already.
        why if why.startswith(f"{node} at ") else f"{node}: {why}"
        for node, why in reasons.items()
    )
    return DataUnavailable(
        f"{attempt.path}: block {extent.truth.block} (bytes {extent.file_offset} to "
        f"{extent.file_offset + extent.length_bytes}) cannot be read: "
        + (said or "no DataNode holds a copy of it"),
        details={
            "path": attempt.path,
            "block": extent.truth.block,
            "generation": extent.truth.generation,
            "replicas": reasons,
        },
    )
