"""Ranges of files, and the order in which replicas are tried."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dfs.base.entropy import Random
from dfs.base.errors import MetadataCorrupt
from dfs.base.ids import NodeId
from dfs.base.records import Holder, LocatedExtent
from dfs.base.states import NodeState, ReplicaState
from dfs.transfer.ranges import RangeCutter, check_extents, pieces, stretches
from dfs.transfer.source_choice import order_sources
from tests.builders import an_address, an_extent


def extents(lengths: list[int]) -> list[LocatedExtent]:
    found, offset = [], 0
    for number, length in enumerate(lengths, 1):
        found.append(an_extent(number, file_offset=offset, data=b"x" * length))
        offset += length
    return found


LENGTHS = st.lists(st.integers(1, 50), max_size=8)


@given(lengths=LENGTHS, offset=st.integers(0, 450), length=st.integers(0, 450))
def test_stretches_cover_exactly_the_range_asked(
    lengths: list[int], offset: int, length: int
) -> None:
    found = stretches(extents(lengths), offset, length)
    covered = [at for s in found for at in range(s.file_offset, s.file_offset + s.length_bytes)]
    assert covered == list(range(offset, min(offset + length, sum(lengths))))


@given(lengths=LENGTHS, offset=st.integers(0, 450), length=st.integers(0, 450))
def test_stretches_stay_inside_their_blocks(lengths: list[int], offset: int, length: int) -> None:
    for stretch in stretches(extents(lengths), offset, length):
        assert stretch.length_bytes > 0
        assert stretch.block_offset == stretch.file_offset - stretch.extent.file_offset
        assert stretch.block_offset + stretch.length_bytes <= stretch.extent.truth.length_bytes
        whole = stretch.length_bytes == stretch.extent.truth.length_bytes
        assert stretch.is_whole_block == whole


@given(length=st.integers(0, 1000), piece=st.integers(1, 100))
def test_pieces_follow_each_other_and_only_the_last_is_short(length: int, piece: int) -> None:
    found = list(pieces(length, piece))
    assert sum(size for _, size in found) == length
    assert [at for at, _ in found] == list(range(0, length, piece))
    assert all(size == piece for _, size in found[:-1])


def test_stretch_of_a_packed_file_begins_inside_the_block() -> None:
    packed = replace(an_extent(data=b"x" * 100), block_offset=40, length_bytes=30)
    (found,) = stretches([packed], 10, 5)
    assert (found.block_offset, found.length_bytes, found.is_whole_block) == (50, 5, False)


@pytest.mark.parametrize("shift", [1, -1])
def test_extents_with_a_gap_or_overlap_are_refused(shift: int) -> None:
    first, second = extents([10, 10])
    with pytest.raises(MetadataCorrupt):
        check_extents([first, replace(second, file_offset=10 + shift)])


def test_extents_that_reach_out_of_their_block_are_refused() -> None:
    with pytest.raises(MetadataCorrupt):
        check_extents([replace(an_extent(data=b"x" * 10), block_offset=1)])


def a_holder(
    node: int,
    *,
    state: str = ReplicaState.LIVE,
    node_state: NodeState = NodeState.LIVE,
    host: str = "far",
) -> Holder:
    return Holder(replace(an_address(node), host=host), state, node_state)


def order(holders: list[Holder], seed: int = 1, **known: object) -> list[int]:
    settled = {"here": frozenset({"here"}), "failures": {}, "load": {}} | known
    found = order_sources(holders, rng=Random(seed), **settled)
    return [holder.address.node for holder in found]


def test_order_prefers_the_replica_on_this_computer() -> None:
    assert order([a_holder(1), a_holder(2, host="here"), a_holder(3)])[0] == 2


def test_order_tries_a_node_that_failed_lately_after_those_that_did_not() -> None:
    holders = [a_holder(1, host="here"), a_holder(2)]
    assert order(holders, failures={NodeId(1): 1}) == [2, 1]


def test_order_prefers_the_node_that_is_less_busy() -> None:
    assert order([a_holder(1), a_holder(2)], load={NodeId(1): 3}) == [2, 1]


def test_order_leaves_suspect_and_corrupt_replicas_and_dead_nodes_to_the_end() -> None:
    holders = [
        a_holder(1, state=ReplicaState.CORRUPT),
        a_holder(2, node_state=NodeState.DEAD),
        a_holder(3, state=ReplicaState.SUSPECT),
        a_holder(4, node_state=NodeState.STALE),
        a_holder(5),
        a_holder(6, state=ReplicaState.FAILING),
        a_holder(7, state=ReplicaState.DISPUTED),
        a_holder(8, state=ReplicaState.RETIRING),
    ]
    assert order(holders) == [5, 4, 6, 3, 8, 2, 7, 1]


def test_order_spreads_readers_over_equal_holders() -> None:
    holders = [a_holder(node) for node in (1, 2, 3)]
    firsts = Counter(order(holders, seed)[0] for seed in range(300))
    assert set(firsts) == {1, 2, 3}
    assert min(firsts.values()) > 50


def test_order_takes_a_replica_state_it_does_not_know() -> None:
    assert order([a_holder(1, state="of_a_newer_version"), a_holder(2)]) == [2, 1]


RANGES = st.lists(st.tuples(st.integers(0, 99), st.integers(1, 99)), min_size=1, max_size=8)


@given(ranges=RANGES, cuts=st.lists(st.integers(1, 300), max_size=9))
def test_what_came_for_many_ranges_is_cut_back_into_them(
    ranges: list[tuple[int, int]], cuts: list[int]
) -> None:
    content = bytes(range(200))
    stream = b"".join(content[offset : offset + length] for offset, length in ranges)
    cutter = RangeCutter(ranges)
    found: list[tuple[int, bytes]] = []
    for cut in [*cuts, len(stream)]:
        sent, stream = stream[:cut], stream[cut:]
        found += cutter.cut(sent)

    assert b"".join(part for _, part in found) == b"".join(
        content[offset : offset + length] for offset, length in ranges
    )
    assert all(part == content[offset : offset + len(part)] for offset, part in found)
    assert (cutter.left_bytes, cutter.due) == (0, None)
