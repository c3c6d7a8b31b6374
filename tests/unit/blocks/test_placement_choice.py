from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dfs.base.entropy import Random
from dfs.base.ids import NodeId
from dfs.base.records import NodeCondition, NodeView
from dfs.base.states import NodeDuty, NodeState, VolumeState
from dfs.base.units import GiB, MiB
from dfs.blocks.placement import Placement, PlacementRound, Promised, choose_targets
from tests.builders import a_node, a_usage, a_volume

NOBODY: frozenset[NodeId] = frozenset()


def choose(
    *nodes: NodeView,
    size_bytes: int = 128 * MiB,
    copies: int = 2,
    exclude: frozenset[NodeId] = NOBODY,
    promised: dict[NodeId, Promised] | None = None,
    seed: int = 1,
) -> Placement:
    return choose_targets(
        size_bytes=size_bytes,
        copies=copies,
        nodes=nodes,
        exclude=exclude,
        rng=Random(seed),
        promised=promised,
    )


def with_free(
    node: int, free_bytes: int, *, rack: str = "/default", in_flight: int = 0
) -> NodeView:
    usage = replace(a_usage(free_bytes=free_bytes), in_flight=in_flight)
    return a_node(node, rack=rack, usage=usage)


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (a_node(2, state=NodeState.JOINED), "not heard since this NameNode started"),
        (a_node(2, state=NodeState.STALE, silent_s=41), "stale: silent for 41s"),
        (a_node(2, state=NodeState.DEAD, silent_s=720), "dead: silent for 12m 00s"),
        (a_node(2, duty=NodeDuty.MAINTENANCE), "in maintenance"),
        (a_node(2, duty=NodeDuty.DECOMMISSIONING), "being decommissioned"),
        (a_node(2, duty=NodeDuty.DECOMMISSIONED), "decommissioned"),
        (
            replace(a_node(2), condition=NodeCondition(doubtful=True)),
            "doubted: so many bad blocks lately that memory or code is the likelier culprit",
        ),
        (replace(a_node(2), writable_volumes=0), "no volume of it takes writes"),
        (
            with_free(2, 64 * MiB),
            "64 MiB free, block needs 128 MiB above the reserve",
        ),
    ],
)
def test_placement_says_why_a_node_is_not_fit(node: NodeView, reason: str) -> None:
    placement = choose(a_node(1), node)
    assert [view.node for view in placement.targets] == [1]
    assert [(r.node, r.reason) for r in placement.refusals] == [(2, reason)]


def test_placement_says_why_the_rest_was_not_needed() -> None:
    placement = choose(a_node(1), a_node(2), a_node(3), a_node(4), exclude=frozenset({NodeId(4)}))
    assert sorted(r.reason for r in placement.refusals) == [
        "already holds or failed this block (excluded)",
        "enough copies",
    ]


def test_placement_takes_those_there_are_when_they_are_fewer_than_the_copies() -> None:
    assert len(choose(a_node(1), copies=3).targets) == 1
    assert choose(copies=2).targets == ()


def test_placement_leaves_the_first_rack_with_the_second_copy() -> None:
    near = [a_node(n, rack="/a") for n in range(1, 10)]
    for seed in range(20):
        targets = choose(*near, a_node(10, rack="/b"), seed=seed).targets
        assert {view.address.rack for view in targets} == {"/a", "/b"}


def test_placement_stays_on_one_rack_when_the_other_has_no_room() -> None:
    placement = choose(a_node(1, rack="/a"), a_node(2, rack="/a"), with_free(3, 1, rack="/b"))
    assert {view.node for view in placement.targets} == {1, 2}


def test_placement_counts_what_was_promised_since_the_last_beat() -> None:
    placement = choose(
        with_free(1, GiB),
        a_node(2),
        promised={NodeId(1): Promised(GiB - 10 * MiB, 8)},
    )
    assert [view.node for view in placement.targets] == [2]
    (refusal,) = placement.refusals
    assert refusal.reason == (
        "10 MiB free beside 0.99 GiB promised, block needs 128 MiB above the reserve"
    )


def test_placement_does_not_split_a_block_over_volumes() -> None:
    usage = a_usage(free_bytes=200 * MiB)
    halves = (a_volume("v1", free_bytes=100 * MiB), a_volume("v2", free_bytes=100 * MiB))
    placement = choose(a_node(1), replace(a_node(2, usage=usage), volumes=halves))
    assert [view.node for view in placement.targets] == [1]
    assert "100 MiB on its emptiest volume" in placement.refusals[0].reason


def test_placement_does_not_count_room_on_a_volume_that_takes_no_writes() -> None:
    broken = a_volume("v2", free_bytes=500 * GiB, state=VolumeState.READ_ONLY)
    small = a_volume("v1", free_bytes=MiB)
    placement = choose(replace(a_node(1), volumes=(small, broken)))
    assert placement.targets == ()


