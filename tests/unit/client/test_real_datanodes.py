"""The client against DataNodes as they are: real store, real block service, real tokens."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from dfs.base.clock import SystemClock
from dfs.base.entropy import Random
from dfs.base.ids import BlockId, Generation, InodeId, NodeId
from dfs.base.records import (
    AllocatedBlock,
    BlockName,
    Holder,
    LocatedExtent,
    NodeAddress,
)
from dfs.base.states import NodeState, ReplicaState
from dfs.client.piece_sources import FileSlice, LocalFile
from dfs.transfer.block_channel import BlockAccess
from dfs.transfer.channels import Channels
from dfs.transfer.node_memory import NodeMemory
from dfs.transfer.ranges import stretches
from dfs.transfer.read_parallel import stream
from dfs.transfer.replica_reader import ReplicaReader
from dfs.transfer.replicas import Replicas
from dfs.transfer.write_pipeline import BlockSender, WriteMode
from dfs.wire.tokens import Mode
from tests.datanode_rig import PATH, RigNode, token

MIB = 1 << 20
NAME = BlockName(InodeId(21), 0, BlockId(7), Generation(9))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[list[RigNode]]:
    made = []
    for number in (1, 2):
        folder = tmp_path / f"dn{number}"
        folder.mkdir()
        made.append(RigNode(folder, node=number))
    yield made
    for node in made:
        node.close()


@pytest.fixture
def channels() -> Iterator[Channels]:
    made = Channels(clock=SystemClock(), stall_s=20.0)
    yield made
    made.close()


def address(node: RigNode) -> NodeAddress:
    host, port = node.address.rsplit(":", 1)
    return NodeAddress(NodeId(node.node), host, int(port), 1)


def some(length: int) -> bytes:
    return (bytes(n % 249 for n in range(4099)) * (length // 4099 + 1))[:length]


@pytest.mark.parametrize("mode", list(WriteMode))
@pytest.mark.parametrize("size", [1, 256 * 1024 + 1, MIB, 6 * MIB + 11])
def test_block_written_to_real_nodes_reads_back(
    rig, channels, tmp_path: Path, mode: WriteMode, size: int
) -> None:
    (tmp_path / "f").write_bytes(some(size))
    raw = token(Mode.WRITE, NAME, peers=[node.target() for node in rig])
    block = AllocatedBlock(NAME, 64 * MIB, tuple(map(address, rig)), raw)
    memory = NodeMemory(clock=SystemClock())
    with LocalFile(tmp_path / "f") as source:
        done = BlockSender(channels, memory).write(
            block, PATH, FileSlice(source, 0, size), mode=mode
        )
    assert {receipt.node for receipt in done.receipts} == {1, 2}
    assert not done.failed
    assert done.truth is not None
    holders = tuple(Holder(address(n), ReplicaState.LIVE, NodeState.LIVE) for n in rig)
    extent = LocatedExtent(0, size, 0, done.truth, NAME, holders, token(Mode.READ, NAME))
    suspects: list[object] = []
    reader = ReplicaReader(
        channels,
        Replicas(
            memory,
            rng=Random(1),
            here=frozenset(),
            suspect=lambda *found: suspects.append(found),
        ),
    )

    def read(offset: int, length: int) -> bytes:
        return b"".join(
            stream(
                reader,
                PATH,
                stretches([extent], offset, length),
                relocate=lambda old: replace(old),
                blocks_ahead=2,
                pieces_in_flight=8,
            )
        )

    assert read(0, size) == some(size)
    assert read(size // 3, size // 2) == some(size)[size // 3 :][: size // 2]
    rig[0].close()
    assert read(0, size) == some(size)
    with channels.to(address(rig[1])) as channel:
        access = BlockAccess(NAME, PATH, token(Mode.READ, NAME))
        assert channel.probe(access, verify=True).intact
        assert channel.probe(access).matches(done.truth)
    assert suspects == []
