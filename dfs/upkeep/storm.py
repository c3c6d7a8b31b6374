"""Pure: whether so many DataNodes vanished together that it is no ordinary failure.

A switch, a power strip or the NameNode's own network takes many nodes at once, and most of them
come back.  Copying what they hold would load those that are left and be undone on their return, so
a *storm* freezes every repair but that of last copies, and every deletion, until the nodes return
or the operator accepts the loss.

Nodes vanish *together* when their silences began within one `dead_after_s`.  Nodes that were gone
before that count for nothing, neither among the silent nor among all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.ids import NodeId, node_name
from dfs.base.records import NodeView
from dfs.base.states import NodeDuty, NodeState
from dfs.base.units import format_duration
from dfs.settings.sections import LivenessConfig, RepairConfig

NAMED_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Storm:
    """The verdict: `nodes` are those that vanished together."""

    frozen: bool = False
    reason: str = ""
    nodes: tuple[NodeId, ...] = ()


CALM: Final = Storm()


def judge_storm(
    nodes: Sequence[NodeView],
    *,
    accepted: frozenset[NodeId],
    liveness: LivenessConfig,
    repair: RepairConfig,
) -> Storm:
    """Whether nodes vanished together; the storm with the most nodes when there are several.

    Args:
        nodes: every DataNode; `silent_s` is how long each has been silent.
        accepted: nodes whose loss the operator accepted.
    """
    serving = [
        view
        for view in nodes
        if view.duty is NodeDuty.IN_SERVICE and view.registered_ms and view.node not in accepted
    ]
    storms = [
        storm
        for group, others in _together(serving, liveness)
        if (storm := _judge_group(group, others, within_s=liveness.dead_after_s, repair=repair))
    ]
    return max(storms, key=lambda storm: len(storm.nodes), default=CALM)


def is_silent(view: NodeView, *, stale_after_s: float) -> bool:
    """Whether a node is away without an excuse."""
    if view.is_excused:
        return False
    if view.state is NodeState.JOINED:  # not heard since the NameNode started
        return view.silent_s >= stale_after_s
    return view.state in (NodeState.STALE, NodeState.DEAD)


def _together(
    serving: Sequence[NodeView], liveness: LivenessConfig
) -> Iterator[tuple[list[NodeView], list[NodeView]]]:
    """Groups whose silences began within the limit, each with those that were there until then."""
    away = [view for view in serving if is_silent(view, stale_after_s=liveness.stale_after_s)]
    for latest in away:
        earliest_s = latest.silent_s + liveness.dead_after_s
        group = [view for view in away if latest.silent_s <= view.silent_s <= earliest_s]
        gone_before = {view.node for view in away if view.silent_s > earliest_s}
        yield group, [view for view in serving if view.node not in gone_before]


def _judge_group(
    group: Sequence[NodeView],
    there: Sequence[NodeView],
    *,
    within_s: float,
    repair: RepairConfig,
) -> Storm | None:
    gone = {view.node for view in group}
    many = len(gone) >= repair.storm_nodes_min
    if many and len(gone) * 100 >= repair.storm_percent * len(there):
        within = format_duration(within_s)
        words = f"{len(gone)} of {len(there)} DataNodes vanished within {within}: {_names(gone)}"
        return Storm(frozen=True, reason=words, nodes=tuple(sorted(gone)))
    rack = _whole_rack(gone, there)
    if rack:
        words = f"every DataNode of rack {rack} vanished: {_names(gone)}"
        return Storm(frozen=True, reason=words, nodes=tuple(sorted(gone)))
    return None


def _whole_rack(gone: set[NodeId], there: Sequence[NodeView]) -> str:
    """A rack with no node left, of several racks; a single node is none by itself."""
    racks: dict[str, set[NodeId]] = {}
    for view in there:
        racks.setdefault(view.address.rack, set()).add(view.node)
    if len(racks) < 2:
        return ""
    dark = [
        rack for rack, nodes in racks.items() if nodes <= gone and (len(nodes) > 1 or len(gone) > 1)
    ]
    return min(dark, default="")


def _names(nodes: set[NodeId]) -> str:
    named = ", ".join(node_name(node) for node in sorted(nodes)[:NAMED_MAX])
    return named if len(nodes) <= NAMED_MAX else f"{named} and {len(nodes) - NAMED_MAX} more"
