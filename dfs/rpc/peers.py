"""Channels to other DataNodes, kept open between transfers.

A channel is shared by transfers to the same address and closed when it has been idle longest and
too many are open, or when a call over it found nobody: the next call then starts afresh instead of
waiting out a reconnect pause.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Final

import grpc

from dfs.wire.channel import open_channel
from dfs.wire.data_calls import DataCalls

IDLE_CHANNELS_MAX: Final = 32


class _Line:
    def __init__(self, address: str) -> None:
        self.channel: grpc.Channel = open_channel(address)
        self.calls = DataCalls(self.channel)
        self.users = 0


class Peers:
    """Lends channels.  Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}  # in order of last use

    @contextlib.contextmanager
    def line(self, address: str) -> Iterator[DataCalls]:
        """The calls to that address, until the block ends."""
        line = self._borrow(address)
        try:
            yield line.calls
        except grpc.RpcError:
            self.forget(address)
            raise
        finally:
            for done in self._give_back(address, line):
                done.channel.close()

    def forget(self, address: str) -> None:
        """A call there failed: the next one gets a new channel; those under way keep theirs."""
        with self._lock:
            self._lines.pop(address, None)

    def close(self) -> None:
        """Close every channel; calls under way over them end."""
        with self._lock:
            lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            line.channel.close()

    def _borrow(self, address: str) -> _Line:
        with self._lock:
            line = self._lines.pop(address, None) or _Line(address)
            line.users += 1
            self._lines[address] = line
            return line

    def _give_back(self, address: str, line: _Line) -> list[_Line]:
        """The lines to close now, outside the lock."""
        with self._lock:
            line.users -= 1
            idle = [(key, each) for key, each in self._lines.items() if each.users == 0]
            too_many = idle[: max(0, len(idle) - IDLE_CHANNELS_MAX)]
            for key, _ in too_many:
                del self._lines[key]
            closing = [each for _, each in too_many]
            if line.users == 0 and self._lines.get(address) is not line and line not in closing:
                closing.append(line)
            return closing
