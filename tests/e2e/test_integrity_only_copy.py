"""The only copy of something goes bad: no wrong bytes, nothing deleted, the file is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster_rig import BOTH_WAYS, RigCluster, running_cluster, wait_until
from tests.e2e.integrity_rig import QUICK, admin_json, block_of, block_paths, flip, quarantined
from tests.e2e.refusal_rig import User, admin_of, content

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=BOTH_WAYS)
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RigCluster]:
    settings = QUICK | {"local_transfers": request.param}
    with running_cluster(tmp_path / "c", datanodes=2, **settings) as made:
        yield made


@pytest.fixture
def dfs(cluster: RigCluster, tmp_path: Path) -> User:
    return admin_of(cluster, tmp_path / "here")


def test_only_copy_that_went_bad_is_refused_kept_and_named(cluster: RigCluster, dfs: User) -> None:
    dfs("put", "--replication", "1", "-", "/single", stdin=content(50_000)).done()
    dfs("put", "-", "/double", stdin=content(60_000)).done()
    located = admin_json(dfs, "fsck", "/single", "--blocks")
    assert located
    for name in cluster.datanodes:
        for path in block_paths(cluster, name):
            if path.stat().st_size < 60_000:
                bad, holder = path, name
    block = block_of(bad)
    flip(bad)
    assert dfs("get", "/single", str(dfs.here / "out")).code == 7
    assert not (dfs.here / "out").exists(), "no wrong bytes, not even some"
    assert dfs.admin("scrub", "start", "--wait").code == 7
    fsck = dfs.admin("fsck")
    assert fsck.code == 7
    assert "/single" in fsck.out
    assert "/double" not in fsck.out
    aside = quarantined(cluster, holder)
    assert [path for path in aside if f"{block:016x}" in path.name], "the bad copy is kept"
    health = dfs.admin("health")
    assert health.code == 2, health.out
    assert "blocks_corrupt" in health.out
    assert dfs("cat", "/double").done().raw == content(60_000)
    # Nothing that is deleted later takes the last copy with it.
    dfs("put", "-f", "-", "/double", stdin=content(10)).done()
    wait_until(lambda: dfs("cat", "/double").raw == content(10), "the new content is there")
    assert quarantined(cluster, holder)
