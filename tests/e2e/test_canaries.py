"""Canaries and orders about scrubbing, with real processes: nobody is told which copy is bad."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster_rig import RigCluster, running_cluster, wait_until
from tests.e2e.integrity_rig import QUICK, admin_json, assert_same, log_count, put_files
from tests.e2e.refusal_rig import User, admin_of

pytestmark = pytest.mark.timeout(300)
SETTINGS = {**QUICK, "canary_interval_s": "10s", "new_after_s": "500ms"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigCluster]:
    root = tmp_path_factory.mktemp("canaries") / "c"
    with running_cluster(root, datanodes=3, **SETTINGS) as made:
        yield made


@pytest.fixture(scope="module")
def dfs(cluster: RigCluster, tmp_path_factory: pytest.TempPathFactory) -> User:
    return admin_of(cluster, tmp_path_factory.mktemp("canaries-here"))


@pytest.fixture(scope="module")
def tree(dfs: User) -> Path:
    return put_files(dfs, dfs.here, count=5)


def canaries(dfs: User) -> dict[str, dict]:
    return {one["node"]: one for one in admin_json(dfs, "scrub", "status")["canaries"]}


def await_rounds(dfs: User, goal: dict[str, int]) -> None:
    wait_until(
        lambda: all(canaries(dfs).get(node, {}).get("rounds", 0) >= goal[node] for node in goal),
        f"canaries healed: {goal}",
    )


@pytest.mark.faults
def test_scrub_start_waits_for_the_living_and_names_the_dead(
    cluster: RigCluster, dfs: User, tree: Path
) -> None:
    assert admin_json(dfs, "scrub", "start", "--wait")["done"] == ["dn-1", "dn-2", "dn-3"]
    cluster.kill("dn-3")
    wait_until(lambda: _node_states(dfs)["dn-3"] == "dead", "dn-3 is dead")
    ran = dfs.admin("scrub", "start", "--wait")
    assert ran.code == 0, ran.err
    assert "dn-3 was not told" in ran.err
    assert dfs.admin("scrub", "start", "--wait", "dn-3").code == 6
    cluster.start("dn-3")
    assert_same(dfs, tree)


def test_each_node_finds_its_canary_and_repair_heals_it(
    cluster: RigCluster, dfs: User, tree: Path
) -> None:
    await_rounds(dfs, {"dn-1": 1, "dn-2": 1, "dn-3": 1})
    for node in ("dn-1", "dn-2", "dn-3"):
        assert log_count(cluster, node, "block.quarantined"), "the spoiled copy was put aside"
    status = admin_json(dfs, "scrub", "status")
    assert status["blocks"]["bad"] == 0, "a canary is no alarm"
    assert not any(one["late"] for one in status["canaries"])
    assert "canary of dn-1: " in dfs.admin("scrub", "status").done().out
    assert_same(dfs, tree)
    cluster.check_metadata()


def test_canaries_are_in_a_place_that_is_shown_only_by_its_name(dfs: User) -> None:
    wait_until(lambda: dfs("ls", "/.dfs/canary").code == 0, "canaries are placed")
    assert ".dfs" not in dfs("ls", "/").done().out
    assert "canary" not in dfs("find", "/").done().out
    wait_until(lambda: "dn-1." in dfs("ls", "/.dfs/canary").out, "each node has one")
    dfs("rm", "-r", "/.dfs").refused(4, "DFS's own")


@pytest.mark.faults
def test_a_paused_scrubber_finds_no_canary_and_a_resumed_one_does(dfs: User) -> None:
    dfs.admin("scrub", "pause", "10m", "dn-2").done()
    wait_until(
        lambda: _states(dfs)["dn-2"] == "paused" and canaries(dfs)["dn-2"]["state"] == "spoiled",
        "dn-2 is paused with a spoiled canary",
    )
    rounds = canaries(dfs)["dn-2"]["rounds"]
    others = canaries(dfs)["dn-1"]["rounds"]
    await_rounds(dfs, {"dn-1": others + 1})
    assert canaries(dfs)["dn-2"]["rounds"] == rounds
    dfs.admin("scrub", "resume").done()
    await_rounds(dfs, {"dn-2": rounds + 1})


@pytest.mark.faults
def test_canaries_go_on_when_the_namenode_is_killed(cluster: RigCluster, dfs: User) -> None:
    before = {node: one["rounds"] for node, one in canaries(dfs).items()}
    wait_until(
        lambda: any(one["state"] in ("spoiled", "found") for one in canaries(dfs).values()),
        "a round is under way",
    )
    cluster.restart("nn-1")
    await_rounds(dfs, {node: rounds + 1 for node, rounds in before.items()})
    cluster.check_metadata()


def _states(dfs: User) -> dict[str, str]:
    return {
        one["node"]: one["scrub"]["state"] for one in admin_json(dfs, "scrub", "status")["nodes"]
    }


def _node_states(dfs: User) -> dict[str, str]:
    return {one["node"]: one["state"] for one in admin_json(dfs, "scrub", "status")["nodes"]}
