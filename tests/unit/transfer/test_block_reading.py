"""Reading stretches from replicas over real gRPC: right bytes, or an error, and nothing else."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from dfs.base.checksum import block_hash
from dfs.base.clock import SystemClock
from dfs.base.entropy import Random
from dfs.base.errors import (
    BlockCorrupt,
    DataUnavailable,
    LocalDiskFull,
    Overloaded,
    SourceChanged,
)
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName, BlockTruth, Holder, LocatedExtent
from dfs.base.states import NodeState, ReplicaState
from dfs.transfer.block_channel import BlockAccess
from dfs.transfer.channels import Channels
from dfs.transfer.node_memory import NodeMemory
from dfs.transfer.ranges import Stretch, stretches
from dfs.transfer.read_parallel import PlacedOutlet, stream
from dfs.transfer.replica_reader import ReplicaReader
from dfs.transfer.replicas import Replicas
from dfs.wire.channel import PIECE_BYTES
from tests.fake_datanode import FakeDataNode

LONG = 11 * PIECE_BYTES + 77  # longer than what a stream holds back


def some(length: int, salt: int = 0) -> bytes:
    return (bytes((n + salt) % 251 for n in range(4099)) * (length // 4099 + 1))[:length]


def extent(
    nodes: list[FakeDataNode], data: bytes, *, number: int = 0, offset: int = 0
) -> LocatedExtent:
    """A block that those nodes hold, the first being tried first."""
    name = BlockName(InodeId(5), number, BlockId(60 + number), Generation(7))
    for node in nodes:
        node.hold(name, data)
    ranks = [NodeState.LIVE, NodeState.STALE, NodeState.DEAD]
    holders = tuple(
        Holder(node.address, ReplicaState.LIVE, rank)
        for node, rank in zip(nodes, ranks, strict=False)
    )
    truth = BlockTruth(name.block, name.generation, len(data), block_hash(data))
    return LocatedExtent(offset, len(data), 0, truth, name, holders, b"token")


def whole(found: LocatedExtent) -> Stretch:
    return stretches([replace(found, file_offset=0)], 0, found.length_bytes)[0]


def same(old: LocatedExtent) -> LocatedExtent:
    """Ask where it is: still there."""
    return old


@pytest.fixture
def place(tmp_path: Path, reader: ReplicaReader) -> Iterator[Callable[..., bytes]]:
    """Reads a stretch into a file, and gives the file's content."""
    fd = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)

    def read(stretch: Stretch, relocate=same) -> bytes:
        reader.read("/f", stretch, PlacedOutlet(fd, 0, lambda _size: None), relocate)
        return os.pread(fd, 1 << 30, 0)

    yield read
    os.close(fd)


@pytest.fixture
def flow(reader: ReplicaReader) -> Callable[..., Iterator[bytes]]:
    """Reads extents as a stream."""

    def read(extents: list[LocatedExtent], offset: int = 0, length: int = 1 << 40, relocate=same):
        return stream(
            reader,
            "/f",
            stretches(extents, offset, length),
            relocate=relocate,
            blocks_ahead=3,
            pieces_in_flight=8,
        )

    return read


@pytest.mark.parametrize(
    "size", [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 4 * PIECE_BYTES + 3, LONG]
)
def test_read_gives_the_bytes_that_were_written(nodes, place, flow, size: int) -> None:
    data = some(size)
    found = extent(nodes[:1], data)
    assert place(whole(found)) == data
    assert b"".join(flow([found])) == data


def test_stream_gives_many_blocks_in_order(nodes, flow) -> None:
    parts = [some(300_000 + n, salt=n) for n in range(9)]
    extents, offset = [], 0
    for number, part in enumerate(parts):
        extents.append(extent(nodes[number % 3 :], part, number=number, offset=offset))
        offset += len(part)
    assert b"".join(flow(extents)) == b"".join(parts)
    assert b"".join(flow(extents, 299_990, 600_030)) == b"".join(parts)[299_990:900_020]


def test_stream_goes_on_at_the_next_replica_when_one_dies_in_mid_block(nodes, flow) -> None:
    data = some(LONG)
    found = extent(nodes, data)
    nodes[0].download_ends_after = 3 * PIECE_BYTES
    assert b"".join(flow([found])) == data
    assert nodes[1].sent_bytes == LONG - 3 * PIECE_BYTES, "it continued where the first ended"


