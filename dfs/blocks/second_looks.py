"""Copies that somebody must look at: the doubted are verified, the disputed put aside.

A *suspect* copy rests on a reader's word: its node is ordered to verify it before anything else,
and what it finds comes back as a change of its stock.  A *disputed* copy, for whose bytes its node
vouches though they are not the truth, is put into quarantine as soon as a sure copy of the truth is
elsewhere; without one it stays where it is, readable by its node, and is shown to the operator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.ids import NodeId
from dfs.base.records import BlockName
from dfs.base.states import ReplicaState
from dfs.blocks import history
from dfs.blocks.history import BlockEvent, What
from dfs.blocks.judging import Asked, Bench
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import KeptBlock, Standings, assess
from dfs.blocks.replica_rows import Copy, copies_in_state
from dfs.nodes.orders import Order

COPIES_PER_PASS: Final = 1_000
AGAIN_S: Final = 300.0  # by then a node has read what it was told to verify first
ACTOR: Final = "suspects"


@dataclass(frozen=True, slots=True)
class LookReport:
    """What one pass ordered, and how many disputed copies stay because no other is good."""

    verify: int
    quarantine: int
    held: int

    def __bool__(self) -> bool:
        """Whether anything was ordered."""
        return bool(self.verify or self.quarantine)


class SecondLooks:
    """See the module.  One pass at a time, by `run_once`."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._asked = Asked(bench.clock, again_s=AGAIN_S)
        self._after = dict.fromkeys((ReplicaState.SUSPECT, ReplicaState.DISPUTED), (0, 0))

    def run_once(self) -> LookReport:
        """One bounded pass over each kind; the next goes on where this one ended."""
        self._asked.prune()
        at = self._bench.standings()
        doubted = [(copy, kept) for copy, kept in self._page(ReplicaState.SUSPECT)]
        disputed = self._page(ReplicaState.DISPUTED)
        verify = sum(
            self._order(copy.node, Order.VERIFY, kept.name, "somebody could not read it")
            for copy, kept in doubted
            if copy.node in at.fresh
        )
        if self._bench.why_no_deletes():
            return LookReport(verify, 0, len(disputed))
        settled = [(copy, kept) for copy, kept in disputed if _may_go(copy, kept, at)]
        aside = [
            (copy, kept)
            for copy, kept in settled
            if self._order(copy.node, Order.QUARANTINE, kept.name, "its bytes are not the truth")
        ]
        self._remember(aside)
        return LookReport(verify, len(aside), len(disputed) - len(settled))

    def _page(self, state: ReplicaState) -> list[tuple[Copy, KeptBlock]]:
        """Copies in that state of committed blocks, of the right generation."""
        with self._bench.reader.view() as connection:
            copies = copies_in_state(
                connection, state, after=self._after[state], limit=COPIES_PER_PASS
            )
            kept = read_kept(connection, {copy.block for copy in copies})
        full = len(copies) == COPIES_PER_PASS
        self._after[state] = (copies[-1].block, copies[-1].node) if full else (0, 0)
        return [
            (copy, kept[copy.block])
            for copy in copies
            if copy.block in kept and copy.generation == kept[copy.block].truth.generation
        ]

    def _order(self, node: NodeId, verb: Order, name: BlockName, reason: str) -> bool:
        """Whether it was ordered now, not lately."""
        if not self._asked.is_due(node, verb, name):
            return False
        if not self._bench.orders.enqueue(node, verb, name, reason=reason):
            return False
        self._asked.note(node, verb, name)
        return True

    def _remember(self, aside: Sequence[tuple[Copy, KeptBlock]]) -> None:
        events = [
            BlockEvent(
                copy.block,
                copy.generation,
                What.QUARANTINED,
                copy.node,
                ACTOR,
                "a good copy is elsewhere",
            )
            for copy, _ in aside
        ]
        if events:
            self._bench.writer.submit(lambda txn: history.note(txn, events))


def _may_go(copy: Copy, kept: KeptBlock, at: Standings) -> bool:
    """Whether the truth is kept for sure on another node, and this one can be told."""
    return copy.node in at.fresh and bool(assess(kept, at).sure)
