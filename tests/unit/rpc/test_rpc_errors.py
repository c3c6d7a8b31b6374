import grpc
import pytest

from dfs.base.errors import (
    DfsError,
    ErrorKind,
    PathNotFound,
    PeerUnreachable,
    PortInUse,
    ProgramFault,
    classes_by_code,
)
from dfs.rpc.errors import STATUS, answers
from dfs.rpc.server import BlockServer
from dfs.wire.channel import open_channel
from dfs.wire.dataNode_pb2 import ProbeRequest
from dfs.wire.dataNode_pb2_grpc import DataNodeServicer, DataNodeStub
from dfs.wire.grpc_errors import ERROR_BYTES_MAX, error_metadata, from_rpc_error
from tests.datanode_rig import BugsFail


def test_every_kind_has_a_grpc_status() -> None:
    assert set(STATUS) == set(ErrorKind)


class Refusing(DataNodeServicer):
    """Raises what it is given."""

    def __init__(self, error: Exception) -> None:
        self.log = BugsFail()
        self._error = error

    @answers
    def ProbeBlock(self, request, context):  # noqa: N802 - the proto's name
        raise self._error


def raised_over_grpc(error: Exception) -> tuple[DfsError, BugsFail, str]:
    service = Refusing(error)
    server = BlockServer(service, host="127.0.0.1", port=0, transfers_max=2)
    server.start()
    channel = open_channel(f"127.0.0.1:{server.port}")
    try:
        with pytest.raises(grpc.RpcError) as caught:
            DataNodeStub(channel).ProbeBlock(ProbeRequest())
        return from_rpc_error(caught.value, "dn-9"), service.log, str(caught.value)
    finally:
        channel.close()
        server.stop(0)


@pytest.mark.parametrize("code", sorted(classes_by_code()))
def test_error_arrives_as_the_same_class(code: str) -> None:
    sent = classes_by_code()[code]("what happened: ümläut\n2", hint="do this", details={"n": 3})
    got, _log, _text = raised_over_grpc(sent)
    assert type(got) is type(sent)
    assert (got.message, got.hint, got.details) == (sent.message, sent.hint, sent.details)


def test_error_with_a_book_of_details_still_arrives() -> None:
    sent = PathNotFound("\0" * 50_000, details={"list": list(range(10_000))})
    assert len(error_metadata(sent)[0][1]) <= ERROR_BYTES_MAX
    got, _log, _text = raised_over_grpc(sent)
    assert isinstance(got, PathNotFound)


def test_bug_is_logged_here_and_shows_no_stack_there() -> None:
    got, log, text = raised_over_grpc(ZeroDivisionError("private words"))
    assert isinstance(got, ProgramFault)
    assert "private words" not in text
    assert len(log.bugs) == 1


def test_nobody_there_is_peer_unreachable(new_node) -> None:
    node = new_node()
    address = node.address
    node.close()
    with open_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        DataNodeStub(channel).ProbeBlock(ProbeRequest())
    assert isinstance(from_rpc_error(caught.value, address), PeerUnreachable)


def test_port_in_use_is_said() -> None:
    service = Refusing(ValueError())
    server = BlockServer(service, host="127.0.0.1", port=0, transfers_max=2)
    server.start()
    with pytest.raises(PortInUse):
        BlockServer(service, host="127.0.0.1", port=server.port, transfers_max=2)
    server.stop(0)
