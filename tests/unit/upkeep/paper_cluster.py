"""A cluster on paper: nodes that come and go, blocks with copies, and the repair planner over them.

Rows are what the NameNode believes, `disks` what is there.  `perform` does what the executor does
and holds, at every single step, what must never be broken.
"""

import dataclasses

from msgspec.structs import replace

from dfs.base.checksum import block_hash
from dfs.base.entropy import Random
from dfs.base.ids import BlockId, Generation, NodeId
from dfs.base.records import BlockTruth, NodeView
from dfs.base.states import NodeDuty, NodeState, ReplicaState
from dfs.base.units import MiB
from dfs.blocks.redundancy import (
    Assessment,
    BlockCopy,
    BlockHealth,
    KeptBlock,
    RepairClass,
    Standings,
    assess,
    standings,
)
from dfs.upkeep.budget import Budget, budget_of
from dfs.upkeep.cluster_view import Cautions, ClusterView
from dfs.upkeep.pending import NOTHING_PENDING, Pending
from dfs.upkeep.repair_plan import RepairLimits, RepairPlan, plan_repair
from dfs.upkeep.retirement import why_keep, without
from dfs.upkeep.steps import CopyBlock, DropReplica
from dfs.upkeep.survey import Judged, Survey
from tests.builders import a_name, a_node

LIMITS = RepairLimits(in_flight_per_node=2, copies_at_once=8)
NO_LIMIT = budget_of(dict.fromkeys(RepairClass, 0), 0.0)
GOOD = frozenset({ReplicaState.LIVE, ReplicaState.SUSPECT, ReplicaState.FAILING})


def a_block(
    number: int, wanted: int, copies: dict[int, ReplicaState], *, size: int = MiB
) -> KeptBlock:
    return KeptBlock(
        truth=BlockTruth(BlockId(number), Generation(1), size, block_hash(b"x")),
        name=a_name(number),
        wanted=wanted,
        created_ms=number,
        copies=tuple(
            BlockCopy(NodeId(node), Generation(1), state, 0) for node, state in copies.items()
        ),
    )


def a_survey(blocks: list[KeptBlock], at: Standings, before: Survey | None = None) -> Survey:
    """What a survey of exactly these blocks says."""
    judged = [Judged(block, assess(block, at)) for block in blocks]
    urgent = [j for j in judged if j.found.repair not in (None, RepairClass.DAMAGED)]
    urgent.sort(key=lambda j: (j.found.repair, j.block.truth.block))
    excess = tuple(j for j in judged if j.found.health is BlockHealth.EXCESS)
    seen = {j.block.truth.block for j in before.excess} if before else set()
    return Survey(
        number=(before.number if before else 0) + 1,
        at_ms=1,
        urgent=tuple(urgent),
        excess=excess,
        settled_excess=frozenset(j.block.truth.block for j in excess) & frozenset(seen),
        at=at,
    )


def a_view(
    nodes: list[NodeView],
    blocks: list[KeptBlock],
    *,
    fresh: frozenset[NodeId] | None = None,
    pending: Pending = NOTHING_PENDING,
    cautions: Cautions | None = None,
    before: Survey | None = None,
) -> ClusterView:
    live = frozenset(n.node for n in nodes if n.state is NodeState.LIVE)
    at = standings(nodes, fresh=live if fresh is None else fresh, urgent_after_s=60)
    return ClusterView(
        now_ms=1,
        nodes=tuple(nodes),
        standings=at,
        survey=a_survey(blocks, at, before),
        pending=pending,
        cautions=cautions or Cautions(),
    )


def plan(
    view: ClusterView, *, budget: Budget = NO_LIMIT, limits: RepairLimits = LIMITS
) -> RepairPlan:
    return plan_repair(view, limits=limits, budget=budget, rng=Random(1))


