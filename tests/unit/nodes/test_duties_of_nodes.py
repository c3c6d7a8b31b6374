from collections.abc import Callable

import pytest

from dfs.base.clock import ManualClock
from dfs.base.errors import BadRequest, JobConflict, NodeInUse, NodeNotFound
from dfs.base.ids import NodeId
from dfs.base.records import NodeView
from dfs.base.states import NodeDuty, NodeState
from dfs.nodes.orders import Order
from dfs.nodes.registry import NodeRegistry
from dfs.wire.nodes_api import Beat, JoinRequest, NodeRegistration
from tests.builders import a_name, a_usage, a_volume

CLUSTER = "c" * 32
CLEAN_STOP_S, DEAD_S = 1800, 630
Start = Callable[[], NodeRegistry]


def add_node(registry: NodeRegistry, number: int) -> NodeId:
    token = registry.create_join_token(1).token
    node = NodeId(registry.join(JoinRequest(token=token, uuid=f"{number:032x}")).node)
    register(registry, node, number)
    return node


def register(registry: NodeRegistry, node: NodeId, number: int) -> None:
    said = NodeRegistration(
        cluster=CLUSTER,
        host="127.0.0.1",
        grpc_port=9000 + number,
        http_port=8000 + number,
        rack="/r1",
        version="1.0",
        restarts=1,
        clean_stop=True,
        usage=a_usage(),
        volumes=[a_volume(f"v{number}")],
    )
    registry.register(node, said)


def beat(registry: NodeRegistry, node: NodeId, *, leaving: bool = False) -> None:
    registry.beat(node, Beat(usage=a_usage(), volumes=[], epoch=1, keys=[], leaving=leaving))


def view_of(registry: NodeRegistry, node: NodeId) -> NodeView:
    (found,) = (view for view in registry.views() if view.node == node)
    return found


@pytest.fixture
def nodes(registry: NodeRegistry) -> list[NodeId]:
    return [add_node(registry, number) for number in (1, 2)]


def test_duty_is_shown_at_once_and_known_after_a_restart(
    registry: NodeRegistry, start: Start, nodes: list[NodeId]
) -> None:
    registry.set_duty("dn-1", NodeDuty.DECOMMISSIONING)
    assert view_of(registry, nodes[0]).duty is NodeDuty.DECOMMISSIONING
    assert view_of(start(), nodes[0]).duty is NodeDuty.DECOMMISSIONING


def test_maintenance_ends_by_itself(
    registry: NodeRegistry, start: Start, nodes: list[NodeId], clock: ManualClock
) -> None:
    registry.set_duty(nodes[0], NodeDuty.MAINTENANCE, until_ms=clock.now_ms() + 7_200_000)
    clock.advance(7_199)
    registry.tick_once()
    found = view_of(registry, nodes[0])
    assert (found.duty, found.state) == (NodeDuty.MAINTENANCE, NodeState.STALE)
    assert found.is_excused
    clock.advance(1)
    registry.tick_once()
    found = view_of(registry, nodes[0])
    assert (found.duty, found.state) == (NodeDuty.IN_SERVICE, NodeState.STALE)
    assert view_of(start(), nodes[0]).duty is NodeDuty.IN_SERVICE
    clock.advance(DEAD_S)
    registry.tick_once()
    assert view_of(registry, nodes[0]).state is NodeState.DEAD


def test_silence_is_seen_to_count_from_the_end_of_maintenance(
    registry: NodeRegistry, nodes: list[NodeId], clock: ManualClock
) -> None:
    registry.set_duty(nodes[0], NodeDuty.MAINTENANCE, until_ms=clock.now_ms() + 7_200_000)
    for advanced_s, excused_s in ((100, 100), (7_100, 7_200), (50, 7_200)):
        clock.advance(advanced_s)
        registry.tick_once()
        assert view_of(registry, nodes[0]).excused_s == pytest.approx(excused_s)
    assert view_of(registry, nodes[0]).silent_s == pytest.approx(7_250)
    register(registry, nodes[0], 1)
    assert view_of(registry, nodes[0]).excused_s == 0


def test_maintenance_without_an_end_lasts(
    registry: NodeRegistry, nodes: list[NodeId], clock: ManualClock
) -> None:
    registry.set_duty(nodes[0], NodeDuty.MAINTENANCE)
    clock.advance(10_000_000)
    registry.tick_once()
    assert view_of(registry, nodes[0]).state is NodeState.STALE
    registry.set_duty(nodes[0], NodeDuty.IN_SERVICE)
    registry.tick_once()
    assert view_of(registry, nodes[0]).state is NodeState.DEAD