def test_read_never_delivers_a_byte_that_does_not_match_its_hash(
    nodes, place, flow, suspects
) -> None:
    data = some(LONG)
    found = extent(nodes, data)
    nodes[0].wrong_byte_at = 2 * PIECE_BYTES + 5
    assert place(whole(found)) == data
    assert b"".join(flow([found])) == data
    assert {(node, name) for name, node, _why in suspects} == {(1, found.name)}


@pytest.mark.parametrize("size", [1, 3 * PIECE_BYTES, 4 * PIECE_BYTES])
def test_stream_of_a_short_block_survives_a_replica_whose_hashes_fit_its_wrong_bytes(
    nodes, flow, suspects, size: int
) -> None:
    data = some(size, salt=1)
    found = extent(nodes, data)
    nodes[0].lies = True
    assert b"".join(flow([found])) == data
    assert [node for _name, node, _why in suspects] == [1]


def test_file_survives_a_replica_whose_hashes_fit_its_wrong_bytes(nodes, place, suspects) -> None:
    data = some(LONG)
    nodes[0].lies = True
    assert place(whole(extent(nodes, data))) == data
    assert [node for _name, node, _why in suspects] == [1]


def test_file_reads_each_replica_alone_when_a_mix_of_two_turned_out_wrong(nodes, place) -> None:
    data = some(LONG)
    found = extent(nodes[:2], data)
    nodes[0].lies, nodes[0].download_ends_after = True, 3 * PIECE_BYTES
    assert place(whole(found)) == data


def test_stream_takes_no_long_block_from_a_replica_with_another_seal(nodes, flow, suspects) -> None:
    data = some(LONG)
    found = extent(nodes, data)
    nodes[0].hold(found.name, some(LONG, salt=9))
    assert b"".join(flow([found])) == data
    assert nodes[0].calls["download"] == 0
    assert [node for _name, node, _why in suspects] == [1]


def test_part_of_a_block_comes_from_no_replica_with_another_seal(nodes, flow) -> None:
    data = some(1000)
    found = extent(nodes, data)
    nodes[0].hold(found.name, some(1000, salt=9))
    assert b"".join(flow([found], 10, 20)) == data[10:30]


def test_stream_that_turns_out_wrong_ends_short_and_in_an_error(nodes, flow) -> None:
    data = some(LONG)
    found = extent(nodes, data)
    nodes[0].lies = True  # and its seal says the truth: all a DataNode can do to deceive
    delivered: list[int] = []
    with pytest.raises(BlockCorrupt, match="already delivered") as caught:
        delivered.extend(len(piece) for piece in flow([found]))
    assert 0 < sum(delivered) < LONG
    assert caught.value.details["path"] == "/f"


def test_read_names_every_replica_when_none_is_intact(nodes, place, flow) -> None:
    found = extent(nodes, some(LONG))
    for node in nodes:
        node.wrong_byte_at = 5
    for read in (lambda: place(whole(found)), lambda: list(flow([found]))):
        with pytest.raises(DataUnavailable) as caught:
            read()
        assert f"block {found.truth.block}" in caught.value.message
        assert all(f"dn-{n}" in caught.value.message for n in (1, 2, 3))


def test_read_delivers_nothing_when_every_replica_is_wrong_from_the_start(nodes, flow) -> None:
    found = extent(nodes, some(100))
    for node in nodes:
        node.lies = True
    delivered = []
    with pytest.raises(DataUnavailable):
        delivered.extend(flow([found]))
    assert delivered == []


def test_read_says_so_when_no_node_holds_the_block(place) -> None:
    with pytest.raises(DataUnavailable, match="no DataNode holds"):
        place(whole(extent([], some(10))))


def test_read_survives_dead_busy_and_empty_nodes(nodes, place) -> None:
    data = some(2_000_000)
    found = extent(nodes, data)
    nodes[0].stop()
    nodes[1].refuse_reads = Overloaded("too many transfers")
    assert place(whole(found)) == data


def test_missing_replica_is_reported_but_an_unreachable_one_is_not(nodes, place, suspects) -> None:
    found = extent(nodes, some(10))
    nodes[0].stop()
    nodes[1].blocks.clear()
    place(whole(found))
    assert [node for _name, node, _why in suspects] == [2]


def test_read_goes_on_with_a_new_token_when_the_old_one_expired(nodes, flow) -> None:
    data = some(LONG)
    found = extent(nodes, data)
    for node in nodes:
        node.tokens_valid = lambda token: token == b"fresh"
    asked: list[LocatedExtent] = []

    def relocate(old: LocatedExtent) -> LocatedExtent:
        asked.append(old)
        return replace(old, token=b"fresh")

    assert b"".join(flow([found], relocate=relocate)) == data
    assert len(asked) == 1


