"""The data streams between two ends of a channel."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from dfs.base.checksum import chunk_hashes
from dfs.base.units import MiB
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.channel import PIECE_BYTES, SERVER_OPTIONS, open_channel
from dfs.wire.data_calls import DataCalls, serve_data_calls
from dfs.wire.frames import Frame, data_frame

BLOCK_BYTES = 64 * MiB
SETTLED_S = 0.5


class Giver:
    """Sends a long block as fast as it is taken, and says how far it came."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.moved = threading.Condition()

    def DownloadBlock(self, request, context) -> Iterator[Frame]:  # noqa: N802
        data = bytes(PIECE_BYTES)
        for offset in range(0, BLOCK_BYTES, PIECE_BYTES):
            yield data_frame(offset, data, chunk_hashes(data))
            with self.moved:
                self.sent_bytes += PIECE_BYTES
                self.moved.notify_all()

    def settled(self) -> int:
        """What was sent by the time that nothing more is."""
        with self.moved:
            while self.moved.wait(SETTLED_S):
                pass
            return self.sent_bytes

    def UploadBlock(self, request_iterator, context) -> pb.BlockReceipt:  # noqa: N802
        return pb.BlockReceipt(length=sum(len(frame.data) for frame in request_iterator))

    CopyBlock = DeleteBlock = ProbeBlock = UploadBlock


@pytest.fixture
def giver() -> Giver:
    return Giver()


@pytest.fixture
def calls(giver: Giver) -> Iterator[DataCalls]:
    server = grpc.server(ThreadPoolExecutor(4), options=SERVER_OPTIONS)
    serve_data_calls(giver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with open_channel(f"127.0.0.1:{port}") as channel:
        yield DataCalls(channel)
    server.stop(0)


def test_a_reader_that_is_behind_holds_the_sender_back_after_a_few_megabytes(
    giver: Giver, calls: DataCalls
) -> None:
    for _ in calls.DownloadBlock(pb.BlockRange()):
        pass  # fast, so that gRPC would measure the link and allow for more from now on
    call, before = calls.DownloadBlock(pb.BlockRange()), giver.sent_bytes
    next(call)

    assert giver.settled() - before <= 8 * MiB

    assert 1 + sum(1 for _ in call) == BLOCK_BYTES // PIECE_BYTES


def test_what_is_uploaded_arrives_in_frames(calls: DataCalls) -> None:
    data = bytes(PIECE_BYTES)
    frames = (data_frame(at * PIECE_BYTES, data, chunk_hashes(data)) for at in range(3))

    assert calls.UploadBlock(frames).length == 3 * PIECE_BYTES
