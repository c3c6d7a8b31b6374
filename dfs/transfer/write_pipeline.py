"""Writing one block to its targets: which of them hold it, which do not, and why.

*Pipeline*: the block goes once, to the first target, which passes it on; the sender's link carries
one copy.  *Fan-out*: it goes to each target from here; no target depends on another.  Either way an
acknowledged target has the block fsynced.

In a pipeline whose first target fails, the later ones have nothing: they are reported as untried,
and whether they are used or replaced is the caller's decision, as is everything about the NameNode.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from dfs.base.checksum import Buffer
from dfs.base.errors import DfsError, SourceChanged, TokenRefused
from dfs.base.records import AllocatedBlock, BlockTruth, NodeAddress, Receipt
from dfs.transfer.block_channel import BlockAccess, PieceSource, TargetFailed, Uploaded
from dfs.transfer.channels import Channels
from dfs.transfer.node_memory import NodeMemory


class WriteMode(StrEnum):
    """How a block reaches its targets."""

    PIPELINE = "pipeline"
    FAN_OUT = "fan-out"


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """What came of writing a block once.

    Args:
        truth: what was written; None when no target took it.
        untried: targets that were not sent anything.
    """

    truth: BlockTruth | None
    receipts: tuple[Receipt, ...] = ()
    failed: tuple[TargetFailed, ...] = ()
    untried: tuple[NodeAddress, ...] = ()


class BlockSender:
    """Writes blocks.  Safe to share between threads."""

    def __init__(self, channels: Channels, memory: NodeMemory) -> None:
        self._channels = channels
        self._memory = memory

    def write(
        self,
        allocated: AllocatedBlock,
        path: str,
        source: PieceSource,
        *,
        mode: WriteMode,
        targets: Sequence[NodeAddress] | None = None,
        sent: Callable[[int], None] | None = None,
        pack: bytes = b"",
    ) -> WriteOutcome:
        """Send the block to its targets, or to those of them in `targets`.

        Args:
            pack: the table of contents, of a block that holds many files.
            sent: told the length of each piece that left, once however many the targets.

        Raises:
            TokenRefused: a target does not accept the token; another one is needed.
            SourceChanged: the source read differently for different targets.
            DfsError: reading the source failed; no target is to blame.
        """
        chosen = tuple(allocated.targets if targets is None else targets)
        access = BlockAccess(allocated.name, path, allocated.token, pack)
        if not chosen:
            return WriteOutcome(None)
        if mode is WriteMode.PIPELINE or len(chosen) == 1:
            return self._through_first(access, source, chosen, sent)
        return self._to_each(access, source, chosen, sent)

    def _through_first(
        self,
        access: BlockAccess,
        source: PieceSource,
        targets: tuple[NodeAddress, ...],
        sent: Callable[[int], None] | None,
    ) -> WriteOutcome:
        try:
            done = self._upload(targets[0], access, source, targets[1:], sent)
        except TargetError as exc:
            return WriteOutcome(None, (), (exc.failed,), targets[1:])
        return WriteOutcome(done.truth, done.receipts, done.failed)

    def _to_each(
        self,
        access: BlockAccess,
        source: PieceSource,
        targets: tuple[NodeAddress, ...],
        sent: Callable[[int], None] | None,
    ) -> WriteOutcome:
        """Each target reads the source for itself: a slow one holds no other back, and memory is
        one piece a target.
        """
        with ThreadPoolExecutor(len(targets), "dfs-fan-out") as pool:
            futures = [
                pool.submit(self._upload, target, access, source, (), None if rank else sent)
                for rank, target in enumerate(targets)
            ]
        done: list[Uploaded] = []
        failed: list[TargetFailed] = []
        for future in futures:
            try:
                done.append(future.result())
            except TargetError as exc:
                failed.append(exc.failed)
        if len({one.truth for one in done}) > 1:
            raise SourceChanged(f"{access.path}: what was read differed between copies")
        receipts = tuple(receipt for one in done for receipt in one.receipts)
        refused = (*failed, *(one for each in done for one in each.failed))
        return WriteOutcome(done[0].truth if done else None, receipts, refused)

    def _upload(
        self,
        target: NodeAddress,
        access: BlockAccess,
        source: PieceSource,
        pipeline: tuple[NodeAddress, ...],
        sent: Callable[[int], None] | None,
    ) -> Uploaded:
        watched = _WatchedSource(source)
        try:
            with self._memory.busy(target.node), self._channels.to(target) as channel:
                done = channel.upload(access, watched, pipeline=pipeline, sent=sent)
        except TokenRefused:
            raise
        except DfsError as exc:
            if exc is watched.error or self._channels.closed:
                raise
            self._memory.failed(target.node, exc)
            raise TargetError(TargetFailed(target, exc)) from exc
        for receipt in done.receipts:
            self._memory.succeeded(receipt.node)
        for refusal in done.failed:
            self._memory.failed(refusal.address.node, refusal.error)
        return done


class TargetError(Exception):
    """A target failed, as opposed to the source or the token.  Never leaves `dfs.transfer`."""

    def __init__(self, failed: TargetFailed) -> None:
        super().__init__(str(failed.error))
        self.failed = failed


class _WatchedSource:
    """Remembers what its source raised, so that a target is not blamed for it."""

    def __init__(self, source: PieceSource) -> None:
        self._source = source
        self.error: DfsError | None = None

    @property
    def length_bytes(self) -> int | None:
        return self._source.length_bytes

    def pieces(self) -> Iterator[Buffer]:
        try:
            yield from self._source.pieces()
        except DfsError as exc:
            self.error = exc
            raise
