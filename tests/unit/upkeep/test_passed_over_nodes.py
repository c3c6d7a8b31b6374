"""Nodes that failed a block: another is tried before them, and they again when there is none."""

from dfs.base.clock import ManualClock
from dfs.base.ids import BlockId, NodeId
from dfs.base.states import ReplicaState
from dfs.base.units import MiB
from dfs.blocks.redundancy import KeptBlock, RepairClass
from dfs.upkeep.pending import BACKOFF_FIRST_S, Pending, PendingTable
from dfs.upkeep.repair_plan import BUSY_TARGETS
from dfs.upkeep.steps import CopyBlock
from tests.builders import a_node
from tests.unit.upkeep.paper_cluster import LIMITS, a_block, a_view, plan

LIVE, CORRUPT = ReplicaState.LIVE, ReplicaState.CORRUPT
SEVEN = BlockId(7)


def nodes(*numbers: int) -> list:
    return [a_node(n) for n in numbers]


def passed_over(*targets: int) -> Pending:
    return Pending(failed_targets={SEVEN: frozenset(map(NodeId, targets))})


def targets(count: int, block: KeptBlock, pending: Pending) -> list[NodeId]:
    view = a_view(nodes(*range(1, count + 1)), [block], pending=pending)
    return [step.target for step in plan(view).copies]


def test_a_target_that_failed_is_passed_over_while_there_is_another() -> None:
    assert targets(3, a_block(7, 2, {1: LIVE}), passed_over(2)) == [3]


def test_a_target_that_failed_is_tried_again_when_there_is_no_other() -> None:
    assert targets(2, a_block(7, 2, {1: LIVE}), passed_over(2)) == [2]
    assert targets(2, a_block(7, 2, {1: LIVE, 2: CORRUPT}), passed_over(2)) == [2]


def test_a_target_that_failed_does_not_stand_in_for_one_that_is_busy() -> None:
    busy = Pending(
        failed_targets={SEVEN: frozenset({NodeId(2)})},
        incoming={NodeId(3): LIMITS.in_flight_per_node},
    )
    view = a_view(nodes(1, 2, 3), [a_block(7, 2, {1: LIVE})], pending=busy)
    planned = plan(view)
    assert not planned.copies
    assert [each.reason for each in planned.deferrals] == [BUSY_TARGETS]


def a_step(target: int) -> CopyBlock:
    block = a_block(7, 2, {1: LIVE}, size=MiB)
    reason, urgency = "one copy of 2", RepairClass.LAST_COPY
    return CopyBlock(block.name, block.truth, NodeId(1), NodeId(target), reason, urgency)


def test_proof_against_a_node_lets_others_be_tried_at_once_and_itself_only_after_a_rest() -> None:
    clock = ManualClock()
    table = PendingTable(clock=clock, attempts_max=3)
    table.failed(a_step(2), source=False, target=True, proved=True, why="disk_full")
    assert table.snapshot().failed_targets == {SEVEN: frozenset({NodeId(2)})}
    assert not table.snapshot().resting
    table.failed(a_step(2), source=False, target=True, proved=True, why="disk_full")
    assert SEVEN in table.snapshot().resting
    clock.advance(BACKOFF_FIRST_S * 2)
    assert not table.snapshot().resting


def test_a_node_that_is_started_anew_is_given_another_chance_at_once() -> None:
    table = PendingTable(clock=ManualClock(), attempts_max=3)
    table.welcome({NodeId(1): 100, NodeId(2): 100})
    for _ in range(3):
        table.failed(a_step(2), source=False, target=True, why="peer_unreachable")
    table.welcome({NodeId(1): 200, NodeId(2): 100})
    assert SEVEN in table.snapshot().resting, "the one that failed is the same as before"
    table.welcome({NodeId(1): 200, NodeId(2): 200})
    assert not table.snapshot().resting
    assert not table.snapshot().failed_targets[SEVEN]
