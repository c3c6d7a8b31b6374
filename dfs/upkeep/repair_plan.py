"""Pure: which copies to make and which to drop, given one ClusterView.

Worst class first, in it the oldest block first, as far as the budget and the bounds on what is
under way go.  Copies come before drops, always: a plan that is cut short may leave a block
over-replicated, never under.  Nothing here is final: the executor decides on each drop again, by
the rows of its own transaction.

A block that is not worked on has a reason for it (`Deferral`), which `explain` and `status` show.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.entropy import Random
from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.records import NodeView, Refusal
from dfs.base.states import ReplicaState
from dfs.blocks.placement import PlacementRound
from dfs.blocks.redundancy import Assessment, KeptBlock, NodeWorth, RepairClass, assess
from dfs.upkeep.budget import Budget
from dfs.upkeep.cluster_view import ClusterView
from dfs.upkeep.retirement import choose_excess, why_keep
from dfs.upkeep.steps import CopyBlock, DropReplica, Purpose
from dfs.upkeep.survey import Judged, copies_owed

DROPS_MAX: Final = 100  # in one plan
LOOKED_AT_MAX: Final = 20_000
BUSY_SOURCES: Final = "its sources give as much as they may already"
BUSY_TARGETS: Final = "the DataNodes that could take it take as much as they may already"
ALL_UNDER_WAY: Final = "as many copies as may be are under way"
NO_TARGET: Final = "no DataNode can take a copy"
_NO_ROOM: Final = frozenset({BUSY_SOURCES, BUSY_TARGETS, ALL_UNDER_WAY})


@dataclass(frozen=True, slots=True)
class RepairLimits:
    """How much may be under way at the same time."""

    in_flight_per_node: int
    copies_at_once: int


@dataclass(frozen=True, slots=True)
class Deferral:
    """A block that is not worked on now, and why.

    Args:
        refusals: where no target was found: each node, and why not.
    """

    block: BlockId
    urgency: RepairClass | None
    reason: str
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What to do, in this order; what not, and why.

    Attributes:
        needless: copies under way that nobody needs any more.
        budget: what is left of it when the copies are begun.
    """

    copies: tuple[CopyBlock, ...]
    drops: tuple[DropReplica, ...]
    deferrals: tuple[Deferral, ...]
    needless: tuple[CopyBlock, ...]
    budget: Budget

    @property
    def steps(self) -> tuple[CopyBlock | DropReplica, ...]:
        """All of it: copies before drops."""
        return (*self.copies, *self.drops)

    @property
    def crowded(self) -> int:
        """How many blocks wait for nothing but the copies under way."""
        return sum(each.reason in _NO_ROOM for each in self.deferrals)

    def waiting(
        self, *, leave_out: frozenset[BlockId] = frozenset()
    ) -> dict[RepairClass, Counter[str]]:
        """How many blocks of each class wait, by reason."""
        found: dict[RepairClass, Counter[str]] = {}
        for each in self.deferrals:
            if each.urgency is not None and each.block not in leave_out:
                found.setdefault(each.urgency, Counter())[each.reason] += 1
        return found


def plan_repair(
    view: ClusterView, *, limits: RepairLimits, budget: Budget, rng: Random
) -> RepairPlan:
    """What to do next for the blocks of the last survey."""
    desk = _Desk(view, limits, budget, rng)
    for judged in view.survey.urgent[:LOOKED_AT_MAX]:
        desk.repair(judged)
    return RepairPlan(
        copies=tuple(desk.copies),
        drops=tuple(_drops(view, desk.deferrals)),
        deferrals=tuple(desk.deferrals),
        needless=tuple(_needless(view)),
        budget=desk.budget,
    )


