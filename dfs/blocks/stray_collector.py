"""Sending strays away: those that `strays.py` says may leave, from nodes whose stock is known.

A stray leaves by an order to delete exactly that name, which its DataNode obeys by a move to its
purge area.  Its row goes when the node says that it is gone.  Nothing is ordered while there is a
reason for caution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.events import Event
from dfs.base.ids import BlockId, NodeId, node_name
from dfs.blocks import history
from dfs.blocks.history import BlockEvent, What
from dfs.blocks.judging import Asked, Bench
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.reconcile import Expected
from dfs.blocks.redundancy import KeptBlock, Standings, assess
from dfs.blocks.replica_rows import known_nodes, read_expected
from dfs.blocks.stray_rows import (
    StrayPlace,
    drop_strays_of_strangers,
    page_of_strays,
    read_frontier,
)
from dfs.blocks.strays import Frontier, Stray, may_leave
from dfs.nodes.orders import Order

STRAYS_PER_PASS: Final = 1_000
AGAIN_S: Final = 3_600.0
ACTOR: Final = "strays"


@dataclass(frozen=True, slots=True)
class StrayReport:
    """What one pass did: deletions ordered for the first time, and strays that stay for now."""

    ordered: int
    kept: int
    why_not: str = ""

    def __bool__(self) -> bool:
        """Whether anything was done; a pass without is no news."""
        return bool(self.ordered)


@dataclass(frozen=True, slots=True)
class _Knowledge:
    """What strays are judged by."""

    expected: dict[BlockId, Expected]
    kept: dict[BlockId, KeptBlock]
    frontier: Frontier
    standings: Standings


class StrayCollector:
    """See the module.  One pass at a time, by `run_once`.

    Args:
        keep_s: how far apart two full reports must lie that both had an orphan.
    """

    def __init__(self, bench: Bench, *, keep_s: float) -> None:
        self._bench = bench
        self._keep_ms = int(keep_s * 1000)
        self._after = StrayPlace()
        self._asked = Asked(bench.clock, again_s=AGAIN_S)

    def run_once(self) -> StrayReport:
        """One bounded pass; the next goes on where this one ended."""
        bench = self._bench
        why_not = bench.why_no_deletes()
        if why_not:
            return StrayReport(0, 0, why_not)
        standings = bench.standings()
        with bench.reader.view() as connection:
            known = known_nodes(connection)
            page = page_of_strays(connection, after=self._after, limit=STRAYS_PER_PASS)
            blocks = {stray.name.block for stray in page}
            knowledge = _Knowledge(
                read_expected(connection, blocks),
                read_kept(connection, blocks),
                read_frontier(connection),
                standings,
            )
        self._step(page)
        if any(stray.node not in known for stray in page):
            bench.writer.submit(lambda txn: drop_strays_of_strangers(txn, known))
        leaving = [
            (stray, reason)
            for stray in page
            if stray.node in known and (reason := self._why_leave(stray, knowledge))
        ]
        ordered = self._order(leaving)
        return StrayReport(ordered, len(page) - len(leaving))

    def _step(self, page: Sequence[Stray]) -> None:
        if len(page) < STRAYS_PER_PASS:
            self._after = StrayPlace()
            self._asked.prune()
        else:
            last = page[-1]
            self._after = StrayPlace(last.node, last.name.block, last.name.generation)

    def _why_leave(self, stray: Stray, knowledge: _Knowledge) -> str:
        """Why it may leave; "" when it stays."""
        if stray.node not in knowledge.standings.fresh:
            return ""
        block = stray.name.block
        kept = knowledge.kept.get(block)
        sure = assess(kept, knowledge.standings).sure if kept else ()
        leave = may_leave(
            stray,
            knowledge.expected.get(block),
            sure=len(sure),
            wanted=kept.wanted if kept else 0,
            frontier=knowledge.frontier,
            now_ms=self._bench.clock.now_ms(),
            keep_ms=self._keep_ms,
        )
        return leave.reason if leave.may else ""

    def _order(self, leaving: Sequence[tuple[Stray, str]]) -> int:
        news = [
            (stray, reason)
            for stray, reason in leaving
            if self._asked.is_due(stray.node, Order.DELETE, stray.name)
            and self._bench.orders.enqueue(stray.node, Order.DELETE, stray.name, reason=reason)
            and self._asked.note(stray.node, Order.DELETE, stray.name)
        ]
        if news:
            events = [
                BlockEvent(
                    stray.name.block,
                    stray.name.generation,
                    What.STRAY_DELETED,
                    stray.node,
                    ACTOR,
                    reason,
                )
                for stray, reason in news
            ]
            self._bench.writer.submit(lambda txn: history.note(txn, events))
        for node in sorted({stray.node for stray, _ in news}):
            self._say(node, [(stray, why) for stray, why in news if stray.node == node])
        return len(news)

    def _say(self, node: NodeId, news: Sequence[tuple[Stray, str]]) -> None:
        self._bench.emit.emit(
            Event.STRAY_DELETED,
            node=node_name(node),
            count=len(news),
            first_blocks=[stray.name.block for stray, _ in news[:10]],
            why=news[0][1],
        )
