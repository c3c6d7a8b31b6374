"""How many copies, and where: setrep, racks, maintenance, and a retired copy brought back."""

import json
from pathlib import Path

import pytest

from tests.cluster_rig import KIB, RigCluster, running_cluster, wait_until
from tests.e2e.integrity_rig import (
    QUICK,
    Kept,
    admin_json,
    assert_same,
    kept_blocks,
    log_count,
    put_files,
    wait_healed,
)
from tests.e2e.own_datanode import own_datanode
from tests.e2e.refusal_rig import User, admin_of, content

pytestmark = pytest.mark.timeout(300)


def files_of_block(cluster: RigCluster, block: int) -> list[str]:
    """The DataNodes on whose disks it is in service."""
    return [
        name for name in cluster.datanodes if any(b == block for b, _ in cluster.block_files(name))
    ]


def exactly(cluster: RigCluster, copies: int) -> bool:
    return all(len(kept.copies) == len(kept.live) == copies for kept in kept_blocks(cluster))


def test_setrep_waits_until_every_block_has_exactly_its_copies_on_disk(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", datanodes=3, **QUICK, purge_keep_s="60s") as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        tree = put_files(dfs, dfs.here, count=6)
        dfs("setrep", "-R", "--wait", "3", "/data").done()
        assert exactly(cluster, 3)
        for kept in kept_blocks(cluster):
            assert len(files_of_block(cluster, kept.block)) == 3
        dfs("setrep", "-R", "--wait", "1", "/data").done()
        assert exactly(cluster, 1)
        for kept in kept_blocks(cluster):
            assert len(files_of_block(cluster, kept.block)) == 1
        assert_same(dfs, tree)
        assert dfs.admin("fsck").code == 0
        _bring_one_back(cluster, dfs)
        assert_same(dfs, tree)


def _bring_one_back(cluster: RigCluster, dfs: User) -> None:
    """What was retired comes back from the purge area, and no byte is copied."""
    kept = kept_blocks(cluster)[0]
    (holder,) = kept.live
    other = next(name for name in cluster.datanodes if name != f"dn-{holder}")
    made = log_count(cluster, "nn-1", "replica.copied")
    dfs.admin("repair", "pause", "5m").done()
    dfs.admin("replica", "restore", str(kept.block), other).done()
    wait_until(
        lambda: int(other.removeprefix("dn-")) in _kept(cluster, kept.block).live, "it counts again"
    )
    assert other in files_of_block(cluster, kept.block)
    wait_until(
        lambda: "restored" in dfs.admin("history", str(kept.block)).done().out,
        "the history tells that it came back",
    )
    path = admin_json(dfs, "history", str(kept.block))["blocks"][0]["path"]
    dfs("setrep", "2", path.partition(" and ")[0]).done()  # one of those that share it
    dfs.admin("repair", "resume").done()
    wait_healed(cluster)
    of_block = [
        line
        for line in cluster.folder.log(cluster.folder.load().find("nn-1")).read_text().splitlines()
        if '"replica.copied"' in line and json.loads(line).get("block") == kept.block
    ]
    assert len(of_block) <= 2, "the copies of the beginning; what came back was not copied"
    assert log_count(cluster, "nn-1", "replica.copied") - made <= 1, "the file's other block"
    dfs.admin("replica", "restore", "999999", other).refused(3)


def _kept(cluster: RigCluster, block: int) -> Kept:
    return next(kept for kept in kept_blocks(cluster) if kept.block == block)


@pytest.mark.faults
def test_blocks_on_one_rack_are_spread_when_another_rack_joins(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", datanodes=2, **QUICK) as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        tree = put_files(dfs, dfs.here, count=6)
        wait_healed(cluster)
        with own_datanode(cluster, [tmp_path / "far"], rack="/far") as far:

            def is_spread() -> bool:
                copies = [kept.live for kept in kept_blocks(cluster)]
                return all(far.number in nodes and len(nodes) == 2 for nodes in copies)

            assert far.view()["address"]["rack"] == "/far"
            wait_until(is_spread, "every block has a copy on each rack, and two in all")
            wait_until(lambda: exactly(cluster, 2), "the copies too many are gone")
            assert len(far.block_files()) == len(kept_blocks(cluster))
            assert dfs.admin("fsck").code == 0
            dfs("put", "-", "/new", stdin=content(100 * KIB)).done()
            wait_until(is_spread, "so is what is written now")
            for name in cluster.datanodes:
                cluster.kill(name)
                assert_same(dfs, tree)
                cluster.start(name)


@pytest.mark.faults
def test_node_in_maintenance_is_waited_for_until_its_time_is_over(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", datanodes=3, **QUICK) as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        tree = put_files(dfs, dfs.here, count=8)
        wait_healed(cluster)
        before = log_count(cluster, "nn-1", "replica.copied")
        dfs.admin("node", "maintenance", "dn-2", "--for", "10s").done()
        cluster.kill("dn-2")
        wait_until(lambda: _view(dfs)["duty"] == "maintenance", "it is in maintenance")
        last = 0
        while _view(dfs)["duty"] == "maintenance":
            last = log_count(cluster, "nn-1", "replica.copied")
        assert last == before, "nothing is copied in its time"
        assert_same(dfs, tree)
        wait_healed(cluster, without=(2,))
        wait_until(lambda: _view(dfs)["state"] == "dead", "it counts as dead")
        cluster.start("dn-2")
        wait_until(lambda: exactly(cluster, 2), "it is back, and nothing is too many")
        assert_same(dfs, tree)


def _view(dfs: User) -> dict:
    return next(node for node in admin_json(dfs, "nodes") if node["node"] == "dn-2")
