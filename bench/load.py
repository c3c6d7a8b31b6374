"""Requests a second: as many clients make them as any client would, over kept-alive connections.

The load comes from processes of their own, so that what is measured is the NameNode.  On a machine
of few cores they share them with it: the figures are of that machine, not of the NameNode alone.
Each process asks without the library, which would cost more than the NameNode does.
"""

import http.client
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bench.figures import Figures
from dfs.base.entropy import new_id
from dfs.client import DfsClient
from dfs.wire import data_api as d
from dfs.wire import files_api as f
from dfs.wire import routes
from dfs.wire.http_link import REQUEST_ID_HEADER
from dfs.wire.routes import Route

CONNECTIONS = 8
SECONDS = 3.0


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
        self._http = http.client.HTTPConnection(urlsplit(target.url).netloc)
        self._headers = {
            "Authorization": f"Bearer {target.token}",
            "Content-Type": "application/json",
        }

    def ask(self, path: str, body: bytes, *, change: bool = False) -> bytes:
        """The answer, which must be a good one."""
        headers = self._headers
        if change:
            headers = {**headers, REQUEST_ID_HEADER: new_id()}
        self._http.request("POST", path, body, headers)
        answer = self._http.getresponse()
        content = answer.read()
        assert answer.status == 200, (answer.status, content[:300])
        return content

    def close(self) -> None:
        """Let go of it."""
        self._http.close()


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
    target = target_of(client)
    work = [(target, f"{root}/single-{number}", seconds) for number in range(CONNECTIONS)]
    return together(_create_for_seconds, work)


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
    connection, decoder = Connection(target), msgspec.json.Decoder(_Created)
    count, start_s = 0, time.perf_counter()
    while (took_s := time.perf_counter() - start_s) < seconds:
        new = d.NewFile(path=f"{root}-{count:06}", size_bytes=0)
        asked = msgspec.json.encode(d.CreateRequest(files=[new]))
        (one,) = decoder.decode(connection.ask(routes.CREATE.path, asked, change=True)).outcomes
        item = d.CompleteItem(inode=one.value.inode, lease=one.value.lease, blocks=[])
        body = msgspec.json.encode(d.CompleteRequest(items=[item]))
        connection.ask(routes.COMPLETE.path, body, change=True)
        count += 1
    connection.close()
    return count / took_s
