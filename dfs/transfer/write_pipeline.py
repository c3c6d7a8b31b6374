"""Writing one block to its targets: which of them hold it, which do not, and why.

*Pipeline*: the block goes once, to the first target, which passes it on; the sender's link carries
one copy.  *Fan-out*: it goes to each target from here; no target depends on another.  Either way an
acknowledged target has the block fsynced.

In a pipeline whose first target fails, the later ones have nothing: they are reported as untried,
and whether they are used or replaced is the caller's decision, as is everything about the NameNode.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from dfs.base.checksum import Buffer
from dfs.base.errors import DfsError, SourceChanged, TokenRefused
from dfs.base.records import AllocatedBlock, BlockTruth, NodeAddress, Receipt
from dfs.transfer.block_channel import BlockAccess, PieceSource, TargetFailed, Uploaded
from dfs.transfer.channels import Channels
from dfs.transfer.local_links import Elsewhere
from dfs.transfer.local_upload import LocalUploads
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
    """Writes blocks.  Safe to share between threads.

    Args:
        local: takes blocks to DataNodes of this computer, where it can.
    """

    def __init__(
        self, channels: Channels, memory: NodeMemory, *, local: LocalUploads | None = None
    ) -> None:
        self._channels = channels
        self._memory = memory
        self._local = local

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
        near = [each for each in targets if self._local and self._local.may_reach(each)]
        if self._local is not None and near:
            return self._through_memory(self._local, access, source, targets, near, sent)
        return self._through_network(access, source, targets, sent)

    def _through_network(
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

    def _through_memory(
        self,
        local: LocalUploads,
        access: BlockAccess,
        source: PieceSource,
        targets: tuple[NodeAddress, ...],
        near: list[NodeAddress],
        sent: Callable[[int], None] | None,
    ) -> WriteOutcome:
        """To the targets of this computer, the others behind the first; where that way breaks, to
        the same targets over the network.
        """
        far = tuple(each for each in targets if each not in near)
        counted = _Counted(sent or (lambda _length: None))
        with contextlib.ExitStack() as busy:
            for each in near:
                busy.enter_context(self._memory.busy(each.node))
            tried = local.upload(access, source, near=near, far=far, sent=counted.add)
        outcomes: list[WriteOutcome] = []
        for one in tried:
            if isinstance(one.failure, TokenRefused):
                raise one.failure
            if isinstance(one.failure, Elsewhere):
                behind = (one.address, *one.pipeline)
                counted.begin()
                outcomes.append(self._through_network(access, source, behind, counted.add))
            elif one.failure is not None:
                self._memory.failed(one.address.node, one.failure)
                failed = TargetFailed(one.address, one.failure)
                outcomes.append(WriteOutcome(None, (), (failed,), one.pipeline))
            elif one.uploaded is not None:
                self._note(one.uploaded)
                done = one.uploaded
                outcomes.append(WriteOutcome(done.truth, done.receipts, done.failed))
        return _joined(access, outcomes)

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
                pool.submit(self._through_first, access, source, (target,), None if rank else sent)
                for rank, target in enumerate(targets)
            ]
        return _joined(access, [future.result() for future in futures])

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
        self._note(done)
        return done

    def _note(self, done: Uploaded) -> None:
        for receipt in done.receipts:
            self._memory.succeeded(receipt.node)
        for refusal in done.failed:
            self._memory.failed(refusal.address.node, refusal.error)


def _joined(access: BlockAccess, outcomes: Sequence[WriteOutcome]) -> WriteOutcome:
    """One outcome of several that wrote the same block to different targets.

    Raises:
        SourceChanged: they did not write the same.
    """
    truths = {one.truth for one in outcomes if one.truth is not None}
    if len(truths) > 1:
        raise SourceChanged(f"{access.path}: what was read differed between copies")
    return WriteOutcome(
        next(iter(truths), None),
        tuple(receipt for one in outcomes for receipt in one.receipts),
        tuple(failed for one in outcomes for failed in one.failed),
        tuple(address for one in outcomes for address in one.untried),
    )


class _Counted:
    """Tells of bytes once that are sent again another way."""

    def __init__(self, sent: Callable[[int], None]) -> None:
        self._sent = sent
        self._at = self._highest = 0

    def begin(self) -> None:
        """From the start again."""
        self._at = 0

    def add(self, length_bytes: int) -> None:
        """So many bytes more went this way."""
        self._at += length_bytes
        if self._at > self._highest:
            self._sent(self._at - self._highest)
            self._highest = self._at


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
