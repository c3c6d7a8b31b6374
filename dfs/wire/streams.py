"""How a conversation over a bare connection begins: an HTTP request that asks for another protocol.

A DataNode's HTTP port is known and open already; a second one would have to be announced, opened in
every firewall and watched.  So a client sends `REQUEST` there, as a WebSocket would begin (RFC 9110
section 7.8), and after `ANSWER` the connection carries the messages of `local_socket.py`.
"""

import socket
from typing import Final

_PATH: Final = "/v1/stream"
_PROTOCOL: Final = "dfs-stream/1"
BEGINS: Final = f"GET {_PATH} HTTP/1.1\r\n".encode()
_UPGRADE: Final = f"Connection: Upgrade\r\nUpgrade: {_PROTOCOL}\r\n"
ANSWER: Final = f"HTTP/1.1 101 Switching Protocols\r\n{_UPGRADE}\r\n".encode()


def request(host: str) -> bytes:
    """What a client sends first."""
    return BEGINS + f"Host: {host}\r\n{_UPGRADE}\r\n".encode()


def is_request(data: bytes) -> bool:
    """Whether a connection that begins so asks for a conversation; all of it must be there."""
    return data.startswith(BEGINS) and data.endswith(f"\r\n{_UPGRADE}\r\n".encode())


def connect(host: str, port: int, *, timeout_s: float) -> socket.socket:
    """A connection for a conversation.

    Raises:
        OSError: nobody is there, or who is speaks another protocol.
    """
    sock = socket.create_connection((host, port), timeout_s)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(request(f"{host}:{port}"))
        if sock.recv(len(ANSWER), socket.MSG_WAITALL) != ANSWER:
            raise ConnectionError("it does not speak this protocol")
    except BaseException:
        sock.close()
        raise
    return sock
