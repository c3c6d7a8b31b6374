"""Which files in quarantine may go: asked by their nodes, judged here.

DataNodes keep every bad file until its grace is over, then name it in their beats.  It may leave
for the purge area when the block has as many sure copies as wanted without it; the last copy of a
block, however bad, stays.  Files of another generation or place are strays, and leave by their rule
(`strays.py`), whatever folder they lie in.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.ids import NodeId
from dfs.base.records import BlockName
from dfs.base.states import BlockState
from dfs.blocks.judging import Bench
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.reconcile import Expected
from dfs.blocks.redundancy import Assessment, KeptBlock, assess
from dfs.blocks.replica_rows import read_expected
from dfs.nodes.orders import Order

NAMES_PER_NODE_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Purge:
    """Whether a bad file may go, and why (not)."""

    may: bool
    reason: str


def may_purge_bad(
    node: NodeId,
    name: BlockName,
    expected: Expected | None,
    *,
    kept: KeptBlock | None,
    assessment: Assessment | None,
) -> Purge:
    """Judge a file in quarantine.

    Args:
        node: where it lies.
        name: what it was.
        expected: what is known of the block of that id.
        kept: the same, when it is committed, with its copies.
        assessment: of `kept`.
    """
    if expected is None or expected.name != name:
        return Purge(may=False, reason="it is a stray, and leaves by the rule for those")
    if expected.state is BlockState.GARBAGE:
        return Purge(may=False, reason="its block is garbage, and is collected")
    if kept is None or assessment is None:
        return Purge(may=False, reason="its block is being written")
    if assessment.disputed:
        return Purge(may=False, reason="nodes vouch for other bytes of this block")
    sure = len(assessment.sure)
    if not sure or sure < kept.wanted:
        return Purge(may=False, reason=f"its block has {sure} of {kept.wanted} sure copies")
    good = " and another on this node" if node in assessment.sure else ""
    return Purge(may=True, reason=f"{sure} sure copies{good}")


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What one pass ordered, and how many files must stay."""

    ordered: int
    kept: int
    why_not: str = ""

    def __bool__(self) -> bool:
        """Whether anything was ordered."""
        return bool(self.ordered)


class BadCopies:
    """See the module.  `note` may be called by any thread; one pass at a time, by `run_once`."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._lock = threading.Lock()
        self._due: dict[NodeId, tuple[BlockName, ...]] = {}

    def note(self, node: NodeId, names: Sequence[BlockName]) -> None:
        """A beat named these files; the newest word of a node counts."""
        with self._lock:
            if names:
                self._due[node] = tuple(names[:NAMES_PER_NODE_MAX])
            else:
                self._due.pop(node, None)

    def run_once(self) -> PurgeReport:
        """Judge what nodes asked for since the last pass."""
        why_not = self._bench.why_no_deletes()
        if why_not:
            return PurgeReport(0, 0, why_not)
        with self._lock:
            asked, self._due = self._due, {}
        if not asked:
            return PurgeReport(0, 0)
        at = self._bench.standings()
        blocks = {name.block for names in asked.values() for name in names}
        with self._bench.reader.view() as connection:
            expected = read_expected(connection, blocks)
            kept = read_kept(connection, blocks)
        assessed = {block: assess(each, at) for block, each in kept.items()}
        ordered = held = 0
        for node, names in asked.items():
            for name in names:
                purge = may_purge_bad(
                    node,
                    name,
                    expected.get(name.block),
                    kept=kept.get(name.block),
                    assessment=assessed.get(name.block),
                )
                if purge.may and node in at.fresh:
                    ordered += self._bench.orders.enqueue(
                        node, Order.PURGE_BAD, name, reason=purge.reason
                    )
                else:
                    held += 1
        return PurgeReport(ordered, held)