def test_read_finds_replicas_that_moved_meanwhile(nodes, place) -> None:
    data = some(10)
    found = extent(nodes[:1], data)
    moved = extent(nodes[2:], data)
    nodes[0].stop()
    assert place(whole(found), relocate=lambda _old: moved) == data


def test_read_asks_again_once_and_no_more(nodes, place) -> None:
    found = extent(nodes, some(10))
    for node in nodes:
        node.tokens_valid = lambda _token: False
    asked: list[int] = []

    def relocate(old: LocatedExtent) -> LocatedExtent:
        asked.append(1)
        return old

    with pytest.raises(DataUnavailable, match="expired"):
        place(whole(found), relocate=relocate)
    assert asked == [1]


def test_read_ends_when_the_file_was_replaced(nodes, place) -> None:
    nodes[0].stop()

    def relocate(_old: LocatedExtent) -> LocatedExtent:
        raise SourceChanged("/f: was replaced")

    with pytest.raises(SourceChanged):
        place(whole(extent(nodes[:1], some(10))), relocate=relocate)


def test_read_leaves_a_silent_node_for_the_next(nodes, tmp_path: Path) -> None:
    data = some(2_000_000)
    found = extent(nodes, data)
    nodes[0].silent.set()
    channels = Channels(clock=SystemClock(), stall_s=0.3)
    memory = NodeMemory(clock=SystemClock())
    replicas = Replicas(memory, rng=Random(1), here=frozenset(), suspect=lambda *_found: None)
    reader = ReplicaReader(channels, replicas)
    with (tmp_path / "out").open("wb+") as out:
        outlet = PlacedOutlet(out.fileno(), 0, lambda _size: None)
        reader.read("/f", whole(found), outlet, same)
    assert (tmp_path / "out").read_bytes() == data
    channels.close()


def test_error_of_the_local_disk_is_blamed_on_no_node(nodes, reader, memory) -> None:
    stretch = whole(extent(nodes, some(10)))
    with Path("/dev/full").open("wb") as full:
        outlet = PlacedOutlet(full.fileno(), 0, lambda _size: None)
        with pytest.raises(LocalDiskFull):
            reader.read("/f", stretch, outlet, same)
    assert memory.failures() == {}


def test_stream_left_early_ends_its_conversations(nodes, flow, memory) -> None:
    extents = [extent(nodes[:1], some(LONG), number=n, offset=n * LONG) for n in range(3)]
    taken = flow(extents)
    next(taken)
    taken.close()
    assert nodes[0].sent_bytes < 3 * LONG


def test_stream_fetches_no_further_ahead_than_its_window(nodes, flow) -> None:
    extents = [extent(nodes[:1], some(LONG), number=n, offset=n * LONG) for n in range(8)]
    taken = flow(extents)
    next(taken)
    assert nodes[0].calls["download"] <= 3
    taken.close()


def several(
    channels: Channels, node: FakeDataNode, data: bytes, ranges: list[tuple[int, int]]
) -> list[tuple[int, bytes]]:
    name = BlockName(InodeId(5), 0, BlockId(60), Generation(7))
    node.hold(name, data)
    with channels.to(node.address) as channel:
        return list(channel.download_ranges(BlockAccess(name, "/f", b"token"), ranges))


def test_many_ranges_are_read_in_one_call_in_their_order(
    channels: Channels, nodes: list[FakeDataNode]
) -> None:
    data = some(3 * PIECE_BYTES)
    ranges = [(2 * PIECE_BYTES - 5, 10), (0, PIECE_BYTES + 1), (7, 3), (7, 3), (9, 0)]

    found = several(channels, nodes[0], data, ranges)

    assert b"".join(part for _, part in found) == b"".join(data[o : o + n] for o, n in ranges)
    assert all(part == data[offset : offset + len(part)] for offset, part in found)
    assert nodes[0].calls["download"] == 1


def test_many_ranges_of_which_a_byte_is_wrong_are_refused(
    channels: Channels, nodes: list[FakeDataNode]
) -> None:
    nodes[0].wrong_byte_at = 5005
    with pytest.raises(BlockCorrupt):
        several(channels, nodes[0], some(9000), [(0, 10), (5000, 10), (7000, 10)])


def test_ranges_that_end_before_all_came_are_no_success(
    channels: Channels, nodes: list[FakeDataNode]
) -> None:
    with pytest.raises(BlockCorrupt, match="ended before all"):
        several(channels, nodes[0], some(100), [(0, 10), (90, 20)])
