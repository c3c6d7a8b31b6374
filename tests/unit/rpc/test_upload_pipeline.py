"""A block written through a chain of DataNodes, whole and with a link missing."""

import socket
import threading
from collections.abc import Iterator

import grpc
import pytest

from dfs.base.checksum import block_hash
from dfs.base.errors import BadRequest, BlockNotFound, DiskFull
from dfs.base.ids import BlockId
from dfs.base.records import BlockName
from dfs.base.units import MiB
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.codec import block_ref, read_receipts
from dfs.wire.grpc_errors import from_rpc_error
from dfs.wire.tokens import receipt_holds
from tests.datanode_rig import (
    NAME,
    PATH,
    RING,
    RigNode,
    download,
    ref,
    token,
    upload_messages,
)

DATA = bytes(range(256)) * 16_384 + b"!"  # 4 MiB and one byte


def through(nodes: list[RigNode], data: bytes = DATA) -> pb.BlockReceipt:
    first, *rest = nodes
    pipeline = tuple(node.target() for node in rest)
    return first.stub.UploadBlock(upload_messages(data, pipeline=pipeline))


def test_pipeline_stores_on_every_target_and_returns_every_receipt(new_node) -> None:
    nodes = [new_node() for _ in range(3)]
    answer = through(nodes)
    receipts = read_receipts(answer)
    assert [r.node for r in receipts] == [1, 2, 3]
    assert all(receipt_holds(r, RING) for r in receipts)
    assert not answer.failures
    assert [download(node) for node in nodes] == [DATA] * 3


def test_pipeline_reports_a_dead_target_and_all_behind_it(new_node) -> None:
    first, second, third = (new_node() for _ in range(3))
    second.close()
    answer = through([first, second, third])
    assert [r.node for r in read_receipts(answer)] == [1]
    assert [(f.node, f.code) for f in answer.failures] == [
        (2, "peer_unreachable"),
        (3, "peer_unreachable"),
    ]
    assert download(first) == DATA


def test_pipeline_reports_the_last_target_alone_when_only_it_is_dead(new_node) -> None:
    nodes = [new_node() for _ in range(3)]
    nodes[2].close()
    answer = through(nodes)
    assert [r.node for r in read_receipts(answer)] == [1, 2]
    assert [f.node for f in answer.failures] == [3]


def test_pipeline_goes_on_when_the_middle_dies_under_way(new_node) -> None:
    first, second, third = (new_node() for _ in range(3))
    half, go_on = threading.Event(), threading.Event()

    def slowly() -> Iterator[pb.BlockChunk]:
        messages = list(upload_messages(DATA, pipeline=(second.target(), third.target())))
        yield from messages[:3]
        half.set()
        go_on.wait(30)
        yield from messages[3:]

    call = first.stub.UploadBlock.future(slowly())
    half.wait(10)
    second.server.stop(0)
    go_on.set()
    answer = call.result(timeout=30)
    assert [r.node for r in read_receipts(answer)] == [1]
    assert [f.node for f in answer.failures] == [2, 3]
    assert download(first) == DATA
    assert third.store.entry(NAME) is None


def test_pipeline_gives_up_a_target_that_takes_connections_and_nothing_else(new_node) -> None:
    first = new_node(stall_s=0.5)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        target = pb.Target(node=2, address=f"127.0.0.1:{deaf.getsockname()[1]}")
        data = bytes(12 * MiB)
        answer = first.stub.UploadBlock(upload_messages(data, pipeline=(target,)))
    assert [(f.node, f.code) for f in answer.failures] == [(2, "peer_unreachable")]
    assert download(first) == data


def test_pipeline_target_that_refuses_is_reported_with_its_reason(new_node) -> None:
    first, second = new_node(), new_node()
    second.hear(epoch=1, tokens=True, now_ms=4_000_000_000_000)  # there, the token has expired
    answer = through([first, second])
    assert [(f.node, f.code) for f in answer.failures] == [(2, "token_refused")]


def test_pipeline_corruption_on_the_way_is_found_by_the_target_it_reaches(new_node) -> None:
    nodes = [new_node() for _ in range(2)]
    wrong = upload_messages(
        DATA, pipeline=(nodes[1].target(),), digest=block_hash(b"something else")
    )
    with pytest.raises(grpc.RpcError) as caught:
        nodes[0].stub.UploadBlock(wrong)
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    for node in nodes:
        with pytest.raises(BlockNotFound):
            node.store.truth(NAME)


@pytest.mark.parametrize("case", ["itself", "twice", "no address", "too long"])
def test_pipeline_that_makes_no_sense_is_refused(new_node, case: str) -> None:
    node = new_node()
    pipeline = {
        "itself": (node.target(),),
        "twice": (pb.Target(node=5, address="a:1"),) * 2,
        "no address": (pb.Target(node=5),),
        "too long": tuple(pb.Target(node=n, address="a:1") for n in range(2, 18)),
    }[case]
    with pytest.raises(grpc.RpcError) as caught:
        node.stub.UploadBlock(upload_messages(b"x", pipeline=pipeline))
    assert isinstance(from_rpc_error(caught.value, "dn"), BadRequest)


def test_upload_to_a_disk_without_room_is_refused_before_data_flows(new_node) -> None:
    node, other = new_node(reserve_percent=99.99), new_node()
    asked: list[int] = []

    def eager() -> Iterator[pb.BlockChunk]:
        block = block_ref(NAME, path=PATH, token=token(peers=[other.target()]))
        block.block_size = len(DATA)
        messages = upload_messages(DATA, block=block, pipeline=(other.target(),))
        yield next(messages)
        never.wait(20)
        asked.append(1)
        yield from messages

    never = threading.Event()
    with pytest.raises(grpc.RpcError) as caught:
        node.stub.UploadBlock(eager())
    assert isinstance(from_rpc_error(caught.value, "dn"), DiskFull)
    assert asked == []
    never.set()


def test_target_that_came_back_is_used_again_at_once(new_node) -> None:
    first, second = new_node(), new_node()
    port = second.server.port
    second.server.stop(0)
    assert [f.node for f in through([first, second]).failures] == [2]
    again = new_node(port=port)
    name = BlockName(NAME.file, 1, BlockId(99), NAME.generation)
    block = ref(name=name, peers=[again.target()])
    answer = first.stub.UploadBlock(
        upload_messages(b"more", block=block, pipeline=(again.target(),))
    )
    assert [r.node for r in read_receipts(answer)] == [1, 3]