def test_placement_uses_nodes_that_do_not_answer_only_when_it_must() -> None:
    mute = a_node(3, reachable=False)
    for seed in range(10):
        chosen = choose(a_node(1), a_node(2), mute, seed=seed).targets
        assert {view.node for view in chosen} == {1, 2}
    assert {view.node for view in choose(a_node(1), mute).targets} == {1, 3}


def test_placement_prefers_the_less_busy_of_equals() -> None:
    busy, idle = with_free(1, GiB, in_flight=50), with_free(2, GiB)
    firsts = Counter(choose(busy, idle, copies=1, seed=s).targets[0].node for s in range(400))
    assert firsts[NodeId(2)] > 250  # three of four draws see both, or the idle one twice


def test_placement_fills_nodes_of_different_size_at_the_same_pace() -> None:
    nodes = [with_free(n, 100 * GiB) for n in range(1, 4)] + [with_free(4, 300 * GiB)]
    placing, rng = PlacementRound(nodes), Random(5)
    given_to: Counter[NodeId] = Counter()
    for _ in range(900):
        placement = placing.choose(size_bytes=MiB, copies=1, exclude=NOBODY, rng=rng)
        given_to[placement.targets[0].node] += 1
    assert 350 < given_to[NodeId(4)] < 550
    assert min(given_to.values()) > 100


def test_placement_round_never_overfills_a_node() -> None:
    nodes = [with_free(1, 10 * MiB), with_free(2, 20 * MiB), with_free(3, 30 * MiB)]
    placing, rng = PlacementRound(nodes), Random(3)
    given_to: Counter[NodeId] = Counter()
    while targets := placing.choose(size_bytes=MiB, copies=2, exclude=NOBODY, rng=rng).targets:
        given_to.update(view.node for view in targets)
    assert given_to == {1: 10, 2: 20, 3: 30}


racks = st.sampled_from(["/a", "/b", "/c"])
views = st.builds(
    lambda node, rack, free, state, duty, reachable, in_flight: replace(
        a_node(node, rack=rack, state=state, duty=duty, reachable=reachable),
        usage=replace(a_usage(free_bytes=free), in_flight=in_flight),
        volumes=(),
    ),
    st.integers(1, 1000),
    racks,
    st.integers(0, 4 * GiB),
    st.sampled_from([NodeState.LIVE] * 4 + [NodeState.STALE, NodeState.DEAD, NodeState.JOINED]),
    st.sampled_from([NodeDuty.IN_SERVICE] * 4 + [NodeDuty.MAINTENANCE]),
    st.booleans(),
    st.integers(0, 64),
)
clusters = st.lists(views, max_size=12, unique_by=lambda view: view.node)


@given(
    nodes=clusters,
    size_bytes=st.integers(0, 2 * GiB),
    copies=st.integers(1, 5),
    excluded=st.integers(0, 3),
    promises=st.lists(st.integers(0, 2 * GiB), min_size=12, max_size=12),
    seed=st.integers(0, 2**32),
)
def test_placement_keeps_its_promises(
    nodes: list[NodeView],
    size_bytes: int,
    copies: int,
    excluded: int,
    promises: list[int],
    seed: int,
) -> None:
    exclude = frozenset(view.node for view in nodes[:excluded])
    promised = {view.node: Promised(size, 1) for view, size in zip(nodes, promises, strict=False)}

    def once() -> Placement:
        return choose(
            *nodes,
            size_bytes=size_bytes,
            copies=copies,
            exclude=exclude,
            promised=promised,
            seed=seed,
        )

    placement = once()
    chosen = [view.node for view in placement.targets]
    refused = [refusal.node for refusal in placement.refusals]
    assert once() == placement, "the same seed, the same choice"
    assert sorted(chosen + refused) == sorted(view.node for view in nodes), "each exactly once"
    assert len(chosen) <= copies
    assert not exclude & set(chosen)
    assert all(refusal.reason for refusal in placement.refusals)
    room = {view.node: view.usage.free_bytes - promised[view.node].size_bytes for view in nodes}
    assert all(room[node] >= size_bytes for node in chosen), "never over the free space"
    fit = [
        view
        for view in nodes
        if view.state is NodeState.LIVE
        and view.duty is NodeDuty.IN_SERVICE
        and view.node not in exclude
        and room[view.node] >= size_bytes
    ]
    assert len(chosen) == min(copies, len(fit)), "as many as there are"
    reachable = [view for view in fit if view.reachable]
    if len(chosen) >= 2 and len(reachable) >= copies:
        racks_used = {view.address.rack for view in placement.targets}
        possible = {view.address.rack for view in reachable}
        assert len(racks_used) == min(len(chosen), len(possible)), "spread when racks have room"
