import pytest

from dfs.base.states import NodeDuty, NodeEvent, NodeState
from dfs.nodes.liveness import Excuse, judge_silence
from dfs.settings.sections import LivenessConfig

CONFIG = LivenessConfig(heartbeat_interval_s=3, stale_after_s=30, dead_after_s=630)
NOW_MS = 1_700_000_000_000
SHORT, LONG = NodeEvent.MISSED_SHORT, NodeEvent.MISSED_LONG
SERVES, AWAY = NodeDuty.IN_SERVICE, NodeDuty.MAINTENANCE


@pytest.mark.parametrize(
    ("state", "duty", "silent_s", "events", "after"),
    [
        (NodeState.JOINED, SERVES, 29.9, (), NodeState.JOINED),
        (NodeState.JOINED, SERVES, 30.0, (SHORT,), NodeState.STALE),
        (NodeState.LIVE, SERVES, 29.9, (), NodeState.LIVE),
        (NodeState.LIVE, SERVES, 30.0, (SHORT,), NodeState.STALE),
        (NodeState.STALE, SERVES, 629.9, (), NodeState.STALE),
        (NodeState.STALE, SERVES, 630.0, (LONG,), NodeState.DEAD),
        (NodeState.LIVE, SERVES, 5000.0, (SHORT, LONG), NodeState.DEAD),
        (NodeState.DEAD, SERVES, 5000.0, (), NodeState.DEAD),
        (NodeState.LIVE, AWAY, 5000.0, (SHORT,), NodeState.STALE),
        (NodeState.LIVE, NodeDuty.DECOMMISSIONING, 630.0, (SHORT, LONG), NodeState.DEAD),
    ],
)
def test_silence_moves_a_node(
    state: NodeState,
    duty: NodeDuty,
    silent_s: float,
    events: tuple[NodeEvent, ...],
    after: NodeState,
) -> None:
    found = judge_silence(state, Excuse(duty), silent_s=silent_s, now_ms=NOW_MS, config=CONFIG)
    assert (found.events, found.state) == (events, after)


@pytest.mark.parametrize(
    ("duty", "ended_s", "silent_s", "after"),
    [
        (SERVES, -1, 5000.0, NodeState.STALE),  # the excuse lasts a second more
        (SERVES, 629, 5000.0, NodeState.STALE),
        (SERVES, 630, 5000.0, NodeState.DEAD),
        (SERVES, 5000, 629.0, NodeState.STALE),  # heard since: the silence itself is short
        (AWAY, -1, 5000.0, NodeState.STALE),
        (AWAY, 630, 5000.0, NodeState.DEAD),
    ],
)
def test_silence_counts_from_the_end_of_an_excuse(
    duty: NodeDuty, ended_s: int, silent_s: float, after: NodeState
) -> None:
    excuse = Excuse(duty, NOW_MS - ended_s * 1000)
    found = judge_silence(NodeState.LIVE, excuse, silent_s=silent_s, now_ms=NOW_MS, config=CONFIG)
    assert found.state is after
