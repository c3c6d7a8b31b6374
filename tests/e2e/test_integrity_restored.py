"""Metadata that is lost more than once."""

from pathlib import Path

import pytest

from dfs.base.errors import DfsError
from tests.cluster_rig import RigCluster, running_cluster, wait_until
from tests.e2e.refusal_rig import admin_of, content
from tests.e2e.test_safety import copy_database, put_database_back

pytestmark = pytest.mark.timeout(240)
SIZE = 100_000


def is_written(cluster: RigCluster, path: str) -> bool:
    with cluster.client() as client:
        try:
            client.write_bytes(path, content(SIZE))
            return client.read_bytes(path) == content(SIZE)
        except DfsError:
            return False


@pytest.mark.faults
def test_same_old_copy_of_the_database_can_be_gone_on_from_twice(tmp_path: Path) -> None:
    """DataNodes know blocks and keys that were made after the first time."""
    with running_cluster(tmp_path / "c", datanodes=2, give_up_s="5s") as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        dfs("put", "-", "/kept", stdin=content(SIZE)).done()
        old = copy_database(cluster, tmp_path / "old")
        dfs("put", "-", "/lost", stdin=content(SIZE)).done()
        for path in ("/after-the-first", "/after-the-second"):
            put_database_back(cluster, old)
            wait_until(
                lambda: dfs.admin("safemode", "accept-regression", "--yes").code == 0,
                "the loss is seen and accepted",
            )
            wait_until(lambda path=path: is_written(cluster, path), f"{path} is written")
            assert dfs("cat", "/kept").done().raw == content(SIZE)
        cluster.check_metadata()
