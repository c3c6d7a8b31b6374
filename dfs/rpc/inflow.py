"""A stream of messages received ahead of their use, in a thread of its own, at most a few waiting.

gRPC asks for the next message only when it is wanted; here the next one arrives while the last is
hashed and written.  It is also where a stream that went silent is noticed.
"""

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

import grpc

from dfs.base.errors import PeerUnreachable
from dfs.rpc.handover import Closed, Handover, TimedOut
from dfs.wire.frames import Frame

AHEAD_MAX: Final = 4  # 4 MiB: enough to overlap network and disk, little for each transfer


class Inflow:
    """Messages of one stream; leaving the `with` stops receiving.

    Args:
        messages: a gRPC stream.
        stall_s: the longest silence.
        first_s: the longest silence before the first message, where that is less: who has shown no
            token yet holds a place among the transfers no longer than that.
    """

    def __init__(
        self, messages: Iterator[Frame], *, stall_s: float, first_s: float | None = None
    ) -> None:
        self._messages = messages
        self._stall_s = stall_s
        self._wait_s = stall_s if first_s is None else min(first_s, stall_s)
        self._ahead: Handover[Frame] = Handover(AHEAD_MAX)
        self._failure: grpc.RpcError | None = None
        self._thread = threading.Thread(target=self._pull, name="inflow", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ahead.drop()

    def next(self) -> Frame | None:
        """The next message; None at the end of the stream.

        Raises:
            PeerUnreachable: silent for too long.
            grpc.RpcError: the stream broke.
        """
        try:
            message = self._ahead.take(timeout_s=self._wait_s)
        except TimedOut:
            raise PeerUnreachable(f"no data for {self._wait_s:g} s, transfer ended") from None
        except Closed:
            if self._failure is not None:
                raise self._failure from None
            return None
        self._wait_s = self._stall_s
        return message

    def _pull(self) -> None:
        try:
            for message in self._messages:
                self._ahead.put(message)
        except Closed:
            return
        except grpc.RpcError as exc:
            self._failure = exc
        self._ahead.end()
