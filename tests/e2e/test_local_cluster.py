"""`dfs-local` as a user runs it: real daemons, real processes, one cluster for the whole file."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.clock import SystemClock
from dfs.local import processes
from dfs.local.roster import Folder

pytestmark = pytest.mark.timeout(300)


def _run(module: str, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        env={**_environment(), **extra},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("DFS_")}


def _local(*words: str) -> subprocess.CompletedProcess[str]:
    return _run("dfs.local.main", *words)


def _exports(data: Path) -> dict[str, str]:
    run = _local("env", "--data", str(data))
    assert run.returncode == 0, run.stderr
    lines = (line.removeprefix("export ").split("=", 1) for line in run.stdout.splitlines())
    return {pair[0]: shlex.split(pair[1])[0] for pair in lines if len(pair) == 2}


def _states(data: Path) -> dict[str, str]:
    run = _local("status", "--json", "--data", str(data))
    assert run.returncode == 0, run.stderr
    return {one["name"]: one["state"] for one in json.loads(run.stdout)["daemons"]}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    data = tmp_path_factory.mktemp("local") / "a cluster"  # a space: quoting is part of the promise
    run = _local("up", "--datanodes", "2", "--data", str(data))
    assert run.returncode == 0, run.stderr
    yield data
    assert _local("down", "--data", str(data)).returncode == 0
    members = Folder(data).load().members
    assert not any(processes.is_running(one.pid, one.started) for one in members)


def test_up_makes_a_cluster_in_which_every_daemon_is_ready(cluster: Path) -> None:
    states = _states(cluster)
    assert {"nn-1", "dn-1", "dn-2"} <= states.keys()
    assert set(states.values()) == {"ready"}


def test_up_again_changes_nothing(cluster: Path) -> None:
    before = Folder(cluster).load()
    assert _local("up", "--data", str(cluster)).returncode == 0
    assert Folder(cluster).load() == before


def test_status_lists_each_process_with_role_pid_and_addresses(cluster: Path) -> None:
    run = _local("status", "--json", "--data", str(cluster))
    for one in json.loads(run.stdout)["daemons"]:
        assert Path(f"/proc/{one['pid']}").exists()
        assert one["role"] in ("namenode", "datanode")
        assert one["address"].startswith("127.0.0.1:")
        assert one["http"].startswith("http://127.0.0.1:")
        assert Path(one["log"]).is_file()


def test_env_points_dfs_at_the_cluster_as_its_admin(cluster: Path) -> None:
    exports = _exports(cluster)
    assert _run("dfs.cli.user", "whoami", **exports).stdout.strip() == "admin"
    nodes = _run("dfs.cli.admin", "nodes", "--json", **exports)
    assert nodes.returncode == 0, nodes.stderr
    assert "dn-1" in nodes.stdout or '"node": 1' in nodes.stdout


def test_env_is_what_a_shell_can_eval(cluster: Path) -> None:
    command = f"{sys.executable} -m dfs.local.main env --data {shlex.quote(str(cluster))}"
    script = f'export DFS_TOKEN=wrong; eval "$({command})"; {sys.executable} -m dfs.cli.user whoami'
    run = subprocess.run(
        ["bash", "-c", script], env=_environment(), capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == "admin", run.stderr


def test_secrets_of_the_cluster_are_readable_by_their_owner_alone(cluster: Path) -> None:
    for name in ("credentials.json", "admin-password", "cluster.json"):
        assert (cluster / name).stat().st_mode & 0o077 == 0
    assert not (cluster / "join-token").exists()
    assert not (cluster / "nn-1" / "admin-password").exists()


def test_killed_datanode_is_shown_and_comes_back(cluster: Path) -> None:
    data = str(cluster)
    assert _local("kill", "dn-2", "--data", data).returncode == 0
    assert _states(cluster)["dn-2"] == "killed"
    again = _local("kill", "dn-2", "--data", data)
    assert again.returncode == 3
    assert "does not run" in again.stderr
    assert _local("start", "dn-2", "--data", data).returncode == 0
    assert _states(cluster)["dn-2"] == "ready"


def test_crashed_datanode_is_told_from_a_stopped_one(cluster: Path) -> None:
    data = str(cluster)
    member = Folder(cluster).load().find("dn-2")
    os.kill(member.pid, signal.SIGKILL)
    assert processes.wait_gone(member.pid, member.started, within_s=30, clock=SystemClock())
    assert _states(cluster)["dn-2"] == "crashed"
    assert _local("start", "dn-2", "--data", data).returncode == 0
    assert _local("stop", "dn-2", "--data", data).returncode == 0
    assert _states(cluster)["dn-2"] == "stopped"
    assert _local("up", "--data", data).returncode == 0
    assert _states(cluster)["dn-2"] == "ready"


def test_namenode_that_was_killed_comes_back_with_everything(cluster: Path) -> None:
    exports = _exports(cluster)
    assert _run("dfs.cli.user", "mkdir", "/kept", **exports).returncode == 0
    assert _local("kill", "nn-1", "--data", str(cluster)).returncode == 0
    assert _local("start", "nn-1", "--data", str(cluster)).returncode == 0
    assert "/kept" in _run("dfs.cli.user", "ls", "-d", "/kept", **exports).stdout


def test_added_datanode_joins_and_serves(cluster: Path) -> None:
    assert _local("add", "datanode", "--data", str(cluster)).returncode == 0
    assert _states(cluster)["dn-3"] == "ready"


def test_port_taken_by_another_process_is_named(cluster: Path) -> None:
    data = str(cluster)
    assert _local("stop", "dn-1", "--data", data).returncode == 0
    port = Folder(cluster).load().find("dn-1").port
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        run = _local("start", "dn-1", "--data", data)
        assert run.returncode == 5
        assert str(port) in run.stderr
    assert _local("start", "dn-1", "--data", data).returncode == 0


def test_unknown_daemon_is_refused_with_those_there_are(cluster: Path) -> None:
    run = _local("kill", "dn-77", "--data", str(cluster))
    assert run.returncode == 3
    assert "nn-1" in run.stderr


@pytest.mark.parametrize("verb", ["status", "env"])
def test_folder_without_a_cluster_is_refused_with_what_to_do(verb: str, tmp_path: Path) -> None:
    run = _local(verb, "--data", str(tmp_path / "none"))
    assert run.returncode == 3
    assert "dfs-local up" in run.stderr
    assert not (tmp_path / "none").exists()


def test_start_that_fails_shows_the_last_words_of_the_daemon(cluster: Path) -> None:
    data = str(cluster)
    assert _local("stop", "dn-1", "--data", data).returncode == 0
    version = cluster / "dn-1" / "VERSION"
    text = version.read_text()
    version.write_text("something else\n")
    run = _local("start", "dn-1", "--data", data)
    version.write_text(text)
    assert run.returncode == 6
    assert "dn-1 ended at its start" in run.stderr
    assert "dfs-datanode:" in run.stderr
    assert _local("start", "dn-1", "--data", data).returncode == 0


def test_wrong_setting_is_refused_by_name_before_anything_starts(cluster: Path) -> None:
    config = Folder(cluster).config
    text = config.read_text()
    config.write_text(text.replace("[datanode]\n", "[datanode]\ntransfers_maximum = 1\n"))
    run = _local("up", "--data", str(cluster))
    config.write_text(text)
    assert run.returncode == 2
    assert "transfers_maximum" in run.stderr


@pytest.mark.timeout(400)
def test_demo_proves_what_it_says_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "tour"
    run = _local("demo", "--size", "24MiB", "--data", str(folder))
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Everything came back bit for bit" in run.stdout
    assert "FAILED" not in run.stdout
    for claim in (
        "has two again",
        "the flipped byte is found",
        "carries its part",
        "any machine may die",
        "without a person (writers waited",
        "acknowledged is there after the death of nn-1",
        "is back as a standby",
        "nn-1 leads again, by a switchover",
        "acknowledged is there after the switchover",
        "hold the same metadata",
        "all is well",
    ):
        assert claim in run.stdout
    assert not folder.exists()


def test_demo_refuses_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    run = _local("demo", "--data", str(tmp_path))
    assert run.returncode == 5
    assert (tmp_path / "mine").read_text() == "keep"