class _Desk:
    """A plan that is being made."""

    def __init__(
        self, view: ClusterView, limits: RepairLimits, budget: Budget, rng: Random
    ) -> None:
        self._view = view
        self._limits = limits
        self._rng = rng
        self._nodes = {each.node: each for each in view.nodes}
        self._placing = PlacementRound(view.nodes)
        self._outgoing = Counter(view.pending.outgoing)
        self._incoming = Counter(view.pending.incoming)
        self._under_way = view.pending.targets()
        self._running = sum(s.purpose is Purpose.REPAIR for s in view.pending.copies.values())
        self._busy_targets = frozenset(
            n for n, k in self._incoming.items() if k >= limits.in_flight_per_node
        )
        # A copy on a node that is doubted would not count.
        self._doubted = frozenset(
            n for n, worth in view.standings.worth.items() if worth is NodeWorth.DOUBTFUL
        )
        self._takers = frozenset(
            n for n, worth in view.standings.worth.items() if worth is NodeWorth.FULL
        )
        self._nowhere: dict[frozenset[NodeId], int] = {}  # the smallest that found no target
        self.budget = budget
        self.copies: list[CopyBlock] = []
        self.deferrals: list[Deferral] = []

    def repair(self, judged: Judged) -> None:
        """Plan the copies that one block lacks, or say why not."""
        block, urgency = judged.block, judged.found.repair
        if urgency is None:
            return
        coming = self._under_way.get(block.truth.block, frozenset())
        if len(coming) >= copies_owed(block, judged.found):
            self._defer(block, urgency, "a copy is on its way")
            return
        reason = self._why_not_now(block, urgency) or self._why_all_busy(judged.found)
        if reason:
            self._defer(block, urgency, reason)
            return
        found = assess(block, self._view.standings)  # nodes may be others than at the survey
        if found.repair is None or found.repair is RepairClass.DAMAGED:
            return
        owed = copies_owed(block, found) - len(coming)
        used_sources: set[NodeId] = set()
        for _ in range(owed):
            coming = self._one_copy(block, found, coming, used_sources)
            if not coming:
                break

    def _why_not_now(self, block: KeptBlock, urgency: RepairClass) -> str:
        view = self._view
        held_back = view.cautions.why_no_repair(urgency)
        if held_back:
            return held_back
        if resting := view.pending.resting.get(block.truth.block):
            return resting
        if self._is_full():
            return ALL_UNDER_WAY
        if not self.budget.allows(urgency):
            return f"the budget of {urgency.name.lower()} is used up for now"
        return ""

    def _why_all_busy(self, found: Assessment) -> str:
        """A cheap look before the block is judged again: most wait for this in a great repair."""
        limit = self._limits.in_flight_per_node
        if found.sources and all(self._outgoing[node] >= limit for node in found.sources):
            return BUSY_SOURCES
        all_taking = bool(self._takers) and self._takers <= self._busy_targets
        return BUSY_TARGETS if all_taking else ""

    def _is_full(self) -> bool:
        return self._running + len(self.copies) >= self._limits.copies_at_once

    def _one_copy(
        self,
        block: KeptBlock,
        found: Assessment,
        coming: frozenset[NodeId],
        used: set[NodeId],
    ) -> frozenset[NodeId]:
        """Plan one copy; the targets of the block from now on, empty when there is none."""
        urgency = found.repair
        assert urgency is not None
        reason = self._why_not_now(block, urgency)
        if reason:
            self._defer(block, urgency, reason)
            return frozenset()
        source = self._source(block, found, used)
        if source is None:
            self._defer(block, urgency, BUSY_SOURCES)
            return frozenset()
        target, refusals = self._target(block, found, coming, source)
        if target is None:
            self._defer(block, urgency, self._why_nowhere(refusals), refusals)
            return frozenset()
        used.add(source)
        self._outgoing[source] += 1
        self._incoming[target] += 1
        if self._incoming[target] >= self._limits.in_flight_per_node:
            self._busy_targets |= {target}
        self.budget = self.budget.spend(urgency, block.truth.length_bytes)
        self.copies.append(
            CopyBlock(block.name, block.truth, source, target, found.reason, urgency)
        )
        return coming | {target}

    def _source(self, block: KeptBlock, found: Assessment, used: set[NodeId]) -> NodeId | None:
        """The best source with room: of the surest kind, there the one that gives least."""
        failed = self._view.pending.failed_sources.get(block.truth.block, frozenset())
        ranks = _source_ranks(block, found, self._view)
        free = [n for n in found.sources if self._outgoing[n] < self._limits.in_flight_per_node]
        hopeful = [n for n in free if n not in failed]
        if not hopeful and set(found.sources) - failed:
            return None  # a better one is only busy
        return min(
            hopeful or free,
            key=lambda n: (ranks[n], n in used, self._outgoing[n], self._load(n)),
            default=None,
        )

    def _load(self, node: NodeId) -> int:
        view = self._nodes.get(node)
        return view.usage.in_flight if view else 0

    def _target(
        self, block: KeptBlock, found: Assessment, coming: frozenset[NodeId], source: NodeId
    ) -> tuple[NodeId | None, tuple[Refusal, ...]]:
        """A node that holds nothing of the block, on another rack if there is one with room.

        Else one whose copy is on a failing disk: it stores another on a disk in order.  One whose
        copy is bad is the last resort: the bad file stays in its quarantine.  Those that failed to
        take it are tried again when there is no other, not even a busy one.
        """
        failed = self._view.pending.failed_targets.get(block.truth.block, frozenset())
        target, refusals = self._target_but(failed, block, found, coming, source)
        if target is None and failed and self._busy_targets <= failed:
            target, refusals = self._target_but(frozenset(), block, found, coming, source)
        return target, refusals

    def _target_but(
        self,
        failed: frozenset[NodeId],
        block: KeptBlock,
        found: Assessment,
        coming: frozenset[NodeId],
        source: NodeId,
    ) -> tuple[NodeId | None, tuple[Refusal, ...]]:
        holders = frozenset(copy.node for copy in block.copies)
        failing = _on_failing_disks(block) - {source}
        crowded = self._crowded(frozenset(found.counting) | coming)
        closed = coming | failed | self._busy_targets | self._doubted
        spread_only = found.repair is RepairClass.MISPLACED
        refusals: tuple[Refusal, ...] = ()
        for spared in dict.fromkeys((frozenset[NodeId](), failing, failing | set(found.bad))):
            shut = (holders - spared) | closed
            for away_from in (crowded, frozenset[NodeId]())[: 1 if spread_only else 2]:
                target, refusals = self._place(block.truth.length_bytes, shut | away_from)
                if target is not None:
                    return target, refusals
        return None, refusals

    def _place(
        self, size_bytes: int, shut: frozenset[NodeId]
    ) -> tuple[NodeId | None, tuple[Refusal, ...]]:
        if size_bytes >= self._nowhere.get(shut, size_bytes + 1):
            return None, ()
        placement = self._placing.choose(
            size_bytes=size_bytes, copies=1, exclude=shut, rng=self._rng
        )
        if placement.targets:
            return placement.targets[0].node, placement.refusals
        self._nowhere[shut] = size_bytes
        return None, placement.refusals

    def _crowded(self, taken: frozenset[NodeId]) -> frozenset[NodeId]:
        """Every node on a rack that has a copy already."""
        racks = self._view.standings.racks
        have = {racks.get(node) for node in taken}
        return frozenset(node for node, rack in racks.items() if rack in have)

    def _why_nowhere(self, refusals: Sequence[Refusal]) -> str:
        if self._busy_targets:
            return BUSY_TARGETS
        if not refusals:
            return NO_TARGET
        return f"{NO_TARGET}: too few others with room"

    def _defer(
        self,
        block: KeptBlock,
        urgency: RepairClass,
        reason: str,
        refusals: tuple[Refusal, ...] = (),
    ) -> None:
        self.deferrals.append(Deferral(block.truth.block, urgency, reason, refusals))


