"""Values for tests: defaults first, what a test is about as keywords."""

from dfs.base.checksum import block_hash
from dfs.base.ids import BlockId, Generation, InodeId, NodeId, UserId
from dfs.base.records import (
    BlockName,
    BlockTruth,
    Holder,
    LocatedExtent,
    NodeAddress,
    NodeUsage,
    NodeView,
    Principal,
    VolumeStatus,
)
from dfs.base.states import NodeDuty, NodeState, ReplicaState, VolumeState
from dfs.base.units import GiB


def an_address(node: int = 1, *, rack: str = "/default", port: int = 9866) -> NodeAddress:
    """Where DataNode `node` would be on this machine."""
    return NodeAddress(NodeId(node), "127.0.0.1", port, port - 2, rack)


def a_usage(*, free_bytes: int = 80 * GiB, total_bytes: int = 100 * GiB) -> NodeUsage:
    """A beat of a DataNode that is a fifth full."""
    return NodeUsage(
        total_bytes=total_bytes,
        free_bytes=free_bytes,
        used_bytes=total_bytes - free_bytes,
        uptime_s=3600.0,
        in_flight=0,
    )


def a_node(
    node: int = 1,
    *,
    rack: str = "/default",
    state: NodeState = NodeState.LIVE,
    duty: NodeDuty = NodeDuty.IN_SERVICE,
    usage: NodeUsage | None = None,
    silent_s: float = 1.0,
    reachable: bool = True,
) -> NodeView:
    """A healthy DataNode as placement sees it."""
    usage = usage or a_usage()
    return NodeView(
        address=an_address(node, rack=rack),
        state=state,
        duty=duty,
        usage=usage,
        first_total_bytes=usage.total_bytes,
        first_free_bytes=usage.free_bytes,
        registered_ms=1_700_000_000_000,
        silent_s=silent_s,
        reachable=reachable,
        volumes=(a_volume(free_bytes=usage.free_bytes, total_bytes=usage.total_bytes),),
    )


def a_volume(
    volume: str = "v1",
    *,
    state: VolumeState = VolumeState.ONLINE,
    free_bytes: int = 80 * GiB,
    total_bytes: int = 100 * GiB,
) -> VolumeStatus:
    """One data folder that takes writes."""
    return VolumeStatus(
        volume=volume,
        path=f"/srv/{volume}",
        state=state,
        total_bytes=total_bytes,
        free_bytes=free_bytes,
        used_bytes=total_bytes - free_bytes,
        blocks=10,
    )


def a_name(block: int = 1, *, file: int = 7, number: int = 0, generation: int = 1) -> BlockName:
    """Where a block lies."""
    return BlockName(InodeId(file), number, BlockId(block), Generation(generation))


def a_truth(block: int = 1, *, data: bytes = b"x" * 100, generation: int = 1) -> BlockTruth:
    """What every copy of a block with that content is held against."""
    return BlockTruth(BlockId(block), Generation(generation), len(data), block_hash(data))


def an_extent(
    block: int = 1, *, nodes: tuple[int, ...] = (1, 2), file_offset: int = 0, data: bytes = b"x"
) -> LocatedExtent:
    """A whole block of a file on those nodes."""
    return LocatedExtent(
        file_offset=file_offset,
        length_bytes=len(data),
        block_offset=0,
        truth=a_truth(block, data=data),
        name=a_name(block),
        holders=tuple(
            Holder(an_address(node), ReplicaState.LIVE, NodeState.LIVE) for node in nodes
        ),
        token=b"",
    )


def a_principal(name: str = "ada", *, user: int = 5) -> Principal:
    """A user without special rights."""
    return Principal(UserId(user), name, frozenset())
