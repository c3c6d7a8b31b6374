from collections.abc import Iterator

import pytest

from dfs.base.clock import SystemClock
from dfs.base.entropy import Random
from dfs.base.ids import NodeId
from dfs.base.records import BlockName
from dfs.transfer.channels import Channels
from dfs.transfer.node_memory import NodeMemory
from dfs.transfer.replica_reader import ReplicaReader
from dfs.transfer.replicas import Replicas
from dfs.transfer.write_pipeline import BlockSender
from tests.fake_datanode import FakeDataNode


@pytest.fixture
def nodes() -> Iterator[list[FakeDataNode]]:
    """Three DataNodes that work."""
    made = [FakeDataNode(number) for number in (1, 2, 3)]
    yield made
    for node in made:
        node.stop()


@pytest.fixture
def channels() -> Iterator[Channels]:
    made = Channels(clock=SystemClock(), stall_s=20.0)
    yield made
    made.close()


@pytest.fixture
def memory() -> NodeMemory:
    return NodeMemory(clock=SystemClock())


@pytest.fixture
def sender(channels: Channels, memory: NodeMemory) -> BlockSender:
    return BlockSender(channels, memory)


@pytest.fixture
def suspects() -> list[tuple[BlockName, NodeId, str]]:
    """What the reader reported."""
    return []


@pytest.fixture
def reader(channels: Channels, memory: NodeMemory, suspects: list) -> ReplicaReader:
    return ReplicaReader(
        channels,
        Replicas(
            memory,
            rng=Random(7),
            here=frozenset(),
            suspect=lambda *found: suspects.append(found),
        ),
    )
