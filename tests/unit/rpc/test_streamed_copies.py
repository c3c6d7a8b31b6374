"""Long blocks are copied as bare streams; what a stream spoils, gRPC makes good."""

import socket
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from dfs.base.checksum import block_hash
from dfs.base.errors import BlockCorrupt, BlockNotFound, DiskFull
from dfs.base.ids import Generation
from dfs.base.records import BlockName
from dfs.rpc.copy import STREAMED_BYTES_MIN
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.tokens import Mode
from tests.datanode_rig import NAME, PATH, RigNode, download, ref, token, upload_messages
from tests.misbehaving_streams import MISBEHAVIOUR, answering
from tests.rpc_refusals import refusal
from tests.same_host_rig import block_file, calls, some

DATA = some(STREAMED_BYTES_MIN)


def copy(
    source: RigNode, target: RigNode, data: bytes = DATA, *, name: BlockName = NAME
) -> pb.BlockReceipt:
    return target.stub.CopyBlock(
        pb.CopyRequest(
            block=ref(name=name, peers=[source.target()]),
            source=source.target(),
            source_token=token(Mode.COPY, name),
            length=len(data),
            hash=block_hash(data),
        )
    )


def put(node: RigNode, data: bytes = DATA, *, name: BlockName = NAME) -> None:
    node.stub.UploadBlock(upload_messages(data, block=ref(name=name), pack=b"table"))


@pytest.mark.parametrize("size", [STREAMED_BYTES_MIN, STREAMED_BYTES_MIN + 1, 9 * 1024 * 1024 + 77])
def test_long_block_is_copied_by_one_stream_with_its_path_and_contents_table(
    new_node: Callable[..., RigNode], size: int
) -> None:
    data, source, target = some(size), new_node(), new_node()
    put(source, data)
    assert copy(source, target, data).hash == block_hash(data)
    assert download(target) == data
    label = target.store.label(NAME)
    assert (label.path, label.pack) == (PATH, b"table")
    assert calls(source, "stream_read") == 1


def test_short_block_needs_no_second_conversation(new_node: Callable[..., RigNode]) -> None:
    data, source, target = some(STREAMED_BYTES_MIN - 1), new_node(), new_node()
    put(source, data)
    copy(source, target, data)
    assert calls(source, "stream_read") == 0


@pytest.mark.parametrize("behave", MISBEHAVIOUR)
def test_whatever_answers_where_streams_are_the_copy_is_right(
    new_node: Callable[..., RigNode], behave: Callable[[socket.socket], None]
) -> None:
    source, target = new_node(), new_node(stall_s=1.0)
    put(source)
    source.service.stream_port, listener = answering(behave)
    with listener:
        assert copy(source, target).hash == block_hash(DATA)
    assert download(target) == DATA
    assert not list((target.folder / "tmp").iterdir())


def test_nobody_where_streams_are_is_no_error(new_node: Callable[..., RigNode]) -> None:
    source, target = new_node(), new_node()
    put(source)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        source.service.stream_port = listener.getsockname()[1]
    copy(source, target)
    assert download(target) == DATA


def test_port_that_is_shut_is_tried_once_in_a_while(new_node: Callable[..., RigNode]) -> None:
    source, target = new_node(), new_node()
    asked: list[int] = []

    def shut(sock: socket.socket) -> None:
        asked.append(1)

    source.service.stream_port, listener = answering(shut)
    with listener:
        for name in (NAME, replace(NAME, generation=Generation(10))):
            put(source, name=name)
            copy(source, target, name=name)
    assert len(asked) == 1


def test_source_without_streams_is_asked_over_grpc(new_node: Callable[..., RigNode]) -> None:
    source, target = new_node(), new_node()
    put(source)
    source.service.stream_port = 0
    copy(source, target)
    assert download(target) == DATA


def test_bad_byte_on_the_disk_of_the_source_is_never_stored_and_the_source_is_named(
    new_node: Callable[..., RigNode],
) -> None:
    source, target = new_node(), new_node()
    put(source)
    with block_file(source).open("r+b") as file:
        file.seek(3_000_000)
        byte = file.read(1)
        file.seek(3_000_000)
        file.write(bytes([byte[0] ^ 1]))
    err = refusal(lambda: copy(source, target))
    assert isinstance(err, BlockCorrupt)
    assert err.details["side"] == "source"
    assert isinstance(refusal(lambda: download(target)), BlockNotFound)
    assert not list((target.folder / "tmp").iterdir())


def test_disk_of_the_target_is_not_blamed_on_the_stream(
    new_node: Callable[..., RigNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = new_node(), new_node()
    put(source)

    def full(*_: object, **__: object) -> None:
        raise DiskFull("no room")

    monkeypatch.setattr(target.store, "begin", full)
    assert isinstance(refusal(lambda: copy(source, target)), DiskFull)
    assert calls(source, "download") <= 1, "it was not fetched a second time"
