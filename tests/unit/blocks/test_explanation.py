"""Explanations say what the deciders decide, and why not otherwise."""

from collections.abc import Mapping

from dfs.base.entropy import Random
from dfs.base.ids import BlockId, NodeId
from dfs.base.records import NodeView, Refusal
from dfs.base.states import NodeDuty, NodeState, ReplicaState
from dfs.base.units import GiB, MiB
from dfs.blocks.explanation import (
    NO_REPAIR,
    RepairState,
    explain_read,
    explain_repair,
    explain_write,
)
from dfs.blocks.redundancy import BlockCopy, KeptBlock, Standings, standings
from dfs.wire.check_api import Explained
from tests.builders import a_name, a_node, a_truth, a_usage

NOW_MS = 1_800_000_000_000
LIVE, CORRUPT = ReplicaState.LIVE, ReplicaState.CORRUPT


def a_block(copies: Mapping[int, ReplicaState], *, wanted: int = 2) -> KeptBlock:
    truth = a_truth(9)
    made = tuple(
        BlockCopy(NodeId(node), truth.generation, state, NOW_MS - 60_000)
        for node, state in copies.items()
    )
    return KeptBlock(truth, a_name(9), wanted, 0, made)


def at(*nodes: NodeView) -> Standings:
    fresh = frozenset(view.node for view in nodes)
    return standings(nodes, fresh=fresh, urgent_after_s=60)


def nodes_of(refusals: list[Refusal]) -> list[int]:
    return [refusal.node for refusal in refusals]


def read(block: KeptBlock, *nodes: NodeView) -> Explained:
    known = {view.node: view for view in nodes}
    return explain_read(block, nodes=known, now_ms=NOW_MS, at=at(*nodes), rng=Random(1))


def test_write_names_targets_and_why_not_each_other_node() -> None:
    nodes = [
        a_node(1),
        a_node(2, state=NodeState.DEAD, silent_s=900.0),
        a_node(3, duty=NodeDuty.MAINTENANCE),
        a_node(4, usage=a_usage(free_bytes=1 * MiB)),
        a_node(5),
        a_node(6),
    ]
    made = explain_write(size_bytes=GiB, copies=2, nodes=nodes, promised={}, rng=Random(1))
    assert len(made.chosen) == 2
    assert set(nodes_of(made.chosen)) < {1, 5, 6}
    reasons = {refusal.node: refusal.reason for refusal in made.refused}
    assert set(reasons) | set(nodes_of(made.chosen)) == {1, 2, 3, 4, 5, 6}
    assert "dead" in reasons[NodeId(2)]
    assert reasons[NodeId(3)] == "in maintenance"
    assert "free" in reasons[NodeId(4)]
    assert made.is_well


def test_write_that_finds_too_few_nodes_says_so() -> None:
    one = explain_write(size_bytes=1, copies=2, nodes=[a_node(1)], promised={}, rng=Random(1))
    assert not one.is_well
    assert one.verdict == "would be written with 1 of 2 copies"
    assert "repair makes the rest" in one.notes[0]
    none = explain_write(size_bytes=1, copies=2, nodes=[], promised={}, rng=Random(1))
    assert none.verdict.startswith("would be refused")


def test_read_goes_to_good_copies_on_live_nodes_first_and_to_bad_ones_last() -> None:
    block = a_block({1: CORRUPT, 2: LIVE, 3: LIVE})
    made = read(block, a_node(1), a_node(2, state=NodeState.STALE), a_node(3))
    assert nodes_of(made.chosen) == [3, 2, 1]
    assert made.chosen[0].reason == "live copy on a live node, verified 1m 00s ago; good"
    assert made.chosen[2].reason.endswith("; bad")
    assert made.is_well


def test_read_of_a_block_without_a_copy_says_that_it_cannot_be() -> None:
    made = read(a_block({1: CORRUPT, 9: LIVE}), a_node(1))
    assert made.verdict.startswith("cannot be read: every copy known is bad")
    assert made.refused == [Refusal(NodeId(9), "the node was removed from the cluster")]
    assert not made.is_well


def test_read_while_its_nodes_are_silent_waits_for_them() -> None:
    made = read(a_block({1: LIVE}), a_node(1, state=NodeState.STALE, silent_s=20.0))
    assert made.verdict.startswith("can be read once a holder answers")


def test_repair_of_a_healthy_block_is_nothing() -> None:
    made = explain_repair(a_block({1: LIVE, 2: LIVE}), at=at(a_node(1), a_node(2)), state=NO_REPAIR)
    assert made.is_well
    assert made.verdict == "healthy: 2 of 2 copies"
    assert (made.chosen, made.refused, made.notes) == ([], [], [])


def test_repair_says_what_is_lacking_what_is_copied_and_what_it_waits_for() -> None:
    block = a_block({1: LIVE, 2: CORRUPT})
    state = RepairState(
        copying=((NodeId(1), NodeId(3)),),
        why_not="no DataNode can take a copy",
        refusals=(Refusal(NodeId(4), "dead"),),
    )
    made = explain_repair(block, at=at(a_node(1), a_node(2), a_node(3)), state=state)
    assert made.verdict.endswith("(class last copy)")
    assert made.chosen == [Refusal(NodeId(3), "pulls a copy from dn-1 now")]
    assert made.refused == [Refusal(NodeId(4), "dead"), Refusal(NodeId(2), "corrupt copy: bad")]
    assert made.notes == [
        "it can be copied from dn-1",
        "it waits: no DataNode can take a copy",
    ]
    assert not made.is_well
    assert BlockId(9) == block.truth.block


def test_block_with_enough_copies_and_a_bad_one_is_not_passed_over() -> None:
    block = a_block({1: LIVE, 2: LIVE, 3: CORRUPT})
    made = explain_repair(block, at=at(a_node(1), a_node(2), a_node(3)), state=NO_REPAIR)
    assert not made.is_well
    assert nodes_of(made.refused) == [3]
