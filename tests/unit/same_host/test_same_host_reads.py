"""Reading from the file that a DataNode of this computer lends: same bytes, checks and refusals."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from dfs.base.errors import (
    DataUnavailable,
)
from dfs.base.records import (
    LocatedExtent,
)
from dfs.transfer.block_channel import BlockAccess
from dfs.transfer.local_read import LocalReader
from dfs.transfer.ranges import stretches
from dfs.transfer.read_parallel import stream
from dfs.transfer.write_pipeline import WriteMode
from dfs.wire.tokens import Mode
from tests.datanode_rig import NAME, NOW_MS, PATH, RigNode, token
from tests.same_host_rig import MIB, SIZES, Client, Content, calls, flip, halves, some, stored


@pytest.mark.parametrize("mode", list(WriteMode))
@pytest.mark.parametrize("size", SIZES)
def test_block_written_either_way_reads_back_either_way(
    new_client, nodes: list[RigNode], way: str, mode: WriteMode, size: int, tmp_path: Path
) -> None:
    data, counted = some(size), []
    done = new_client(way).write(nodes, Content(data), mode=mode, sent=counted.append)
    assert {receipt.node for receipt in done.receipts} == {1, 2}
    assert not done.failed
    assert not done.untried
    assert sum(counted) == size
    extent = stored(nodes, data)
    assert done.truth == extent.truth
    for node in nodes:
        assert node.store.verify(NAME).intact
        assert calls(node, "local_write") == (way == "local")
    for other in ("local", "stream", "network"):
        reader = new_client(other)
        assert reader.read(extent) == data
        assert reader.read(extent, size // 3, size // 2) == data[size // 3 :][: size // 2]
        assert reader.place(extent, tmp_path) == data
        assert reader.suspects == []
    assert calls(nodes[0], "local_read") >= 2


@pytest.mark.parametrize("at", [0, 3 * MIB + 5])
def test_damage_found_by_a_reader_is_reported_and_taken_out_of_service(
    client: Client, nodes: list[RigNode], tmp_path: Path, at: int
) -> None:
    data = some(5 * MIB)
    extent = stored(nodes, data)
    flip(nodes[0], at)
    assert client.place(extent, tmp_path) == data
    assert client.read(extent) == data
    assert {node for _name, node, _why in client.suspects} == {1}
    entry = nodes[0].store.entry(NAME)
    assert entry is None or entry.state != "final"


def test_only_copy_that_is_damaged_gives_no_bytes(
    client: Client, nodes: list[RigNode], tmp_path: Path
) -> None:
    extent = stored(nodes[:1], some(MIB))
    flip(nodes[0], 77)
    with pytest.raises(DataUnavailable):
        client.place(extent, tmp_path)
    with pytest.raises(DataUnavailable):
        client.read(extent)


def test_copy_with_other_bytes_than_the_truth_is_not_given(
    client: Client, nodes: list[RigNode], tmp_path: Path
) -> None:
    extent = stored(nodes[1:], some(MIB))
    stored(nodes[:1], some(MIB, salt=3))
    both = replace(extent, holders=stored(nodes, b"").holders)
    assert client.place(both, tmp_path) == some(MIB)
    assert client.read(both) == some(MIB)
    assert {node for _name, node, _why in client.suspects} == {1}


def test_read_goes_on_when_its_datanode_ends(client: Client, nodes: list[RigNode]) -> None:
    data = some(20 * MIB)
    pieces = halves(stored(nodes, data), client)
    first = next(pieces)
    nodes[0].close()
    assert first + next(pieces) == data
    assert client.suspects == []


def test_block_deleted_under_its_reader_is_read_to_its_end(
    client: Client, nodes: list[RigNode]
) -> None:
    data = some(20 * MIB)
    pieces = halves(stored(nodes[:1], data), client)
    first = next(pieces)
    assert nodes[0].store.delete(NAME)
    assert first + next(pieces) == data


def test_expired_token_is_refused_and_a_fresh_one_asked_for(
    client: Client, nodes: list[RigNode]
) -> None:
    data = some(2 * MIB)
    extent = stored(nodes, data)
    old = replace(extent, token=token(Mode.READ, NAME, expires_ms=NOW_MS - 3_600_000))
    asked: list[LocatedExtent] = []

    def relocate(stale: LocatedExtent) -> LocatedExtent:
        asked.append(stale)
        return extent

    got = b"".join(
        stream(
            client.reader,
            PATH,
            stretches([old], 0, len(data)),
            relocate=relocate,
            blocks_ahead=1,
            pieces_in_flight=4,
        )
    )
    assert got == data
    assert asked == [old]


def test_token_with_a_window_lends_nothing_and_reads_its_window(
    client: Client, nodes: list[RigNode]
) -> None:
    data = some(3 * MIB)
    extent = stored(nodes, data, window=(MIB, 1000))
    part = replace(extent, block_offset=MIB, length_bytes=1000)
    assert client.read(part) == data[MIB:][:1000]
    with pytest.raises(DataUnavailable):
        client.read(replace(part, length_bytes=1001))
    assert calls(nodes[0], "local_read") == 0


@pytest.mark.parametrize("tokens", ["on", "off"])
def test_lent_file_cannot_be_written(
    new_client, nodes: list[RigNode], tokens: str, tmp_path: Path
) -> None:
    nodes[0].hear(epoch=1, tokens=tokens == "on")
    extent = stored(nodes[:1], some(MIB))
    client = new_client()
    access = BlockAccess(NAME, PATH, extent.token)
    with LocalReader(client.links).borrow(nodes[0].near, access) as lent:
        assert lent is not None
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(lent._file, b"x", 0)
    assert client.place(extent, tmp_path) == some(MIB)
