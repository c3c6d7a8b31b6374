"""A scrub pass that is interrupted: killed with its DataNode, or told to rest."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.records import ScrubStatus
from dfs.wire import routes
from dfs.wire.shapes import Nothing
from tests.cluster_rig import RigCluster, running_cluster, wait_until
from tests.e2e.integrity_rig import (
    QUICK,
    assert_same,
    block_of,
    block_paths,
    flip,
    log_count,
    node_number,
    put_files,
    quarantined,
    wait_healed,
)
from tests.e2e.refusal_rig import User, admin_of, content

pytestmark = pytest.mark.timeout(300)
VICTIM = "dn-1"
WAIT_S = 90
# A node with many bad blocks is believed here, and one that starts again is not dead yet.
SETTINGS = QUICK | {
    "dead_after_s": "60s",
    "quarantine_keep_s": "5m",
    "doubt_percent": "100",
    "new_after_s": "500ms",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigCluster]:
    root = tmp_path_factory.mktemp("scrubbing") / "c"
    with running_cluster(root, datanodes=2, **SETTINGS) as made:
        yield made


@pytest.fixture(scope="module")
def dfs(cluster: RigCluster, tmp_path_factory: pytest.TempPathFactory) -> User:
    return admin_of(cluster, tmp_path_factory.mktemp("scrubbing-here"))


@pytest.fixture(scope="module")
def tree(dfs: User) -> Path:
    return put_files(dfs, dfs.here, count=25)


def scrub_of(cluster: RigCluster, name: str) -> ScrubStatus:
    """How far a DataNode is; asked without a process in between, so that nothing is missed."""
    with cluster.client() as client:
        nodes = client.link.call(routes.SCRUB_STATUS, Nothing()).nodes
    return next(node.scrub for node in nodes if node.node == node_number(name))


def start_waiting(dfs: User, *nodes: str) -> subprocess.Popen[str]:
    """`scrub start --wait` in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "dfs.cli.admin", "scrub", "start", *nodes, "--wait"],
        env=dfs.variables,
        cwd=dfs.here,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.faults
@pytest.mark.parametrize(
    "point", ["dn.scrub.marked", "dn.quarantine.renamed:3", "dn.quarantine.committed:2"]
)
def test_pass_goes_on_after_its_datanode_died_in_it_and_covers_everything(
    cluster: RigCluster, dfs: User, tree: Path, point: str
) -> None:
    wait_healed(cluster)
    cluster.stop(VICTIM)
    assert cluster.start(VICTIM, DFS_CRASHPOINT=point)
    bad = block_paths(cluster, VICTIM)[::6]
    for path in bad:
        flip(path)
    waiting = start_waiting(dfs, VICTIM)
    wait_until(lambda: not cluster.is_running(VICTIM), "it dies in the pass")
    assert cluster.exit_code(VICTIM) == 137
    assert waiting.poll() is None
    cluster.start(VICTIM)
    said, _ = waiting.communicate(timeout=WAIT_S)
    assert waiting.returncode == 0, said
    assert scrub_of(cluster, VICTIM).run_done
    wait_healed(cluster)
    aside = " ".join(path.name for path in quarantined(cluster, VICTIM))
    assert [path for path in bad if f"{block_of(path):016x}" not in aside] == []
    assert dfs.admin("fsck").code == 0
    assert_same(dfs, tree)


def test_pause_holds_and_ends_by_itself(cluster: RigCluster, dfs: User, tree: Path) -> None:
    """New blocks are read half a second after they came, but for the pause."""
    wait_until(lambda: not scrub_of(cluster, VICTIM).unverified_blocks, "all is read")
    dfs.admin("scrub", "pause", "12s").done()
    wait_until(lambda: scrub_of(cluster, VICTIM).state == "paused", "it rests")
    with cluster.client() as client:  # within the pause, however slowly a command starts
        for number in range(3):
            client.put_stream(io.BytesIO(content(1_000)), f"/new-{number}")
    read: list[int] = []
    while (now := scrub_of(cluster, VICTIM)).state == "paused":
        read.append(now.last_verified_ms)
    assert len(set(read)) == 1, "nothing was read in its time"
    assert scrub_of(cluster, VICTIM).state != "paused", "the pause ends by itself"
    wait_until(
        lambda: scrub_of(cluster, VICTIM).last_verified_ms > read[0], "and what is new is read"
    )
    assert_same(dfs, tree)


@pytest.mark.faults
def test_pass_ends_though_its_namenode_was_killed_and_forgot_the_order(
    cluster: RigCluster, dfs: User, tree: Path
) -> None:
    wait_healed(cluster)
    bad = block_paths(cluster, "dn-2")[-1]
    flip(bad)
    before = log_count(cluster, "nn-1", "scrub.changed")
    waiting = start_waiting(dfs)
    wait_until(lambda: log_count(cluster, "nn-1", "scrub.changed") > before, "it is ordered")
    cluster.restart("nn-1")
    said, _ = waiting.communicate(timeout=WAIT_S)
    assert waiting.returncode == 0, said
    wait_healed(cluster)
    assert any(f"{block_of(bad):016x}" in path.name for path in quarantined(cluster, "dn-2"))
    assert_same(dfs, tree)
