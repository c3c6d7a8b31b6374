"""Requests on names that the NameNode answers: stat, creates one by one, creates in batches."""

import time
from collections.abc import Callable

from bench.ground import Ground
from bench.load import commits_together, creates_together, stats_per_second
from bench.targets import BATCHED, COMMITTED, SINGLE, SINGLE_COMMITTED, STAT
from dfs.client import DfsClient
from dfs.wire import data_api as d
from dfs.wire import pack_api as pk
from dfs.wire import routes

BATCH = 1_000


def measure_stat(ground: Ground) -> None:
    """Eight kept-alive connections, one path a request."""
    client = ground.client
    client.mkdir("/stat")
    create(client, ["/stat/file"])
    for _ in range(ground.sizes.rounds):
        stats_per_second(client, "/stat/file", ground.figures, STAT, seconds=ground.sizes.seconds)


def measure_creates(ground: Ground) -> None:
    """Empty files: eight clients one at a time each; one client, a thousand a request."""
    client = ground.client
    for number in range(ground.sizes.rounds):
        root = f"/creates-{number}"
        client.mkdir(root)
        rate = creates_together(client, root, seconds=ground.sizes.seconds)
        ground.figures.add(SINGLE, rate, "1/s", "8 clients, create + complete: two requests a file")
        rate = commits_together(client, root, seconds=ground.sizes.seconds)
        ground.figures.add(SINGLE_COMMITTED, rate, "1/s", "8 clients, one request a file")
        names = [f"{root}/{{}}-{batch:04}-{{:04}}" for batch in range(ground.sizes.batches)]
        rate = _rate(client, [[n.format("b", i) for i in range(BATCH)] for n in names], by=create)
        ground.figures.add(BATCHED, rate, "1/s", f"1 client, {BATCH:,} a request")
        rate = _rate(client, [[n.format("c", i) for i in range(BATCH)] for n in names], by=commit)
        ground.figures.add(COMMITTED, rate, "1/s", f"1 client, {BATCH:,} a request, as `put` does")
        start_s = time.perf_counter()
        count = sum(1 for _ in client.listdir(root))
        took_s = time.perf_counter() - start_s
        ground.figures.add("entries listed", count / took_s, "1/s", "one folder, in pages")


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


def commit(client: DfsClient, paths: list[str]) -> None:
    """Make empty files, in one request and one transaction for all of them."""
    files = [pk.PackedFile(path=path) for path in paths]
    done = client.link.call(routes.COMMIT_FILES, pk.CommitFilesRequest(files=files))
    assert not done.refused, done.refused[0]


def _rate(
    client: DfsClient, batches: list[list[str]], *, by: Callable[[DfsClient, list[str]], None]
) -> float:
    start_s = time.perf_counter()
    for batch in batches:
        by(client, batch)
    return sum(map(len, batches)) / (time.perf_counter() - start_s)
