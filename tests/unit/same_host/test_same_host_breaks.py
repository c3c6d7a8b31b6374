"""A socket that is not there, or at which something else answers: the network serves."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from dfs.base.checksum import block_hash
from dfs.base.clock import SystemClock
from dfs.base.ids import BlockId, NodeId
from dfs.base.records import (
    AllocatedBlock,
    Holder,
    NodeAddress,
)
from dfs.base.states import NodeState, ReplicaState
from dfs.transfer.local_links import Elsewhere
from dfs.transfer.write_pipeline import WriteMode
from dfs.wire.local_socket import (
    PATH_BYTES_MAX,
    Asked,
    Kind,
    Lent,
    LocalSocket,
    Ring,
    connect,
    pack,
)
from dfs.wire.tokens import Mode
from tests.cluster_rig import wait_until
from tests.datanode_rig import NAME, PATH, RigNode, token
from tests.same_host_rig import MIB, Content, calls, some, stored


def lent_by(
    path: Path, behave: Callable[[socket.socket], None], node: RigNode
) -> tuple[NodeAddress, socket.socket]:
    """Somebody else's socket under the name of that node's."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(8)

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                behave(sock)

    threading.Thread(target=serve, daemon=True).start()
    return replace(node.near, local=str(path)), listener


def answer_nonsense(sock: socket.socket) -> None:
    sock.recv(1 << 16)
    sock.sendall(b"\xff" * 64)


def answer_half(sock: socket.socket) -> None:
    sock.recv(1 << 16)
    sock.sendall(b"\x06\x00\x00\x00\x80half")


def hang(sock: socket.socket) -> None:
    while sock.recv(1 << 16):
        pass


def hang_up(sock: socket.socket) -> None:
    del sock


def lend_a_pipe(sock: socket.socket) -> None:
    sock.recv(1 << 16)
    out, into = os.pipe()
    LocalSocket(sock, clock=SystemClock(), timeout_s=5).send(
        Kind.LENT, pack(Lent(MIB, block_hash(some(MIB)), b"")), file=out
    )
    os.close(out)
    os.close(into)


def lend_another_file(sock: socket.socket) -> None:
    sock.recv(1 << 16)
    with Path("/etc/passwd").open("rb") as file:
        lent = Lent(MIB, block_hash(some(MIB)), bytes(32))
        LocalSocket(sock, clock=SystemClock(), timeout_s=5).send(
            Kind.LENT, pack(lent), file=file.fileno()
        )


BEHAVIOURS = [answer_nonsense, answer_half, hang, hang_up, lend_a_pipe, lend_another_file]


@pytest.mark.parametrize("behave", BEHAVIOURS)
def test_whatever_answers_at_the_socket_the_network_serves(
    new_client, nodes: list[RigNode], tmp_path: Path, behave: Callable[[socket.socket], None]
) -> None:
    client, data = new_client(stall_s=1.0), some(MIB)
    address, listener = lent_by(tmp_path / "s", behave, nodes[0])
    with listener:
        extent = stored(nodes[:1], data)
        holder = Holder(address, ReplicaState.LIVE, NodeState.LIVE)
        assert client.place(replace(extent, holders=(holder,)), tmp_path) == data
        other = replace(NAME, block=BlockId(8))
        raw = token(Mode.WRITE, other, peers=[nodes[0].target()])
        block = AllocatedBlock(other, 64 * MIB, (address,), raw)
        client.links._closed_until_s.clear()
        counted: list[int] = []
        done = client.sender.write(
            block, PATH, Content(data), mode=WriteMode.PIPELINE, sent=counted.append
        )
        assert [receipt.node for receipt in done.receipts] == [1]
        assert sum(counted) == len(data)
        assert not client.links.may_reach(address)


def test_other_node_at_the_socket_is_not_taken_for_the_one_meant(
    new_client, nodes: list[RigNode], tmp_path: Path
) -> None:
    client = new_client()
    extent = stored(nodes[:1], some(MIB))
    wrong = replace(nodes[0].near, local=nodes[1].socket)
    holder = Holder(wrong, ReplicaState.LIVE, NodeState.LIVE)
    assert client.place(replace(extent, holders=(holder,)), tmp_path) == some(MIB)
    assert calls(nodes[1], "local_read") == 0
    assert calls(nodes[0], "download") == 1


def test_socket_of_a_killed_run_is_replaced_and_refuses_until_then(
    new_client, tmp_path: Path
) -> None:
    path = tmp_path / "dn1"
    node = RigNode(path, node=1)
    name = Path(node.socket)
    node.close()
    assert not name.exists()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(name))
    client, near = new_client(), NodeAddress(NodeId(1), "127.0.0.1", 1, 1, local=str(name))
    with pytest.raises(Elsewhere), client.links.to(near, Kind.READ, Asked(1)):
        pass
    node = RigNode(path, node=1)
    try:
        extent = stored([node], some(9))
        assert client.read(extent) == some(9)
        assert calls(node, "local_read") == 1
        assert name.stat().st_mode & 0o777 == 0o666
    finally:
        node.close()


def test_socket_works_in_a_folder_with_a_long_name(new_client, tmp_path: Path) -> None:
    node = RigNode(tmp_path / ("long" * 40), node=1)
    try:
        assert len(node.socket) > PATH_BYTES_MAX
        extent = stored([node], some(9))
        assert new_client().read(extent) == some(9)
        assert calls(node, "local_read") == 1
    finally:
        node.close()


def test_conversations_beyond_the_bound_take_the_network(new_client, tmp_path: Path) -> None:
    node = RigNode(tmp_path / "dn1", node=1, transfers_max=1)
    busy = socket.socket(socket.AF_UNIX)
    try:
        extent = stored([node], some(MIB))
        busy.connect(node.socket)
        client = new_client()
        wait_until(node.beside.count, "the first conversation is taken on")
        assert client.place(extent, tmp_path) == some(MIB)
        assert calls(node, "local_read") == 0
    finally:
        busy.close()
        node.close()


@pytest.mark.parametrize("stall_s", [0.3, 60.0])  # before its header it has to wait for no data
def test_silent_conversation_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stall_s: float
) -> None:
    node = RigNode(tmp_path / "dn1", node=1, stall_s=stall_s)
    monkeypatch.setattr("dfs.rpc.local_service.HEADER_WAIT_S", 0.3)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(node.socket)
            assert sock.recv(1) == b""
        with connect(node.socket, timeout_s=10) as sock:
            line = LocalSocket(sock, clock=SystemClock(), timeout_s=10)
            ring = Ring()
            line.send(Kind.WRITE, pack(Asked(1)), file=ring.file)
            assert line.receive() is None
            ring.close()
    finally:
        node.close()
