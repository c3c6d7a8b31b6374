"""Whoever shows no good token gets no byte, writes no byte and deletes nothing."""

import socket
import threading

import grpc
import pytest

from dfs.base.errors import BadRequest, TokenRefused
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockKey, BlockName
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.codec import block_ref
from dfs.wire.grpc_errors import from_rpc_error
from dfs.wire.nodes_api import BeatReply, KeyItem
from dfs.wire.tokens import Mode
from tests.datanode_rig import (
    DAY_MS,
    NAME,
    NOW_MS,
    PATH,
    RigNode,
    download,
    ref,
    token,
    upload_messages,
)

OTHER = BlockName(NAME.file, NAME.number, BlockId(8), NAME.generation)
FORGER = BlockKey(1, b"x" * 32, 0, 4_000_000_000_000)
STRANGER = BlockKey(77, b"k" * 32, 0, 4_000_000_000_000)


def bad_tokens(mode: Mode) -> dict[str, bytes]:
    good = token(mode)
    return {
        "none": b"",
        "garbage": b"g" * 80,
        "cut": good[:-1],
        "changed": bytes([good[0]]) + bytes([good[1] ^ 1]) + good[2:],
        "forged": token(mode, key=FORGER),
        "unknown key": token(mode, key=STRANGER),
        "expired": token(mode, expires_ms=NOW_MS - 61_000),
        "another block": token(mode, OTHER),
        "another generation": token(
            mode, BlockName(NAME.file, NAME.number, NAME.block, Generation(10))
        ),
        "another file": token(
            mode, BlockName(InodeId(22), NAME.number, NAME.block, NAME.generation)
        ),
        "another cluster": token(mode, cluster="d" * 32),
        "delete": token(Mode.DELETE) if mode is not Mode.DELETE else token(Mode.COPY),
        "other mode": token(Mode.READ if mode is not Mode.READ else Mode.WRITE),
    }


CASES = list(bad_tokens(Mode.READ))


def block_with(raw: bytes) -> pb.BlockRef:
    return block_ref(NAME, path=PATH, token=raw)


def refused(call) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert isinstance(from_rpc_error(caught.value, "dn"), TokenRefused)


@pytest.fixture
def holding(node: RigNode) -> RigNode:
    node.stub.UploadBlock(upload_messages(b"secret"))
    return node


@pytest.mark.parametrize("case", CASES)
def test_download_sends_nothing_for_a_bad_token(holding: RigNode, case: str) -> None:
    block = block_with(bad_tokens(Mode.READ)[case])
    got: list[pb.BlockChunk] = []

    def read() -> None:
        for chunk in holding.stub.DownloadBlock(pb.BlockRange(block=block, label=True)):
            got.append(chunk)

    refused(read)
    assert got == []


@pytest.mark.parametrize("case", CASES)
def test_upload_stores_nothing_for_a_bad_token(node: RigNode, case: str) -> None:
    block = block_with(bad_tokens(Mode.WRITE)[case])
    refused(lambda: node.stub.UploadBlock(upload_messages(b"abcd", block=block)))
    assert node.store.entry(NAME) is None


@pytest.mark.parametrize("case", CASES)
def test_delete_deletes_nothing_for_a_bad_token(holding: RigNode, case: str) -> None:
    block = block_with(bad_tokens(Mode.DELETE)[case])
    refused(lambda: holding.stub.DeleteBlock(pb.DeleteRequest(block=block, epoch=9)))
    assert download(holding) == b"secret"
    assert holding.standing.epoch == 1


@pytest.mark.parametrize("case", CASES)
def test_probe_tells_nothing_for_a_bad_token(holding: RigNode, case: str) -> None:
    block = block_with(bad_tokens(Mode.READ)[case])
    refused(lambda: holding.stub.ProbeBlock(pb.ProbeRequest(block=block)))


@pytest.mark.parametrize("case", CASES)
def test_copy_fetches_nothing_for_a_bad_token(node: RigNode, case: str) -> None:
    block = block_with(bad_tokens(Mode.WRITE)[case])
    request = pb.CopyRequest(block=block, source=node.target(), hash=bytes(16), length=1)
    refused(lambda: node.stub.CopyBlock(request))


def test_upload_binds_the_file_name_to_the_token(node: RigNode) -> None:
    block = block_ref(NAME, path="/user/eve/label", token=token(Mode.WRITE))
    refused(lambda: node.stub.UploadBlock(upload_messages(b"abcd", block=block)))


