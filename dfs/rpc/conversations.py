"""A bounded number of conversations, each in a thread of its own.

One beyond the bound is sent elsewhere at once: gRPC serves it, or says the same.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import PeerUnreachable
from dfs.wire.local_socket import Kind, LocalSocket
from dfs.wire.streams import ANSWER

TURN_AWAY_S: Final = 1.0

Converse = Callable[[LocalSocket], None]


class Conversations:
    """Those of one way to a DataNode.

    Args:
        name: of their threads.
        converse: what to do with each; it raises nothing.
        stall_s: the longest silence of the other side.
    """

    def __init__(
        self,
        name: str,
        converse: Converse,
        *,
        stall_s: float,
        transfers_max: int,
        clock: Clock,
    ) -> None:
        self._name = name
        self._converse = converse
        self._clock = clock
        self._stall_s = stall_s
        self._transfers_max = transfers_max
        self._changed = threading.Condition()
        self._lines: set[LocalSocket] = set()
        self._stopping = False

    def take_on(self, sock: socket.socket) -> None:
        """Hold a conversation over that connection, which is ours from now on."""
        line = LocalSocket(sock, clock=self._clock, timeout_s=self._stall_s)
        with self._changed:
            is_full = self._stopping or len(self._lines) >= self._transfers_max
            if not is_full:
                self._lines.add(line)
        if is_full:
            with contextlib.suppress(PeerUnreachable):
                line.send(Kind.ELSEWHERE)
            line.close()
            return
        try:
            threading.Thread(target=self._run, args=(line,), name=self._name, daemon=True).start()
        except RuntimeError:  # no more threads
            self._end(line)

    def take_over(self, sock: socket.socket) -> None:
        """As `take_on`, of a connection that came by HTTP and waits for its answer."""
        try:
            sock.setblocking(True)  # noqa: FBT003 - the socket's own word
            sock.settimeout(TURN_AWAY_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(ANSWER)
        except OSError:
            sock.close()
            return
        self.take_on(sock)

    def count(self) -> int:
        """How many are held now."""
        with self._changed:
            return len(self._lines)

    def stop(self, drain_s: float) -> bool:
        """Take no more, let those under way go on for so long, then end them.

        Returns:
            Whether every conversation ended by itself.
        """
        with self._changed:
            self._stopping = True
            drained = self._changed.wait_for(lambda: not self._lines, drain_s)
            for line in self._lines:
                line.cancel()
            self._changed.wait_for(lambda: not self._lines, TURN_AWAY_S)
        return drained

    def _run(self, line: LocalSocket) -> None:
        try:
            self._converse(line)
        finally:
            self._end(line)

    def _end(self, line: LocalSocket) -> None:
        with self._changed:
            line.close()  # under the lock: `stop` cancels none that is closed
            self._lines.discard(line)
            self._changed.notify_all()
