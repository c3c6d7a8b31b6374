"""Daemons that must not start: wrong settings, taken ports, folders of others, join tokens."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.wire import routes
from dfs.wire.http_link import HttpLink
from dfs.wire.nodes_api import JoinRequest
from tests.cluster_rig import RigCluster, running_cluster, wait_until
from tests.e2e.refusal_rig import Ran, User, admin_of

pytestmark = pytest.mark.timeout(240)
NAMENODE, DATANODE = "dfs.daemons.namenode", "dfs.daemons.datanode"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigCluster]:
    with running_cluster(tmp_path_factory.mktemp("daemons") / "c", datanodes=1) as made:
        yield made


@pytest.fixture
def user(cluster: RigCluster, tmp_path: Path) -> User:
    return admin_of(cluster, tmp_path / "here")


def datanode(user: User, *words: str, **extra: str) -> Ran:
    return user.module(DATANODE, "serve", "--port", "0", "--http-port", "0", *words, **extra)


def namenode(user: User, *words: str) -> Ran:
    return user.module(NAMENODE, "serve", *words)


def in_use(cluster: RigCluster, name: str) -> int:
    return cluster.folder.load().find(name).port


def test_namenode_on_a_taken_port_is_refused_before_it_makes_a_cluster(cluster, user) -> None:
    port = in_use(cluster, "nn-1")
    ran = namenode(user, "--data", "fresh", "--port", str(port))
    ran.refused(5, f"another process listens on 127.0.0.1:{port}", "--port")
    assert "one-time password" not in ran.out
    assert not (user.here / "fresh" / "admin-password").exists()


@pytest.mark.parametrize("flag", ["--port", "--http-port"])
def test_datanode_on_a_taken_port_is_refused_by_its_number(user: User, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = str(squatter.getsockname()[1])
        ran = datanode(user, "--data", "fresh", "--join-token", "x", flag, port)
    ran.refused(5, f"another process listens on 127.0.0.1:{port}", "--http-port")
    assert "add_port" not in ran.err, "what a library says is not for users"


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_host_that_is_not_this_machine_is_refused(user: User, host: str) -> None:
    namenode(user, "--data", "n", "--port", "0", "--host", host).refused(2, host, "--host")
    datanode(user, "--data", "d", "--join-token", "x", "--host", host).refused(2, host)


@pytest.mark.parametrize("port", ["-1", "65536", "http", ""])
def test_flag_out_of_range_is_refused(user: User, port: str) -> None:
    namenode(user, "--data", "n", f"--port={port}").refused(2, "not a port (0 to 65535)")
    assert not (user.here / "n").exists()


def test_folder_in_use_is_refused(cluster: RigCluster, user: User) -> None:
    node, names = cluster.data("dn-1"), cluster.data("nn-1")
    datanode(user, "--data", str(node)).refused(5, "another process serves", str(node))
    namenode(user, "--port", "0", "--data", str(names)).refused(5, "another process serves")


def test_folder_named_twice_is_refused_whatever_its_spelling(user: User) -> None:
    ran = datanode(user, "--data", "d", "--data", "./x/../d", "--join-token", "x")
    ran.refused(2, "named more than once")
    assert not (user.here / "d").exists()


def test_folder_of_something_else_is_refused_and_not_touched(cluster, user: User) -> None:
    mine = user.here / "photos"
    mine.mkdir()
    (mine / "a.jpg").write_bytes(b"a")
    datanode(user, "--data", str(mine), "--join-token", "x").refused(5, "neither", "a.jpg")
    assert [each.name for each in mine.iterdir()] == ["a.jpg"]
    namenode(user, "--port", "0", "--data", str(mine)).refused(5, "photos")
    assert [each.name for each in mine.iterdir()] == ["a.jpg"]


def test_folder_of_the_other_daemon_is_refused(cluster: RigCluster, user: User) -> None:
    node = user.here / "dn"
    datanode(user, "--data", str(node), "--join-token", "wrong")
    held = sorted(each.name for each in node.iterdir())
    namenode(user, "--port", "0", "--data", str(node)).refused(5, str(node))
    assert held == sorted(each.name for each in node.iterdir())
    ran = user.module(NAMENODE, "init", "--data", "nn")
    assert ran.code == 0
    datanode(user, "--data", "nn", "--join-token", "x").refused(5, "nn")


def test_join_token_must_be_known_unused_and_in_time(cluster: RigCluster, user: User) -> None:
    ran = datanode(user, "--data", "d", "--join-token", "wrong")
    ran.refused(4, "unknown, used up or expired", "dfs-admin join-token")
    datanode(user, "--data", "d").refused(2, "no join token", "dfs-admin join-token")
    datanode(user, "--data", "d", "--join-token-file", "none").refused(2, "none")
    short = user.admin("join-token", "--life", "1s").done().out.strip()
    threading.Event().wait(1.5)
    datanode(user, "--data", "d", "--join-token", short).refused(4, "expired")
    once = user.admin("join-token", "--uses", "1").done().out.strip()
    join = JoinRequest(token=once, uuid="f" * 32)
    with contextlib.closing(HttpLink(timeout_s=5)) as link:
        link.call(user.variables["DFS_NAMENODE"], routes.JOIN, join)
    datanode(user, "--data", "d", "--join-token", once).refused(4, "used up")


def test_data_folder_of_another_cluster_is_not_let_in(cluster: RigCluster, user: User) -> None:
    """Joined elsewhere: its blocks would be strangers here.  It waits for its own NameNode."""
    cluster.kill("dn-1")
    card = cluster.data("dn-1") / "node.json"
    text = card.read_text()
    card.write_text(json.dumps(json.loads(text) | {"cluster": "0" * 32}))
    folder, log = str(cluster.data("dn-1")), user.here / "log"
    words = ["serve", "--data", folder, "--port", "0", "--http-port", "0"]
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            [sys.executable, "-m", DATANODE, *words], env=user.variables, stderr=out, cwd=user.here
        )
    try:
        said = "this DataNode belongs to cluster " + "0" * 32
        wait_until(lambda: said in log.read_text(), "it says whose it is")
    finally:
        daemon.terminate()
        daemon.wait(20)
    card.write_text(text)
    cluster.start("dn-1")


@pytest.mark.parametrize("module", [NAMENODE, DATANODE])
def test_daemon_without_its_assertions_is_refused(user: User, module: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-O", "-m", module, "serve", "--data", "d"],
        env=user.variables,
        cwd=user.here,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    assert "refuses to run under python -O" in ran.stderr
    assert not (user.here / "d").exists()


def test_wrong_setting_stops_each_program_with_the_nearest_key(user: User) -> None:
    wrong = user.here / "wrong.ini"
    wrong.write_text("[client]\nblok_size_bytes = 1MiB\n")
    for module, *words in (
        ("dfs.cli.user", "ls", "/"),
        (NAMENODE, "serve", "--data", "n"),
        (DATANODE, "serve", "--data", "d"),
    ):
        ran = user.module(module, *words, DFS_CONFIG=str(wrong))
        ran.refused(2, "blok_size_bytes", "did you mean 'block_size_bytes'")
    assert not (user.here / "n").exists()


def test_times_that_contradict_each_other_stop_a_namenode_before_it_makes_a_cluster(user) -> None:
    wrong = user.here / "wrong.ini"
    wrong.write_text("[ha]\nlease_s = 5s\n")
    ran = namenode(user, "--data", "n", "--port", "0", "--config", str(wrong))
    ran.refused(2, "lease_s has to end before stickiness_s does")
    assert not (user.here / "n").exists()


def test_offline_listing_of_no_data_folder_is_refused(user: User) -> None:
    ran = user.module(DATANODE, "ls", "--data", "none")
    ran.refused(3, "no such folder")
    ran = user.module(DATANODE, "ls", "--data", str(user.here))
    ran.refused(5, "no data folder")
    assert ran.out == ""
