"""A process dies in the middle of a copy or of a retirement: nothing is wrong afterwards."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.client import DfsClient
from dfs.wire import routes
from dfs.wire.files_api import PathsRequest, SetrepRequest
from tests.cluster_rig import KIB, RigCluster, running_cluster, wait_until

COPYING = ("nn.copy.received", "nn.copy.counted", "dn.copy.stored", "dn.copy.answering")
RETIRING = ("nn.replica.retiring",)
SIZE_BYTES = 3 * 64 * KIB


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigCluster]:
    root = tmp_path_factory.mktemp("repair-crashes")
    with running_cluster(root, datanodes=3) as made:
        yield made
        made.check_metadata()


@pytest.mark.faults
@pytest.mark.parametrize("point", COPYING)
def test_copies_are_made_though_a_process_dies_in_one(cluster: RigCluster, point: str) -> None:
    path, data = f"/{point}", os.urandom(SIZE_BYTES)
    client = cluster.client()
    client.write_bytes(path, data)
    name = process_of(cluster, point, without=blocks_of(client, path))
    cluster.restart(name, DFS_CRASHPOINT=point)
    want(client, path, 3)
    await_death(cluster, name)
    await_copies(client, path)
    assert client.read_bytes(path) == data
    assert len(held_by_all(cluster, client, path)) == 3
    client.close()


@pytest.mark.faults
@pytest.mark.parametrize("point", RETIRING)
def test_copies_too_many_go_though_a_process_dies_over_it(cluster: RigCluster, point: str) -> None:
    path, data = f"/{point}", os.urandom(SIZE_BYTES)
    client = cluster.client()
    client.write_bytes(path, data)
    want(client, path, 3)
    await_copies(client, path)
    name = process_of(cluster, point)
    cluster.restart(name, DFS_CRASHPOINT=point)
    want(client, path, 1)
    await_death(cluster, name)
    await_copies(client, path)
    assert client.read_bytes(path) == data
    client.close()


def process_of(
    cluster: RigCluster, point: str, *, without: frozenset[tuple[int, int]] = frozenset()
) -> str:
    """The process that passes the point: of the DataNodes one that lacks some of those blocks."""
    if point.startswith("nn."):
        return "nn-1"
    return next(n for n in cluster.datanodes if not without <= cluster.block_files(n))


def await_death(cluster: RigCluster, name: str) -> None:
    """It died where it should, and is started again."""
    wait_until(lambda: not cluster.is_running(name), f"{name} dies")
    assert cluster.exit_code(name) == 137
    cluster.start(name)


def want(client: DfsClient, path: str, copies: int) -> None:
    client.link.call(routes.SETREP, SetrepRequest(paths=[path], replication=copies))


def await_copies(client: DfsClient, path: str) -> None:
    def settled() -> bool:
        (found,) = client.link.call(routes.COPIES, PathsRequest(paths=[path])).outcomes
        return found.value is not None and not found.value.short and not found.value.extra

    wait_until(settled, f"{path} has exactly its copies")


def blocks_of(client: DfsClient, path: str) -> frozenset[tuple[int, int]]:
    (found,) = client.locate_all([path])
    return frozenset((e.truth.block, e.truth.generation) for e in found.extents)


def held_by_all(cluster: RigCluster, client: DfsClient, path: str) -> list[Path]:
    """The folders of the DataNodes that have every block of the file on their disks."""
    blocks = blocks_of(client, path)
    return [cluster.data(n) for n in cluster.datanodes if blocks <= cluster.block_files(n)]
