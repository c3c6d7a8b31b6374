"""Pure: what a DataNode's silence means.

A node that is silent for `stale_after_s` is avoided for new work; after `dead_after_s` its copies
do not count any more and repair begins.  The second limit is long on purpose: a reboot must not
start a storm of copies.  In maintenance a node is expected to be away, so it never counts as dead.
"""

from dataclasses import dataclass

from dfs.base.states import NodeDuty, NodeEvent, NodeState, advance_node
from dfs.settings.sections import LivenessConfig


@dataclass(frozen=True, slots=True)
class Silence:
    """Moves that a node's silence calls for, in order; none when nothing changes."""

    events: tuple[NodeEvent, ...]
    state: NodeState  # after them


def judge_silence(
    state: NodeState, duty: NodeDuty, *, silent_s: float, config: LivenessConfig
) -> Silence:
    """What happens to a node that was last heard `silent_s` ago.

    A clock that jumped (a suspended machine) may ask for both moves at once; they are made one
    after the other, so that nobody misses the first.
    """
    events: list[NodeEvent] = []
    if state in (NodeState.JOINED, NodeState.LIVE) and silent_s >= config.stale_after_s:
        events.append(NodeEvent.MISSED_SHORT)
        state = advance_node(state, NodeEvent.MISSED_SHORT)
    if (
        state is NodeState.STALE
        and silent_s >= config.dead_after_s
        and duty is not NodeDuty.MAINTENANCE
    ):
        events.append(NodeEvent.MISSED_LONG)
        state = advance_node(state, NodeEvent.MISSED_LONG)
    return Silence(tuple(events), state)