def listening() -> socket.socket:
    """Somebody whom a DataNode has no business to call."""
    return socket.create_server(("127.0.0.1", 0))


def uncalled(stranger: socket.socket) -> bool:
    stranger.settimeout(0.2)
    try:
        stranger.accept()
    except TimeoutError:
        return True
    return False


@pytest.mark.parametrize("case", ["nobody", "another node", "another address", "one of two"])
def test_upload_calls_nobody_whom_the_token_does_not_name(node: RigNode, case: str) -> None:
    with listening() as stranger:
        target = pb.Target(node=5, address=f"127.0.0.1:{stranger.getsockname()[1]}")
        named = {
            "nobody": [],
            "another node": [pb.Target(node=6, address=target.address)],
            "another address": [pb.Target(node=5, address="127.0.0.1:1")],
            "one of two": [pb.Target(node=6, address="127.0.0.1:1")],
        }[case]
        pipeline = (*named, target) if case == "one of two" else (target,)
        block = ref(peers=named)
        refused(
            lambda: node.stub.UploadBlock(upload_messages(b"x", block=block, pipeline=pipeline))
        )
        assert uncalled(stranger)
    assert node.store.entry(NAME) is None


def test_upload_may_use_some_of_the_targets_that_its_token_names(new_node) -> None:
    first, second, third = (new_node() for _ in range(3))
    block = ref(peers=[first.target(), second.target(), third.target()])
    messages = upload_messages(b"some", block=block, pipeline=(third.target(),))
    assert not first.stub.UploadBlock(messages).failures
    assert download(third) == b"some"
    assert second.store.entry(NAME) is None


def test_copy_calls_no_source_that_the_token_does_not_name(node: RigNode) -> None:
    with listening() as stranger:
        source = pb.Target(node=5, address=f"127.0.0.1:{stranger.getsockname()[1]}")
        request = pb.CopyRequest(block=ref(), source=source, hash=bytes(16), length=1)
        refused(lambda: node.stub.CopyBlock(request))
        assert uncalled(stranger)


def test_block_name_must_agree_with_the_ids(node: RigNode) -> None:
    block = ref(Mode.READ)
    block.block_name = "../../etc/passwd"
    with pytest.raises(grpc.RpcError) as caught:
        node.stub.ProbeBlock(pb.ProbeRequest(block=block))
    assert isinstance(from_rpc_error(caught.value, "dn"), BadRequest)


def test_copy_token_reads_and_write_token_does_not_delete(holding: RigNode) -> None:
    assert download(holding, pb.BlockRange(block=ref(Mode.COPY))) == b"secret"
    refused(lambda: holding.stub.DeleteBlock(pb.DeleteRequest(block=ref(Mode.WRITE), epoch=1)))


def test_tokens_switched_off_let_readers_and_writers_in_but_no_delete(new_node) -> None:
    node = new_node(tokens=False)
    block = block_with(b"")
    node.stub.UploadBlock(upload_messages(b"abcd", block=block))
    assert download(node, pb.BlockRange(block=block)) == b"abcd"
    refused(lambda: node.stub.DeleteBlock(pb.DeleteRequest(block=block, epoch=1)))


def test_token_expires_by_the_namenodes_clock(holding: RigNode) -> None:
    request = pb.BlockRange(block=block_with(token(Mode.READ, expires_ms=NOW_MS + DAY_MS)))
    assert download(holding, request) == b"secret"
    holding.hear(epoch=1, now_ms=NOW_MS + 2 * DAY_MS)
    refused(lambda: download(holding, request))


def test_token_under_a_key_made_since_the_last_beat_waits_for_the_next(holding: RigNode) -> None:
    new = BlockKey(2, b"n" * 32, 0, 4_000_000_000_000)
    at_ms = NOW_MS
    reply = BeatReply(
        epoch=1,
        now_ms=at_ms,
        registered=True,
        block_tokens=True,
        keys=[KeyItem(new.key_id, new.secret, new.created_ms, new.expires_ms)],
    )

    def beat() -> None:
        threading.Thread(
            target=lambda: holding.standing.learn(reply, sent_ms=at_ms, received_ms=at_ms)
        ).start()

    holding.standing.on_key_wanted(beat)
    request = pb.BlockRange(block=block_with(token(Mode.READ, key=new)))
    assert download(holding, request) == b"secret"
