"""What copies are worth together: the one judgement that repair, fsck and health share."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dfs.base.ids import Generation, NodeId
from dfs.base.records import NodeCondition, NodeView
from dfs.base.states import NodeDuty, NodeState, ReplicaState
from dfs.blocks.redundancy import (
    UNREADABLE,
    Assessment,
    BlockCopy,
    BlockHealth,
    KeptBlock,
    NodeWorth,
    RepairClass,
    assess,
    standings,
    worth_of,
)
from tests.builders import a_name, a_node, a_truth

URGENT_S = 60.0
LIVE, SUSPECT = ReplicaState.LIVE, ReplicaState.SUSPECT


def a_copy(
    node: int, state: ReplicaState = LIVE, *, generation: int = 1, verified_ms: int = 5
) -> BlockCopy:
    return BlockCopy(NodeId(node), Generation(generation), state, verified_ms)


def a_block(*copies: BlockCopy, wanted: int = 2) -> KeptBlock:
    return KeptBlock(a_truth(), a_name(), wanted, 0, copies)


def judged(block: KeptBlock, *nodes: NodeView, fresh: frozenset[int] | None = None) -> Assessment:
    known = frozenset(view.node for view in nodes)
    here = known if fresh is None else frozenset(NodeId(node) for node in fresh)
    return assess(block, standings(nodes, fresh=here, urgent_after_s=URGENT_S))


def excused(view: NodeView) -> NodeView:
    return replace(view, is_excused=True)


def doubtful(view: NodeView) -> NodeView:
    return replace(view, condition=NodeCondition(doubtful=True))


STALE = NodeState.STALE


def test_block_with_the_wanted_copies_on_live_nodes_is_healthy() -> None:
    found = judged(a_block(a_copy(1), a_copy(2)), a_node(1), a_node(2))
    assert (found.health, found.repair) == (BlockHealth.HEALTHY, None)
    assert set(found.sure) == {1, 2}


def test_silence_of_a_moment_copies_nothing() -> None:
    away = a_node(2, state=STALE, silent_s=URGENT_S - 1)
    found = judged(a_block(a_copy(1), a_copy(2)), a_node(1), away)
    assert (found.health, found.repair) == (BlockHealth.HEALTHY, None)
    assert found.sure == (1,)


def test_last_copy_does_not_wait_for_a_node_that_is_silent_for_long() -> None:
    away = a_node(2, state=STALE, silent_s=URGENT_S)
    found = judged(a_block(a_copy(1), a_copy(2)), a_node(1), away)
    assert found.repair is RepairClass.LAST_COPY


def test_silence_that_was_excused_makes_no_last_copy_urgent() -> None:
    """Maintenance is over: what counts is the silence since, not since it began."""
    block = a_block(a_copy(1), a_copy(2))
    long = 3 * URGENT_S
    for since_s, repair in ((URGENT_S - 1, None), (URGENT_S, RepairClass.LAST_COPY)):
        away = a_node(2, state=STALE, silent_s=long)
        away = replace(away, excused_s=long - since_s)
        assert judged(block, a_node(1), away).repair is repair


def test_two_sure_copies_do_wait_for_the_third() -> None:
    away = a_node(3, state=STALE, silent_s=URGENT_S)
    block = a_block(a_copy(1), a_copy(2), a_copy(3), wanted=3)
    assert judged(block, a_node(1), a_node(2), away).repair is None


@pytest.mark.parametrize("state", [STALE, NodeState.JOINED])
def test_node_that_stopped_in_order_is_waited_for(state: NodeState) -> None:
    away = excused(a_node(2, state=state, silent_s=900))
    assert judged(a_block(a_copy(1), a_copy(2)), a_node(1), away).repair is None


def test_copy_on_a_dead_node_counts_for_nothing() -> None:
    dead = a_node(2, state=NodeState.DEAD, silent_s=900)
    found = judged(a_block(a_copy(1), a_copy(2)), a_node(1), dead)
    assert found.repair is RepairClass.LAST_COPY
    assert found.sources == (1,)


@pytest.mark.parametrize(
    ("have", "wanted", "repair"),
    [
        (1, 2, RepairClass.LAST_COPY),
        (2, 3, RepairClass.UNDER),
        (2, 7, RepairClass.FEW_COPIES),
        (1, 1, None),
    ],
)
def test_class_of_repair_follows_how_many_copies_are_left(
    have: int, wanted: int, repair: RepairClass | None
) -> None:
    copies = [a_copy(node) for node in range(1, have + 1)]
    nodes = [a_node(node) for node in range(1, wanted + 1)]
    assert judged(a_block(*copies, wanted=wanted), *nodes).repair is repair


def test_word_of_a_reader_alone_copies_nothing_but_makes_a_copy_unsure() -> None:
    found = judged(a_block(a_copy(1), a_copy(2, SUSPECT)), a_node(1), a_node(2))
    assert (found.health, found.repair) == (BlockHealth.HEALTHY, None)
    assert (found.sure, found.sources) == ((1,), (1, 2))


@pytest.mark.parametrize("duty", [NodeDuty.DECOMMISSIONING, NodeDuty.DECOMMISSIONED])
def test_copy_on_a_node_that_leaves_is_a_source_and_does_not_count(duty: NodeDuty) -> None:
    found = judged(a_block(a_copy(1), a_copy(2)), a_node(1), a_node(2, duty=duty))
    assert found.repair is RepairClass.UNDER
    assert (found.counting, found.sources) == ((1,), (1, 2))


def test_planned_departure_is_no_emergency_but_that_of_the_last_holder_is_one() -> None:
    leaves = a_node(1, duty=NodeDuty.DECOMMISSIONING)
    assert judged(a_block(a_copy(1), wanted=1), leaves).repair is RepairClass.UNDER
    assert judged(a_block(a_copy(1), wanted=2), leaves).repair is RepairClass.LAST_COPY
    silent = a_node(2, state=STALE, duty=NodeDuty.DECOMMISSIONING)
    assert judged(a_block(a_copy(2), a_copy(3)), silent, a_node(3)).repair is RepairClass.LAST_COPY


def test_copy_on_a_failing_disk_is_a_source_and_does_not_count() -> None:
    found = judged(a_block(a_copy(1, ReplicaState.FAILING), wanted=1), a_node(1), a_node(2))
    assert (found.repair, found.sources) == (RepairClass.LAST_COPY, (1,))


def test_copies_of_a_doubtful_node_are_the_last_source() -> None:
    found = judged(a_block(a_copy(1), a_copy(2)), doubtful(a_node(1)), a_node(2))
    assert found.sources == (2, 1)
    assert found.repair is RepairClass.LAST_COPY


def test_retiring_copy_counts_no_more_and_can_still_save_the_block() -> None:
    found = judged(a_block(a_copy(1, ReplicaState.RETIRING), wanted=1), a_node(1))
    assert (found.counting, found.sources) == ((), (1,))


def test_more_sure_copies_than_wanted_are_excess() -> None:
    block = a_block(*(a_copy(node) for node in (1, 2, 3)))
    found = judged(block, a_node(1), a_node(2), a_node(3))
    assert (found.health, found.repair) == (BlockHealth.EXCESS, None)


def test_copies_that_may_come_back_are_no_excess() -> None:
    away = a_node(3, state=STALE, silent_s=URGENT_S)
    block = a_block(*(a_copy(node) for node in (1, 2, 3)))
    assert judged(block, a_node(1), a_node(2), away).health is BlockHealth.HEALTHY


def test_only_nodes_with_a_full_report_are_sure() -> None:
    block = a_block(a_copy(1), a_copy(2))
    assert judged(block, a_node(1), a_node(2), fresh=frozenset({2})).sure == (2,)


def test_copies_on_one_rack_are_misplaced_when_another_has_room() -> None:
    block = a_block(a_copy(1), a_copy(2))
    nodes = [a_node(1, rack="/a"), a_node(2, rack="/a")]
    assert judged(block, *nodes).repair is None
    assert judged(block, *nodes, a_node(3, rack="/b")).repair is RepairClass.MISPLACED


def test_another_generation_is_no_copy() -> None:
    found = judged(a_block(a_copy(1, generation=2), wanted=1), a_node(1))
    assert found.health is BlockHealth.MISSING


@pytest.mark.parametrize(
    ("copies", "health"),
    [
        ((), BlockHealth.MISSING),
        ((a_copy(9),), BlockHealth.MISSING),
        ((a_copy(1, ReplicaState.CORRUPT),), BlockHealth.CORRUPT),
        ((a_copy(1, ReplicaState.CORRUPT), a_copy(2, ReplicaState.DISPUTED)), BlockHealth.DISPUTED),
        ((a_copy(3), a_copy(1, ReplicaState.CORRUPT)), BlockHealth.AWAY),
    ],
)
def test_block_that_nobody_can_read_says_why(
    copies: tuple[BlockCopy, ...], health: BlockHealth
) -> None:
    found = judged(a_block(*copies), a_node(1), a_node(2), a_node(3, state=STALE))
    assert found.health is health
    assert found.health in UNREADABLE
    assert found.sources == ()


def test_node_nobody_knows_is_worth_nothing() -> None:
    assert worth_of(None, urgent_after_s=URGENT_S) is NodeWorth.NONE


NODES = st.builds(
    lambda state, duty, silent_s, is_excused, is_doubtful, rack: replace(
        a_node(1, state=state, duty=duty, silent_s=silent_s, rack=rack),
        is_excused=is_excused,
        condition=NodeCondition(doubtful=is_doubtful),
    ),
    st.sampled_from(NodeState),
    st.sampled_from(NodeDuty),
    st.floats(0, 1000),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["/a", "/b"]),
)


@given(
    nodes=st.lists(NODES, max_size=5),
    states=st.lists(st.sampled_from(ReplicaState), max_size=5),
    wanted=st.integers(1, 4),
)
@settings(max_examples=1000)
def test_every_block_gets_a_verdict_that_agrees_with_itself(
    nodes: list[NodeView], states: list[ReplicaState], wanted: int
) -> None:
    views = [
        replace(view, address=replace(view.address, node=NodeId(number)))
        for number, view in enumerate(nodes, 1)
    ]
    block = a_block(*(a_copy(n, s) for n, s in enumerate(states, 1)), wanted=wanted)
    found = judged(block, *views)
    assert set(found.sure) <= set(found.counting)
    assert set(found.sure) <= set(found.sources)
    assert (found.health in UNREADABLE) == (not found.sources)
    live = {view.node for view in views if view.state is NodeState.LIVE}
    assert set(found.sources) <= live
    if found.health is BlockHealth.HEALTHY:
        assert len(found.counting) >= wanted
        assert found.repair is None
    if found.health is BlockHealth.EXCESS:
        assert len(found.counting) > wanted
    assert not set(found.sources) & {*found.bad, *found.disputed}
