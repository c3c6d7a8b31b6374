from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dfs.base.ids import NodeId
from dfs.base.records import NodeView
from dfs.base.states import NodeDuty, NodeState
from dfs.settings.sections import LivenessConfig, RepairConfig
from dfs.upkeep.storm import CALM, Storm, is_silent, judge_storm
from tests.builders import a_node

LIVENESS = LivenessConfig(heartbeat_interval_s=3, stale_after_s=30, dead_after_s=630)
REPAIR = RepairConfig(storm_percent=25, storm_nodes_min=2)


def judge(nodes: Sequence[NodeView], *accepted: int) -> Storm:
    return judge_storm(
        nodes,
        accepted=frozenset(NodeId(node) for node in accepted),
        liveness=LIVENESS,
        repair=REPAIR,
    )


def cluster(count: int, *away: int, silent_s: float = 100.0, racks: int = 1) -> list[NodeView]:
    return [
        a_node(
            number,
            rack=f"/r{number % racks}",
            state=NodeState.STALE if number in away else NodeState.LIVE,
            silent_s=silent_s if number in away else 1.0,
        )
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        (cluster(8, 1), 0),
        (cluster(8, 1, 2), 2),  # a quarter
        (cluster(9, 1, 2), 0),  # less
        (cluster(100, *range(1, 26)), 25),
        (cluster(100, *range(1, 25)), 0),
        (cluster(1, 1), 0),  # two at least
        (cluster(2, 1, 2), 2),
        (cluster(3, 1), 0),
    ],
)
def test_storm_is_a_quarter_of_the_nodes_and_two_at_least(
    nodes: list[NodeView], named: int
) -> None:
    storm = judge(nodes)
    assert (storm.frozen, len(storm.nodes)) == (bool(named), named)


def test_storm_names_who_vanished_and_how_many() -> None:
    storm = judge(cluster(6, 5, 6))
    assert storm.nodes == (5, 6)
    assert storm.reason == "2 of 6 DataNodes vanished within 10m 30s: dn-5, dn-6"


def test_whole_rack_is_a_storm_however_small_its_share() -> None:
    nodes = [*cluster(18), *(a_node(n, rack="/other") for n in (19, 20))]
    dark = [
        replace(view, state=NodeState.DEAD, silent_s=700.0) if view.node > 18 else view
        for view in nodes
    ]
    assert not judge(nodes).frozen
    assert "rack /other" in judge(dark).reason


def test_rack_of_one_node_is_no_storm_by_itself() -> None:
    nodes = [*cluster(9), a_node(10, rack="/other", state=NodeState.STALE, silent_s=50.0)]
    assert judge(nodes) == CALM


def test_only_rack_is_no_rack() -> None:
    assert judge(cluster(1, 1)) == CALM


def test_nodes_that_vanish_one_after_the_other_are_no_storm() -> None:
    nodes = [
        *cluster(6),
        a_node(7, state=NodeState.DEAD, silent_s=1_000_000.0),
        a_node(8, state=NodeState.STALE, silent_s=40.0),
    ]
    assert judge(nodes) == CALM


def test_nodes_gone_for_long_do_not_count_among_all() -> None:
    """Six are left of a hundred; two of the six vanish."""
    gone = [a_node(n, state=NodeState.DEAD, silent_s=9e6 + n * 2000) for n in range(7, 101)]
    assert judge([*cluster(6, 1, 2), *gone]).nodes == (1, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"is_excused": True},
        {"duty": NodeDuty.MAINTENANCE},
        {"duty": NodeDuty.DECOMMISSIONING},
        {"registered_ms": 0},
    ],
)
def test_expected_absence_is_no_storm(change: dict[str, object]) -> None:
    nodes = [
        replace(view, **change) if view.node in (1, 2) else view  # type: ignore[arg-type]
        for view in cluster(6, 1, 2)
    ]
    assert judge(nodes) == CALM


def test_nodes_unheard_since_the_start_count_as_silent_after_a_while() -> None:
    def unheard(silent_s: float) -> list[NodeView]:
        return [
            replace(view, state=NodeState.JOINED, silent_s=silent_s) if view.node < 3 else view
            for view in cluster(6)
        ]

    assert judge(unheard(29.0)) == CALM
    assert judge(unheard(30.0)).nodes == (1, 2)


NODES = st.lists(
    st.tuples(
        st.sampled_from(NodeState),
        st.sampled_from([NodeDuty.IN_SERVICE] * 4 + [NodeDuty.MAINTENANCE]),
        st.floats(0, 5000),
        st.booleans(),
        st.sampled_from(["/a", "/b", "/c"]),
    ),
    max_size=20,
)


def drawn(facts: list[tuple[NodeState, NodeDuty, float, bool, str]]) -> list[NodeView]:
    return [
        replace(
            a_node(number, rack=rack, state=state, duty=duty, silent_s=silent_s),
            is_excused=excused,
        )
        for number, (state, duty, silent_s, excused, rack) in enumerate(facts, 1)
    ]


@settings(max_examples=500)
@given(NODES)
def test_storm_names_only_nodes_that_are_away_without_an_excuse_and_together(
    facts: list[tuple[NodeState, NodeDuty, float, bool, str]],
) -> None:
    nodes = {view.node: view for view in drawn(facts)}
    storm = judge(list(nodes.values()))
    named = [nodes[node] for node in storm.nodes]
    assert storm.frozen is bool(storm.nodes)
    assert storm.frozen is bool(storm.reason)
    assert all(is_silent(view, stale_after_s=30) for view in named)
    assert all(view.duty is NodeDuty.IN_SERVICE for view in named)
    if named:
        silences = [view.silent_s for view in named]
        assert max(silences) - min(silences) <= LIVENESS.dead_after_s


@settings(max_examples=500)
@given(NODES)
def test_accepting_every_loss_always_ends_the_storm(
    facts: list[tuple[NodeState, NodeDuty, float, bool, str]],
) -> None:
    nodes, accepted = drawn(facts), set[int]()
    for _ in range(len(nodes) + 1):
        storm = judge(nodes, *accepted)
        if not storm.frozen:
            return
        assert not accepted & set(storm.nodes)
        accepted |= set(storm.nodes)
    raise AssertionError("it goes on")


@settings(max_examples=500)
@given(NODES)
def test_storm_is_over_when_its_nodes_return(
    facts: list[tuple[NodeState, NodeDuty, float, bool, str]],
) -> None:
    nodes = drawn(facts)
    back = [
        replace(view, state=NodeState.LIVE, silent_s=0.0)
        if is_silent(view, stale_after_s=30)
        else view
        for view in nodes
    ]
    assert judge(back) == CALM
