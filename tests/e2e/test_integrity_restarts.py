"""A NameNode killed while copies are made: it is through its start as soon as all have reported."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from sqlalchemy import select

from dfs.base.entropy import Random
from dfs.base.errors import DfsError
from dfs.client import PutOptions
from dfs.local.demo_files import write_random
from dfs.meta.cluster_tables import SETTING
from dfs.upkeep.remembered import Key
from tests.cluster_rig import KIB, MIB, RigCluster, running_cluster, wait_until
from tests.e2e.integrity_rig import QUICK, admin_json, log_count, wait_healed
from tests.e2e.refusal_rig import User, admin_of

pytestmark = pytest.mark.timeout(300)
KILLS = 3
SIZE = 12 * MIB
# Nodes beat every 300 ms; the rest is a busy machine's.
THROUGH_S = 10.0


@contextlib.contextmanager
def busy(cluster: RigCluster) -> Iterator[None]:
    """Somebody reads and writes small files all the time, whatever becomes of it."""
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with contextlib.suppress(DfsError), cluster.client() as client:
                client.write_bytes(f"/busy-{number % 10}", bytes(100 * KIB))
                client.read_bytes(f"/busy-{number % 10}")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        stop.set()
        for each in threads:
            each.join()


def in_safe_mode(cluster: RigCluster) -> bool:
    (namenode,) = cluster.config.cluster.namenodes
    answer = urllib3.request("GET", f"{namenode}/health", retries=False, timeout=10)
    return bool(answer.json()["safe_mode"])


def through_s(cluster: RigCluster) -> float:
    """How long the NameNode was in safe mode after a SIGKILL and a start."""
    cluster.restart("nn-1")
    began_s = time.monotonic()
    wait_until(lambda: not in_safe_mode(cluster), "safe mode is over", within_s=120)
    return time.monotonic() - began_s


def store(cluster: RigCluster, tmp_path: Path, copies: int) -> Path:
    source = tmp_path / "large"
    write_random(source, SIZE, rng=Random(7))
    with cluster.client() as client:
        client.put([source], "/large", options=PutOptions(replication=copies))
    return source


def check_read(cluster: RigCluster, source: Path) -> None:
    target = source.with_name("back")
    with cluster.client() as client:
        client.get(["/large"], target)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.faults
def test_start_is_over_in_moments_though_blocks_were_moving(tmp_path: Path) -> None:
    # Patient, so that a DataNode that is not heard shows.
    settings = QUICK | {"safe_mode_wait_s": "60s", "block_size_bytes": "128KiB"}
    settings |= {"dead_after_s": "60s"}
    with running_cluster(tmp_path / "c", datanodes=2, **settings) as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        source = store(cluster, tmp_path, copies=2)
        cluster.add_datanode()
        with busy(cluster):
            start_moving(dfs)
            for _ in range(KILLS):
                before = moved(dfs)
                wait_until(lambda seen=before: moved(dfs) > seen, "blocks move")
                assert through_s(cluster) < THROUGH_S, cluster.last_words()
        dfs.admin("rebalance", "stop")
        wait_healed(cluster)
        check_read(cluster, source)
        cluster.check_metadata()


def start_moving(dfs: User) -> None:
    """So slowly that it outlasts the test."""
    nodes = admin_json(dfs, "nodes")
    total = max(node["usage"]["total_bytes"] for node in nodes)
    near = f"{100 * MIB / total:.9f}"
    dfs.admin("rebalance", "--threshold", near, "--bandwidth", "256KiB").done()


def moved(dfs: User) -> int:
    return int(admin_json(dfs, "rebalance", "status", codes=(0, 1, 6))["moved_blocks"])


def lost_nodes(cluster: RigCluster) -> list[int]:
    """The nodes of which the metadata says that they were dead."""
    with cluster.metadata() as connection:
        wanted = select(SETTING.c.value).where(SETTING.c.key == Key.LOST_NODES.value)
        found = connection.execute(wanted).scalar()
    return [int(node) for node in json.loads(found or "{}")]


@pytest.mark.faults
def test_start_is_over_in_moments_though_blocks_were_being_repaired(tmp_path: Path) -> None:
    settings = QUICK | {"safe_mode_wait_s": "60s", "block_size_bytes": "128KiB"}
    settings |= {"last_copy_bytes": "1MiB", "copies_at_once": "2"}
    with running_cluster(tmp_path / "c", datanodes=3, **settings) as cluster:
        source = store(cluster, tmp_path, copies=2)
        wait_healed(cluster)
        cluster.kill("dn-3")
        # A node that was heard a moment ago would be waited for.
        wait_until(lambda: 3 in lost_nodes(cluster), "its loss is written down")
        wait_until(lambda: log_count(cluster, "nn-1", "replica.copied"), "repair is under way")
        assert through_s(cluster) < THROUGH_S, cluster.last_words()
        copied = log_count(cluster, "nn-1", "replica.copied")
        wait_until(lambda: log_count(cluster, "nn-1", "replica.copied") > copied, "it goes on")
        wait_healed(cluster, without=(3,), within_s=120)
        check_read(cluster, source)
        cluster.check_metadata()
