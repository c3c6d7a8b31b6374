"""What each class of repair may move, and what a plan does with it."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dfs.base.ids import NodeId
from dfs.base.records import NodeCondition
from dfs.base.states import NodeDuty, NodeState, ReplicaState
from dfs.base.units import MiB
from dfs.blocks.redundancy import RepairClass
from dfs.upkeep.budget import budget_of
from dfs.upkeep.cluster_view import Cautions
from dfs.upkeep.pending import Pending
from dfs.upkeep.repair_plan import RepairLimits
from tests.builders import a_node
from tests.unit.upkeep.paper_cluster import a_block, a_view, plan

LIVE, UNDER = ReplicaState.LIVE, RepairClass.UNDER
ROOMY = RepairLimits(in_flight_per_node=1_000, copies_at_once=1_000)


@given(
    rate=st.integers(1, 50),
    asks=st.lists(st.tuples(st.floats(0, 2), st.integers(1, 200)), max_size=60),
)
def test_budget_is_kept_over_any_time_but_for_the_last_block(
    rate: int, asks: list[tuple[float, int]]
) -> None:
    budget, now_s, moved, last = budget_of({UNDER: rate}, 0.0), 0.0, 0, 0
    for wait_s, size in asks:
        now_s += wait_s
        budget = budget.at(now_s)
        if budget.allows(UNDER):
            budget = budget.spend(UNDER, size)
            moved, last = moved + size, size
            assert moved - last <= rate * (now_s + 1.0) + 1e-6


def test_budget_of_nothing_is_no_limit_and_changes_hold_at_once() -> None:
    budget = budget_of({UNDER: 0}, 0.0)
    assert budget.spend(UNDER, 10**12).allows(UNDER)
    tight = budget.with_rate(UNDER, 10, 5.0).spend(UNDER, 100)
    assert not tight.at(14.0).allows(UNDER)
    assert tight.at(15.0).allows(UNDER)
    assert tight.rates() == {UNDER: 10}


def test_plan_spends_no_more_than_its_budget_and_says_so() -> None:
    nodes = [a_node(n) for n in range(1, 6)]
    blocks = [a_block(b, 3, {1: LIVE, 2: LIVE}, size=MiB) for b in range(1, 21)]
    made = plan(a_view(nodes, blocks), budget=budget_of({UNDER: 5 * MiB}, 0.0), limits=ROOMY)
    assert len(made.copies) == 5
    assert made.waiting()[UNDER] == Counter({"the budget of under is used up for now": 15})


def test_plan_takes_the_worst_class_first_when_little_may_be_under_way() -> None:
    nodes = [a_node(n) for n in range(1, 6)]
    blocks = [
        a_block(1, 3, {1: LIVE, 2: LIVE}),
        a_block(2, 2, {3: LIVE}),
        a_block(3, 7, {1: LIVE, 2: LIVE}),
    ]
    made = plan(a_view(nodes, blocks), limits=RepairLimits(2, 1))
    assert [step.name.block for step in made.copies] == [2]


def test_plan_counts_what_is_under_way_already() -> None:
    nodes = [a_node(n) for n in range(1, 4)]
    blocks = [a_block(b, 2, {1: LIVE}) for b in (1, 2, 3)]
    first = plan(a_view(nodes, blocks))
    assert len(first.copies) == 2  # node 1 gives two at a time
    under_way = {(s.name.block, s.target): s for s in first.copies}
    pending = Pending(
        copies=under_way,
        outgoing=Counter(s.source for s in first.copies),
        incoming=Counter(s.target for s in first.copies),
    )
    again = plan(a_view(nodes, blocks, pending=pending))
    assert again.copies == ()
    reasons = {each.block: each.reason for each in again.deferrals}
    assert set(reasons.values()) == {
        "a copy is on its way",
        "its sources give as much as they may already",
    }


def test_plan_passes_over_a_source_that_failed_while_another_is_left() -> None:
    nodes = [a_node(n) for n in range(1, 5)]
    block = a_block(1, 3, {1: LIVE, 2: LIVE})
    pending = Pending(failed_sources={block.truth.block: frozenset({NodeId(1)})})
    (step,) = plan(a_view(nodes, [block], pending=pending)).copies
    assert step.source == 2


def test_plan_takes_a_node_that_leaves_as_source_and_never_as_target() -> None:
    nodes = [a_node(1, duty=NodeDuty.DECOMMISSIONING), a_node(2), a_node(3)]
    made = plan(a_view(nodes, [a_block(1, 2, {1: LIVE, 2: LIVE})]))
    assert [(s.source, s.target) for s in made.copies] == [(2, 3)]
    alone = plan(a_view(nodes, [a_block(1, 1, {1: LIVE})]))
    assert [s.source for s in alone.copies] == [1]


def test_plan_counts_copies_in_maintenance_and_of_nodes_silent_for_a_moment() -> None:
    away = [
        a_node(1, state=NodeState.STALE, duty=NodeDuty.MAINTENANCE),
        a_node(1, state=NodeState.STALE, silent_s=20),
    ]
    for node in away:
        nodes = [node, a_node(2), a_node(3)]
        assert plan(a_view(nodes, [a_block(1, 2, {1: LIVE, 2: LIVE})])).copies == ()


def test_plan_uses_a_node_with_a_bad_copy_only_when_there_is_no_other() -> None:
    block = a_block(1, 2, {1: LIVE, 2: ReplicaState.CORRUPT})
    (step,) = plan(a_view([a_node(1), a_node(2)], [block])).copies
    assert step.target == 2
    (step,) = plan(a_view([a_node(1), a_node(2), a_node(3)], [block])).copies
    assert step.target == 3


def test_plan_makes_no_copy_on_a_node_that_is_doubted() -> None:
    doubted = replace(a_node(2), condition=NodeCondition(doubtful=True))
    block = a_block(1, 2, {1: LIVE})
    assert plan(a_view([a_node(1), doubted], [block])).copies == ()
    (step,) = plan(a_view([a_node(1), doubted, a_node(3)], [block])).copies
    assert step.target == 3


def test_plan_waits_where_it_is_told_to() -> None:
    nodes = [a_node(n) for n in range(1, 5)]
    blocks = [a_block(1, 2, {1: LIVE}), a_block(2, 3, {1: LIVE, 2: LIVE})]
    cautions = Cautions(repairs={UNDER: "a storm"}, deletes="a storm")
    made = plan(a_view(nodes, blocks, cautions=cautions))
    assert [step.name.block for step in made.copies] == [1]
    assert made.waiting() == {UNDER: Counter({"a storm": 1})}
    assert made.waiting(leave_out=frozenset(each.block for each in made.deferrals)) == {}


def test_plan_drops_nothing_seen_once_held_back_or_on_its_way() -> None:
    nodes = [a_node(n) for n in range(1, 4)]
    block = a_block(1, 2, dict.fromkeys((1, 2, 3), LIVE))
    once = a_view(nodes, [block])
    assert plan(once).drops == ()
    assert len(plan(a_view(nodes, [block], before=once.survey)).drops) == 1
    held = a_view(nodes, [block], before=once.survey, cautions=Cautions(deletes="safe mode"))
    assert plan(held).drops == ()
    unknown = a_view(nodes, [block], before=once.survey, fresh=frozenset({NodeId(1), NodeId(2)}))
    assert plan(unknown).drops == ()


def test_plan_says_why_each_node_takes_no_copy() -> None:
    nodes = [a_node(1), a_node(2, state=NodeState.DEAD, silent_s=900)]
    made = plan(a_view(nodes, [a_block(1, 2, {1: LIVE})]))
    (deferral,) = made.deferrals
    assert deferral.reason.startswith("no DataNode can take a copy")
    assert {refusal.node for refusal in deferral.refusals} == {1, 2}


def test_plan_calls_off_copies_that_a_returning_node_made_needless() -> None:
    nodes = [a_node(n) for n in range(1, 4)]
    short = a_block(1, 2, {1: LIVE})
    (step,) = plan(a_view(nodes, [short])).copies
    pending = Pending(copies={(step.name.block, step.target): step})
    back = a_block(1, 2, {1: LIVE, 2: LIVE})
    assert plan(a_view(nodes, [back], pending=pending)).needless == (step,)
    assert plan(a_view(nodes, [short], pending=pending)).needless == ()
