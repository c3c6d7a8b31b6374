"""Disks that fail under a DataNode, and disks that are full where a repair would go."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster_rig import KIB, MIB, RigCluster, running_cluster, wait_until
from tests.e2e.integrity_rig import (
    QUICK,
    admin_json,
    assert_same,
    block_of,
    kept_blocks,
    put_files,
    wait_healed,
)
from tests.e2e.own_datanode import OwnDatanode, own_datanode
from tests.e2e.refusal_rig import User, admin_of, content, may_mount, small_disk

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not may_mount(), reason="only root can make small disks"),
]

DISK = "64m"  # two of a kind share the work


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RigCluster]:
    """One DataNode; the tests add one with two disks, and then a third."""
    with running_cluster(tmp_path / "c", datanodes=1, **QUICK) as made:
        yield made


@pytest.fixture
def dfs(cluster: RigCluster, tmp_path: Path) -> User:
    return admin_of(cluster, tmp_path / "here")


@contextlib.contextmanager
def read_only(at: Path) -> Iterator[None]:
    """Nothing below can be written by name any more, as when the kernel gives a disk up."""
    subprocess.run(["mount", "--bind", str(at), str(at)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(at)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def check(dfs: User, name: str, *, codes: tuple[int, ...]) -> dict:
    """One check of a health report."""
    found = admin_json(dfs, "health", codes=codes)
    return next(each for each in found["checks"] if each["id"] == name)


def blocks_on(node: OwnDatanode, folder: int) -> set[int]:
    return {block_of(path) for path in node.block_files(folder)}


def wait_elsewhere(cluster: RigCluster, blocks: set[int], *, without: int) -> None:
    """Each of the blocks has its copies on other nodes, or on that node's other disk."""

    def is_so() -> bool:
        kept = [kept for kept in kept_blocks(cluster) if kept.block in blocks]
        return all(len(each.live) >= each.wanted for each in kept)

    wait_until(is_so, f"what was on the failed disk of dn-{without} has its copies")


def fill_disks(cluster: RigCluster, dfs: User, node: OwnDatanode) -> Path:
    """Files that the node holds on both disks; another node is there to take copies."""
    tree = put_files(dfs, dfs.here, count=20)
    wait_healed(cluster)
    assert node.block_files(0)
    assert node.block_files(1)
    cluster.add_datanode()
    return tree


@pytest.mark.faults
def test_disk_that_takes_no_writes_is_copied_away_and_the_other_serves_on(
    cluster: RigCluster, dfs: User, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with (
        small_disk(one, DISK),
        small_disk(two, DISK),
        own_datanode(cluster, [one, two]) as node,
    ):
        tree = fill_disks(cluster, dfs, node)
        failed = blocks_on(node, 1)
        with read_only(two):
            tries = iter(range(100))
            wait_until(
                lambda: (
                    dfs("put", "--replication", "3", "-", f"/try-{next(tries)}", stdin="x")
                    and node.log_count("volume.failed")
                ),
                "a write meets the failed disk",
            )
            wait_elsewhere(cluster, failed, without=node.number)
            disks = check(dfs, "disk_errors", codes=(1, 2))
            assert disks["status"] in ("WARNING", "CRITICAL"), disks
            assert str(two) in str(disks["first"])
            assert disks["next"].startswith("dfs-admin ")
            assert dfs.admin("health", "--quiet").code in (1, 2)
            assert_same(dfs, tree)
            held = len(node.block_files(0))
            dfs("put", "--replication", "3", "-", "/new", stdin=content(200 * KIB)).done()
            wait_until(lambda: len(node.block_files(0)) > held, "the other disk takes blocks")
            assert {block_of(path) for path in node.block_files(1)} == failed, "all is kept"
            assert dfs.admin("fsck").code == 0


@pytest.mark.faults
def test_disk_that_vanishes_is_healed_and_the_other_serves_on(
    cluster: RigCluster, dfs: User, tmp_path: Path
) -> None:
    """Its mount is gone: the folder is there, and empty."""
    one, two = tmp_path / "one", tmp_path / "two"
    with contextlib.ExitStack() as disk:
        disk.enter_context(small_disk(two, DISK))
        with small_disk(one, DISK), own_datanode(cluster, [one, two]) as node:
            tree = fill_disks(cluster, dfs, node)
            failed, kept = blocks_on(node, 1), blocks_on(node, 0)
            disk.close()
            assert not node.block_files(1)
            assert_same(dfs, tree)
            dfs.admin("scrub", "start", node.name)
            wait_until(lambda: node.log_count("volume.failed"), "the disk is known to fail")
            wait_elsewhere(cluster, failed, without=node.number)
            disks = check(dfs, "disk_errors", codes=(1, 2))
            assert disks["status"] in ("WARNING", "CRITICAL"), disks
            assert str(two) in str(disks["first"])
            assert blocks_on(node, 0) >= kept
            assert not list(two.iterdir()), "nothing was written beneath the mount"
            assert node.view()["state"] == "live"
            cluster.kill("dn-1")
            assert_same(dfs, tree)


@pytest.mark.faults
def test_full_disk_is_no_target_and_the_reason_is_said(
    tmp_path: Path,
) -> None:
    root = tmp_path / "c"
    settings = QUICK | {"block_size_bytes": "1MiB"}
    with (
        small_disk(root / "dn-3", "16m") as small,
        running_cluster(root, datanodes=3, **settings) as cluster,
    ):
        dfs = admin_of(cluster, tmp_path / "here")
        ballast = fill(small)
        wait_until(lambda: room_of(dfs, "dn-3") == 0, "the NameNode knows that it is full")
        tree = put_files(dfs, dfs.here, count=3, size=MIB)
        wait_healed(cluster)
        assert not cluster.block_files("dn-3")
        cluster.kill("dn-2")
        wait_until(lambda: "no DataNode can take a copy" in waiting(dfs), "repair says why not")
        explained = dfs.admin("explain", "repair", "/data/file-000").done().out
        assert "dn-3" in explained
        assert "free" in explained, explained
        assert dfs.admin("fsck").code == 1
        assert check(dfs, "blocks_one_copy", codes=(1, 2))["status"] != "OK"
        assert not list((small / "tmp").iterdir()), "nothing half is left"
        assert not cluster.block_files("dn-3")
        ballast.unlink()
        wait_healed(cluster, without=(2,))
        assert len(cluster.block_files("dn-3")) == len(kept_blocks(cluster))
        assert not list((small / "tmp").iterdir())
        assert_same(dfs, tree)


def fill(folder: Path) -> Path:
    """Take the room that is left there, so that less than a block is free."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(bytes(64 * KIB))
    return ballast


def room_of(dfs: User, name: str) -> int:
    nodes = admin_json(dfs, "nodes")
    return next(int(node["usage"]["free_bytes"]) for node in nodes if node["node"] == name)


def waiting(dfs: User) -> str:
    classes = admin_json(dfs, "repair", "status")["classes"]
    return str([each["waiting"] for each in classes if each["blocks"]])
