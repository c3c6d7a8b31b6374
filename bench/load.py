"""Operations on names a second: requests as any client makes them, over kept-alive connections.

The load comes from processes of their own, so that what is measured is the NameNode.  On a machine
of few cores they share them with it: the figures are of that machine, not of the NameNode alone.
"""

import http.client
import multiprocessing
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bench.figures import Figures
from dfs.client import DfsClient
from dfs.wire import data_api as d
from dfs.wire import files_api as f
from dfs.wire import routes
from dfs.wire.routes import Route

CONNECTIONS = 8
SECONDS = 3.0
BATCH = 1_000
SINGLE_CREATES = 200


def stats_per_second(client: DfsClient, path: str, figures: Figures, name: str) -> None:
    """Stat one path over eight kept-alive connections."""
    rate = load(client, routes.STAT, msgspec.json.encode(f.PathsRequest(paths=[path])))
    figures.series(name, "1/s", f"{CONNECTIONS} connections").values.append(rate)


def load(client: DfsClient, route: Route[f.PathsRequest, Any], body: bytes) -> float:
    """Requests a second that eight processes get answered together."""
    context = multiprocessing.get_context("spawn")
    url = client.link.namenodes[0]
    work = [(url, route.path, client.link.token, body)] * CONNECTIONS
    with context.Pool(CONNECTIONS) as pool:
        pool.map(_warm_up, work)
        return sum(pool.starmap(_ask_for_seconds, work, chunksize=1))


def _warm_up(work: tuple[str, str, str, bytes]) -> None:
    """Start the process and load its modules before the clock runs."""
    assert work


def _ask_for_seconds(url: str, path: str, token: str, body: bytes) -> float:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    count, start_s = 0, time.perf_counter()
    while (took_s := time.perf_counter() - start_s) < SECONDS:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        count += 1
    connection.close()
    return count / took_s


def creates_per_second(client: DfsClient, root: str, figures: Figures) -> None:
    """Empty files: one at a time (create, complete), and a thousand in each request."""
    single = figures.series("single creates", "1/s", "1 connection, create + complete")
    start_s = time.perf_counter()
    for number in range(SINGLE_CREATES):
        create(client, [f"{root}/single-{number:05}"])
    single.values.append(SINGLE_CREATES / (time.perf_counter() - start_s))
    batched = figures.series("batched creates", "1/s", f"{BATCH} a request")
    start_s = time.perf_counter()
    create(client, [f"{root}/batched-{number:05}" for number in range(BATCH)])
    batched.values.append(BATCH / (time.perf_counter() - start_s))
    listed = figures.series("entries listed", "1/s", "pages of 1,000")
    start_s = time.perf_counter()
    count = sum(1 for _ in client.listdir(root))
    listed.values.append(count / (time.perf_counter() - start_s))


def create(client: DfsClient, paths: list[str]) -> None:
    """Make empty files, in two requests for all of them."""
    files = [d.NewFile(path=path, size_bytes=0) for path in paths]
    opened = client.link.call(routes.CREATE, d.CreateRequest(files=files))
    items = [
        d.CompleteItem(inode=one.value.inode, lease=one.value.lease, blocks=[])
        for one in opened.outcomes
        if one.value is not None
    ]
    assert len(items) == len(paths)
    done = client.link.call(routes.COMPLETE, d.CompleteRequest(items=items))
    assert all(one.error is None for one in done.outcomes)
