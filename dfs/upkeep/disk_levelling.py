"""Having DataNodes level their own disks: who is ordered to, and who has nothing to level.

How a node moves blocks between its disks is its own business (`dfs.blockstore`); how far it is, it
says in every beat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dfs.base.errors import BadRequest, NodeNotFound
from dfs.base.events import Emitter, Event
from dfs.base.ids import NodeId, node_name, parse_node_name
from dfs.base.records import NodeView, Refusal
from dfs.base.states import NodeState, VolumeState
from dfs.nodes.orders import Order, Ordering
from dfs.wire.balance_api import DisksOrdered, DisksRequest


class Nodes(Ordering, Protocol):
    """The DataNodes, as far as they are ordered about."""

    def views(self) -> tuple[NodeView, ...]:
        """Every DataNode as of now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLevelling:
    """See the module.  Safe to share between threads.

    Args:
        threshold_percent: how far a disk's use may be from the mean, where nobody says.
    """

    nodes: Nodes
    emit: Emitter
    threshold_percent: float

    def order(self, body: DisksRequest) -> DisksOrdered:
        """Have nodes begin, or stop; those that cannot are named with the reason.

        Raises:
            BadRequest: a threshold that cannot be, or a word that names no node.
            NodeNotFound: no such node.
        """
        percent = body.threshold_percent
        percent = self.threshold_percent if percent is None else percent
        if not 0 < percent <= 100:
            raise BadRequest("a threshold is above 0 and at most 100 percent")
        ordered: list[int] = []
        refused: list[Refusal] = []
        for view in self._chosen(body.nodes):
            why = _why_not(view) or self._tell(view.node, percent, stop=body.stop)
            if why:
                refused.append(Refusal(view.node, why))
            else:
                ordered.append(view.node)
        if ordered:
            self.emit.emit(
                Event.BALANCE_CHANGED,
                change="level_stop" if body.stop else "level_disks",
                nodes=[node_name(NodeId(node)) for node in ordered],
                threshold_percent=percent,
            )
        return DisksOrdered(nodes=ordered, refused=refused, threshold_percent=percent)

    def _chosen(self, names: Sequence[str]) -> list[NodeView]:
        views = {view.node: view for view in self.nodes.views()}
        if not names:
            return list(views.values())
        wanted = dict.fromkeys(parse_node_name(name) for name in names)
        for node in wanted:
            if node not in views:
                raise NodeNotFound(f"no such DataNode: {node_name(node)}")
        return [views[node] for node in wanted]

    def _tell(self, node: NodeId, percent: float, *, stop: bool) -> str:
        verb, instead = Order.LEVEL_DISKS, Order.LEVEL_STOP
        if stop:
            verb, instead = instead, verb
        self.nodes.cancel(node, instead)
        value = 0 if stop else max(1, round(percent * 10))
        if self.nodes.enqueue(node, verb, reason="ordered", value=value):
            return ""
        return "it takes no such order now; try again later"


def _why_not(view: NodeView) -> str:
    if view.state not in (NodeState.LIVE, NodeState.STALE):
        return f"it is {view.state.value}"
    online = sum(volume.state is VolumeState.ONLINE for volume in view.volumes)
    return "" if online > 1 else "it has one disk"
