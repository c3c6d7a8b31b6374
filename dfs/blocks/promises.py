"""What was promised to each DataNode since its last beats, so that a burst overfills nobody.

A beat says how much is free at its moment; blocks allocated since are not in it, and those
allocated just before may not have reached the node yet.  So a promise counts until the second beat
after it.  That counts some bytes twice for a few seconds, which is the harmless side.

Kept in memory: after a restart the first beats say it all.  Used in the writer's thread alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dfs.base.ids import NodeId
from dfs.base.records import NodeView
from dfs.blocks.placement import Promised

_NOTHING = Promised()


@dataclass(slots=True)
class _Window:
    beat_ms: int
    before: Promised = _NOTHING  # between the last two beats
    since: Promised = _NOTHING  # since the last one


class Promises:
    """See the module."""

    def __init__(self) -> None:
        self._windows: dict[NodeId, _Window] = {}

    def outstanding(self, nodes: Iterable[NodeView]) -> Mapping[NodeId, Promised]:
        """What counts beside the usage in these views; nodes not among them are forgotten."""
        windows = {view.node: self._window(view) for view in nodes}
        self._windows = windows
        return {node: _sum(w.before, w.since) for node, w in windows.items()}

    def add(self, node: NodeId, size_bytes: int) -> None:
        """A block of at most that size was promised to a node of the last `outstanding`."""
        window = self._windows[node]
        window.since = _sum(window.since, Promised(size_bytes, 1))

    def _window(self, view: NodeView) -> _Window:
        beat_ms = view.usage.at_ms
        window = self._windows.get(view.node)
        if window is None:
            return _Window(beat_ms)
        if window.beat_ms != beat_ms:
            return _Window(beat_ms, before=window.since)
        return window


def _sum(one: Promised, other: Promised) -> Promised:
    return Promised(one.size_bytes + other.size_bytes, one.blocks + other.blocks)
