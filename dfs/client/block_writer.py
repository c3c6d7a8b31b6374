"""Getting one block of a file onto enough DataNodes: who else is asked when a target fails.

1  Targets that failed this client in the last half minute are not tried: others are asked for.
2  If a target fails, the NameNode is asked for a block on other nodes, and the content is sent
   again, at most `REPLACEMENTS_MAX` times.
3  If it has no others, the targets of the last block that were not sent anything yet are; if what
   it has would give no copy more than there are by then, nothing is sent again.
4  What then counts is `min_acks`: that many copies are enough, the rest is owed and made by repair;
   fewer are a failure, with each node and its reason.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Final

from dfs.base.errors import (
    DfsError,
    PlacementRefused,
    TokenRefused,
)
from dfs.base.ids import NodeId, node_name
from dfs.base.records import AllocatedBlock, NodeAddress, WrittenBlock
from dfs.client.data_plane import DataPlane
from dfs.client.leases import Lease
from dfs.client.namenode_link import NamenodeLink, value_of
from dfs.transfer.block_channel import PieceSource
from dfs.transfer.write_pipeline import WriteMode, WriteOutcome
from dfs.wire.data_api import AllocateItem, AllocateRequest, OpenedFile
from dfs.wire.routes import ALLOCATE

REPLACEMENTS_MAX: Final = 2

Moved = Callable[[int], None]


class BlockSupply:
    """The blocks of one file as they are needed, a few allocated ahead of need.

    Safe to share between threads.

    Args:
        blocks: those that came with the file.
        ahead: how many to allocate at once; their tokens live some minutes, so it is few.
        last_number: of the file, when known; nothing is allocated beyond it.
    """

    def __init__(
        self,
        link: NamenodeLink,
        lease: Lease,
        blocks: Sequence[AllocatedBlock],
        *,
        ahead: int,
        last_number: int | None,
    ) -> None:
        self._link = link
        self._lease = lease
        self._ahead = ahead
        self._last_number = last_number
        self._lock = threading.Lock()
        self._stock = {block.name.number: block for block in blocks}

    def take(self, number: int) -> AllocatedBlock:
        """The block of that number.

        Raises:
            DfsError: the NameNode has none.
        """
        with self._lock:
            if number not in self._stock:
                count = self._ahead
                if self._last_number is not None:
                    count = min(count, self._last_number - number + 1)
                for block in self._allocate(number, count, ()):
                    self._stock.setdefault(block.name.number, block)
            return self._stock.pop(number)

    def replace(self, number: int, exclude: Sequence[NodeId]) -> AllocatedBlock:
        """Another block of that number, on other nodes.

        Raises:
            PlacementRefused: there are no others.
            DfsError: what else the NameNode refused it with.
        """
        return self._allocate(number, 1, exclude)[0]

    def _allocate(
        self, number: int, count: int, exclude: Sequence[NodeId]
    ) -> Sequence[AllocatedBlock]:
        self._lease.check()
        item = AllocateItem(
            inode=self._lease.inode,
            lease=self._lease.token,
            number=number,
            count=count,
            exclude=sorted(exclude),
        )
        reply = self._link.call(ALLOCATE, AllocateRequest(items=[item]), insist=True)
        blocks = value_of(reply.outcomes[0])
        if not blocks:
            raise PlacementRefused(f"{self._lease.path}: the NameNode allocated no block")
        return blocks


class BlockWriter:
    """Writes the blocks of one file.  Safe to share between threads.

    Args:
        moved: told how many bytes more have left; a block that is sent again counts once.
        pack: the table of contents, of a block that holds many files.
        called: what messages call the file, when its path would tell nobody anything.
    """

    def __init__(
        self,
        plane: DataPlane,
        opened: OpenedFile,
        supply: BlockSupply,
        *,
        mode: WriteMode,
        moved: Moved,
        pack: bytes = b"",
        called: str = "",
    ) -> None:
        self._sender = plane.sender
        self._memory = plane.memory
        self._opened = opened
        self._pack = pack
        self._called = called or opened.path
        self._supply = supply
        self._mode = mode
        self._moved = moved

    def write(self, number: int, source: PieceSource) -> WrittenBlock:
        """Have the block on at least `min_acks` nodes, fsynced.

        Raises:
            PlacementRefused: it is on fewer; names each node and its reason.
            DfsError: the source or the NameNode failed.
        """
        counter = HighWater(self._moved)
        tried = _Tried()
        allocated = self._without_failed(number, self._supply.take(number))
        for replacements_left in range(REPLACEMENTS_MAX, -1, -1):
            tried.add(self._send(allocated, source, counter, tried))
            if tried.is_whole:
                break
            fresh = self._replacement(number, tried) if replacements_left else None
            if fresh is None or self._gains_nothing(tried, fresh):
                break
            allocated = fresh
        if not self._is_enough(tried):
            self._send_to_untried(allocated, source, counter, tried)
        if not self._is_enough(tried):
            raise self._refusal(number, tried)
        return tried.written()

    def _is_enough(self, tried: "_Tried") -> bool:
        needed = min(self._opened.min_acks, self._opened.replication)
        return len(tried.best.receipts) >= max(1, needed)

    def _gains_nothing(self, tried: "_Tried", fresh: AllocatedBlock) -> bool:
        """Whether sending it all again would bring no copy more than there are."""
        return self._is_enough(tried) and len(fresh.targets) <= len(tried.best.receipts)

    def _without_failed(self, number: int, allocated: AllocatedBlock) -> AllocatedBlock:
        """Another block, when some of this one's targets failed us lately and there are others."""
        failed = [t.node for t in allocated.targets if self._memory.last_failure(t.node)]
        if not failed:
            return allocated
        try:
            return self._supply.replace(number, failed)
        except PlacementRefused:
            return allocated

    def _send(
        self, allocated: AllocatedBlock, source: PieceSource, counter: "HighWater", tried: "_Tried"
    ) -> WriteOutcome:
        counter.begin()
        path = self._opened.path
        try:
            return self._sender.write(
                allocated, path, source, mode=self._mode, sent=counter.add, pack=self._pack
            )
        except TokenRefused as exc:
            tried.refused = exc  # it expired while it waited; another block brings another token
            return WriteOutcome(None)

    def _replacement(self, number: int, tried: "_Tried") -> AllocatedBlock | None:
        try:
            return self._supply.replace(number, list(tried.reasons))
        except PlacementRefused as exc:
            tried.refused = exc
            return None

    def _send_to_untried(
        self, allocated: AllocatedBlock, source: PieceSource, counter: "HighWater", tried: "_Tried"
    ) -> None:
        while tried.untried and not self._is_enough(tried):
            counter.begin()
            outcome = self._sender.write(
                allocated,
                self._opened.path,
                source,
                mode=self._mode,
                targets=tried.untried,
                sent=counter.add,
                pack=self._pack,
            )
            tried.add(outcome)

    def _refusal(self, number: int, tried: "_Tried") -> DfsError:
        if not tried.reasons and tried.refused is not None:
            return tried.refused
        reasons = {node_name(node): why.message for node, why in tried.reasons.items()}
        said = "; ".join(
            why if why.startswith(f"{node} at ") else f"{node}: {why}"
            for node, why in reasons.items()
        )
        other = f"; no other: {tried.refused.message}" if tried.refused is not None else ""
        return PlacementRefused(
            f"{self._called}: block {number} is on {len(tried.best.receipts)} of the "
            f"{self._opened.min_acks} nodes it needs at least: {said or 'no targets'}{other}",
            details={"path": self._called, "number": number, "nodes": reasons},
        )


