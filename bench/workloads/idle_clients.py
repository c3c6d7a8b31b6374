"""A thousand clients that are logged in, connected and silent: what they cost those who ask."""

import http.client
import resource
from contextlib import ExitStack

from bench.commands import peak_bytes
from bench.ground import Ground
from bench.load import Connection, stats_per_second, target_of
from bench.workloads.requests import create
from dfs.base.units import MiB
from dfs.local.roster import NAMENODE

ALONE, BESIDE = "stat, nobody else connected", "stat beside idle clients"


def measure(ground: Ground) -> None:
    """Alone, beside them, alone, beside them ..."""
    client, figures, count = ground.client, ground.figures, ground.sizes.idle_clients
    client.mkdir("/idle")
    create(client, ["/idle/file"])
    namenode = next(one for one in ground.cluster.status() if one.role == NAMENODE)
    before = peak_bytes(namenode.pid)
    _allow_connections(count + 200)
    for _ in range(ground.sizes.rounds):
        stats_per_second(client, "/idle/file", figures, ALONE, seconds=ground.sizes.seconds)
        with ExitStack() as stack:
            answered = 0
            with figures.series("connect and ask once, all of them").timed():
                for _ in range(count):
                    answered += _idle_client(stack, ground)
            figures.add("idle clients answered", answered, "", f"of {count:,}")
            stats_per_second(client, "/idle/file", figures, BESIDE, seconds=ground.sizes.seconds)
    figures.ratio(BESIDE, ALONE)
    grown = (peak_bytes(namenode.pid) - before) / MiB
    figures.add("NameNode's memory grew by at most", grown, "MiB")


def _idle_client(stack: ExitStack, ground: Ground) -> bool:
    """Connect, ask once, stay; whether it was answered."""
    connection = Connection(target_of(ground.client))
    stack.callback(connection.close)
    try:
        connection.ask("/v1/fs/stat", b'{"paths":["/idle/file"]}')
    except (OSError, http.client.HTTPException, AssertionError):
        return False
    return True


def _allow_connections(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
