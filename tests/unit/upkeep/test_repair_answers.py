"""What repair answers when asked of one block."""

from dfs.base.ids import BlockId, NodeId
from dfs.base.records import Refusal
from dfs.base.states import ReplicaState
from dfs.blocks.explanation import NO_REPAIR, RepairState
from dfs.blocks.redundancy import BlockCopy, KeptBlock, RepairClass, standings
from dfs.upkeep.budget import budget_of
from dfs.upkeep.cluster_view import Cautions, ClusterView
from dfs.upkeep.pending import Pending
from dfs.upkeep.repair_answers import repair_states
from dfs.upkeep.repair_plan import Deferral, RepairPlan
from dfs.upkeep.steps import CopyBlock
from tests.builders import a_name, a_node, a_truth

NODES = (a_node(1), a_node(2), a_node(3))
AT = standings(NODES, fresh=frozenset(), urgent_after_s=60)
LONELY = BlockId(9)


def a_block(*nodes: int) -> KeptBlock:
    truth = a_truth(LONELY)
    copies = tuple(BlockCopy(NodeId(n), truth.generation, ReplicaState.LIVE, 0) for n in nodes)
    return KeptBlock(truth, a_name(LONELY), 2, 0, copies)


def ask(
    block: KeptBlock,
    *deferrals: Deferral,
    pending: Pending | None = None,
    cautions: Cautions | None = None,
    paused: str = "",
    planned: bool = True,
) -> RepairState:
    view = ClusterView(0, NODES, AT, pending=pending or Pending(), cautions=cautions or Cautions())
    plan = RepairPlan((), (), deferrals, (), budget_of({}, 0.0)) if planned else None
    return repair_states([block], view, plan, paused=paused)[LONELY]


def test_healthy_block_is_of_no_concern_even_while_repair_is_held_back() -> None:
    held = Cautions(repairs={RepairClass.LAST_COPY: "storm"})
    assert ask(a_block(1, 2), cautions=held, paused="paused") == NO_REPAIR


def test_copy_under_way_is_told_with_both_ends() -> None:
    step = CopyBlock(a_name(LONELY), a_truth(LONELY), NodeId(1), NodeId(3), "last copy")
    pending = Pending(copies={(LONELY, NodeId(3)): step})
    assert ask(a_block(1), pending=pending) == RepairState(((NodeId(1), NodeId(3)),))


def test_reason_to_wait_is_the_most_general_one() -> None:
    deferral = Deferral(LONELY, RepairClass.LAST_COPY, "no target", (Refusal(NodeId(2), "full"),))
    assert ask(a_block(1), deferral) == RepairState((), "no target", deferral.refusals)
    resting = Pending(resting={LONELY: "3 attempts failed"})
    assert ask(a_block(1), deferral, pending=resting).why_not == "3 attempts failed"
    held = Cautions(repairs={RepairClass.LAST_COPY: "storm"})
    assert ask(a_block(1), deferral, pending=resting, cautions=held).why_not == "storm"
    assert ask(a_block(1), deferral, cautions=held, paused="paused").why_not == "paused"


def test_block_without_a_good_copy_has_nothing_to_copy_from() -> None:
    assert "nothing to copy from" in ask(a_block()).why_not


def test_block_that_nobody_looked_at_yet_is_said_to_be_so() -> None:
    assert "survey" in ask(a_block(1)).why_not
    assert "nothing is planned" in ask(a_block(1), planned=False).why_not
