"""Passing a block on to the next target of a pipeline while it is written here.

A target that refuses, dies or stops taking data is given up and reported; the upload here goes on,
because every copy that becomes durable counts.  An answer from the next target means that it has
the block fsynced, and speaks for all targets behind it.
"""

import contextlib
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Self

import grpc

from dfs.base import crashpoint
from dfs.base.errors import BlockCorrupt, DfsError, PeerUnreachable
from dfs.base.ids import NodeId, node_name
from dfs.base.records import BlockTruth
from dfs.rpc.handover import Closed, Handover, TimedOut
from dfs.rpc.peers import Peers
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.frames import Frame, read_frame
from dfs.wire.grpc_errors import from_rpc_error

AHEAD_MAX: Final = 8  # 8 MiB hide 67 ms of round trip at 1 Gbit/s
ANSWER_S: Final = 60.0  # for the fsync of a block on one slow disk


class Downstream:
    """The further targets of one upload; with none, everything here does nothing.

    Leaving the `with` before `outcome` cancels the call.
    """

    def __init__(self, first: Frame, *, peers: Peers, stall_s: float) -> None:
        self._targets = list(first.header.pipeline) if first.header else []
        self._peers = peers
        self._stall_s = stall_s
        self._queue: Handover[Frame] = Handover(AHEAD_MAX)
        self._given_up: DfsError | None = None
        self._call: grpc.Future[pb.BlockReceipt] | None = None
        self._line = contextlib.ExitStack()
        self._first = first

    def __enter__(self) -> Self:
        if self._targets:
            calls = self._line.enter_context(self._peers.line(self._targets[0].address))
            self._call = calls.UploadBlock.future(self._messages())
            self._call.add_done_callback(lambda _call: self._queue.drop())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._call is not None:
            self._call.cancel()
        self._queue.drop()
        self._line.close()

    def send(self, message: Frame) -> None:
        """Pass a message on; waits while the next target is behind, gives it up when it stalls."""
        if self._call is None or self._given_up is not None:
            return
        try:
            self._queue.put(message, timeout_s=self._stall_s)
        except Closed:
            pass  # the call ended; `outcome` says how
        except TimedOut:
            self._give_up(f"took no data for {self._stall_s:g} s")

    def end(self) -> None:
        """The footer was sent."""
        self._queue.end()

    def outcome(self, truth: BlockTruth) -> tuple[list[pb.BlockReceipt], list[pb.TargetFailure]]:
        """Wait for the answer; receipts of those who hold the block, and why others do not."""
        if self._call is None:
            return [], []
        try:
            answer = self._answer(self._call)
            _agree(answer, truth, self._targets)
        except DfsError as err:
            self._peers.forget(self._targets[0].address)
            return [], self._all_failed(err)
        crashpoint.reach("dn.pipeline.answered")
        further, failures = list(answer.downstream), list(answer.failures)
        del answer.downstream[:], answer.failures[:]
        return [answer, *further], failures

    def _answer(self, call: "grpc.Future[pb.BlockReceipt]") -> pb.BlockReceipt:
        peer = node_name(NodeId(self._targets[0].node))
        try:
            return call.result(timeout=ANSWER_S * len(self._targets))
        except grpc.FutureTimeoutError:
            self._give_up("did not answer after all data was sent")
        except grpc.FutureCancelledError:
            pass
        except grpc.RpcError as exc:
            if self._given_up is None:
                raise from_rpc_error(exc, peer) from exc
        raise self._given_up or PeerUnreachable(f"{peer}: the call was cancelled")

    def _give_up(self, why: str) -> None:
        assert self._call is not None
        self._given_up = PeerUnreachable(f"{node_name(NodeId(self._targets[0].node))} {why}")
        self._call.cancel()
        self._queue.drop()

    def _all_failed(self, err: DfsError) -> list[pb.TargetFailure]:
        first, behind = self._targets[0], self._targets[1:]
        cause = pb.TargetFailure(node=first.node, code=err.code, message=err.message)
        unheard = f"not reached: it is behind {node_name(NodeId(first.node))}"
        return [
            cause,
            *(
                pb.TargetFailure(node=each.node, code=PeerUnreachable.code, message=unheard)
                for each in behind
            ),
        ]

    def _messages(self) -> Iterator[Frame]:
        yield _passed_on(self._first)
        while True:
            try:
                yield self._queue.take()
            except Closed:
                return


def _passed_on(first: Frame) -> Frame:
    """The header as the next target must get it: without itself in the pipeline."""
    passed = pb.BlockChunk.FromString(first.raw)
    del passed.header.pipeline[0]
    return read_frame(passed.SerializeToString())


def _agree(answer: pb.BlockReceipt, truth: BlockTruth, targets: Sequence[pb.Target]) -> None:
    """Refuse receipts that speak of other bytes or of nodes that were not asked."""
    asked = {target.node for target in targets}
    told = (truth.block, truth.generation, truth.length_bytes, truth.hash)
    for each in (answer, *answer.downstream):
        if each.node not in asked or (
            (each.block_id, each.generation, each.length, each.hash) != told
        ):
            raise BlockCorrupt(f"the receipt of {node_name(NodeId(each.node))} does not agree")
