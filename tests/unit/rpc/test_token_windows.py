"""A token for part of a block reads that part and not a byte beside it."""

import grpc
import pytest

from dfs.base.errors import TokenRefused
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.codec import block_ref
from dfs.wire.grpc_errors import from_rpc_error
from dfs.wire.tokens import Mode
from tests.datanode_rig import NAME, PATH, RigNode, download, token, upload_messages

CONTENT = b"anna's own|eve's own|removed"
EVES = (11, 10)


@pytest.fixture
def holding(node: RigNode) -> RigNode:
    """Holds a block of three files."""
    node.stub.UploadBlock(upload_messages(CONTENT, pack=b"names of all three"))
    return node


def asked(
    *ranges: tuple[int, int], window: tuple[int, int] | None = EVES, label: bool = False
) -> pb.BlockRange:
    block = block_ref(NAME, path=PATH, token=token(Mode.READ, window=window))
    return pb.BlockRange(
        block=block, ranges=[pb.Range(offset=at, length=n) for at, n in ranges], label=label
    )


def test_a_windowed_token_reads_its_window_whole_and_in_parts(holding: RigNode) -> None:
    assert download(holding, asked(EVES)) == b"eve's own|"
    assert download(holding, asked((13, 3), (11, 2))) == b"e's" + b"ev"


@pytest.mark.parametrize(
    "ranges",
    [
        [(10, 1)],
        [(10, 11)],
        [(11, 11)],
        [(21, 1)],
        [(0, 28)],
        [EVES, (0, 1)],
        [],
    ],
    ids=str,
)
def test_a_windowed_token_reads_nothing_beside_its_window(
    holding: RigNode, ranges: list[tuple[int, int]]
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        download(holding, asked(*ranges))
    assert isinstance(from_rpc_error(caught.value, "dn"), TokenRefused)


def test_a_windowed_token_does_not_tell_what_else_the_block_holds(holding: RigNode) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        download(holding, asked(EVES, label=True))
    assert isinstance(from_rpc_error(caught.value, "dn"), TokenRefused)


def test_a_token_without_a_window_reads_all_of_the_block(holding: RigNode) -> None:
    assert download(holding, asked(window=None)) == CONTENT
    assert download(holding, asked((3, 4), window=None)) == CONTENT[3:7]


def test_a_windowed_token_may_ask_whether_the_block_is_held(holding: RigNode) -> None:
    block = asked().block
    assert holding.stub.ProbeBlock(pb.ProbeRequest(block=block, verify=True)).intact
