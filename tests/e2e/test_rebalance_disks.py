"""A DataNode that gets a second disk levels the two, by order, while it serves."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dfs.base.entropy import Random
from dfs.client import PutOptions
from dfs.local.demo_files import write_random
from tests.cluster_rig import MIB, RigCluster, files_now, running_cluster, wait_until
from tests.e2e.refusal_rig import User

SIZE = 12 * MIB
STOP_S = 30


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RigCluster]:
    with running_cluster(tmp_path / "cluster", datanodes=0, block_size_bytes="1MiB") as made:
        yield made


@contextlib.contextmanager
def a_datanode(cluster: RigCluster, folders: Sequence[Path], token: str) -> Iterator[None]:
    """A DataNode with those disks, heard by the NameNode."""
    user = User(cluster.variables, cluster.root)
    data = [word for folder in folders for word in ("--data", str(folder))]
    ports = ["--port", "0", "--http-port", "0", "--join-token", token]
    config = ["--config", str(cluster.folder.config)]
    command = [sys.executable, "-m", "dfs.daemons.datanode", "serve", *config, *data, *ports]
    log = (cluster.root / "datanode.log").open("ab")
    process = subprocess.Popen(command, stdout=log, stderr=log, env=cluster.variables)
    try:
        wait_until(lambda: live_disks(user) == len(folders), "the DataNode serves")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_S)
        log.close()


def live_disks(user: User) -> int:
    nodes = json.loads(user.admin("nodes", "--json").done().out)
    return sum(len(node["volumes"]) for node in nodes if node["state"] == "live")


def blocks_in(folder: Path) -> int:
    return len(files_now(folder / "blocks", "*/*/*"))


@pytest.mark.faults
def test_a_second_disk_gets_its_share_and_everything_reads_back(
    cluster: RigCluster, tmp_path: Path
) -> None:
    user = User(cluster.variables, cluster.root)
    token = user.admin("join-token").done().out.strip()
    one, two = tmp_path / "one", tmp_path / "two"
    source, target = tmp_path / "large", tmp_path / "back"
    write_random(source, SIZE, rng=Random(7))
    with a_datanode(cluster, [one], token), cluster.client() as client:
        assert user.admin("rebalance", "--disks", "--wait").done().out.startswith("no DataNode has")
        client.put([source], "/large", options=PutOptions(replication=1))
    assert blocks_in(one) == SIZE // MIB
    two.mkdir()
    with a_datanode(cluster, [one, two], token), cluster.client() as client:
        ran = user.admin("rebalance", "--disks", "--wait").done()
        assert str(two) in ran.out
        assert blocks_in(one) + blocks_in(two) == SIZE // MIB
        assert abs(blocks_in(one) - blocks_in(two)) <= 2
        client.get(["/large"], target)
    assert target.read_bytes() == source.read_bytes()
    cluster.check_metadata()
