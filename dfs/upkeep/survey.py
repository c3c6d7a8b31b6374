"""Pure: what a survey of every committed block found.

Repair, balance, health and safety all read the last one, so none of them listens for events:
whatever happened, the next survey sees what is.  `surveyor.py` makes them.  Totals are of all
blocks; lists hold a bounded number, those of the smallest (oldest) ids first.

Canaries are nobody's data and are spoiled on purpose: no total has them, and none of them is listed
as lost or away.  They are healed as all blocks are, so what is to be done for them is listed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dfs.base.ids import BlockId, NodeId
from dfs.base.records import BlockName
from dfs.blocks.redundancy import Assessment, BlockHealth, KeptBlock, RepairClass, Standings


@dataclass(frozen=True, slots=True)
class Tally:
    """So many blocks of so many bytes; `owed_copies`, of `owed_bytes`, are to be made of them."""

    blocks: int = 0
    size_bytes: int = 0
    owed_bytes: int = 0
    owed_copies: int = 0


@dataclass(frozen=True, slots=True)
class SurveyTotals:
    """Exact figures over every committed block of users; those without any are left out."""

    blocks: int = 0
    size_bytes: int = 0
    by_health: Mapping[BlockHealth, Tally] = field(default_factory=dict)
    by_class: Mapping[RepairClass, Tally] = field(default_factory=dict)

    def health(self, health: BlockHealth) -> Tally:
        """How many blocks are so."""
        return self.by_health.get(health, Tally())

    def urgency(self, urgency: RepairClass) -> Tally:
        """How many blocks need such a repair."""
        return self.by_class.get(urgency, Tally())


@dataclass(frozen=True, slots=True)
class Judged:
    """A block and what was found of it."""

    block: KeptBlock
    found: Assessment


@dataclass(frozen=True, slots=True)
class Survey:
    """What the last survey found.  `at_ms` is 0 before the first.

    Attributes:
        number: grows with every survey of a run.
        urgent: blocks to copy, the worst class first, in it the oldest; bounded in each class.
        excess: blocks with more sure copies than wanted.
        settled_excess: those of them that had so in the survey before, too.
        damaged: every copy known is bad.  `missing`: none is known.  `disputed`: nodes vouch for
            other bytes.  `away`: every copy is on a node that is expected back.
        bad: blocks that have a copy proved bad or disputed, whatever their health; canaries too.
        retiring: copies whose deletion is ordered and not acknowledged.
        leaving: of each node on its way out, how many blocks still need what it has.
        canaries: the blocks of canaries, as far as they are in a list.
        at: the standings it judged by.
    """

    number: int = 0
    at_ms: int = 0
    began_s: float = 0.0  # on the monotonic clock
    took_s: float = 0.0
    totals: SurveyTotals = SurveyTotals()
    urgent: tuple[Judged, ...] = ()
    excess: tuple[Judged, ...] = ()
    settled_excess: frozenset[BlockId] = frozenset()
    damaged: tuple[Judged, ...] = ()
    missing: tuple[Judged, ...] = ()
    disputed: tuple[Judged, ...] = ()
    away: tuple[Judged, ...] = ()
    bad: tuple[Judged, ...] = ()
    retiring: tuple[tuple[NodeId, BlockName], ...] = ()
    leaving: Mapping[NodeId, int] = field(default_factory=dict)
    canaries: frozenset[BlockId] = frozenset()
    at: Standings | None = None

    @property
    def lost(self) -> tuple[Judged, ...]:
        """Blocks that no good copy is known of anywhere."""
        return (*self.missing, *self.damaged, *self.disputed)


def copies_owed(block: KeptBlock, found: Assessment) -> int:
    """How many copies a block lacks; none where there is nothing to copy from."""
    if found.repair is None or found.repair is RepairClass.DAMAGED:
        return 0
    return max(1, block.wanted - len(found.counting))