class _Tried:
    """What came of the attempts at one block so far."""

    def __init__(self) -> None:
        self.best = WriteOutcome(None)
        self.untried: tuple[NodeAddress, ...] = ()  # of the newest attempt
        self.is_whole = False  # the newest attempt reached all of its targets
        self.reasons: dict[NodeId, DfsError] = {}
        self.refused: DfsError | None = None

    def add(self, outcome: WriteOutcome) -> None:
        """Of equally good attempts the newest counts: its block is the NameNode's newest too."""
        self.reasons.update((each.address.node, each.error) for each in outcome.failed)
        self.untried = outcome.untried
        self.is_whole = bool(outcome.receipts) and not outcome.failed and not outcome.untried
        if len(outcome.receipts) >= len(self.best.receipts):
            self.best = outcome

    def written(self) -> WrittenBlock:
        """What to say of the block when the file is completed."""
        assert self.best.truth is not None
        return WrittenBlock(self.best.truth, self.best.receipts)


class HighWater:
    """Counts bytes that pass, but those that pass again only once."""

    def __init__(self, moved: Moved) -> None:
        self._moved = moved
        self._at = 0
        self._highest = 0

    def begin(self) -> None:
        """From the start again."""
        self._at = 0

    def add(self, size_bytes: int) -> None:
        """So many bytes more passed in this attempt."""
        self._at += size_bytes
        if self._at > self._highest:
            self._moved(self._at - self._highest)
            self._highest = self._at
