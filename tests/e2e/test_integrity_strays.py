"""Block files that nobody knows, dropped onto a DataNode's disk: when they leave, and when not."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from dfs.meta.tables import BLOCK, STRAY
from tests.cluster_rig import RigCluster, files_now, running_cluster, wait_until
from tests.e2e.forged_blocks import forge, take_apart
from tests.e2e.integrity_rig import assert_same, block_of, block_paths, put_files, wait_healed
from tests.e2e.refusal_rig import User, admin_of, content

pytestmark = pytest.mark.timeout(300)
KEEP_S = 4.0
SETTINGS = {"stock_full_s": "1s", "stray_keep_s": f"{KEEP_S:.0f}s", "purge_keep_s": "4s"}
VICTIM = "dn-1"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigCluster]:
    """Two DataNodes: what one lacks can be copied nowhere else."""
    root = tmp_path_factory.mktemp("strays") / "c"
    with running_cluster(root, datanodes=2, **SETTINGS) as made:
        yield made


@pytest.fixture(scope="module")
def dfs(cluster: RigCluster, tmp_path_factory: pytest.TempPathFactory) -> User:
    return admin_of(cluster, tmp_path_factory.mktemp("strays-here"))


@pytest.fixture(scope="module")
def tree(dfs: User) -> Path:
    return put_files(dfs, dfs.here, count=3)


def known_blocks(cluster: RigCluster) -> dict[int, int]:
    """Generation by block, whatever became of the block."""
    with cluster.metadata() as connection:
        rows = connection.execute(select(BLOCK.c.id, BLOCK.c.generation))
        return {row.id: row.generation for row in rows}


def a_gone_block(cluster: RigCluster, dfs: User, path: str) -> tuple[int, int]:
    """Ids that were handed out and mean nothing any more."""
    before = set(known_blocks(cluster))
    dfs("put", "-", path, stdin=content(1_000)).done()
    ((block, generation),) = ((b, g) for b, g in known_blocks(cluster).items() if b not in before)
    dfs("rm", path).done()
    wait_until(lambda: block not in known_blocks(cluster), "the block is forgotten")
    return block, generation


def strays(cluster: RigCluster) -> dict[int, tuple[str, int, float]]:
    """Of each block that lies somewhere as a stray: its kind, sightings, and how long known."""
    with cluster.metadata() as connection:
        return {
            row.block: (row.kind, row.sightings, (row.last_ms - row.first_ms) / 1000)
            for row in connection.execute(select(STRAY))
        }


def in_purge(cluster: RigCluster, block: int) -> list[Path]:
    found = files_now(cluster.data(VICTIM) / "purge", "*/*")
    return [path for path in found if f".{block:016x}." in path.name]


def drop(cluster: RigCluster, *, block: int, generation: int, like: int | None = None) -> Path:
    """Put a forged file on the disk of a DataNode that is stopped for that."""
    cluster.stop(VICTIM)
    paths = block_paths(cluster, VICTIM)
    model = next(path for path in paths if like is None or block_of(path) == like)
    made = forge(cluster.data(VICTIM), model, block=block, generation=generation)
    cluster.start(VICTIM)
    return made


def wait_purged(cluster: RigCluster, block: int, path: Path) -> None:
    wait_until(lambda: not path.exists(), "it left")
    assert in_purge(cluster, block), "into the purge area"
    wait_until(lambda: not in_purge(cluster, block), "and from there, after its grace")
    wait_until(lambda: block not in strays(cluster), "and it is known no more")


@pytest.mark.faults
def test_orphan_stays_until_two_full_reports_far_apart_had_it(
    cluster: RigCluster, dfs: User, tree: Path
) -> None:
    wait_healed(cluster)
    block, generation = a_gone_block(cluster, dfs, "/gone")
    dropped_s = time.monotonic()
    orphan = drop(cluster, block=block, generation=generation)
    wait_until(lambda: strays(cluster).get(block, ("", 0, 0.0))[1], "a full report had it")
    assert strays(cluster)[block][0] == "orphan"
    assert orphan.exists()
    assert "1 block file" in dfs.admin("fsck").out
    wait_purged(cluster, block, orphan)
    assert time.monotonic() - dropped_s > KEEP_S
    assert_same(dfs, tree)


@pytest.mark.faults
def test_orphan_stays_in_safe_mode_however_long_it_is_known(
    cluster: RigCluster, dfs: User, tree: Path
) -> None:
    wait_healed(cluster)
    block, generation = a_gone_block(cluster, dfs, "/gone-too")
    dfs.admin("safemode", "enter").done()
    orphan = drop(cluster, block=block, generation=generation)

    def is_ripe() -> bool:
        _, sightings, known_s = strays(cluster).get(block, ("", 0, 0.0))
        return sightings > 2 and known_s > KEEP_S + 2

    wait_until(is_ripe, "it may leave, but for safe mode")
    assert orphan.exists()
    assert not in_purge(cluster, block)
    dfs.admin("safemode", "leave").done()
    wait_purged(cluster, block, orphan)
    assert_same(dfs, tree)


@pytest.mark.faults
def test_older_generation_leaves_only_when_the_right_one_is_well_kept(
    cluster: RigCluster, dfs: User, tree: Path
) -> None:
    wait_healed(cluster)
    right = block_paths(cluster, VICTIM)[-1]
    truth = take_apart(right)[2].truth
    assert truth.generation > 1
    cluster.kill("dn-2")
    old = drop(cluster, block=truth.block, generation=truth.generation - 1, like=truth.block)
    wait_until(
        lambda: strays(cluster).get(truth.block, ("", 0, 0.0))[2] > KEEP_S, "it is known for long"
    )
    assert strays(cluster)[truth.block][0] == "stale"
    assert old.exists(), "one of two copies of the right one is away"
    cluster.start("dn-2")
    wait_until(lambda: not old.exists(), "it left")
    assert right.exists()
    assert_same(dfs, tree)


def test_file_of_a_future_never_leaves(cluster: RigCluster, dfs: User, tree: Path) -> None:
    wait_healed(cluster)
    beyond = 1 << 40
    future = drop(cluster, block=beyond, generation=beyond)
    wait_until(
        lambda: strays(cluster).get(beyond, ("", 0, 0.0))[2] > KEEP_S + 2, "it is known for long"
    )
    assert strays(cluster)[beyond][0] == "future"
    assert future.exists()
    assert_same(dfs, tree)
