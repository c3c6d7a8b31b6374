import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dfs.base.entropy import Random
from dfs.base.ids import BlockId, Generation, NodeId
from dfs.base.records import BlockTruth, NodeCondition, NodeUsage, NodeView
from dfs.base.states import NodeDuty, NodeState, ReplicaState
from dfs.blocks.redundancy import (
    BlockCopy,
    BlockHealth,
    KeptBlock,
    RepairClass,
    Standings,
    assess,
    standings,
)
from dfs.upkeep.balance_plan import (
    Balance,
    BalancePlan,
    MoveReplica,
    Side,
    Transit,
    plan_moves,
    weigh,
)
from dfs.upkeep.balance_search import why_repair_first
from dfs.upkeep.survey import SurveyTotals, Tally
from tests.builders import a_name, a_node, a_volume

LIVE, CORRUPT = ReplicaState.LIVE, ReplicaState.CORRUPT


def a_block(
    block: int, nodes: Iterable[int], *, size: int = 10, wanted: int = 0, **states: ReplicaState
) -> KeptBlock:
    """A block on those nodes; `n3=CORRUPT` says that of node 3's copy."""
    copies = [
        BlockCopy(NodeId(node), Generation(1), states.get(f"n{node}", LIVE), 1) for node in nodes
    ]
    return KeptBlock(
        truth=BlockTruth(BlockId(block), Generation(1), size, b"h" * 16),
        name=a_name(block),
        wanted=wanted or len(copies),
        created_ms=1,
        copies=tuple(copies),
    )


def a_full_node(
    node: int, used: int, *, total: int = 100, free: int | None = None, rack: str = "/default"
) -> NodeView:
    """A live node that holds so much of so much."""
    free = total - used if free is None else free
    view = a_node(node, rack=rack, usage=NodeUsage(total, free, used, 1.0, 0))
    return replace(view, volumes=(a_volume(free_bytes=free, total_bytes=total),))


@dataclass
class Cluster:
    """Nodes and blocks that moves can be made on."""

    nodes: list[NodeView]
    blocks: dict[BlockId, KeptBlock] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Sequence[NodeView], blocks: Iterable[KeptBlock]) -> "Cluster":
        return cls(list(nodes), {block.truth.block: block for block in blocks})

    @property
    def at(self) -> Standings:
        known = frozenset(view.node for view in self.nodes)
        return standings(self.nodes, fresh=known, urgent_after_s=60)

    def weigh(self, threshold: float = 10) -> Balance:
        return weigh(self.nodes, threshold_percent=threshold)

    def plan(self, threshold: float = 10, **more: int) -> BalancePlan:
        balance = self.weigh(threshold)
        samples = {
            node: [
                block
                for block in self.blocks.values()
                if any(copy.node == node for copy in block.copies)
            ]
            for node in balance.givers
        }
        return plan_moves(balance, samples, self.at, **more)

    def copy(self, move: MoveReplica) -> None:
        block = self.blocks[move.block.truth.block]
        made = BlockCopy(move.target, Generation(1), LIVE, 2)
        self.blocks[block.truth.block] = dataclasses.replace(block, copies=(*block.copies, made))
        self._use(move.target, move.size_bytes)

    def retire(self, move: MoveReplica) -> None:
        block = self.blocks[move.block.truth.block]
        left = tuple(copy for copy in block.copies if copy.node != move.source)
        self.blocks[block.truth.block] = dataclasses.replace(block, copies=left)
        self._use(move.source, -move.size_bytes)

    def _use(self, node: NodeId, size: int) -> None:
        for at, view in enumerate(self.nodes):
            if view.node == node:
                usage = view.usage
                free = usage.free_bytes - size
                moved = replace(usage, used_bytes=usage.used_bytes + size, free_bytes=free)
                volume = replace(view.volumes[0], free_bytes=free)
                self.nodes[at] = replace(view, usage=moved, volumes=(volume,))

    def racks(self, block: KeptBlock) -> int:
        at = self.at
        return len({at.racks[node] for node in assess(block, at).counting})

    def span(self) -> float:
        parts = [share.percent for share in self.weigh().shares if share.side is not Side.OUT]
        return max(parts, default=0) - min(parts, default=0)


