"""What holds changes, repair and deletions back, with real processes and real files."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from dfs.meta.session import DATABASE_FILE
from tests.cluster_rig import RigCluster, running_cluster, wait_until
from tests.e2e.integrity_rig import assert_same, block_paths, log_count, put_files
from tests.e2e.refusal_rig import User, admin_of, content

pytestmark = pytest.mark.timeout(300)
QUICK = {"dead_after_s": "4s", "stale_after_s": "1500ms", "give_up_s": "2s"}


def status(dfs: User) -> dict[str, object]:
    return json.loads(dfs.admin("safemode", "--json").done().out)


def health(cluster: RigCluster) -> dict[str, object]:
    (namenode,) = cluster.config.cluster.namenodes
    answer = urllib3.request("GET", f"{namenode}/health", retries=False, timeout=10)
    found: dict[str, object] = answer.json()
    return found


def node_counts(cluster: RigCluster) -> dict[str, int]:
    found = health(cluster)["nodes"]
    assert isinstance(found, dict)
    return found


def files_held(cluster: RigCluster) -> set[tuple[str, str]]:
    return {(name, path.name) for name in cluster.datanodes for path in block_paths(cluster, name)}


@pytest.fixture
def four(tmp_path: Path) -> Iterator[RigCluster]:
    with running_cluster(tmp_path / "c", datanodes=4, **QUICK) as cluster:
        yield cluster


def test_restart_with_half_the_datanodes_down_changes_nothing_until_they_return(
    four: RigCluster, tmp_path: Path
) -> None:
    dfs = admin_of(four, tmp_path / "here")
    tree = put_files(dfs, dfs.here, count=16)
    dfs("put", "-", "/elsewhere", stdin="x").done()
    dfs("rm", "/elsewhere").done()
    held = files_held(four)
    for name in ("nn-1", "dn-3", "dn-4"):
        four.kill(name)
    four.start("nn-1")
    wait_until(lambda: not status(dfs)["awaited"] or status(dfs)["blocks"], "it looked")
    refused = dfs("mkdir", "/new").refused(6, "safe mode")
    assert "dfs-admin safemode" in refused.err
    wait_until(lambda: status(dfs)["found"], "the reports of the others are in")
    now = status(dfs)
    assert now["on"], now
    assert sorted(now["awaited"]) == [3, 4], now
    assert health(four)["safe_mode"] is True
    dfs("ls", "/data").done()
    readable = [
        name
        for name in sorted(path.name for path in tree.iterdir())
        if dfs("get", f"/data/{name}", f"got-{name}").code == 0
    ]
    assert readable
    for name in readable:
        assert (dfs.here / f"got-{name}").read_bytes() == (tree / name).read_bytes()
    dfs("put", "-", "/new-file", stdin="x").refused(6, "safe mode")
    dfs.admin("safemode", "leave").refused(5, "too little")
    dfs.admin("safemode", "wait", "--timeout", "1s").refused(6, "still on")
    assert files_held(four) == held, "nothing was deleted and nothing copied"
    for name in ("dn-3", "dn-4"):
        four.start(name)
    dfs.admin("safemode", "wait", "--timeout", "30s").done()
    dfs("mkdir", "/new").done()
    assert_same(dfs, tree)
    assert health(four)["safe_mode"] is False


def test_restart_of_a_healthy_cluster_is_through_within_moments(
    four: RigCluster, tmp_path: Path
) -> None:
    dfs = admin_of(four, tmp_path / "here")
    tree = put_files(dfs, dfs.here, count=4)
    four.restart("nn-1")
    wait_until(lambda: not health(four)["safe_mode"], "safe mode is over", within_s=10)
    dfs("mkdir", "/new").done()
    assert_same(dfs, tree)


@pytest.mark.faults
def test_safe_mode_by_hand_outlives_a_restart_and_ends_by_hand(
    four: RigCluster, tmp_path: Path
) -> None:
    dfs = admin_of(four, tmp_path / "here")
    tree = put_files(dfs, dfs.here, count=2)
    dfs.admin("safemode", "enter").done()
    dfs("rm", "/data/file-000").refused(6, "safe mode", "admin")
    four.restart("nn-1")
    wait_until(lambda: not status(dfs)["starting"], "the start is over")
    assert status(dfs)["by_hand"] == "admin"
    dfs("mkdir", "/new").refused(6, "safe mode", "dfs-admin safemode leave")
    assert_same(dfs, tree)
    dfs.admin("safemode", "leave").done()
    dfs("mkdir", "/new").done()


@pytest.mark.faults
def test_safe_mode_left_by_force_deletes_nothing_for_a_while(
    four: RigCluster, tmp_path: Path
) -> None:
    dfs = admin_of(four, tmp_path / "here")
    put_files(dfs, dfs.here, count=16)
    for name in ("nn-1", "dn-3", "dn-4"):
        four.kill(name)
    four.start("nn-1")
    dfs.admin("safemode", "leave", "--force").done()
    dfs("rm", "-r", "/data").done()
    assert "by force" in str(status(dfs)["no_deletes"])
    held = files_held(four)
    four.start("dn-3")
    four.start("dn-4")
    four.restart("nn-1")
    wait_until(lambda: not health(four)["safe_mode"], "safe mode is over")
    assert "by force" in str(status(dfs)["no_deletes"]), "a restart does not forget it"
    assert held <= files_held(four)


def test_old_copy_of_the_database_serves_reads_and_changes_nothing_until_it_is_accepted(
    four: RigCluster, tmp_path: Path
) -> None:
    dfs = admin_of(four, tmp_path / "here")
    tree = put_files(dfs, dfs.here, count=4)
    old = copy_database(four, tmp_path / "old")
    dfs("put", "-", "/lost", stdin=content(200_000)).done()
    dfs("rm", "/data/file-000").done()
    held = files_held(four)
    put_database_back(four, old)

    wait_until(lambda: health(four)["regressed"], "a DataNode saw more than there is")
    wait_until(lambda: not health(four)["safe_mode"], "every DataNode has reported")
    assert_same(dfs, tree)
    dfs("stat", "/lost").refused(3)
    dfs("mkdir", "/new").refused(6, "older than what DataNodes have seen")
    dfs("put", "-", "/new", stdin="x").refused(6, "older than what DataNodes have seen")
    four.restart("nn-1")
    wait_until(lambda: health(four)["regressed"], "a restart does not forget it")
    dfs("mkdir", "/new").refused(6)
    assert log_count(four, "nn-1", "metadata.regressed") == 1
    assert held <= files_held(four)

    dfs.admin("safemode", "accept-regression").refused(2, "--yes")
    dfs.admin("safemode", "accept-regression", "--yes").done()
    dfs.admin("safemode", "wait", "--timeout", "30s").done()
    assert health(four)["regressed"] is False
    dfs("put", "-", "/new", stdin=content(200_000)).done()
    assert dfs("cat", "/new").done().raw == content(200_000)
    assert_same(dfs, tree)
    dfs.admin("safemode", "accept-regression", "--yes").refused(5)
    four.check_metadata()
    four.restart("nn-1")
    wait_until(lambda: not health(four)["safe_mode"], "it starts as ever")
    assert health(four)["regressed"] is False
    dfs("mkdir", "/newer").done()
    assert held <= files_held(four), "what only the lost history knew is kept"


@pytest.mark.faults
def test_third_of_the_nodes_that_vanish_together_freeze_deletions_until_they_return(
    tmp_path: Path,
) -> None:
    with running_cluster(tmp_path / "c", datanodes=6, **QUICK) as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        tree = put_files(dfs, dfs.here, count=6)
        dfs("put", "-", "/rubbish", stdin=content(500_000)).done()
        for name in ("dn-5", "dn-6"):
            cluster.kill(name)
        wait_until(lambda: health(cluster)["frozen"], "the storm brake is on")
        dfs("rm", "/rubbish").done()
        held = files_held(cluster)
        assert "dn-5, dn-6" in str(status(dfs)["frozen"])
        dfs("mkdir", "/changes-are-welcome").done()
        wait_until(lambda: node_counts(cluster)["dead"] == 2, "both count as dead", within_s=30)
        assert held <= files_held(cluster), "nothing was deleted"
        cluster.restart("nn-1")
        wait_until(lambda: node_counts(cluster)["live"] == 4, "the others are heard")
        assert status(dfs)["no_deletes"], "a restart does not forget who is gone"
        assert held <= files_held(cluster), "nothing was deleted"
        for name in ("dn-5", "dn-6"):
            cluster.start(name)
        wait_until(lambda: not status(dfs)["no_deletes"], "nothing is held back any more")
        wait_until(lambda: not held <= files_held(cluster), "rubbish leaves again")
        assert_same(dfs, tree)


@pytest.mark.faults
def test_loss_that_is_accepted_ends_the_storm(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", datanodes=4, **QUICK) as cluster:
        dfs = admin_of(cluster, tmp_path / "here")
        dfs.admin("repair", "resume", "--accept-loss").refused(5, "nothing is frozen")
        for name in ("dn-3", "dn-4"):
            cluster.kill(name)
        wait_until(lambda: health(cluster)["frozen"], "the storm brake is on")
        ran = dfs.admin("repair", "resume", "--accept-loss").done()
        assert "without dn-3, dn-4" in ran.out
        assert not health(cluster)["frozen"]
        cluster.restart("nn-1")
        dfs.admin("safemode", "leave", "--force").done()
        assert not health(cluster)["frozen"], "a restart does not forget it"


def copy_database(cluster: RigCluster, to: Path) -> Path:
    """Its file, with the NameNode stopped for that."""
    cluster.stop("nn-1")
    shutil.copy(cluster.data("nn-1") / DATABASE_FILE, to)
    cluster.start("nn-1")
    wait_until(lambda: not health(cluster)["safe_mode"], "safe mode is over")
    return to


def put_database_back(cluster: RigCluster, old: Path) -> None:
    """Start the NameNode on an old copy."""
    cluster.stop("nn-1")
    file = cluster.data("nn-1") / DATABASE_FILE
    for left in (file.with_name(file.name + "-wal"), file.with_name(file.name + "-shm")):
        left.unlink(missing_ok=True)
    shutil.copy(old, file)
    cluster.start("nn-1")


@pytest.mark.faults
def test_node_in_maintenance_may_be_away_and_nothing_is_copied(
    four: RigCluster, tmp_path: Path
) -> None:
    dfs = admin_of(four, tmp_path / "here")
    tree = put_files(dfs, dfs.here, count=4)
    held = files_held(four)
    dfs.admin("node", "maintenance", "dn-2", "--for", "1h").done()
    assert "maintenance until" in dfs.admin("nodes").done().out
    four.kill("dn-2")

    def silence_s() -> float:
        nodes = json.loads(dfs.admin("nodes", "--json").done().out)
        return next(float(node["silent_s"]) for node in nodes if node["node"] == "dn-2")

    wait_until(lambda: silence_s() > 6, "silent for longer than dead_after_s")
    assert "dead" not in dfs.admin("nodes").done().out
    assert files_held(four) == held
    assert_same(dfs, tree)
    four.start("dn-2")
    dfs.admin("node", "recommission", "dn-2").done()
    assert "maintenance" not in dfs.admin("nodes").done().out
    dfs.admin("node", "maintenance", "dn-9").refused(3)
