import pytest
from msgspec.structs import replace

from dfs.base.errors import BadRequest, NodeNotFound
from dfs.base.events import RecordingEmitter
from dfs.base.ids import NodeId
from dfs.base.records import BlockName, NodeView, Refusal
from dfs.base.states import NodeState, VolumeState
from dfs.nodes.orders import Order
from dfs.upkeep.disk_levelling import DiskLevelling
from dfs.wire.balance_api import DisksRequest
from tests.builders import a_node, a_volume


def with_disks(node: int, *disks: str, state: NodeState = NodeState.LIVE) -> NodeView:
    volumes = tuple(a_volume(f"{node}{disk}") for disk in disks)
    return replace(a_node(node, state=state), volumes=volumes)


class Told:
    """What was ordered of whom; a node in `full` takes nothing in."""

    def __init__(self, *views: NodeView) -> None:
        self.ordered: list[tuple[int, str, int]] = []
        self.cancelled: list[tuple[int, str]] = []
        self.full: set[int] = set()
        self._views = views

    def views(self) -> tuple[NodeView, ...]:
        return self._views

    def enqueue(
        self,
        node: NodeId,
        verb: str,
        block: BlockName | None = None,
        *,
        reason: str = "",
        value: int = 0,
    ) -> bool:
        assert block is None
        assert reason
        if node in self.full:
            return False
        self.ordered.append((node, verb, value))
        return True

    def cancel(self, node: NodeId, verb: str, block: BlockName | None = None) -> bool:
        assert block is None
        self.cancelled.append((node, verb))
        return True


def levelling(told: Told) -> DiskLevelling:
    return DiskLevelling(nodes=told, emit=RecordingEmitter(), threshold_percent=10.0)


def test_nodes_with_several_disks_are_told_and_the_others_named_with_the_reason() -> None:
    broken = with_disks(4, "a", "b")
    bad = replace(broken.volumes[1], state=VolumeState.READ_ONLY)
    told = Told(
        with_disks(1, "a", "b"),
        with_disks(2, "a"),
        with_disks(3, "a", "b", state=NodeState.DEAD),
        replace(broken, volumes=(broken.volumes[0], bad)),
        with_disks(5, "a", "b", "c"),
    )
    told.full.add(5)
    answer = levelling(told).order(DisksRequest())
    assert answer.nodes == [1]
    assert told.ordered == [(1, Order.LEVEL_DISKS, 100)]
    assert answer.refused == [
        Refusal(NodeId(2), "it has one disk"),
        Refusal(NodeId(3), "it is dead"),
        Refusal(NodeId(4), "it has one disk"),
        Refusal(NodeId(5), "it takes no such order now; try again later"),
    ]


def test_stopping_takes_back_an_order_that_waits_and_the_other_way_round() -> None:
    told = Told(with_disks(1, "a", "b"))
    levelling(told).order(DisksRequest(nodes=["dn-1"], stop=True))
    levelling(told).order(DisksRequest(nodes=["dn-1"], threshold_percent=0.01))
    assert told.ordered == [(1, Order.LEVEL_STOP, 0), (1, Order.LEVEL_DISKS, 1)]
    assert told.cancelled == [(1, Order.LEVEL_DISKS), (1, Order.LEVEL_STOP)]


def test_what_names_no_node_or_cannot_be_is_refused() -> None:
    told = Told(with_disks(1, "a", "b"))
    with pytest.raises(NodeNotFound):
        levelling(told).order(DisksRequest(nodes=["dn-9"]))
    with pytest.raises(BadRequest):
        levelling(told).order(DisksRequest(threshold_percent=0.0))
    assert told.ordered == []
