"""What a standby costs, and how long nobody leads.

    python -m bench.failover [--rounds N] [--data FOLDER]

The same requests are asked of a NameNode alone and of one with two standbys in sync, whose disks
and processors are those of this machine, too: with a machine each, the standbys would take less
from the leader.  Then writers go on while the lead is handed over, and while the leader is killed,
by the times that a cluster has by default and by short ones; counted is the longest time that any
of them waited.
"""

import argparse
import contextlib
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.clusters import a_cluster
from bench.figures import Figures
from bench.load import commits_together, creates_together
from bench.machine import in_words
from bench.targets import KILLED, SHIPPED, SWITCHED
from bench.workloads.requests import BATCH, commit
from dfs.base.errors import DaemonFailed, DfsError
from dfs.client import DfsClient, connect
from dfs.local.cluster import LocalCluster
from dfs.wire import routes
from dfs.wire.ha_api import HaOrderRequest
from dfs.wire.shapes import Nothing

SECONDS, BATCHES, WRITERS = 5.0, 10, 4
AFTER_S = 4.0  # that writers go on for after the lead has changed hands
SYNC_WITHIN_S, POLL_S, PATIENCE_S = 60.0, 0.2, 20.0
KILLED_WITHIN_S = {"default": 14.0, "short": 3.0}
TIMES = re.compile(r"\n\[ha\]\n.*?(?=\n\[)", re.DOTALL)  # a local cluster's are short


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path(".dfs-bench-failover"))
    args = parser.parse_args()
    root, figures = args.data.absolute(), Figures()
    shutil.rmtree(root, ignore_errors=True)
    try:
        rates(root, figures, rounds=args.rounds)
        for name in ("default", "short"):
            changes_of_lead(root / name, figures, rounds=args.rounds, times=name)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    figures.show("failover, all on one machine")
    print(in_words())


def rates(root: Path, figures: Figures, *, rounds: int) -> None:
    """Creates of a leader that ships, against those of a NameNode alone, round by round."""
    with (
        a_cluster(root / "alone", datanodes=0) as alone,
        a_cluster(root / "three", datanodes=0, namenodes=3) as three,
        client_of(alone) as one,
        client_of(three) as leader,
    ):
        for number in range(rounds):
            for client, shipped in ((one, ""), (leader, SHIPPED)):
                folder = f"/creates-{number}"
                client.mkdir(folder)
                rate = creates_together(client, folder, seconds=SECONDS)
                figures.add(f"creates by two requests{shipped}", rate, "1/s")
                rate = commits_together(client, folder, seconds=SECONDS)
                figures.add(f"creates by one request{shipped}", rate, "1/s")
                figures.add(f"batched creates{shipped}", _batched(client, folder), "1/s")
        for each in ("creates by two requests", "creates by one request", "batched creates"):
            figures.ratio(f"{each}{SHIPPED}", each)


def _batched(client: DfsClient, folder: str) -> float:
    began_s = time.perf_counter()
    for batch in range(BATCHES):
        commit(client, [f"{folder}/b-{batch:04}-{number:04}" for number in range(BATCH)])
    return BATCHES * BATCH / (time.perf_counter() - began_s)


def changes_of_lead(root: Path, figures: Figures, *, rounds: int, times: str) -> None:
    """How long writers wait while the lead is handed over, and while the leader is killed."""
    with a_cluster(root, datanodes=0, namenodes=3) as cluster:
        if times == "default":
            cluster.down()
            text = cluster.folder.config.read_text()
            cluster.folder.config.write_text(TIMES.sub("", text))
            cluster.up()
        for _ in range(rounds):
            standby = await_sync(cluster)[1]
            with writers(cluster) as waits:
                order(cluster, HaOrderRequest(order="switchover", member=standby))
                time.sleep(AFTER_S)
            figures.add(SWITCHED.format(times), max(waits))
        for _ in range(rounds):
            leader = await_sync(cluster)[0]
            with writers(cluster) as waits:
                cluster.kill(leader)
                time.sleep(AFTER_S + KILLED_WITHIN_S[times])
            figures.add(KILLED.format(times), max(waits))
            cluster.start(leader)


def await_sync(cluster: LocalCluster) -> tuple[str, str]:
    """The leader and a standby, once every standby is in sync."""
    end_s = time.perf_counter() + SYNC_WITHIN_S
    while time.perf_counter() < end_s:
        with contextlib.suppress(DfsError), client_of(cluster) as client:
            status = client.link.call(routes.HA_STATUS, Nothing())
            if status.role == "leader" and all(each.in_sync for each in status.members):
                others = (each.name for each in status.members if each.name != status.name)
                return status.name, next(others)
        time.sleep(POLL_S)
    raise DaemonFailed(f"not all NameNodes were in sync within {SYNC_WITHIN_S:g} s")


def order(cluster: LocalCluster, request: HaOrderRequest) -> None:
    """Of the leader."""
    with client_of(cluster) as client:
        leader = client.link.call(routes.CLUSTER, Nothing()).leader
        done = client.link.ask_one(leader, routes.HA_ORDER, request, patience_s=PATIENCE_S)
    assert done.done, done.said


@contextmanager
def client_of(cluster: LocalCluster) -> Iterator[DfsClient]:
    """An administrator's."""
    with connect(config=cluster.config()) as client:
        yield client


@contextmanager
def writers(cluster: LocalCluster) -> Iterator[list[float]]:
    """Writers that make directories as fast as they are answered; how long each one waited."""
    waits: list[float] = []
    stop = threading.Event()

    def write(number: int) -> None:
        with client_of(cluster) as client:
            done = 0
            while not stop.is_set():
                began_s = time.perf_counter()
                client.mkdir(f"/w-{number}-{time.time_ns()}")
                done += 1
                if done > 1:  # the first looks for the leader
                    waits.append(time.perf_counter() - began_s)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for each in threads:
        each.start()
    time.sleep(AFTER_S / 2)
    yield waits
    stop.set()
    for each in threads:
        each.join()


if __name__ == "__main__":
    main()
