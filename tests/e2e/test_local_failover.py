"""`dfs-local` with several NameNodes, as a user runs it: real daemons, one of which leads."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfs.base.clock import SystemClock
from dfs.client import connect
from dfs.local import processes
from dfs.local.demo_writers import Writers
from dfs.local.roster import Folder
from dfs.settings.read import read_config
from tests.cluster_rig import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
CLOCK = SystemClock()


def _run(module: str, *words: str, **extra: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DFS_")}
    run = subprocess.run(
        [sys.executable, "-m", module, *words],
        env=clean | extra,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def _local(data: Path, *words: str) -> str:
    return _run("dfs.local.main", *words, "--data", str(data))


def _exports(data: Path) -> dict[str, str]:
    lines = (line.removeprefix("export ").split("=", 1) for line in _local(data, "env").split("\n"))
    return {pair[0]: shlex.split(pair[1])[0] for pair in lines if len(pair) == 2}


def _namenodes(data: Path) -> dict[str, Any]:
    """What `status` says of each NameNode."""
    daemons = json.loads(_local(data, "status", "--json"))["daemons"]
    return {one["name"]: one for one in daemons if one["role"] == "namenode"}


def _leaders(data: Path) -> list[str]:
    found = _namenodes(data).items()
    return [name for name, one in found if one["failover"]["role"] == "leader"]


def _all_in_sync(data: Path) -> bool:
    return all(one["failover"]["in_sync"] for one in _namenodes(data).values())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    data = tmp_path_factory.mktemp("several") / "cluster"
    _local(data, "up", "--namenodes", "2", "--datanodes", "1")
    yield data
    _local(data, "down")
    members = Folder(data).load().members
    assert not any(processes.is_running(one.pid, one.started) for one in members)


@pytest.fixture
def killed_leader(cluster: Path) -> Iterator[str]:
    """The NameNode that led is dead, and another leads; afterwards it follows again."""
    (old,) = _leaders(cluster)
    _local(cluster, "kill", old)
    wait_until(lambda: _leaders(cluster) not in ([], [old]), "another NameNode leads")
    yield old
    _local(cluster, "start", old)
    wait_until(lambda: _all_in_sync(cluster), f"{old} is in sync")


def test_up_makes_namenodes_of_which_one_leads_and_all_are_in_sync(cluster: Path) -> None:
    told = _namenodes(cluster)
    assert [one["failover"]["role"] for one in told.values()] == ["leader", "standby"]
    assert {one["failover"]["epoch"] for one in told.values()} == {1}
    assert all(one["state"] == "ready" and one["failover"]["in_sync"] for one in told.values())


def test_each_daemon_plays_a_machine_of_its_own_so_that_failover_is_automatic(
    cluster: Path,
) -> None:
    said = json.loads(_run("dfs.cli.admin", "ha", "status", "--json", **_exports(cluster)))
    status = said["status"]
    assert status["mode"] == "automatic"
    assert {"nn-1", "nn-2", "dn-1"} <= {each["machine"] for each in status["voters"]}


def test_env_names_every_namenode(cluster: Path) -> None:
    urls = {one["http"] for one in _namenodes(cluster).values()}
    assert set(_exports(cluster)["DFS_NAMENODE"].split(",")) == urls


def test_commands_go_on_when_the_leader_dies(cluster: Path, request: pytest.FixtureRequest) -> None:
    exports = _exports(cluster)
    _run("dfs.cli.user", "mkdir", "/before", **exports)
    old = request.getfixturevalue("killed_leader")
    _run("dfs.cli.user", "mkdir", "/after", **exports)
    listed = _run("dfs.cli.user", "ls", "/", **exports)
    assert "before" in listed
    assert "after" in listed
    told = _namenodes(cluster)[old]
    assert (told["state"], told["failover"]["in_sync"]) == ("killed", False)


def test_datanode_joins_while_the_first_namenode_is_dead(cluster: Path) -> None:
    (leader,) = _leaders(cluster)
    _local(cluster, "kill", leader)
    _local(cluster, "add", "datanode")
    daemons = json.loads(_local(cluster, "status", "--json"))["daemons"]
    added = max(one["name"] for one in daemons if one["role"] == "datanode")
    assert added in _run("dfs.cli.admin", "nodes", **_exports(cluster))
    _local(cluster, "start", leader)
    wait_until(lambda: _all_in_sync(cluster), f"{leader} is in sync")


def test_added_namenode_is_in_sync_and_named_by_env(cluster: Path) -> None:
    before = set(_namenodes(cluster))
    _local(cluster, "add", "namenode")
    (added,) = set(_namenodes(cluster)) - before
    told = _namenodes(cluster)[added]
    assert (told["failover"]["role"], told["failover"]["in_sync"]) == ("standby", True)
    assert told["http"] in _exports(cluster)["DFS_NAMENODE"].split(",")
    assert not (cluster / "join-token").exists()


def test_what_writers_of_the_demo_lost_is_found(cluster: Path) -> None:
    """The alarm is tried: of what was acknowledged a file is gone, and another is different."""
    config = read_config(file=Folder(cluster).config, environment={})
    with connect(config=config, environment=_exports(cluster)) as client:
        begun_s = CLOCK.monotonic_s()
        with Writers(client, "/robbed", clock=CLOCK) as writers:
            wait_until(lambda: writers.since(begun_s) >= 20, "twenty files are written")
        assert (writers.refused, writers.missing()[1]) == ([], [])
        assert writers.longest_wait_s(begun_s) > 0
        gone, changed = (each.path for each in writers.written()[:2])
        client.remove(gone)
        client.write_bytes(changed, b"other bytes")
        count, words = writers.missing()
        assert count >= 20
        assert [word for word in words if not word.startswith((gone, f"differs: {changed}"))] == []
        assert len(words) == 2


def test_all_stopped_and_started_again_elect_a_leader_and_know_everything(cluster: Path) -> None:
    _run("dfs.cli.user", "mkdir", "/kept", **_exports(cluster))
    _local(cluster, "down")
    assert {one["state"] for one in _namenodes(cluster).values()} == {"stopped"}
    _local(cluster, "up")
    assert len(_leaders(cluster)) == 1
    assert "kept" in _run("dfs.cli.user", "ls", "/", **_exports(cluster))


def test_cluster_of_one_namenode_gets_a_second_that_is_in_sync(tmp_path: Path) -> None:
    data = tmp_path / "one"
    with contextlib.ExitStack() as after:
        after.callback(_local, data, "down")
        _local(data, "up", "--datanodes", "1")
        _local(data, "add", "namenode")
        assert [one["failover"]["role"] for one in _namenodes(data).values()] == [
            "leader",
            "standby",
        ]
        assert _all_in_sync(data)
