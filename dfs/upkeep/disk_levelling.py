"""Having DataNodes level their own disks: who is ordered to, and who has nothing to level.

How a node moves blocks between its disks is its own business (`dfs.blockstore`); how far it is, it
says in every beat.
"""

from dataclasses import dataclass
from typing import Protocol

from dfs.base.errors import BadRequest
from dfs.base.events import Emitter, Event
from dfs.base.ids import NodeId, node_name
from dfs.base.records import NodeView, Refusal
from dfs.base.states import NodeState, VolumeState
from dfs.nodes.orders import Order, Ordering
from dfs.upkeep.named_nodes import named_nodes
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
        for view in named_nodes(body.nodes, self.nodes.views()):
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
