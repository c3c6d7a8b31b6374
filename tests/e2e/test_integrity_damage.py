"""Block files damaged on the disk in every way: found by the scrubber, kept aside, healed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster_rig import BOTH_WAYS, RigCluster, running_cluster, wait_until
from tests.e2e.integrity_rig import (
    DAMAGE,
    QUICK,
    assert_same,
    block_of,
    block_paths,
    kept_blocks,
    node_number,
    not_whole,
    pack_path,
    put_files,
    quarantined,
    swap,
    wait_healed,
)
from tests.e2e.refusal_rig import User, admin_of

pytestmark = pytest.mark.timeout(300)
VICTIM = "dn-1"
# Those that are found in the same way as another.
LONG = {"a file of zeros", "an extended file", "a bad trailer"}


@pytest.fixture(scope="module", params=BOTH_WAYS)
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RigCluster]:
    root = tmp_path_factory.mktemp("damage") / "c"
    # More goes bad here in ten minutes than a node would believe otherwise.
    settings = QUICK | {"quarantine_keep_s": "45s", "doubt_percent": "100"}
    settings["local_transfers"] = request.param
    with running_cluster(root, datanodes=3, **settings) as made:
        yield made


@pytest.fixture(scope="module")
def dfs(cluster: RigCluster, tmp_path_factory: pytest.TempPathFactory) -> User:
    return admin_of(cluster, tmp_path_factory.mktemp("damage-here"))


@pytest.fixture(scope="module")
def tree(dfs: User) -> Path:
    made = put_files(dfs, dfs.here, count=30)
    dfs("setrep", "3", "/data/small-000").done()  # so that every DataNode has what it is packed in
    return made


def unshared(cluster: RigCluster) -> list[Path]:
    """Blocks of large files on the DataNode that suffers."""
    pack = pack_path(cluster, VICTIM)
    return [path for path in block_paths(cluster, VICTIM) if path != pack]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(damage, marks=[pytest.mark.faults] if damage in LONG else [])
        for damage in DAMAGE
    ],
)
def test_scrub_finds_and_heals(cluster: RigCluster, dfs: User, tree: Path, damage: str) -> None:
    wait_healed(cluster)
    paths = [unshared(cluster)[0], pack_path(cluster, VICTIM)]
    blocks = {block_of(path) for path in paths}
    for path in paths:
        DAMAGE[damage](path)
    dfs.admin("scrub", "start", "--wait").done()
    wait_healed(cluster)
    healed = [kept for kept in kept_blocks(cluster) if kept.block in blocks]
    assert all(len(kept.live) >= kept.wanted for kept in healed)
    if damage != "a file that is gone":
        kept_aside = " ".join(path.name for path in quarantined(cluster, VICTIM))
        assert all(f"{block:016x}" in kept_aside for block in blocks), "the bad file is kept"
    assert_same(dfs, tree)


def test_scrub_finds_and_heals_two_files_that_changed_places(
    cluster: RigCluster, dfs: User, tree: Path
) -> None:
    wait_healed(cluster)
    one, other = unshared(cluster)[0], pack_path(cluster, VICTIM)
    swap(one, other)
    dfs.admin("scrub", "start", "--wait").done()
    wait_healed(cluster)
    assert_same(dfs, tree)


def test_read_of_a_damaged_copy_gives_the_right_bytes_and_heals_it(
    cluster: RigCluster, dfs: User, tree: Path
) -> None:
    """Nobody scrubs: the reader falls over to the other copy and its word is enough."""
    wait_healed(cluster)
    for path in [*unshared(cluster)[:3], pack_path(cluster, VICTIM)]:
        DAMAGE["a flipped byte"](path)
    assert_same(dfs, tree)
    assert_same(dfs, tree)
    dfs.admin("scrub", "start", "--wait").done()
    wait_healed(cluster)
    fsck = dfs.admin("fsck", "/data")
    assert fsck.code == 0, fsck.out


@pytest.mark.faults
def test_file_in_quarantine_leaves_only_after_its_grace(
    cluster: RigCluster, dfs: User, tree: Path
) -> None:
    wait_healed(cluster)
    before = set(quarantined(cluster, VICTIM))  # what is no block of ours stays there
    DAMAGE["a flipped byte"](block_paths(cluster, VICTIM)[0])
    dfs.admin("scrub", "start", "--wait").done()
    wait_healed(cluster)
    bad = set(quarantined(cluster, VICTIM)) - before
    assert bad
    wait_until(
        lambda: bad.isdisjoint(quarantined(cluster, VICTIM)),
        "the bad file has left the quarantine when the grace has passed",
        within_s=120,
    )
    assert not not_whole(cluster)
    assert node_number(VICTIM) == 1
    assert_same(dfs, tree)
