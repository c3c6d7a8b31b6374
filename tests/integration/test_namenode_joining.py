"""A NameNode joins a cluster that is there: wherever it dies on the way, it is one member."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.crashpoint import CRASH_EXIT_CODE
from dfs.base.entropy import Random
from dfs.local.ports import free_port
from dfs.wire import routes
from dfs.wire.accounts_api import LoginRequest, PasswordRequest
from dfs.wire.ha_api import HaStatus
from dfs.wire.http_link import HttpLink
from dfs.wire.nodes_api import JoinTokenRequest
from dfs.wire.shapes import Nothing
from tests.namenode_serving import WAIT_S, Serving

ADMIN_PASSWORD = "the admin's own words"
POINTS = ("nn.ha.joined", "nn.ha.told", "nn.ha.row.written", "nn.ha.row.kept:2", "nn.ha.row.kept:3")


class Cluster:
    """A NameNode that leads, its administrator, and a standby that is started again and again."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root, self.environment = root, environment
        self.first = Serving(["--data", str(root / "first")], environment)
        self.link = HttpLink(timeout_s=30)
        one_time = (root / "first" / "admin-password").read_text().strip()
        token = self._login(one_time)
        change = PasswordRequest(new=ADMIN_PASSWORD, old=one_time)
        self.link.call(self.first.url, routes.PASSWORD, change, credential=token)
        self.token = self._login(ADMIN_PASSWORD)
        asked = JoinTokenRequest(uses=1)
        made = self.link.call(self.first.url, routes.JOIN_TOKEN, asked, credential=self.token)
        self.join_token, self.port = made.token, free_port("127.0.0.1", taken=set(), rng=Random())
        self.running: list[subprocess.Popen[str]] = []

    def _login(self, password: str) -> str:
        asked = LoginRequest(name="admin", password=password)
        return self.link.call(self.first.url, routes.LOGIN, asked).token

    def start(self, *more: str, crash_at: str = "", **settings: str) -> "subprocess.Popen[str]":
        words = ["--data", self.root / "standby", "--port", self.port, "--role", "standby", *more]
        words += ["--peers", self.first.url]
        if "--join-token" not in more:
            words += ["--join-token", self.join_token]
        process = subprocess.Popen(
            [sys.executable, "-m", "dfs.daemons.namenode", "serve", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment | ({"DFS_CRASHPOINT": crash_at} if crash_at else {}) | settings,
        )
        self.running.append(process)
        return process

    def status(self) -> HaStatus:
        return self.link.call(self.first.url, routes.HA_STATUS, Nothing(), credential=self.token)

    def await_follower(self) -> HaStatus:
        end_s = time.monotonic() + WAIT_S
        while True:
            status = self.status()
            followers = [each for each in status.members if each.role == "standby"]
            if followers and followers[0].lag_records == 0:
                return status
            assert time.monotonic() < end_s, status
            time.sleep(0.05)

    def end(self) -> None:
        for each in self.running:
            if each.poll() is None:
                each.kill()
            each.communicate(timeout=WAIT_S)
        self.first.end(signal.SIGKILL)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DFS_")}
    made = Cluster(tmp_path, clean)
    yield made
    made.end()


def test_standby_that_dies_while_it_joins_is_one_member_in_the_end(cluster: Cluster) -> None:
    for point in POINTS:
        died = cluster.start(crash_at=point)
        if died.wait(WAIT_S) != CRASH_EXIT_CODE:
            pytest.fail(f"{point}: {died.communicate()[1]}")
    cluster.start()
    status = cluster.await_follower()
    assert [each.name for each in status.members] == ["nn-1", "nn-2"]


@pytest.mark.parametrize(
    ("token", "said"), [("dfsj_of-nobody", "unknown, used up or expired"), ("", "no join token")]
)
def test_newcomer_without_a_good_token_is_refused_in_one_line_and_leaves_nothing(
    cluster: Cluster, token: str, said: str
) -> None:
    refused = cluster.start("--join-token", token)
    _, errors = refused.communicate(timeout=WAIT_S)
    lines = [line for line in errors.splitlines() if not line.startswith("{")]
    assert refused.returncode != 0
    assert len(lines) == 1, errors
    assert said in lines[0]
    assert [each.name for each in cluster.status().members] == ["nn-1"]


def test_another_namenode_at_the_address_of_a_member_is_refused(cluster: Cluster) -> None:
    standby = cluster.start()
    cluster.await_follower()
    standby.kill()
    standby.wait(WAIT_S)
    (cluster.root / "standby").rename(cluster.root / "aside")
    _, errors = cluster.start().communicate(timeout=WAIT_S)
    assert "nn-2 is at" in errors
    assert "dfs-admin ha remove nn-2" in errors
