"""Deleting what nothing refers to: garbage blocks, when their time has come, holder by holder.

A block gets into `gc_queue` by `blockmap.discard`, in the transaction that made it garbage.  The
order of effects, each step repeated until the next is seen done:

    1 a holder is known            (registered in this run, full stock report in); else it waits
    2 it is told to delete exactly that generation, with the epoch of today
    3 it acknowledged              its replica row goes (commit; `acknowledged.py`)
    4 no replica row is left       the block and its place in the queue go (commit)

A crash anywhere leaves rows that say what is still to do; deleting twice is no error.  A holder
that is away keeps the block's row until it returns or is removed, but holds up nobody else.  What
shows up after the row went is a stray (`strays.py`).  Nothing is deleted, nor forgotten, while
there is a reason for caution.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.ids import BlockId, NodeId
from dfs.base.records import BlockName
from dfs.blocks.judging import Orderer
from dfs.blocks.replica_rows import (
    Copy,
    Garbage,
    copies_on_strangers,
    drop_blocks,
    drop_copies,
    due_garbage,
    known_nodes,
    referenced,
)
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from dfs.nodes.orders import Order

BLOCKS_PER_PASS: Final = 2_000
STRANGERS_PER_PASS: Final = 5_000


class StockKnowledge(Protocol):
    """What the collector needs to know of DataNodes."""

    def fresh(self) -> frozenset[NodeId]:
        """The nodes whose stock is known."""
        ...


@dataclass(frozen=True, slots=True)
class GcReport:
    """What one pass did: deletions ordered, blocks forgotten.

    `waiting` counts blocks of which not every holder is known; `why_not` says why nothing is
    deleted now.
    """

    ordered: int
    forgotten: int
    waiting: int
    why_not: str = ""

    def __bool__(self) -> bool:
        """Whether anything was done; a pass without is no news."""
        return bool(self.ordered or self.forgotten)


class GarbageCollector:
    """See the module.  One pass at a time, by `run_once`.

    Args:
        why_no_deletes: says why nothing may be deleted now, or "".
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        *,
        stock: StockKnowledge,
        orders: Orderer,
        why_no_deletes: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._stock = stock
        self._orders = orders
        self._why_no_deletes = why_no_deletes
        self._clock = clock
        self._after = 0

    def run_once(self) -> GcReport:
        """One bounded pass; the next goes on where this one ended."""
        why_not = self._why_no_deletes()
        if why_not:
            return GcReport(0, 0, 0, why_not)
        fresh = self._stock.fresh()
        with self._reader.view() as connection:
            known = known_nodes(connection)
            due = due_garbage(
                connection,
                now_ms=self._clock.now_ms(),
                after=self._after,
                limit=BLOCKS_PER_PASS,
            )
            in_use = referenced(connection, [garbage.name.block for garbage in due])
            strangers = copies_on_strangers(connection, known, limit=STRANGERS_PER_PASS)
        assert not in_use, f"blocks in use are queued as garbage: {sorted(in_use)[:10]}"
        self._after = due[-1].name.block if len(due) == BLOCKS_PER_PASS else 0
        self._drop_strangers(strangers)
        plan = _plan(due, known=known, fresh=fresh)
        ordered = self._order(plan.deletions)
        return GcReport(ordered, self._forget(plan.gone), plan.waiting)

    def _drop_strangers(self, copies: Sequence[Copy]) -> None:
        """Forget copies on nodes that were removed."""
        if copies:
            self._writer.submit(lambda txn: drop_copies(txn, copies))

    def _order(self, deletions: Sequence["_Deletion"]) -> int:
        ordered = sum(
            self._orders.enqueue(each.node, Order.DELETE, each.name, reason=each.reason)
            for each in deletions
        )
        crashpoint.reach("nn.gc.ordered")
        return ordered

    def _forget(self, blocks: Collection[BlockId]) -> int:
        if not blocks:
            return 0
        forgotten = self._writer.submit(lambda txn: drop_blocks(txn, blocks))
        crashpoint.reach("nn.gc.forgotten")
        return forgotten


@dataclass(frozen=True, slots=True)
class _Deletion:
    node: NodeId
    name: BlockName
    reason: str


@dataclass(frozen=True, slots=True)
class _Plan:
    deletions: tuple[_Deletion, ...]
    gone: tuple[BlockId, ...]
    waiting: int


def _plan(due: Sequence[Garbage], *, known: frozenset[NodeId], fresh: frozenset[NodeId]) -> _Plan:
    """Which copies to delete, and which blocks are nowhere any more.

    A holder that is known deletes, whatever became of the others: the row of one that is away
    stays, and with it the block's, so that it is told when it comes back.

    Who holds a block that was never committed is known from stock reports alone, so it is forgotten
    only when every node's are in.
    """
    deletions: list[_Deletion] = []
    gone: list[BlockId] = []
    waiting = 0
    for garbage in due:
        holders = [copy for copy in garbage.copies if copy.node in known]
        if not holders and (garbage.committed or known <= fresh):
            gone.append(garbage.name.block)
            continue
        here = [copy for copy in holders if copy.node in fresh]
        deletions += [_deletion(garbage, copy) for copy in here]
        if len(here) < len(holders) or not holders:
            waiting += 1
    return _Plan(tuple(deletions), tuple(gone), waiting)


def _deletion(garbage: Garbage, copy: Copy) -> _Deletion:
    name = BlockName(garbage.name.file, garbage.name.number, copy.block, copy.generation)
    return _Deletion(copy.node, name, garbage.reason)
