"""Compaction in a cluster of real processes: whoever dies, files read as they were written."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import func, select

from dfs.base.entropy import Random
from dfs.base.errors import DfsError
from dfs.client import DfsClient, PutOptions
from dfs.meta.tables import BLOCK, GC_QUEUE, LEASE
from dfs.wire import routes
from dfs.wire.compact_api import CompactReply
from dfs.wire.shapes import Nothing
from tests.cluster_rig import RigCluster, running_cluster, wait_until
from tests.e2e.refusal_rig import User

NAMENODE = "nn-1"
CRASH = "DFS_CRASHPOINT"
AT_THE_CHANGE = "nn.compact.repointed"
POINTS = ("nn.compact.read", "nn.compact.begun", "nn.compact.written", "nn.compact.committed")
PACKED, LONE, LEFT = 40, 9, 8
AGE_S = 0.6  # more than [compact] age_s of the rig


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigCluster]:
    with running_cluster(tmp_path_factory.mktemp("compaction"), datanodes=2) as made:
        yield made


def put_and_remove(cluster: RigCluster, tmp_path: Path, name: str) -> dict[str, bytes]:
    """A folder of which most was removed, and lone small files; what is left of them."""
    folder = tmp_path / name
    folder.mkdir()
    rng = Random(name)
    for number in range(PACKED):
        (folder / f"f{number:02}").write_bytes(rng.randbytes(2000 + number))
    with cluster.client() as client:
        client.put([folder], f"/{name}", options=PutOptions(recursive=True))
        for number in range(PACKED - LEFT):
            client.remove(f"/{name}/f{number:02}", skip_trash=True)
        left = {
            f"/{name}/f{number:02}": (folder / f"f{number:02}").read_bytes()
            for number in range(PACKED - LEFT, PACKED)
        }
        for number in range(LONE):
            path = f"/{name}/lone{number}"
            left[path] = rng.randbytes(3000 + number)
            client.write_bytes(path, left[path])
    old_s = time.monotonic() + AGE_S
    wait_until(lambda: not rows(cluster, GC_QUEUE), "what was removed is purged")
    wait_until(lambda: time.monotonic() > old_s, "the newest are old enough to be gathered")
    return left


def rows(cluster: RigCluster, table: object, *conditions: object) -> int:
    with cluster.metadata() as connection:
        counted = select(func.count()).select_from(table).where(*conditions)  # type: ignore[arg-type]
        return int(connection.execute(counted).scalar_one())


def status(client: DfsClient) -> CompactReply:
    return client.link.call(routes.COMPACT_STATUS, Nothing())


def compact(client: DfsClient) -> CompactReply:
    client.link.call(routes.COMPACT_START, Nothing())
    return await_round(client)


def await_round(client: DfsClient) -> CompactReply:
    wait_until(lambda: status(client).state != "running", "the round is over")
    return status(client)


def check(cluster: RigCluster, files: Mapping[str, bytes]) -> None:
    """Every file as it was written, and nothing left over."""
    with cluster.client() as client:
        assert {path: client.read_bytes(path) for path in files} == dict(files)
        read = dict(client.read_many(files))
        assert read == dict(files)
    cluster.check_metadata()
    wait_until(lambda: not rows(cluster, LEASE), "no lease is left")
    wait_until(
        lambda: not rows(cluster, BLOCK, BLOCK.c.state != "committed"), "the garbage is gone"
    )
    kept = {block for name in cluster.datanodes for block in cluster.block_files(name)}
    assert len(kept) == rows(cluster, BLOCK)


def die_at(cluster: RigCluster, tmp_path: Path, point: str) -> None:
    files = put_and_remove(cluster, tmp_path, point)
    cluster.restart(NAMENODE, **{CRASH: point})
    with cluster.client() as client:
        before = status(client).packs_written
        client.link.call(routes.COMPACT_START, Nothing())
        wait_until(lambda: not cluster.is_running(NAMENODE), f"it died at {point}")
        assert cluster.exit_code(NAMENODE) == 137
        cluster.start(NAMENODE)
        done = await_round(client)
    # A pack that was committed is there whether or not it was counted.
    counted = {True: 0, False: 1}[point == "nn.compact.committed"]
    assert done.packs_written - before >= counted
    with cluster.client() as client:
        places = {client.locate_all([path])[0].extents[0].truth.block for path in files}
    assert len(places) == 1
    check(cluster, files)


@pytest.mark.faults
def test_files_are_old_or_new_when_the_namenode_dies_in_the_middle_of_the_change(
    cluster: RigCluster, tmp_path: Path
) -> None:
    die_at(cluster, tmp_path, AT_THE_CHANGE)


@pytest.mark.faults
@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_lost_or_left_over_when_the_namenode_dies_at(
    cluster: RigCluster, tmp_path: Path, point: str
) -> None:
    die_at(cluster, tmp_path, point)


def test_an_administrator_sees_holes_and_has_them_closed(
    cluster: RigCluster, tmp_path: Path
) -> None:
    files = put_and_remove(cluster, tmp_path, "admin")
    admin = User(cluster.variables, cluster.root).admin
    admin("compact", "stop").done()
    admin("compact", "stop").refused(5, "stopped already")
    assert "stopped by admin" in admin("compact", "status").done().out
    ran = admin("compact", "start", "--wait").done()
    assert "written from" in ran.out
    told = json.loads(admin("compact", "status", "--json").done().out)
    assert (told["state"], told["failed"]) == ("resting", 0)
    assert told["won_bytes"] > 0
    assert "packs:" in admin("compact", "status").done().out
    check(cluster, files)


@pytest.mark.faults
def test_files_are_read_all_the_while_and_a_datanode_dies_meanwhile(
    cluster: RigCluster, tmp_path: Path
) -> None:
    files = put_and_remove(cluster, tmp_path, "readers")
    stop, wrong = threading.Event(), []

    def read() -> None:
        with cluster.client() as client:
            while not stop.is_set():
                for path, content in files.items():
                    try:
                        if client.read_bytes(path) != content:
                            wrong.append(path)
                    except DfsError as err:
                        wrong.append(f"{path}: {err}")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        with cluster.client() as client:
            client.link.call(routes.COMPACT_START, Nothing())
            cluster.kill("dn-2")
            await_round(client)
            cluster.start("dn-2")
            wait_until(lambda: compacted(client, files), "it is done when the node is back")
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    check(cluster, files)


def compacted(client: DfsClient, files: Mapping[str, bytes]) -> bool:
    if status(client).state != "running":
        client.link.call(routes.COMPACT_START, Nothing())
    await_round(client)
    return len({client.locate_all([path])[0].extents[0].truth.block for path in files}) == 1
