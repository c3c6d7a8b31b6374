"""Which blocks balancing looks at: around and around those of each giver, some in a pass.

Knows when all of a node's blocks were looked at since the last move, and leaves alone for a while
what could not be moved.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Connection

from dfs.base.clock import Clock
from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.records import NodeView
from dfs.base.states import NodeDuty, NodeState
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import KeptBlock, RepairClass
from dfs.upkeep.balance_rows import blocks_of_node
from dfs.upkeep.survey import SurveyTotals

SAMPLE_BLOCKS: Final = 4_000  # looked at in a pass, over all givers
SAMPLE_BLOCKS_MIN: Final = 200  # of one giver
FAILED_WAIT_S: Final = 60.0  # until a block that could not be moved is tried again
FAILED_BLOCKS_MAX: Final = 10_000
_FIRST: Final = BlockId(0)


class Search:
    """See the module.  Used by one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._cursors: dict[NodeId, BlockId] = {}
        self._whole_rounds: set[NodeId] = set()  # begun at the first block since the last move
        self._through: set[NodeId] = set()
        self._rests_until_s: dict[BlockId, float] = {}

    def samples(
        self, connection: Connection, givers: Sequence[NodeId]
    ) -> dict[NodeId, list[KeptBlock]]:
        """The next blocks of each giver."""
        limit = max(SAMPLE_BLOCKS_MIN, SAMPLE_BLOCKS // max(1, len(givers)))
        return {node: self._sample(connection, node, limit) for node in givers}

    def _sample(self, connection: Connection, node: NodeId, limit: int) -> list[KeptBlock]:
        after = self._cursors.get(node, _FIRST)
        if after == _FIRST:
            self._whole_rounds.add(node)
        blocks = blocks_of_node(connection, node, after=after, limit=limit)
        if len(blocks) == limit:
            self._cursors[node] = blocks[-1]
        else:
            self._cursors[node] = _FIRST
            if node in self._whole_rounds:
                self._through.add(node)
        return list(read_kept(connection, blocks).values())

    def is_through(self, givers: Iterable[NodeId]) -> bool:
        """Whether all blocks of those nodes were looked at since anything moved."""
        return self._through >= set(givers)

    def note_moves(self) -> None:
        """Something moves: what could not before may now."""
        self._whole_rounds.clear()
        self._through.clear()

    def let_rest(self, blocks: Iterable[BlockId]) -> None:
        """Those could not be moved: leave them alone for a while."""
        until_s = self._clock.monotonic_s() + FAILED_WAIT_S
        self._rests_until_s.update(dict.fromkeys(blocks, until_s))
        while len(self._rests_until_s) > FAILED_BLOCKS_MAX:
            del self._rests_until_s[next(iter(self._rests_until_s))]

    def resting(self) -> frozenset[BlockId]:
        """What is left alone now."""
        now_s = self._clock.monotonic_s()
        self._rests_until_s = {b: at for b, at in self._rests_until_s.items() if now_s < at}
        return frozenset(self._rests_until_s)


def why_unsure(views: Sequence[NodeView], fresh: frozenset[NodeId]) -> str:
    """Which nodes in service are not known well enough to compare them, or nothing."""
    silent, unknown = [], []
    for view in views:
        if view.duty is not NodeDuty.IN_SERVICE:
            continue
        if view.state in (NodeState.JOINED, NodeState.STALE) and not view.is_excused:
            silent.append(node_name(view.node))
        elif view.state is NodeState.LIVE and view.node not in fresh:
            unknown.append(node_name(view.node))
    if silent:
        return f"waiting for {', '.join(silent)}, not heard lately"
    return f"waiting to be told what {', '.join(unknown)} holds" if unknown else ""


def why_repair_first(totals: SurveyTotals) -> str:
    """Whether blocks with few copies left are being repaired, in words, or nothing."""
    last = totals.urgency(RepairClass.LAST_COPY).blocks
    few = totals.urgency(RepairClass.FEW_COPIES).blocks
    if not last + few:
        return ""
    return f"repair goes first: {last} blocks with one copy left, {few} with few"
