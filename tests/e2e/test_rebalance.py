"""Levelling DataNodes for real: a third joins two that hold everything."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.entropy import Random
from dfs.client import PutOptions
from dfs.local.demo_files import write_random
from dfs.local.roster import NAMENODE
from tests.cluster_rig import MIB, RigCluster, running_cluster, wait_until
from tests.e2e.integrity_rig import kept_blocks, not_whole
from tests.e2e.refusal_rig import User

SIZE = 18 * MIB
COPIES = 2
NEAR_BYTES = 3 * MIB  # from the mean, when nodes count as level
CRASH = "DFS_CRASHPOINT"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RigCluster]:
    """Two DataNodes that hold a file, and a third that holds nothing."""
    with running_cluster(tmp_path / "cluster", datanodes=2, block_size_bytes="1MiB") as made:
        write_random(tmp_path / "large", SIZE, rng=Random(7))
        with made.client() as client:
            client.put([tmp_path / "large"], "/large", options=PutOptions(replication=COPIES))
        made.add_datanode()
        yield made


def a_user(cluster: RigCluster) -> User:
    return User(cluster.variables, cluster.root)


def threshold(cluster: RigCluster) -> str:
    """So many percent are `NEAR_BYTES` of the disk that all nodes share."""
    nodes = json.loads(a_user(cluster).admin("nodes", "--json").out)
    total = max(node["usage"]["total_bytes"] for node in nodes)
    return f"{100 * NEAR_BYTES / total:.9f}"


@contextlib.contextmanager
def never_below_target(cluster: RigCluster) -> Iterator[None]:
    """Look at the metadata all the time; a block with fewer good copies than wanted fails it."""
    stop, found = threading.Event(), []

    def look() -> None:
        while not stop.is_set() and not found:
            found.extend(not_whole(cluster))
            time.sleep(0.02)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
    assert found == []


def namenode(cluster: RigCluster) -> str:
    return cluster.folder.load().of(NAMENODE)[0].name


def moved_blocks(cluster: RigCluster) -> int:
    status = json.loads(a_user(cluster).admin("rebalance", "status", "--json").out)
    return int(status["moved_blocks"])


def check_level_and_whole(cluster: RigCluster, source: Path) -> None:
    """Every node near the mean, nothing lost, nothing too many, and the file reads back."""
    wait_until(
        lambda: all(len(kept.copies) == COPIES for kept in kept_blocks(cluster)),
        "the copies that moved are gone where they were",
    )
    held = {name: len(cluster.block_files(name)) for name in cluster.datanodes}
    assert sum(held.values()) == COPIES * SIZE // MIB
    mean = sum(held.values()) / len(held)
    assert all(abs(count - mean) <= NEAR_BYTES / MIB + 1 for count in held.values()), held
    assert not_whole(cluster) == []
    target = source.with_name("back")
    with cluster.client() as client:
        client.get(["/large"], target)
    assert target.read_bytes() == source.read_bytes()
    cluster.check_metadata()


def test_a_node_that_joins_gets_its_share_and_no_block_is_below_its_target_meanwhile(
    cluster: RigCluster, tmp_path: Path
) -> None:
    user = a_user(cluster)
    near = threshold(cluster)
    plan = json.loads(user.admin("rebalance", "--dry-run", "--threshold", near, "--json").out)
    assert {move["target"] for move in plan["moves"]} == {3}
    with never_below_target(cluster):
        ran = user.admin("rebalance", "--threshold", near, "--wait")
    assert ran.code == 0, ran
    assert "done: every node is within" in ran.out
    check_level_and_whole(cluster, tmp_path / "large")
    assert user.admin("rebalance", "status").code == 0


@pytest.mark.faults
def test_a_killed_namenode_goes_on_where_it_was(cluster: RigCluster, tmp_path: Path) -> None:
    user = a_user(cluster)
    with never_below_target(cluster):
        slow = ("--threshold", threshold(cluster), "--bandwidth", "2MiB")
        assert user.admin("rebalance", *slow).code == 0
        assert user.admin("rebalance", *slow).code == 5
        wait_until(lambda: moved_blocks(cluster) > 0, "something has moved")
        cluster.restart(namenode(cluster))
        ran = user.admin("rebalance", "status", "--wait")
    assert ran.code == 0, ran
    check_level_and_whole(cluster, tmp_path / "large")


@pytest.mark.faults
def test_a_namenode_that_dies_between_copy_and_retirement_leaves_a_copy_too_many_at_worst(
    cluster: RigCluster, tmp_path: Path
) -> None:
    user = a_user(cluster)
    name = namenode(cluster)
    cluster.restart(name, **{CRASH: "nn.balance.copied:2"})
    with never_below_target(cluster):
        assert user.admin("rebalance", "--threshold", threshold(cluster)).code == 0
        wait_until(lambda: not cluster.is_running(name), "it died between copy and retirement")
        assert cluster.start(name)
        ran = user.admin("rebalance", "status", "--wait")
    assert ran.code == 0, ran
    check_level_and_whole(cluster, tmp_path / "large")


@pytest.mark.faults
def test_it_can_be_stopped_with_what_has_moved_where_it_is(cluster: RigCluster) -> None:
    user = a_user(cluster)
    # Far from done when it is stopped, however slow this machine is.
    slow = ("--threshold", threshold(cluster), "--bandwidth", "256KiB")
    assert user.admin("rebalance", *slow).code == 0
    wait_until(lambda: moved_blocks(cluster) > 0, "something has moved")
    assert user.admin("rebalance", "stop").code == 0
    assert user.admin("rebalance", "stop").code == 5
    assert user.admin("rebalance", "status").code == 1
    assert not_whole(cluster) == []
