"""Repair over thousands of random clusters: it converges, and nothing is ever endangered by it."""

from collections import Counter

import pytest
from msgspec.structs import replace

from dfs.base.states import NodeDuty, NodeState, ReplicaState
from dfs.blocks.redundancy import BlockHealth
from dfs.upkeep.repair_plan import RepairPlan
from dfs.upkeep.steps import CopyBlock, DropReplica
from tests.builders import a_node
from tests.unit.upkeep.paper_cluster import LIMITS, PaperCluster, a_block, a_view, plan

SEEDS_PER_CASE = 125
STORMY_ROUNDS = 8
CALM_ROUNDS = 40


def check_plan(cluster: PaperCluster, made: RepairPlan) -> None:
    kinds = [isinstance(step, CopyBlock) for step in made.steps]
    assert kinds == sorted(kinds, reverse=True), "copies before drops"
    assert len(made.copies) <= LIMITS.copies_at_once
    for ends in (Counter(c.source for c in made.copies), Counter(c.target for c in made.copies)):
        assert max(ends.values(), default=0) <= LIMITS.in_flight_per_node
    urgencies = [step.urgency for step in made.copies]
    assert urgencies == sorted(urgencies), "the worst first"
    assert len({(c.name.block, c.target) for c in made.copies}) == len(made.copies)
    for step in made.copies:
        target = cluster.nodes[step.target]
        assert (target.state, target.duty) == (NodeState.LIVE, NodeDuty.IN_SERVICE)


def go_through_a_storm(cluster: PaperCluster) -> None:
    """Things happen between any two steps, and plans are cut short anywhere."""
    for _ in range(STORMY_ROUNDS):
        made = plan(cluster.next_view())
        check_plan(cluster, made)
        for step in made.steps[: cluster.rng.randint(0, len(made.steps))]:
            if cluster.rng.random() < 0.3:
                cluster.happen()
            before = {block: cluster.good(block) for block in cluster.blocks}
            cluster.perform(step)
            for block, good in before.items():
                assert cluster.good(block) or not good, "the last good copy is gone"
        cluster.happen()


def settle(cluster: PaperCluster) -> None:
    """Rounds without trouble, until nothing is planned twice in a row."""
    cluster.calm()
    idle = 0
    for _ in range(CALM_ROUNDS):
        made = plan(cluster.next_view())
        check_plan(cluster, made)
        for step in made.steps:
            cluster.perform(step)
        idle = 0 if made.steps else idle + 1
        if idle == 3:
            return
    pytest.fail("it does not come to rest")


def check_rest(cluster: PaperCluster) -> None:
    """Every block has what it can have."""
    serving = [n for n in cluster.nodes.values() if n.duty is NodeDuty.IN_SERVICE]
    racks = {n.address.rack for n in serving}
    for number, block in cluster.blocks.items():
        found = cluster.found(number)
        rows = {copy.node: copy.state for copy in block.copies}
        assert found.health is not BlockHealth.EXCESS, (number, rows)
        assert found.sources, "something good is always left: it is never the last that rots"
        room = len(serving)
        assert len(found.counting) >= min(block.wanted, room), (number, rows, found.reason)
        if block.wanted > 1 and len(racks) > 1 and len(found.counting) > 1:
            assert len({cluster.nodes[n].address.rack for n in found.counting}) > 1, (number, rows)


@pytest.mark.parametrize("case", range(16))
def test_repair_converges_after_any_interruption_and_endangers_nothing(case: int) -> None:
    for seed in range(case * SEEDS_PER_CASE, (case + 1) * SEEDS_PER_CASE):
        cluster = PaperCluster(seed)
        try:
            go_through_a_storm(cluster)
            settle(cluster)
            check_rest(cluster)
        except AssertionError as exc:
            raise AssertionError(f"seed {seed}: {exc}") from exc


@pytest.mark.parametrize("seed", range(40))
def test_repair_resumes_from_every_prefix_of_a_plan(seed: int) -> None:
    cluster = PaperCluster(seed)
    steps = plan(cluster.next_view()).steps
    for done in range(len(steps) + 1):
        again = PaperCluster(seed)
        for step in plan(again.next_view()).steps[:done]:
            again.perform(step)
        settle(again)
        check_rest(again)


def test_a_drop_is_performed_only_while_enough_sure_copies_stay() -> None:
    drops = 0
    for seed in range(300):
        cluster = PaperCluster(seed)
        cluster.next_view()
        for step in plan(cluster.next_view()).steps:
            drops += isinstance(step, DropReplica)
            cluster.perform(step)
    assert drops > 100


def test_copy_on_a_failing_disk_is_replaced_on_the_good_disk_of_the_same_node() -> None:
    """Of two nodes there is no other; the copy never comes from where it goes to."""
    block = a_block(1, 2, {1: ReplicaState.LIVE, 2: ReplicaState.FAILING})
    (step,) = plan(a_view([a_node(1), a_node(2)], [block])).copies
    assert (step.source, step.target) == (1, 2)
    (step,) = plan(a_view([a_node(1), a_node(2), a_node(3)], [block])).copies
    assert (step.source, step.target) == (1, 3), "a node without any copy is the better place"
    worn = replace(a_node(2), writable_volumes=0)
    assert not plan(a_view([a_node(1), worn], [block])).copies
    only = a_block(1, 1, {1: ReplicaState.FAILING})
    assert not plan(a_view([a_node(1)], [only])).copies