def a_random_cluster(seed: int) -> Cluster:
    """Anything a cluster may look like: sizes, racks, duties, damage, full disks."""
    rng = Random(seed)
    count = rng.randint(1, 8)
    racks = rng.randint(1, 3)
    used = dict.fromkeys(range(1, count + 1), 0)
    blocks = []
    crowded = rng.sample(list(used), rng.randint(1, count))
    for number in range(rng.randint(0, 60)):
        pool = crowded if rng.random() < 0.7 else list(used)
        nodes = rng.sample(pool, rng.randint(1, min(3, len(pool))))
        states = {
            f"n{node}": rng.choice(list(ReplicaState)) for node in nodes if rng.random() < 0.05
        }
        size = rng.choice((0, 1, 2, 5, 10, 30))
        blocks.append(a_block(number + 1, nodes, size=size, wanted=rng.randint(1, 3), **states))
        for node in nodes:
            used[node] += size
    nodes = []
    for node, held in used.items():
        total = held + rng.choice((1, 50, 200, 1000))
        free = rng.randint(0, total - held)
        view = a_full_node(node, held, total=total, free=free, rack=f"/r{rng.randint(1, racks)}")
        if rng.random() < 0.1:
            view = replace(view, state=rng.choice(list(NodeState)))
        if rng.random() < 0.1:
            view = replace(view, duty=rng.choice(list(NodeDuty)))
        nodes.append(view)
    return Cluster.of(nodes, blocks)


SEEDS = st.integers(0, 1 << 40)
THRESHOLDS = st.sampled_from((0.5, 2.0, 10.0, 25.0))


@settings(max_examples=1000)
@given(SEEDS, THRESHOLDS)
def test_it_comes_to_an_end_level_or_with_a_reason_for_each_node_that_is_not(
    seed: int, threshold: float
) -> None:
    cluster = a_random_cluster(seed)
    moves = 0
    while (plan := cluster.plan(threshold)).moves:
        for move in plan.moves:
            cluster.copy(move)
            cluster.retire(move)
        moves += len(plan.moves)
        assert moves <= 60 * 60, "blocks go round in circles"
    far = [
        share.node
        for share in cluster.weigh(threshold).shares
        if share.side in (Side.OVER, Side.UNDER)
    ]
    assert set(plan.whys) == set(far)
    assert all(plan.whys.values())


@settings(max_examples=1000)
@given(SEEDS, THRESHOLDS)
def test_interrupted_anywhere_no_block_is_worse_off_than_before(
    seed: int, threshold: float
) -> None:
    cluster = a_random_cluster(seed)
    for move in cluster.plan(threshold).moves:
        before = cluster.blocks[move.block.truth.block]
        racks = cluster.racks(before)
        target = next(view for view in cluster.nodes if view.node == move.target)
        assert move.size_bytes <= target.usage.free_bytes, "above the target's room"
        assert move.target not in {copy.node for copy in before.copies}
        span = cluster.span()
        for step in (cluster.copy, cluster.retire):
            step(move)
            now = cluster.blocks[before.truth.block]
            found = assess(now, cluster.at)
            assert len(found.sure) >= len(assess(before, cluster.at).sure)
            assert len(found.counting) >= now.wanted
            assert cluster.racks(now) >= racks
        assert assess(now, cluster.at).health is BlockHealth.HEALTHY
        assert cluster.span() <= span + 1e-9


@settings(max_examples=300)
@given(SEEDS)
def test_only_healthy_blocks_move_and_only_between_nodes_in_service(seed: int) -> None:
    cluster = a_random_cluster(seed)
    out = {share.node for share in cluster.weigh(1).shares if share.side is Side.OUT}
    for move in cluster.plan(1).moves:
        found = assess(move.block, cluster.at)
        assert found.health is BlockHealth.HEALTHY
        assert move.source in found.sure
        assert not {move.source, move.target} & out


@settings(max_examples=200)
@given(SEEDS, st.integers(1, 5))
def test_a_plan_is_no_longer_than_asked(seed: int, moves_max: int) -> None:
    assert len(a_random_cluster(seed).plan(1, moves_max=moves_max).moves) <= moves_max


def test_the_biggest_block_that_fits_goes_first() -> None:
    blocks = [a_block(1, [1], size=2), a_block(2, [1], size=30), a_block(3, [1], size=8)]
    cluster = Cluster.of([a_full_node(1, 40), a_full_node(2, 0)], blocks)
    assert [move.size_bytes for move in cluster.plan(15).moves] == [8]
    assert [move.size_bytes for move in cluster.plan(9).moves] == [8, 2]


