"""Two DataNodes of this computer, and clients."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfs.base.clock import SystemClock
from dfs.base.entropy import Random
from dfs.base.ids import NodeId
from dfs.base.records import (
    BlockName,
)
from dfs.transfer.channels import Channels
from dfs.transfer.local_links import LocalLinks, StreamLinks
from dfs.transfer.local_read import LocalReader
from dfs.transfer.local_upload import LocalUploads
from dfs.transfer.node_memory import NodeMemory
from dfs.transfer.replica_reader import ReplicaReader
from dfs.transfer.replicas import Replicas
from dfs.transfer.stream_read import StreamReader
from dfs.transfer.write_pipeline import BlockSender
from tests.datanode_rig import RigNode
from tests.same_host_rig import Client


@pytest.fixture(params=["local", "stream", "network"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def new_client() -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(way: str = "local", *, stall_s: float = 20.0) -> Client:
        channels = Channels(clock=SystemClock(), stall_s=stall_s)
        memory = NodeMemory(clock=SystemClock())
        links = LocalLinks(channels, clock=SystemClock())
        suspects: list[tuple[BlockName, NodeId, str]] = []
        on = way == "local"
        ways = {
            "local": [LocalReader(links)],
            "stream": [StreamReader(StreamLinks(channels, clock=SystemClock()))],
            "network": [],
        }
        made.append(
            Client(
                channels,
                links,
                BlockSender(channels, memory, local=LocalUploads(links) if on else None),
                ReplicaReader(
                    channels,
                    Replicas(
                        memory,
                        rng=Random(1),
                        here=frozenset(),
                        suspect=lambda *found: suspects.append(found),
                    ),
                    ways=ways[way],
                ),
                suspects,
            )
        )
        return made[-1]

    yield make
    for client in made:
        client.channels.close()


@pytest.fixture
def client(new_client: Callable[..., Client], way: str) -> Client:
    return new_client(way)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[RigNode]]:
    made = [RigNode(tmp_path / f"dn{number}", node=number) for number in (1, 2)]
    yield made
    for node in made:
        node.close()