def test_duties_refuse_what_cannot_be(
    registry: NodeRegistry, nodes: list[NodeId], clock: ManualClock
) -> None:
    with pytest.raises(NodeNotFound):
        registry.set_duty("dn-9", NodeDuty.MAINTENANCE)
    with pytest.raises(BadRequest):
        registry.set_duty("dn-1", NodeDuty.MAINTENANCE, until_ms=clock.now_ms())
    with pytest.raises(JobConflict):
        registry.set_duty("dn-1", NodeDuty.DECOMMISSIONED)
    registry.set_duty("dn-1", NodeDuty.DECOMMISSIONING)
    with pytest.raises(JobConflict, match="decommissioning"):
        registry.set_duty("dn-1", NodeDuty.MAINTENANCE)
    with pytest.raises(NodeInUse, match="last"):
        registry.set_duty("dn-2", NodeDuty.MAINTENANCE)
    registry.set_duty("dn-2", NodeDuty.MAINTENANCE, force=True)


def test_recommissioned_node_cannot_be_declared_empty_by_a_late_word(
    registry: NodeRegistry, nodes: list[NodeId]
) -> None:
    registry.set_duty(nodes[0], NodeDuty.DECOMMISSIONING)
    registry.set_duty(nodes[0], NodeDuty.IN_SERVICE)
    with pytest.raises(JobConflict):
        registry.set_duty(nodes[0], NodeDuty.DECOMMISSIONED)


def test_node_that_stops_in_order_is_excused_for_a_while_even_over_a_restart(
    registry: NodeRegistry, start: Start, nodes: list[NodeId], clock: ManualClock
) -> None:
    beat(registry, nodes[0], leaving=True)
    clock.advance(CLEAN_STOP_S - 1)
    registry.tick_once()
    found = view_of(registry, nodes[0])
    assert (found.state, found.is_excused) == (NodeState.STALE, True)
    assert view_of(registry, nodes[1]).state is NodeState.DEAD
    assert view_of(start(), nodes[0]).is_excused
    clock.advance(1 + DEAD_S)
    registry.tick_once()
    found = view_of(registry, nodes[0])
    assert (found.state, found.is_excused) == (NodeState.DEAD, False)


@pytest.mark.parametrize("how", ["registers", "beats"])
def test_node_that_is_back_is_excused_no_more(
    registry: NodeRegistry, start: Start, nodes: list[NodeId], how: str
) -> None:
    beat(registry, nodes[0], leaving=True)
    assert view_of(registry, nodes[0]).is_excused
    register(registry, nodes[0], 1) if how == "registers" else beat(registry, nodes[0])
    assert not view_of(registry, nodes[0]).is_excused
    assert not view_of(start(), nodes[0]).excused_until_ms


def test_maintenance_goes_on_when_the_node_comes_and_goes(
    registry: NodeRegistry, nodes: list[NodeId], clock: ManualClock
) -> None:
    until_ms = clock.now_ms() + 7_200_000
    registry.set_duty(nodes[0], NodeDuty.MAINTENANCE, until_ms=until_ms)
    beat(registry, nodes[0], leaving=True)
    register(registry, nodes[0], 1)
    beat(registry, nodes[0])
    found = view_of(registry, nodes[0])
    assert (found.duty, found.excused_until_ms) == (NodeDuty.MAINTENANCE, until_ms)


def test_emptied_node_may_be_removed_as_soon_as_it_is_silent(
    registry: NodeRegistry, nodes: list[NodeId], clock: ManualClock
) -> None:
    registry.set_duty(nodes[0], NodeDuty.DECOMMISSIONING)
    registry.set_duty(nodes[0], NodeDuty.DECOMMISSIONED)
    beat(registry, nodes[0], leaving=True)
    with pytest.raises(NodeInUse):
        registry.remove("dn-1")
    clock.advance(31)
    registry.tick_once()
    registry.remove("dn-1")


def test_harm_ordered_before_waits_while_nothing_may_be_deleted(
    registry: NodeRegistry, nodes: list[NodeId]
) -> None:
    harming = {Order.DELETE, Order.PURGE_BAD, Order.QUARANTINE, Order.SPOIL_CANARY}
    for verb in (*sorted(harming), Order.VERIFY):
        registry.enqueue(nodes[0], verb, a_name(1))
    said = Beat(usage=a_usage(), volumes=[], epoch=1, keys=[])
    registry.why_no_deletes = lambda: "half the cluster is gone"
    assert [each.verb for each in registry.beat(nodes[0], said).commands] == [Order.VERIFY]
    registry.why_no_deletes = lambda: ""
    verbs = {each.verb for each in registry.beat(nodes[0], said).commands}
    assert verbs == {*harming, Order.VERIFY}
