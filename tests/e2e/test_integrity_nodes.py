"""DataNodes that die, come back, vanish together or lie: what is copied, and what never goes."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.cluster_rig import RigCluster, running_cluster, wait_until
from tests.e2e.integrity_rig import (
    QUICK,
    admin_json,
    assert_same,
    block_of,
    block_paths,
    flip,
    kept_blocks,
    log_count,
    node_number,
    not_whole,
    put_files,
    quarantined,
    wait_healed,
)
from tests.e2e.refusal_rig import User, admin_of

pytestmark = pytest.mark.timeout(300)


def copies_made(cluster: RigCluster) -> int:
    return log_count(cluster, "nn-1", "replica.copied")


def node_states(dfs: User) -> dict[str, str]:
    return {node["node"]: node["state"] for node in admin_json(dfs, "nodes")}


def test_node_killed_for_good_is_healed_without_a_person(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", datanodes=3, **QUICK) as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        tree = put_files(dfs, dfs.here, count=20)
        wait_healed(cluster)
        cluster.kill("dn-2")
        wait_healed(cluster, without=(2,))
        wait_until(lambda: node_states(dfs)["dn-2"] == "dead", "it counts as dead")
        dfs.admin("node", "remove", "dn-2").done()
        assert_same(dfs, tree)
        assert dfs.admin("fsck").code == 0
        cluster.kill("dn-1")
        assert_same(dfs, tree)


@pytest.mark.faults
def test_node_that_returns_in_mid_repair_ends_the_repair(tmp_path: Path) -> None:
    """Copying is made slow, so that it is under way when the node comes back."""
    slow = QUICK | {"last_copy_bytes": "300KiB", "copies_at_once": "1"}
    with running_cluster(tmp_path / "c", datanodes=3, **slow) as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        tree = put_files(dfs, dfs.here, count=40)
        wait_healed(cluster)
        owed = len([kept for kept in kept_blocks(cluster) if 2 in kept.live])
        before = copies_made(cluster)
        cluster.kill("dn-2")
        wait_until(lambda: copies_made(cluster) > before, "repair has begun")
        cluster.start("dn-2")
        wait_healed(cluster)
        made = copies_made(cluster) - before
        assert made < owed, "what the node brought back was not copied"
        wait_until(
            lambda: all(len(kept.copies) == kept.wanted for kept in kept_blocks(cluster)),
            "copies too many leave at last",
        )
        assert not not_whole(cluster)
        assert_same(dfs, tree)


@pytest.mark.faults
def test_third_of_the_nodes_that_vanish_together_and_return_copies_little_and_deletes_nothing(
    tmp_path: Path,
) -> None:
    with running_cluster(tmp_path / "c", datanodes=6, **QUICK) as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        tree = put_files(dfs, dfs.here, count=24)
        dfs("setrep", "-r", "3", "/data").done()
        wait_healed(cluster)
        before = copies_made(cluster)
        files = sum(len(block_paths(cluster, name)) for name in cluster.datanodes)
        blocks = kept_blocks(cluster)
        at_risk = [kept for kept in blocks if len(set(kept.live) - {5, 6}) <= 1]
        bereft = [kept for kept in blocks if set(kept.live) & {5, 6}]
        for name in ("dn-5", "dn-6"):
            cluster.kill(name)
        wait_until(
            lambda: log_count(cluster, "nn-1", "storm.frozen"), "the storm brake is on", within_s=30
        )
        wait_until(
            lambda: all(node_states(dfs)[name] == "dead" for name in ("dn-5", "dn-6")),
            "they count as dead",
        )
        frozen = admin_json(dfs, "repair", "status")
        assert "storm" in str(frozen) or "vanished" in str(frozen), frozen
        assert dfs.admin("health").code == 2
        made = copies_made(cluster) - before
        assert made <= 2 * len(at_risk), "only blocks with one copy left were copied"
        for name in ("dn-5", "dn-6"):
            cluster.start(name)
        wait_until(lambda: log_count(cluster, "nn-1", "storm.over"), "the storm is over")
        wait_healed(cluster)
        assert copies_made(cluster) - before < len(bereft), "what came back was not copied"
        after = sum(len(block_paths(cluster, name)) for name in cluster.datanodes)
        assert after >= files, "nothing was deleted"
        assert_same(dfs, tree)


@pytest.mark.faults
def test_corrupt_source_is_never_copied_and_the_good_one_is(tmp_path: Path) -> None:
    """Of three copies one is bad without anybody knowing, and one is lost."""
    with running_cluster(tmp_path / "c", datanodes=4, **QUICK) as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        tree = put_files(dfs, dfs.here, count=10)
        dfs("setrep", "-r", "3", "/data").done()
        wait_healed(cluster)
        for path in block_paths(cluster, "dn-1"):
            flip(path)
        cluster.kill("dn-2")
        wait_healed(cluster, without=(2,), within_s=120)
        for name in ("dn-3", "dn-4"):
            folder = str(cluster.data(name))
            dfs.module("dfs.daemons.datanode", "verify", "--data", folder).done()
        assert_same(dfs, tree)


@pytest.mark.faults
def test_node_with_a_third_of_its_blocks_flipped_is_doubted_and_its_data_healed(
    tmp_path: Path,
) -> None:
    settings = QUICK | {"doubt_blocks": "12"}
    with running_cluster(tmp_path / "c", datanodes=3, **settings) as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        tree = put_files(dfs, dfs.here, count=60)
        wait_healed(cluster)
        paths = block_paths(cluster, "dn-1")
        flipped = paths[::3]
        for path in flipped:
            flip(path)
        dfs.admin("scrub", "start", "dn-1", "--wait")
        wait_until(
            lambda: log_count(cluster, "dn-1", "node.doubtful"), "the breaker opens", within_s=30
        )
        assert len(quarantined(cluster, "dn-1")) <= 13, "quarantine stops"
        wait_healed(cluster, without=(1,))
        health = dfs.admin("health")
        assert health.code >= 1
        assert "nodes_doubtful" in health.out
        left = {block_of(path) for path in block_paths(cluster, "dn-1")}
        aside = len(quarantined(cluster, "dn-1"))
        assert len(left) + aside >= len(paths), "nothing of it was deleted"
        assert_same(dfs, tree)
        dfs.admin("node", "trust", "dn-1").done()
        dfs.admin("scrub", "start", "dn-1", "--wait")
        assert node_number("dn-1") == 1


@pytest.mark.parametrize(
    "damage",
    [
        "deleted",
        pytest.param("a page of zeros", marks=pytest.mark.faults),
        pytest.param("not a database", marks=pytest.mark.faults),
    ],
)
def test_catalog_that_is_lost_is_rebuilt_from_the_files_and_nothing_is_copied(
    tmp_path: Path, damage: str
) -> None:
    with running_cluster(tmp_path / "c", datanodes=3, urgent_after_s="60s") as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        tree = put_files(dfs, dfs.here, count=10)
        wait_healed(cluster)
        before, files = copies_made(cluster), block_paths(cluster, "dn-1")
        cluster.kill("dn-1")
        spoil_catalog(cluster.data("dn-1"), damage)
        cluster.start("dn-1")
        wait_until(lambda: node_states(dfs)["dn-1"] == "live", "it is back")
        wait_healed(cluster)
        assert block_paths(cluster, "dn-1") == files
        assert copies_made(cluster) == before
        assert log_count(cluster, "dn-1", "catalog.rebuilt")
        assert_same(dfs, tree)
        assert dfs.admin("scrub", "start", "dn-1", "--wait").code == 0


def spoil_catalog(data: Path, damage: str) -> None:
    catalog = data / "catalog.sqlite"
    with contextlib.closing(sqlite3.connect(catalog)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a page of it may be in the log only
    for tail in ("-wal", "-shm"):
        catalog.with_name(catalog.name + tail).unlink(missing_ok=True)
    if damage == "deleted":
        catalog.unlink()
    elif damage == "not a database":
        catalog.write_bytes(b"this is not a database " * 500)
    else:
        whole = bytearray(catalog.read_bytes())
        whole[4096 : 4096 * 2] = bytes(4096)
        catalog.write_bytes(whole)


def test_decommissioned_node_is_emptied_before_it_may_go(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", datanodes=3, **QUICK) as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        tree = put_files(dfs, dfs.here, count=10)
        wait_healed(cluster)
        dfs.admin("node", "decommission", "dn-1", "--wait").done()
        assert not not_whole(cluster, without=(1,))
        cluster.kill("dn-1")
        assert_same(dfs, tree)


@pytest.mark.faults
def test_node_that_stops_in_order_is_waited_for(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", datanodes=3, **QUICK) as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        put_files(dfs, dfs.here, count=10)
        wait_healed(cluster)
        before = copies_made(cluster)
        cluster.stop("dn-1")

        def silence_s() -> float:
            found = admin_json(dfs, "nodes")
            return next(node["silent_s"] for node in found if node["node"] == "dn-1")

        wait_until(lambda: silence_s() > 8, "twice the silence after which it would be dead")
        assert node_states(dfs)["dn-1"] == "stale"
        assert copies_made(cluster) == before
