"""Connections to DataNodes, kept between conversations.

One gRPC channel an address, shared.  The one unused longest is closed when too many are open; one
whose peer was not reached is replaced, so that the next call starts afresh instead of waiting out
a reconnect pause.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import PeerUnreachable, Stopping
from dfs.base.records import NodeAddress
from dfs.transfer.block_channel import BlockChannel
from dfs.transfer.stall_watch import StallWatch
from dfs.wire.channel import open_channel

CHANNELS_MAX: Final = 128  # more than the nodes of a cluster we plan for


class _Line:
    def __init__(self, address: NodeAddress, watch: StallWatch) -> None:
        self.grpc = open_channel(address.grpc)
        self.channel = BlockChannel(self.grpc, address, watch)
        self.users = 0
        self.broken = False


class Channels:
    """Lends conversations with DataNodes.  Safe to share between threads.

    Args:
        stall_s: the longest silence of a DataNode in the middle of a conversation.
    """

    def __init__(self, *, clock: Clock, stall_s: float) -> None:
        self.watch = StallWatch(clock=clock, stall_s=stall_s)
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}  # in order of last use
        self.closed = False

    @contextlib.contextmanager
    def to(self, address: NodeAddress) -> Iterator[BlockChannel]:
        """A conversation with that node, until the `with` block ends.

        Raises:
            Stopping: everything was closed.
        """
        line = self._borrow(address)
        try:
            yield line.channel
        except PeerUnreachable:
            line.broken = True
            raise
        finally:
            for unused in self._give_back(address, line):
                unused.grpc.close()

    def close(self) -> None:
        """End every conversation and close every channel; those under way fail at once."""
        with self._lock:
            self.closed = True
            lines, self._lines = list(self._lines.values()), {}
        self.watch.cancel_all()
        for line in lines:
            line.grpc.close()

    def _borrow(self, address: NodeAddress) -> _Line:
        with self._lock:
            if self.closed:
                raise Stopping("the transfer was ended on this side")
            line = self._lines.pop(address.grpc, None) or _Line(address, self.watch)
            line.users += 1
            self._lines[address.grpc] = line
            return line

    def _give_back(self, address: NodeAddress, line: _Line) -> list[_Line]:
        """The lines to close now, outside the lock."""
        with self._lock:
            line.users -= 1
            held = self._lines.get(address.grpc) is line
            if held and line.broken:
                del self._lines[address.grpc]
                held = False
            idle = [key for key, each in self._lines.items() if not each.users]
            surplus = idle[: max(0, len(self._lines) - CHANNELS_MAX)]
            closing = [self._lines.pop(key) for key in surplus]
            if not held and not line.users and not self.closed:
                closing.append(line)
            return closing
