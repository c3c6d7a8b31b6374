"""What nothing refers to leaves every DataNode, also one that was away when it was given up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from dfs.meta.tables import BLOCK
from tests.cluster_rig import RigCluster, files_now, running_cluster, wait_until
from tests.e2e.integrity_rig import (
    QUICK,
    assert_same,
    kept_blocks,
    put_files,
    wait_healed,
)
from tests.e2e.refusal_rig import User, admin_of, content

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigCluster]:
    root = tmp_path_factory.mktemp("garbage") / "c"
    # Longer than the tests: what is away is never given up.
    settings = QUICK | {"dead_after_s": "5m"}
    with running_cluster(root, datanodes=3, **settings) as made:
        yield made


@pytest.fixture(scope="module")
def dfs(cluster: RigCluster, tmp_path_factory: pytest.TempPathFactory) -> User:
    return admin_of(cluster, tmp_path_factory.mktemp("garbage-here"))


@pytest.fixture(scope="module")
def tree(dfs: User) -> Path:
    return put_files(dfs, dfs.here, count=3)


def on_disks(cluster: RigCluster) -> set[int]:
    return {block for name in cluster.datanodes for block, _ in cluster.block_files(name)}


def wait_only_what_is_kept(cluster: RigCluster) -> None:
    """Disks, purge areas and metadata hold the blocks of files, and nothing else."""

    def is_so() -> bool:
        kept = {kept.block for kept in kept_blocks(cluster)}
        with cluster.metadata() as connection:
            known = connection.execute(select(func.count()).select_from(BLOCK)).scalar()
        return on_disks(cluster) == kept and known == len(kept)

    wait_until(is_so, "nothing is there but the blocks of files")
    wait_until(lambda: not purge_areas(cluster), "purge areas are empty after their grace")


def purge_areas(cluster: RigCluster) -> list[Path]:
    return [
        path
        for name in cluster.datanodes
        for path in files_now(cluster.data(name) / "purge", "*/*")
    ]


def rubbish(dfs: User, name: str) -> None:
    """A file that is removed, one that is written over, and one that is renamed upon."""
    for kind in ("removed", "over", "target", "source"):
        dfs("put", "--replication", "3", "-", f"/{name}-{kind}", stdin=content(150_000)).done()


def give_up(dfs: User, name: str) -> None:
    dfs("rm", f"/{name}-removed").done()
    dfs("put", "-f", "--replication", "3", "-", f"/{name}-over", stdin=content(70_000)).done()
    dfs("mv", "-f", f"/{name}-source", f"/{name}-target").done()


def test_what_was_given_up_leaves_every_datanode(
    cluster: RigCluster, dfs: User, tree: Path
) -> None:
    rubbish(dfs, "first")
    wait_healed(cluster)
    before = on_disks(cluster)
    give_up(dfs, "first")
    wait_until(lambda: before - on_disks(cluster), "blocks leave when retention is over")
    wait_only_what_is_kept(cluster)
    assert dfs("cat", "/first-over").done().raw == content(70_000)
    assert_same(dfs, tree)


@pytest.mark.faults
def test_what_was_given_up_while_a_holder_was_away_leaves_when_it_returns(
    cluster: RigCluster, dfs: User, tree: Path
) -> None:
    rubbish(dfs, "second")
    wait_healed(cluster)
    cluster.kill("dn-2")
    held = cluster.block_files("dn-2")
    give_up(dfs, "second")
    kept = {kept.block for kept in kept_blocks(cluster)}
    wait_until(
        lambda: all(
            {block for block, _ in cluster.block_files(name)} <= kept for name in ("dn-1", "dn-3")
        ),
        "the others are rid of it",
    )
    assert cluster.block_files("dn-2") == held
    cluster.restart("nn-1")
    cluster.start("dn-2")
    wait_only_what_is_kept(cluster)
    wait_healed(cluster)
    assert dfs("cat", "/second-over").done().raw == content(70_000)
    assert dfs("cat", "/second-target").done().raw == content(150_000)
    assert_same(dfs, tree)