def test_a_block_too_big_for_the_mean_moves_when_both_end_within_the_threshold() -> None:
    cluster = Cluster.of([a_full_node(1, 24), a_full_node(2, 0)], [a_block(1, [1], size=14)])
    (move,) = cluster.plan(10).moves  # 10 and 14, the mean 12
    assert move.size_bytes == 14


def test_a_node_that_lacks_gets_from_those_above_the_mean_though_none_is_over() -> None:
    nodes = [a_full_node(n, 46) for n in range(1, 10)] + [a_full_node(10, 0)]
    cluster = Cluster.of(nodes, [a_block(n, [n], size=2) for n in range(1, 10)])
    assert {move.target for move in cluster.plan(10).moves} == {NodeId(10)}


def test_no_rack_is_lost() -> None:
    nodes = [
        a_full_node(1, 50, rack="/a"),
        a_full_node(2, 20, rack="/b"),
        a_full_node(3, 0, rack="/b"),
    ]
    cluster = Cluster.of(nodes, [a_block(1, [1, 2])])
    plan = cluster.plan(5)
    assert not plan.moves
    assert "would be on fewer racks" in plan.whys[NodeId(1)]


def test_a_node_that_holds_a_bad_copy_gets_no_good_one() -> None:
    nodes = [a_full_node(1, 50), a_full_node(2, 0)]
    cluster = Cluster.of(nodes, [a_block(1, [1, 2], wanted=1, n2=CORRUPT)])
    plan = cluster.plan()
    assert not plan.moves
    assert "on every node already that could take one" in plan.whys[NodeId(1)]


def test_it_says_why_nothing_moves() -> None:
    nodes = [a_full_node(1, 50), a_full_node(2, 0, free=3)]
    plan = Cluster.of(nodes, [a_block(1, [1]), a_block(2, [1], wanted=2)]).plan()
    assert plan.whys == {
        NodeId(1): (
            "of 2 blocks looked at, 1 not healthy, which repair sees to, "
            "1 that fit on no node that lacks some"
        ),
        NodeId(2): "no node above the mean has a block that may move here",
    }


def test_what_is_under_way_counts_as_arrived() -> None:
    nodes = [a_full_node(1, 50), a_full_node(2, 0)]
    transit = {NodeId(1): Transit(going_bytes=25), NodeId(2): Transit(coming_bytes=25)}
    assert weigh(nodes, threshold_percent=10, transit=transit).is_level
    assert not weigh(nodes, threshold_percent=10).is_level


def test_a_block_under_way_is_left_alone() -> None:
    cluster = Cluster.of([a_full_node(1, 50), a_full_node(2, 0)], [a_block(1, [1])])
    balance = cluster.weigh()
    blocks = {NodeId(1): list(cluster.blocks.values())}
    assert plan_moves(balance, blocks, cluster.at).moves
    assert not plan_moves(balance, blocks, cluster.at, busy=frozenset({BlockId(1)})).moves


def test_nodes_that_take_no_part_say_why_and_do_not_shift_the_mean() -> None:
    far = a_full_node(3, 90)
    nodes = [
        a_full_node(1, 20),
        a_full_node(2, 24),
        replace(far, state=NodeState.DEAD),
        replace(far, address=a_full_node(4, 0).address, duty=NodeDuty.MAINTENANCE),
        replace(far, address=a_full_node(5, 0).address, condition=NodeCondition(doubtful=True)),
    ]
    balance = weigh(nodes, threshold_percent=10)
    assert balance.is_level
    assert balance.words == "every node is within 10 % of the mean 22 %"
    assert {share.node: share.why for share in balance.shares if share.side is Side.OUT} == {
        NodeId(3): "dead",
        NodeId(4): "maintenance",
        NodeId(5): "its circuit breaker is open",
    }


def test_an_empty_cluster_is_level() -> None:
    assert weigh([], threshold_percent=10).is_level


def test_it_waits_for_repair_of_blocks_with_few_copies_left() -> None:
    under = {RepairClass.UNDER: Tally(7)}
    assert why_repair_first(SurveyTotals(by_class=under)) == ""
    urgent = {RepairClass.LAST_COPY: Tally(3), RepairClass.FEW_COPIES: Tally(1)}
    words = why_repair_first(SurveyTotals(by_class=under | urgent))
    assert words == "repair goes first: 3 blocks with one copy left, 1 with few"
