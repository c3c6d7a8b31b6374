"""A DataNode vouches for other bytes than were written: file, label, trailer and catalog agree."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster_rig import RigCluster, running_cluster, wait_until
from tests.e2e.forged_blocks import rewrite, take_apart
from tests.e2e.integrity_rig import (
    QUICK,
    admin_json,
    assert_same,
    block_of,
    block_paths,
    kept_blocks,
    log_count,
    put_files,
    quarantined,
    wait_healed,
)
from tests.e2e.refusal_rig import User, admin_of, content

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RigCluster]:
    with running_cluster(tmp_path / "c", datanodes=2, **QUICK) as made:
        yield made


@pytest.fixture
def dfs(cluster: RigCluster, tmp_path: Path) -> User:
    return admin_of(cluster, tmp_path / "here")


def falsify(cluster: RigCluster, name: str, path: Path) -> bytes:
    """The node's word for other bytes of the same length, its catalog made from that word."""
    cluster.stop(name)
    before = take_apart(path)[0]
    rewrite(path, bytes(byte ^ 0x5A for byte in before))
    for catalog in cluster.data(name).glob("catalog.sqlite*"):
        catalog.unlink()
    false = path.read_bytes()
    cluster.start(name)
    return false


def states(cluster: RigCluster, block: int) -> list[str]:
    kept = next(kept for kept in kept_blocks(cluster) if kept.block == block)
    return sorted(copy.state for copy in kept.copies)


def test_false_copy_is_set_aside_and_healed_from_the_true_one(
    cluster: RigCluster, dfs: User
) -> None:
    tree = put_files(dfs, dfs.here, count=4)
    wait_healed(cluster)
    path = block_paths(cluster, "dn-1")[0]
    block = block_of(path)
    false = falsify(cluster, "dn-1", path)
    assert_same(dfs, tree)
    wait_until(lambda: quarantined(cluster, "dn-1"), "the false copy is set aside")
    wait_until(lambda: states(cluster, block) == ["live", "live"], "it is healed")
    (aside,) = quarantined(cluster, "dn-1")
    assert aside.read_bytes() == false, "the false bytes are kept for now"
    assert path.read_bytes() != false
    assert dfs.admin("fsck").code == 0
    cluster.kill("dn-2")
    assert_same(dfs, tree)


def test_false_only_copy_is_kept_where_it_is_refused_and_named(
    cluster: RigCluster, dfs: User
) -> None:
    tree = put_files(dfs, dfs.here, count=2)
    wait_healed(cluster)
    before = {name: set(block_paths(cluster, name)) for name in cluster.datanodes}
    dfs("put", "--replication", "1", "-", "/single", stdin=content(50_000)).done()
    ((name, path),) = (
        (name, path)
        for name in cluster.datanodes
        for path in set(block_paths(cluster, name)) - before[name]
    )
    false = falsify(cluster, name, path)
    block = block_of(path)
    wait_until(lambda: states(cluster, block) == ["disputed"], "the dispute is known")

    assert dfs("get", "/single", str(dfs.here / "out")).code == 7
    assert not (dfs.here / "out").exists()
    fsck = dfs.admin("fsck")
    assert fsck.code == 7
    assert "/single" in fsck.out
    assert "disputed" in fsck.out
    assert "/data/" not in fsck.out
    health = admin_json(dfs, "health", codes=(2,))
    checks = {check["id"]: check for check in health["checks"]}
    assert checks["blocks_disputed"]["status"] == "CRITICAL", checks["blocks_disputed"]
    scrubbed = dfs.admin("scrub", "start", "--wait")
    assert scrubbed.code == 7, scrubbed
    assert path.read_bytes() == false, "nobody touched it"
    assert not quarantined(cluster, name)
    assert not log_count(cluster, "nn-1", "replica.copied")
    cluster.restart(name)
    cluster.restart("nn-1")
    dfs.admin("safemode", "wait", "--timeout", "30s").done()
    assert path.read_bytes() == false
    assert states(cluster, block) == ["disputed"]
    assert_same(dfs, tree)