def _source_ranks(block: KeptBlock, found: Assessment, view: ClusterView) -> dict[NodeId, int]:
    """Sure, then those that leave, then doubted, then the last resorts."""
    states = {copy.node: copy.state for copy in block.copies}
    worth = view.standings.worth
    ranks = {}
    for node in found.sources:
        state, standing = states[node], worth.get(node, NodeWorth.NONE)
        if state is ReplicaState.RETIRING or standing is NodeWorth.DOUBTFUL:
            ranks[node] = 3
        elif state is ReplicaState.SUSPECT and standing is NodeWorth.FULL:
            ranks[node] = 2
        elif state is ReplicaState.FAILING or standing is NodeWorth.SPARE:
            ranks[node] = 1
        else:
            ranks[node] = 0
    return ranks


def _on_failing_disks(block: KeptBlock) -> frozenset[NodeId]:
    return frozenset(
        copy.node
        for copy in block.copies
        if copy.state is ReplicaState.FAILING and copy.generation == block.truth.generation
    )


def _drops(view: ClusterView, deferrals: list[Deferral]) -> Iterable[DropReplica]:
    """Copies too many, of blocks that had them in the survey before, too."""
    used = {each.node: _use_of(each) for each in view.nodes}
    coming = view.pending.targets()
    drops: list[DropReplica] = []
    for judged in view.survey.excess:
        block = judged.block
        reason = _why_no_drop(view, block, coming, len(drops))
        going = () if reason else choose_excess(block, view.standings, used=used)
        if not going:
            reason = reason or _why_none_goes(view, block)
            deferrals.append(Deferral(block.truth.block, None, reason))
        for node in going:
            words = f"one copy too many of {block.wanted} wanted"
            drops.append(DropReplica(block.name, node, words))
    return drops


def _why_no_drop(
    view: ClusterView,
    block: KeptBlock,
    coming: Mapping[BlockId, frozenset[NodeId]],
    planned: int,
) -> str:
    if view.cautions.deletes:
        return view.cautions.deletes
    if block.truth.block not in view.survey.settled_excess:
        return "seen in one survey only; the next decides"
    if block.truth.block in view.pending.dropped:
        return "a copy of it was retired just now"
    if block.truth.block in coming:
        return "a copy of it is on its way"
    return "the next plan goes on" if planned >= DROPS_MAX else ""


def _why_none_goes(view: ClusterView, block: KeptBlock) -> str:
    """The first copy's reason to stay speaks for the others."""
    at = view.standings
    for node in assess(block, at).sure:
        if why := why_keep(block, node, at):
            return f"{node_name(node)}: {why}"
    return "no copy is too many any more"


def _use_of(view: NodeView) -> float:
    total = view.usage.total_bytes
    return view.usage.used_bytes / total if total else 0.0


def _needless(view: ClusterView) -> Iterable[CopyBlock]:
    """Copies under way for blocks that have enough again: a node came back."""
    if not view.pending.copies:
        return []
    still = {judged.block.truth.block for judged in view.survey.urgent}
    known = view.survey.at_ms
    return [
        step
        for step in view.pending.copies.values()
        if known and step.purpose is Purpose.REPAIR and step.name.block not in still
    ]
