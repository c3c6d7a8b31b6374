"""Requests a second: as many clients make them as any client would, over kept-alive connections.

The load comes from processes of their own, so that what is measured is the NameNode.  On a machine
of few cores they share them with it: the figures are of that machine, not of the NameNode alone.
Each process asks over a bare socket: the library, and Python's own HTTP client, cost as much as the
NameNode does.
"""

import multiprocessing
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bench.figures import Figures
from dfs.base.decoding import json_reader
from dfs.base.entropy import new_id
from dfs.client import DfsClient
from dfs.wire import data_api as d
from dfs.wire import files_api as f
from dfs.wire import pack_api as pk
from dfs.wire import routes
from dfs.wire.http_link import REQUEST_ID_HEADER
from dfs.wire.routes import Route

CONNECTIONS = 8
SECONDS = 3.0
_RECEIVE_BYTES = 65_536
_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)", re.IGNORECASE)


class _Opened(msgspec.Struct):
    inode: int
    lease: str


class _Outcome(msgspec.Struct):
    value: _Opened


class _Created(msgspec.Struct):
    """What of the answer to a create the complete needs."""

    outcomes: list[_Outcome]


@dataclass(frozen=True, slots=True)
class Target:
    """A NameNode, and who asks."""

    url: str
    token: str


class Connection:
    """One kept-alive connection."""

    def __init__(self, target: Target) -> None:
        netloc = urlsplit(target.url)
        self._socket = socket.create_connection((netloc.hostname or "", netloc.port or 80))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = (
            f"HTTP/1.1\r\nHost: {netloc.netloc}\r\nAuthorization: Bearer {target.token}\r\n"
            "Content-Type: application/json\r\n"
        )

    def ask(self, path: str, body: bytes, *, change: bool = False) -> bytes:
        """The answer, which must be a good one."""
        request = f"{REQUEST_ID_HEADER}: {new_id()}\r\n" if change else ""
        head = f"POST {path} {self._headers}{request}Content-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        got = self._socket.recv(_RECEIVE_BYTES)
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self._more()
        length = _LENGTH.search(got, 0, end)
        assert length is not None, got[:end]
        content = got[end + 4 :]
        while len(content) < int(length[1]):
            content += self._more()
        assert got.startswith(b"HTTP/1.1 200 "), got[:300]
        return content

    def _more(self) -> bytes:
        more = self._socket.recv(_RECEIVE_BYTES)
        assert more, "the NameNode closed the connection"
        return more

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()


def together(worker: Callable[..., float], work: list[tuple[Any, ...]]) -> float:
    """What so many processes get done a second, all at the same time."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(len(work)) as pool:
        pool.map(_warm_up, range(len(work)), chunksize=1)
        return sum(pool.starmap(worker, work, chunksize=1))


def target_of(client: DfsClient) -> Target:
    """Where the client asks."""
    return Target(client.link.namenodes[0], client.link.token)


def stats_per_second(
    client: DfsClient, path: str, figures: Figures, name: str, *, seconds: float = SECONDS
) -> None:
    """Stat one path over eight kept-alive connections."""
    body = msgspec.json.encode(f.PathsRequest(paths=[path]))
    rate = load(client, routes.STAT, body, seconds=seconds)
    figures.add(name, rate, "1/s", f"{CONNECTIONS} connections")


def load(
    client: DfsClient,
    route: Route[f.PathsRequest, Any],
    body: bytes,
    *,
    seconds: float = SECONDS,
) -> float:
    """Requests a second that eight processes get answered together."""
    one = (target_of(client), route.path, body, seconds)
    return together(_ask_for_seconds, [one] * CONNECTIONS)


def creates_together(client: DfsClient, root: str, *, seconds: float) -> float:
    """Files a second that eight processes create and complete, one at a time each."""
    return together(_create_for_seconds, _singles(client, f"{root}/two", seconds))


def commits_together(client: DfsClient, root: str, *, seconds: float) -> float:
    """Empty files a second that eight processes make, one a request each."""
    return together(_commit_for_seconds, _singles(client, f"{root}/one", seconds))


def _singles(client: DfsClient, prefix: str, seconds: float) -> list[tuple[Any, ...]]:
    return [(target_of(client), f"{prefix}-{n}", seconds) for n in range(CONNECTIONS)]


def _warm_up(number: int) -> None:
    """Start the process and load its modules before the clock runs."""
    assert number >= 0
    time.sleep(0.2)  # long enough that no process takes two


def _ask_for_seconds(target: Target, path: str, body: bytes, seconds: float) -> float:
    connection = Connection(target)
    connection.ask(path, body)
    count, start_s = 0, time.perf_counter()
    while (took_s := time.perf_counter() - start_s) < seconds:
        connection.ask(path, body)
        count += 1
    connection.close()
    return count / took_s


def _create_for_seconds(target: Target, root: str, seconds: float) -> float:
    connection, decode = Connection(target), json_reader(_Created)
    count, start_s = 0, time.perf_counter()
    while (took_s := time.perf_counter() - start_s) < seconds:
        new = d.NewFile(path=f"{root}-{count:06}", size_bytes=0)
        asked = msgspec.json.encode(d.CreateRequest(files=[new]))
        (one,) = decode(connection.ask(routes.CREATE.path, asked, change=True)).outcomes
        item = d.CompleteItem(inode=one.value.inode, lease=one.value.lease, blocks=[])
        body = msgspec.json.encode(d.CompleteRequest(items=[item]))
        connection.ask(routes.COMPLETE.path, body, change=True)
        count += 1
    connection.close()
    return count / took_s


def _commit_for_seconds(target: Target, root: str, seconds: float) -> float:
    connection, decode = Connection(target), json_reader(pk.CommitFilesReply)
    count, start_s = 0, time.perf_counter()
    while (took_s := time.perf_counter() - start_s) < seconds:
        files = [pk.PackedFile(path=f"{root}-{count:06}")]
        body = msgspec.json.encode(pk.CommitFilesRequest(files=files))
        done = decode(connection.ask(routes.COMMIT_FILES.path, body, change=True))
        assert not done.refused, done.refused[0]
        count += 1
    connection.close()
    return count / took_s
