"""What may answer where streams are expected of a DataNode; all know of `some(4 MiB)`."""

import contextlib
import socket
import threading
from collections.abc import Callable

from dfs.base.checksum import block_hash, chunk_hashes
from dfs.base.clock import SystemClock
from dfs.wire import streams
from dfs.wire.local_socket import Kind, Lent, LocalSocket, pack
from tests.same_host_rig import MIB, some


def answering(behave: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
    """A port where somebody behaves so."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _peer = listener.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                sock.settimeout(10)
                behave(sock)

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1], listener


def no_answer(sock: socket.socket) -> None:
    sock.recv(1 << 16)


def another_protocol(sock: socket.socket) -> None:
    sock.recv(1 << 16)
    sock.sendall(b"HTTP/1.1 404 NOT FOUND\r\nContent-Length: 0\r\n\r\n" + bytes(200))


def _accepted(sock: socket.socket) -> LocalSocket:
    sock.recv(1 << 16)
    sock.sendall(streams.ANSWER)
    line = LocalSocket(sock, clock=SystemClock(), timeout_s=10)
    assert line.receive() is not None
    return line


def nonsense(sock: socket.socket) -> None:
    _accepted(sock)
    sock.sendall(b"\xff" * 64)


def half(sock: socket.socket) -> None:
    data = some(4 * MIB)
    lent = Lent(len(data), block_hash(data), chunk_hashes(data))
    _accepted(sock).send(Kind.LENT, pack(lent))
    sock.sendall(data[: 3 * MIB])


def other_bytes(sock: socket.socket) -> None:
    data = some(4 * MIB)
    lent = Lent(len(data), block_hash(data), chunk_hashes(data))
    _accepted(sock).send(Kind.LENT, pack(lent))
    sock.sendall(some(4 * MIB, salt=1))


def few_hashes(sock: socket.socket) -> None:
    data = some(4 * MIB)
    _accepted(sock).send(Kind.LENT, pack(Lent(len(data), block_hash(data), b"")))
    sock.sendall(data)


def another_block(sock: socket.socket) -> None:
    data = some(4 * MIB, salt=2)
    lent = Lent(len(data), block_hash(data), chunk_hashes(data))
    _accepted(sock).send(Kind.LENT, pack(lent))
    sock.sendall(data)


def silence(sock: socket.socket) -> None:
    _accepted(sock)
    while sock.recv(1 << 16):
        pass


MISBEHAVIOUR = [
    no_answer,
    another_protocol,
    nonsense,
    half,
    other_bytes,
    few_hashes,
    another_block,
    silence,
]
