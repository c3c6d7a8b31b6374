"""Retiring copies, followed to their end: deleted for good, or needed again and brought back.

Between the decision to retire a copy and its deletion anything may happen to the others.  So the
deletion is ordered only while enough sure copies are there beside it; a copy that is needed again
counts from then on as suspect: its node brings it back from the purge area if need be, and verifies
it.  A block of which nothing good is known is looked for in the same way where a copy of it was
retired or deleted lately.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.ids import BlockId, NodeId
from dfs.base.records import BlockName
from dfs.base.states import ReplicaState
from dfs.blocks.history import BlockEvent, What, note, read
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import KeptBlock, Standings, assess
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.nodes.orders import Order, Ordering
from dfs.upkeep.retiring import put_copy_state

SEARCHED_MAX: Final = 100  # blocks looked for in purge areas, a pass
_WENT: Final = frozenset({What.RETIRING, What.RETIRED, What.DELETED})
ACTOR: Final = "repair"


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of retiring copies in one pass."""

    ordered: int = 0
    restored: int = 0


class Reprieve:
    """See the module.  Safe to share between threads."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        *,
        orders: Ordering,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._orders = orders

    def follow(
        self,
        retiring: Sequence[tuple[NodeId, BlockName]],
        *,
        at: Standings,
        why_no_deletes: str,
    ) -> Followed:
        """Order the deletion of retiring copies again, or bring back those that are needed."""
        with self._reader.view() as connection:
            kept = read_kept(connection, [name.block for _, name in retiring])
        ordered = restored = 0
        for node, name in retiring:
            block = kept.get(name.block)
            if block is None or not _is_retiring(block, node):
                continue
            found = assess(block, at)
            if len(found.counting) < block.wanted:
                restored += self.restore(name, node, "its block lost other copies since")
            elif len(found.sure) >= block.wanted and not why_no_deletes:
                ordered += self._orders.enqueue(
                    node, Order.DELETE, name, reason="one copy too many"
                )
        return Followed(ordered, restored)

    def restore(self, name: BlockName, node: NodeId, reason: str, *, actor: str = ACTOR) -> bool:
        """Bring a retiring copy back, or one that was retired; whether the order was taken in."""

        def work(txn: Txn) -> None:
            block = read_kept(txn.connection, [name.block]).get(name.block)
            if block is not None and _is_retiring(block, node):
                put_copy_state(txn, block, node, ReplicaState.SUSPECT)
            note(
                txn,
                [BlockEvent(name.block, name.generation, What.RESTORING, node, actor, reason)],
            )

        self._orders.cancel(node, Order.DELETE, name)
        if not self._orders.enqueue(node, Order.RESTORE, name, reason=reason):
            return False
        self._writer.submit(work)
        self._orders.enqueue(node, Order.VERIFY, name, reason=reason)
        return True

    def search(self, lost: Sequence[KeptBlock], *, here: frozenset[NodeId]) -> int:
        """Look for lost blocks where a copy was retired lately; how many orders went out.

        Args:
            here: nodes that can be asked.
        """
        wanted: list[tuple[BlockName, NodeId]] = []
        with self._reader.view() as connection:
            for block in lost[:SEARCHED_MAX]:
                asked: set[NodeId] = set()
                for event in read(connection, block.truth.block):
                    if event.what in (What.RESTORING, What.RESTORED):
                        asked.add(event.node)
                    elif event.what in _WENT and event.generation == block.truth.generation:
                        asked.discard(event.node)
                        wanted.append((block.name, event.node))
                holders = {copy.node for copy in block.copies}
                wanted = [
                    (name, node)
                    for name, node in dict.fromkeys(wanted)
                    if name != block.name or (node in here - asked - holders)
                ]
        why = "no good copy is known anywhere"
        return sum(self.restore(name, node, why) for name, node in wanted)


def _is_retiring(block: KeptBlock, node: NodeId) -> bool:
    return any(copy.node == node and copy.state is ReplicaState.RETIRING for copy in block.copies)


def name_of(reader: Reader, block: BlockId) -> BlockName | None:
    """Where a committed block lies on a node's disk; None when there is no such block."""
    with reader.view() as connection:
        kept = read_kept(connection, [block]).get(block)
    return kept.name if kept else None
