"""A file goes through real daemons by the real commands: NameNode, two DataNodes, `dfs`."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import urllib3

from tests.cluster_rig import wait_until

READY = re.compile(r"ready: .*http (127\.0\.0\.1:\d+)")
ADMIN_PASSWORD = "the admin's own words"
WAIT_S = 60


class Cluster:
    """One NameNode and two DataNodes, started by their console commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("DFS_")}
        self.environment["DFS_CREDENTIALS"] = str(folder / "credentials.json")
        config = folder / "config.ini"
        config.write_text("[datanode]\nreserve_bytes = 1MiB\nreserve_percent = 0\n")
        self.environment["DFS_CONFIG"] = str(config)
        at = self.start("namenode", "--port", "0", "--data", folder / "nn")
        self.environment["DFS_NAMENODE"] = f"http://{at}"
        self.token = self._take_over()
        joining = str(self.ask("/v1/nodes/join-token", {"uses": 2})["token"])
        for number in (1, 2):
            data = folder / f"dn-{number}"
            ports = ("--port", "0", "--http-port", "0")
            self.start("datanode", *ports, "--data", data, "--join-token", joining)
        wait_until(lambda: self.states() == ["live", "live"], "both DataNodes have registered")

    def states(self) -> list[str]:
        nodes = self.ask("/v1/nodes/list", {})["nodes"]
        assert isinstance(nodes, list)
        return [node["state"] for node in nodes]

    def start(self, role: str, *arguments: object) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", f"dfs.daemons.{role}", "serve", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=(self.folder / f"{role}-{len(self._started)}.log").open("w"),
            text=True,
            env=self.environment,
        )
        self._started.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if found := READY.search(line):
                return found[1]
        raise AssertionError(f"{role} ended with {process.wait(WAIT_S)}")

    def ask(self, path: str, body: object) -> dict[str, object]:
        answer = urllib3.request(
            "POST",
            self.environment["DFS_NAMENODE"] + path,
            body=msgspec.json.encode(body),
            headers={"Authorization": f"Bearer {self.token}"},
        )
        assert answer.status == 200, answer.data
        found: dict[str, object] = msgspec.json.decode(answer.data)
        return found

    def dfs(self, *arguments: object) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [sys.executable, "-m", "dfs.cli.user", *map(str, arguments)],
            capture_output=True,
            timeout=WAIT_S,
            check=False,
            env=self.environment | {"DFS_TOKEN": self.token},
        )

    def stop(self) -> list[int]:
        for process in reversed(self._started):
            process.terminate()
        return [process.wait(WAIT_S) for process in self._started]

    def _take_over(self) -> str:
        """The admin's session, his one-time password replaced."""
        self.token = ""
        once = (self.folder / "nn" / "admin-password").read_text().strip()
        login = {"name": "admin", "password": once}
        self.token = str(self.ask("/v1/accounts/login", login)["token"])
        self.ask("/v1/accounts/password", {"old": once, "new": ADMIN_PASSWORD})
        return self.token


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    assert made.stop() == [0, 0, 0]


def test_file_comes_back_bit_for_bit(cluster: Cluster, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(os.urandom(3_000_001))
    put = cluster.dfs("put", source, "/tmp/file")
    assert put.returncode == 0, put.stderr
    got = cluster.dfs("get", "/tmp/file", back)
    assert got.returncode == 0, got.stderr
    assert back.read_bytes() == source.read_bytes()
    located = cluster.dfs("locate", "/tmp/file")
    assert b"dn-1" in located.stdout
    assert b"dn-2" in located.stdout


def test_missing_file_ends_with_its_own_exit_code(cluster: Cluster) -> None:
    got = cluster.dfs("cat", "/tmp/missing")
    assert got.returncode == 3
    assert b"/tmp/missing" in got.stderr
