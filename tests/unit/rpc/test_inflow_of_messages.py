"""A stream of messages that goes silent is given up: sooner before it said what it is."""

import threading
from collections.abc import Iterator

import pytest

from dfs.base.errors import PeerUnreachable
from dfs.rpc.inflow import Inflow
from dfs.wire import dataNode_pb2 as pb

SHORT_S = 0.01
LONG_S = 60.0


@pytest.fixture
def quiet() -> Iterator[threading.Event]:
    over = threading.Event()
    yield over
    over.set()


def test_stream_that_never_begins_is_given_up_before_one_that_pauses(
    quiet: threading.Event,
) -> None:
    def stream() -> Iterator[pb.BlockChunk]:
        quiet.wait(LONG_S)
        yield pb.BlockChunk(offset=1)

    with (
        Inflow(stream(), stall_s=LONG_S, first_s=SHORT_S) as inflow,
        pytest.raises(PeerUnreachable, match=r"0\.01 s"),
    ):
        inflow.next()


def test_stream_that_began_may_pause_as_long_as_any(quiet: threading.Event) -> None:
    def stream() -> Iterator[pb.BlockChunk]:
        yield pb.BlockChunk(offset=1)
        quiet.wait(LONG_S)
        yield pb.BlockChunk(offset=2)

    with Inflow(stream(), stall_s=LONG_S, first_s=1.0) as inflow:
        first = inflow.next()
        threading.Timer(0.0, quiet.set).start()
        second = inflow.next()
    assert [each.offset for each in (first, second) if each is not None] == [1, 2]
