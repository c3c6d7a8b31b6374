"""Pure: which DataNodes may be counted on in this epoch.

A DataNode that beats us has seen our epoch once its beat says so: from then on it refuses commands
of older ones.  Only what it reported in full after that counts when something is to be deleted: its
report of before may rest on a command of an older leader that is still being done.
"""

import msgspec

from dfs.base.ids import NodeId


class _Standing(msgspec.Struct):
    fenced: bool = False
    reported: bool = False


class Fencing:
    """One leader's account of DataNodes; made anew for each epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._nodes: dict[NodeId, _Standing] = {}

    def on_beat(self, node: NodeId, seen_epoch: int) -> str:
        """Take note of what it has seen; why we have to stand down, if we have."""
        if seen_epoch > self.epoch:
            return f"DataNode {node} has seen epoch {seen_epoch}, ours is {self.epoch}"
        if seen_epoch == self.epoch:
            self._nodes.setdefault(node, _Standing()).fenced = True
        return ""

    def on_full_report(self, node: NodeId, epoch: int) -> None:
        """A full report, and the epoch that the DataNode knew when it began to make it."""
        standing = self._nodes.get(node)
        if standing is not None and standing.fenced and epoch == self.epoch:
            standing.reported = True

    def why_not_count(self, node: NodeId) -> str:
        """Why its replicas do not count for a deletion; empty when they do."""
        standing = self._nodes.get(node)
        if standing is None or not standing.fenced:
            return f"it has not acknowledged epoch {self.epoch}"
        if not standing.reported:
            return f"it has sent no full report in epoch {self.epoch}"
        return ""
