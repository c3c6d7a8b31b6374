"""Disks that fill: of a DataNode, of the user's computer, of the NameNode."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster_rig import BOTH_WAYS, MIB, RigCluster, running_cluster, wait_until
from tests.e2e.refusal_rig import User, admin_of, content, may_mount, small_disk

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not may_mount(), reason="only root can make small disks"),
]


@pytest.fixture(scope="module", params=BOTH_WAYS)
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RigCluster]:
    """One DataNode with room, one on a disk of 16 MiB, a NameNode on one of 12 MiB."""
    root = tmp_path_factory.mktemp("full") / "c"
    settings = {"block_size_bytes": "1MiB", "give_up_s": "2s", "local_transfers": request.param}
    with (
        small_disk(root / "nn-1", "12m"),
        small_disk(root / "dn-2", "16m"),
        running_cluster(root, datanodes=2, **settings) as made,
    ):
        yield made


@pytest.fixture
def dfs(cluster: RigCluster, tmp_path: Path) -> User:
    return admin_of(cluster, tmp_path / "here")


def fill(folder: Path) -> Path:
    """Take all room that is left there."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as out:
        for size in (MIB, 4096, 1):
            try:
                while True:
                    out.write(bytes(size))
            except OSError:
                continue
    assert os.statvfs(folder).f_bavail == 0
    return ballast


def test_put_goes_elsewhere_when_a_datanodes_disk_is_full(cluster, dfs: User) -> None:
    """The NameNode believes in room that is gone: the DataNode itself refuses, before data."""
    ballast = fill(cluster.data("dn-2"))
    held = cluster.block_files("dn-2")
    dfs("put", "-", "/elsewhere", stdin=content(3 * MIB)).done()
    assert dfs("cat", "/elsewhere").done().raw == content(3 * MIB)
    assert cluster.block_files("dn-2") == held
    assert not list((cluster.data("dn-2") / "tmp").iterdir())
    ballast.unlink()


def test_put_that_fits_nowhere_is_refused_with_every_nodes_reason(cluster, dfs: User) -> None:
    held = cluster.block_files("dn-2")
    dfs("put", "-", "/kept", stdin=content(MIB)).done()
    # It may have been thought to be full a moment ago: then repair makes the second copy.
    wait_until(lambda: cluster.block_files("dn-2") - held, "both DataNodes hold it")
    ballast = fill(cluster.data("dn-2"))
    cluster.kill("dn-1")
    refusal = dfs("put", "-", "/nowhere", stdin=content(3 * MIB))
    refusal.refused(6, "dn-1", "dn-2", "free", "above the reserve")
    dfs("stat", "/nowhere").refused(3)
    assert not list((cluster.data("dn-2") / "tmp").iterdir())
    assert dfs("cat", "/kept").done().raw == content(MIB), "a full disk is read from"
    ballast.unlink()
    cluster.start("dn-1")


def test_get_onto_a_full_disk_leaves_nothing_half(dfs: User, tmp_path: Path) -> None:
    dfs("put", "-", "/three", stdin=content(3 * MIB)).done()
    with small_disk(tmp_path / "small", "2m") as small:
        (small / "mine").write_bytes(b"mine")
        dfs("get", "/three", str(small)).refused(1, "three", "space")
        dfs("get", "-f", "/three", str(small / "mine")).refused(1, "space")
        assert [each.name for each in small.iterdir()] == ["mine"]
        assert (small / "mine").read_bytes() == b"mine"


def test_namenode_whose_disk_is_full_refuses_changes_and_answers_reads(cluster, dfs: User) -> None:
    dfs("put", "-", "/before", stdin=content(MIB)).done()
    ballast = fill(cluster.data("nn-1"))

    def refuses() -> bool:
        ran = dfs("mkdir", "-p", "/d/" + "x" * 200 + str(len(made)))
        made.append(ran.code)
        return ran.code == 6 and "space" in ran.err

    made: list[int] = []
    wait_until(refuses, "a change is refused for want of space")
    dfs("ls", "/").done()
    assert dfs("cat", "/before").done().raw == content(MIB)
    ballast.unlink()
    wait_until(lambda: dfs("mkdir", "/after").code in (0, 5), "changes are taken again")
    dfs("put", "-", "/after/file", stdin=content(MIB)).done()
    assert dfs("cat", "/before").done().raw == content(MIB)
    cluster.check_metadata()
