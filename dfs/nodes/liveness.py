"""Pure: what a DataNode's silence means.

A node that is silent for `stale_after_s` is avoided for new work; after `dead_after_s` its copies
do not count any more and repair begins.  The second limit is long on purpose: a reboot must not
start a storm of copies.  A node that is excused (in maintenance, or stopped in order a while ago)
is expected to be away, so it never counts as dead; when its excuse ends, its silence counts from
then on.
"""

from dataclasses import dataclass

from dfs.base.states import NodeDuty, NodeEvent, NodeState, advance_node
from dfs.settings.sections import LivenessConfig


@dataclass(frozen=True, slots=True)
class Excuse:
    """Why a node's silence may be meant.

    Attributes:
        until_ms: the silence is expected until then; 0 when it is not.
    """

    duty: NodeDuty
    until_ms: int = 0

    def unexcused_s(self, silent_s: float, *, now_ms: int) -> float:
        """For how much of a silence there is no excuse; 0 while there is one."""
        if self.duty is NodeDuty.MAINTENANCE and not self.until_ms:
            return 0.0
        return max(0.0, min(silent_s, (now_ms - self.until_ms) / 1000))


@dataclass(frozen=True, slots=True)
class Silence:
    """Moves that a node's silence calls for, in order; none when nothing changes."""

    events: tuple[NodeEvent, ...]
    state: NodeState  # after them


def judge_silence(
    state: NodeState, excuse: Excuse, *, silent_s: float, now_ms: int, config: LivenessConfig
) -> Silence:
    """What happens to a node that was last heard `silent_s` ago.

    A clock that jumped (a suspended machine) may ask for both moves at once; they are made one
    after the other, so that nobody misses the first.  Nobody dies of the wall clock alone: the
    silence itself is measured by the other.
    """
    events: list[NodeEvent] = []
    if state in (NodeState.JOINED, NodeState.LIVE) and silent_s >= config.stale_after_s:
        events.append(NodeEvent.MISSED_SHORT)
        state = advance_node(state, NodeEvent.MISSED_SHORT)
    unexcused_s = excuse.unexcused_s(silent_s, now_ms=now_ms)
    if state is NodeState.STALE and unexcused_s >= config.dead_after_s:
        events.append(NodeEvent.MISSED_LONG)
        state = advance_node(state, NodeEvent.MISSED_LONG)
    return Silence(tuple(events), state)
