"""Long reads by bare streams: used where they may be, bounded, and a mere short way past gRPC."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from msgspec.structs import replace

from dfs.base.checksum import CHUNK_SIZE_BYTES, block_hash, chunk_hashes
from dfs.base.clock import SystemClock
from dfs.base.errors import BadRequest, BlockNotFound, TokenRefused
from dfs.base.records import Holder, LocatedExtent
from dfs.base.states import NodeState, ReplicaState
from dfs.wire import streams
from dfs.wire.codec import block_ref
from dfs.wire.local_socket import (
    Asked,
    Kind,
    Lent,
    LocalSocket,
    Wanted,
    pack,
    read_payload,
    refused,
)
from dfs.wire.tokens import Mode
from tests.cluster_rig import wait_until
from tests.datanode_rig import NAME, PATH, RigNode, token
from tests.misbehaving_streams import MISBEHAVIOUR, answering
from tests.same_host_rig import MIB, Client, calls, some, stored

Line = Callable[[], LocalSocket]


@pytest.fixture
def client(new_client: Callable[..., Client]) -> Client:
    return new_client("stream", stall_s=2.0)


@pytest.fixture
def line(nodes: list[RigNode]) -> Iterator[Line]:
    made: list[LocalSocket] = []

    def open_one() -> LocalSocket:
        sock = streams.connect("127.0.0.1", nodes[0].http.port, timeout_s=10)
        made.append(LocalSocket(sock, clock=SystemClock(), timeout_s=10))
        return made[-1]

    yield open_one
    for each in made:
        each.close()


def wanted(offset: int, length: int, *, raw: bytes | None = None, node: int = 1) -> bytes:
    shown = token(Mode.READ, NAME) if raw is None else raw
    ref = block_ref(NAME, path=PATH, token=shown).SerializeToString()
    return pack(Wanted(node, ref, offset, length))


def code_of(line: LocalSocket) -> str:
    message = line.receive()
    assert message is not None
    assert message.kind is Kind.REFUSED
    return refused(message).code


def streamed(node: RigNode) -> int:
    return calls(node, "stream_read")


def test_whole_block_comes_by_one_stream(
    client: Client, nodes: list[RigNode], tmp_path: Path
) -> None:
    data = some(9 * MIB + 77)
    extent = stored(nodes[:1], data)
    assert client.place(extent, tmp_path) == data
    assert streamed(nodes[0]) == 1
    assert calls(nodes[0], "download") == 0


@pytest.mark.parametrize(
    ("offset", "length", "times"),
    [
        (0, 4 * MIB, 1),
        (MIB, 2 * MIB, 1),
        (4 * MIB, 5 * MIB + 77, 1),
        (0, CHUNK_SIZE_BYTES, 0),
        (1, 4 * MIB, 0),
        (0, 4 * MIB - 1, 0),
    ],
)
def test_long_stretches_of_whole_chunks_are_streamed_and_all_are_right(
    client: Client, nodes: list[RigNode], offset: int, length: int, times: int
) -> None:
    data = some(9 * MIB + 77)
    extent = stored(nodes[:1], data)
    assert client.read(extent, offset, length) == data[offset : offset + length]
    assert streamed(nodes[0]) == times


def test_window_of_a_token_bounds_a_stream(line: Line, nodes: list[RigNode]) -> None:
    data = some(4 * MIB)
    stored(nodes[:1], data)
    raw = token(Mode.READ, NAME, window=(MIB, MIB))
    for offset, length in [(0, MIB), (MIB, 2 * MIB), (0, 4 * MIB)]:
        outside = line()
        outside.send(Kind.STREAM, wanted(offset, length, raw=raw))
        assert code_of(outside) == TokenRefused.code
    inside = line()
    inside.send(Kind.STREAM, wanted(MIB, MIB, raw=raw))
    message = inside.receive()
    assert message is not None
    lent = read_payload(message, Lent)
    assert (lent.length_bytes, lent.hash) == (len(data), block_hash(data))
    assert lent.chunk_hashes == chunk_hashes(data[MIB:][:MIB])
    assert inside.receive_bytes(MIB) == data[MIB:][:MIB]
    assert inside.receive() is None


@pytest.mark.parametrize(
    ("offset", "length"),
    [(-1, 10), (0, 0), (0, -5), (0, 5 * MIB), (1, MIB), (0, MIB + 1), (1 << 60, MIB)],
)
def test_stretch_that_is_not_of_whole_chunks_of_the_block_is_refused(
    line: Line, nodes: list[RigNode], offset: int, length: int
) -> None:
    stored(nodes[:1], some(4 * MIB))
    asking = line()
    asking.send(Kind.STREAM, wanted(offset, length))
    assert code_of(asking) in (BadRequest.code, TokenRefused.code)


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        (Kind.STREAM, b"", BadRequest.code),
        (Kind.STREAM, b"\xc1", BadRequest.code),
        (Kind.STREAM, pack(Wanted(1, b"\xff", 0, MIB)), BadRequest.code),
        (Kind.READ, pack(Asked(1)), BadRequest.code),
        (Kind.WRITE, pack(Asked(1)), BadRequest.code),
        (Kind.STREAM, wanted(0, MIB, raw=b"forged"), TokenRefused.code),
        (Kind.STREAM, wanted(0, MIB, raw=b""), TokenRefused.code),
        (Kind.STREAM, wanted(0, MIB), BlockNotFound.code),
    ],
)
def test_what_may_not_be_is_refused_and_says_why(
    line: Line, kind: Kind, payload: bytes, code: str
) -> None:
    asking = line()
    asking.send(kind, payload)
    assert code_of(asking) == code


def test_other_node_than_the_one_meant_sends_nothing(line: Line, nodes: list[RigNode]) -> None:
    stored(nodes[:1], some(MIB))
    asking = line()
    asking.send(Kind.STREAM, wanted(0, MIB, node=2))
    message = asking.receive()
    assert message is not None
    assert message.kind is Kind.ELSEWHERE


def test_streams_beyond_the_bound_are_read_over_grpc(tmp_path: Path, client: Client) -> None:
    node = RigNode(tmp_path / "small", transfers_max=1)
    data = some(4 * MIB)
    extent = stored([node], data)
    with streams.connect("127.0.0.1", node.http.port, timeout_s=10):
        wait_until(node.streams.count, "the one conversation is held")
        assert client.place(extent, tmp_path) == data
        assert calls(node, "stream_read") == 0
    node.close()


def test_reader_that_takes_nothing_is_let_go(tmp_path: Path) -> None:
    node = RigNode(tmp_path / "impatient", stall_s=0.5)
    stored([node], some(64 * MIB))
    with streams.connect("127.0.0.1", node.http.port, timeout_s=10) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line = LocalSocket(sock, clock=SystemClock(), timeout_s=10)
        line.send(Kind.STREAM, wanted(0, 64 * MIB))
        wait_until(lambda: not node.streams.count(), "it was given up")
    node.close()


def test_port_goes_on_serving_pages_beside_streams(line: Line, nodes: list[RigNode]) -> None:
    stored(nodes[:1], some(2 * MIB))
    held = [line() for _ in range(5)]
    with pytest.raises(OSError, match="404"):
        urlopen(f"http://127.0.0.1:{nodes[0].http.port}/none", timeout=10)
    for each in held:
        each.send(Kind.STREAM, wanted(0, 2 * MIB))
        assert each.receive() is not None
        assert each.receive_bytes(2 * MIB) == some(2 * MIB)


def test_request_for_another_protocol_is_no_stream(nodes: list[RigNode]) -> None:
    begun = streams.request("x")
    for raw in (begun.replace(b"dfs-stream/1", b"websocket"), begun.replace(b"stream H", b"x H")):
        with socket.create_connection(("127.0.0.1", nodes[0].http.port), 10) as sock:
            sock.sendall(raw)
            assert b" 404 " in sock.recv(100)


@pytest.mark.parametrize("behave", MISBEHAVIOUR)
def test_whatever_answers_at_the_port_grpc_gives_the_right_bytes(
    client: Client,
    nodes: list[RigNode],
    tmp_path: Path,
    behave: Callable[[socket.socket], None],
) -> None:
    data = some(4 * MIB)
    port, listener = answering(behave)
    with listener:
        extent = stored(nodes[:1], data)
        near = replace(nodes[0].near, http_port=port)
        holder = Holder(near, ReplicaState.LIVE, NodeState.LIVE)
        assert client.place(replace(extent, holders=(holder,)), tmp_path) == data


def test_nobody_at_the_port_is_no_error(
    client: Client, nodes: list[RigNode], tmp_path: Path
) -> None:
    data = some(4 * MIB)
    extent: LocatedExtent = stored(nodes[:1], data)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    near = replace(nodes[0].near, http_port=port)
    holder = Holder(near, ReplicaState.LIVE, NodeState.LIVE)
    assert client.place(replace(extent, holders=(holder,)), tmp_path) == data