class PaperCluster:
    """See the module."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        racks = rng.randint(1, 3)
        self.nodes = {
            NodeId(n): a_node(n, rack=f"/r{rng.randrange(racks)}")
            for n in range(1, rng.randint(2, 7) + 1)
        }
        self.unknown: set[NodeId] = set()  # back, without a full report yet
        self.blocks: dict[BlockId, KeptBlock] = {}
        self.disks: dict[tuple[BlockId, NodeId], bool] = {}  # whether the bytes are good
        for number in range(1, rng.randint(1, 6) + 1):
            self._add_block(number)
        self.survey: Survey | None = None

    def _add_block(self, number: int) -> None:
        wanted = self.rng.randint(1, min(4, len(self.nodes)))
        holders = self.rng.sample(sorted(self.nodes), self.rng.randint(1, len(self.nodes)))
        self.blocks[BlockId(number)] = a_block(
            number, wanted, dict.fromkeys(holders, ReplicaState.LIVE)
        )
        for node in holders:
            self.disks[BlockId(number), node] = True

    # ---- what befalls it

    def happen(self) -> None:
        """Something: a node falls silent, dies, returns, leaves, or a copy rots."""
        node = self.rng.choice(sorted(self.nodes))
        match self.rng.randrange(7):
            case 0:
                self._set(node, state=NodeState.STALE)
            case 1:
                self._set(node, state=NodeState.DEAD)
            case 2:
                was = self.nodes[node].state
                self._set(node, state=NodeState.LIVE)
                if was is NodeState.DEAD:
                    self.unknown.add(node)
            case 3:
                self.unknown.discard(node)
            case 4:
                if self._in_service() > 2:
                    self._set(node, duty=NodeDuty.DECOMMISSIONING)
            case 5:
                self._set(node, duty=NodeDuty.IN_SERVICE)
            case _:
                self._rot()

    def _set(self, node: NodeId, **changes: object) -> None:
        self.nodes[node] = replace(self.nodes[node], **changes)

    def _in_service(self) -> int:
        return sum(
            n.duty is NodeDuty.IN_SERVICE and n.state is NodeState.LIVE for n in self.nodes.values()
        )

    def _rot(self) -> None:
        """One copy of a block that has another good one goes bad, unseen, and nobody's else has."""
        block = self.rng.choice(sorted(self.blocks))
        good = self.good(block)
        rotten = [n for (b, n), fine in self.disks.items() if b == block and not fine]
        states = {copy.node: copy.state for copy in self.blocks[block].copies}
        unseen = [n for n in rotten if states.get(n) is ReplicaState.LIVE]
        if len(good) > 1 and not unseen:
            self.disks[block, self.rng.choice(good)] = False

    def calm(self) -> None:
        """Everybody is back, every report is in."""
        self.unknown.clear()
        for node, view in self.nodes.items():
            self.nodes[node] = replace(view, state=NodeState.LIVE)

    # ---- what is known

    def good(self, block: BlockId) -> list[NodeId]:
        return [n for (b, n), good in sorted(self.disks.items()) if b == block and good]

    def standings(self) -> Standings:
        live = {n for n, view in self.nodes.items() if view.state is NodeState.LIVE}
        return standings(
            list(self.nodes.values()), fresh=frozenset(live - self.unknown), urgent_after_s=60
        )

    def found(self, block: BlockId) -> Assessment:
        return assess(self.blocks[block], self.standings())

    def next_view(self) -> ClusterView:
        at = self.standings()
        self.survey = a_survey(list(self.blocks.values()), at, self.survey)
        return ClusterView(
            now_ms=1, nodes=tuple(self.nodes.values()), standings=at, survey=self.survey
        )

    # ---- what the executor does

    def perform(self, step: CopyBlock | DropReplica) -> None:
        if isinstance(step, CopyBlock):
            self._copy(step)
        else:
            self._drop(step)

    def _left_are_good(self, block: BlockId, going: NodeId, at: Standings) -> bool:
        """The executor has a copy that will be the only sure one verified first."""
        left = assess(without(self.blocks[block], going), at).sure
        if len(left) == 1 and not self.disks.get((block, left[0])):
            self._row(block, left[0], ReplicaState.CORRUPT)
            return False
        return True

    def _row(self, block: BlockId, node: NodeId, state: ReplicaState | None) -> None:
        kept = self.blocks[block]
        others = tuple(copy for copy in kept.copies if copy.node != node)
        if state is not None:
            others += (BlockCopy(node, Generation(1), state, 0),)
        self.blocks[block] = dataclasses.replace(kept, copies=others)

    def _copy(self, step: CopyBlock) -> None:
        block = step.name.block
        held = {copy.node: copy.state for copy in self.blocks[block].copies}
        assert held.get(step.target) in (None, ReplicaState.CORRUPT), "a holder as target"
        live = NodeState.LIVE
        if self.nodes[step.source].state is not live or self.nodes[step.target].state is not live:
            return
        if not self.disks.get((block, step.source)):
            self._row(block, step.source, ReplicaState.CORRUPT)  # its node looked
            return
        self.disks[block, step.target] = True
        self._row(block, step.target, ReplicaState.LIVE)

    def _drop(self, step: DropReplica) -> None:
        block = step.name.block
        at = self.standings()
        if why_keep(self.blocks[block], step.node, at):
            return
        assert step.node in at.fresh
        if not self._left_are_good(block, step.node, at):
            return
        before = assess(self.blocks[block], at)
        self._row(block, step.node, ReplicaState.RETIRING)
        after = assess(self.blocks[block], at)
        assert len(after.sure) >= self.blocks[block].wanted, "below its target"
        assert after.repair is None or after.repair is before.repair, "worse placed"
        self.disks.pop((block, step.node), None)
        self._row(block, step.node, None)
