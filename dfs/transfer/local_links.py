"""Ways to DataNodes past gRPC: who has one, opening it, and closing it from outside.

That a DataNode is on this computer is proven by trying: its socket is there, and who answers at it
is that very node.  To others a stream leads, over their HTTP port.  Where that fails, or the way
breaks, gRPC is used, and for a while the way is not tried again.  Nothing of it is ever an error
that a caller sees.
"""

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final

import msgspec

from dfs.base.clock import Clock
from dfs.base.errors import DfsError, PeerUnreachable
from dfs.base.ids import NodeId
from dfs.base.records import NodeAddress
from dfs.transfer.channels import Channels
from dfs.transfer.stall_watch import Watched
from dfs.wire import streams
from dfs.wire.local_socket import Kind, LocalSocket, Message, connect, pack, refused

CONNECT_S: Final = 1.0
RETRY_AFTER_S: Final = 30.0


class Elsewhere(Exception):  # noqa: N818 - a direction, not a fault
    """This way is not open: take gRPC.  Never leaves `dfs.transfer`."""


class LocalLine:
    """One conversation with one DataNode; every wait is watched."""

    def __init__(self, line: LocalSocket, watched: Watched) -> None:
        self._line = line
        self._watched = watched

    def send(self, kind: Kind, payload: bytes = b"", *, file: int | None = None) -> None:
        """Send a message.

        Raises:
            Elsewhere: the other side is gone.
        """
        self._watched.waiting()
        try:
            self._line.send(kind, payload, file=file)
        except PeerUnreachable as exc:
            raise Elsewhere(exc.message) from exc
        finally:
            self._watched.working()

    def receive_bytes(self, length_bytes: int) -> bytes:
        """So many bare bytes.

        Raises:
            Elsewhere: the other side is gone, or silent for too long.
        """
        self._watched.waiting()
        try:
            return self._line.receive_bytes(length_bytes)
        except PeerUnreachable as exc:
            raise Elsewhere(exc.message) from exc
        finally:
            self._watched.working()

    def receive(self, *, timeout_s: float | None = None) -> Message:
        """The next message, within the longest silence allowed, or less.

        Raises:
            Elsewhere: the other side is gone, silent for too long, or sends us away.
            DfsError: what it refused with.
        """
        self._watched.waiting()
        try:
            message = self._line.receive(timeout_s=timeout_s)
        except DfsError as exc:
            raise Elsewhere(exc.message) from exc
        finally:
            self._watched.working()
        if message is None:
            raise Elsewhere("the other side ended")
        if message.kind is Kind.ELSEWHERE:
            message.drop()
            raise Elsewhere("sent elsewhere")
        if message.kind is Kind.REFUSED:
            message.drop()
            raise refused(message)
        return message


class Links(ABC):
    """Opens conversations of one kind.  Safe to share between threads."""

    def __init__(self, channels: Channels, *, clock: Clock) -> None:
        self._channels = channels
        self._clock = clock
        self._lock = threading.Lock()
        self._closed_until_s: dict[NodeId, float] = {}

    @property
    def stall_s(self) -> float:
        """The longest silence."""
        return self._channels.watch.stall_s

    def may_reach(self, address: NodeAddress) -> bool:
        """Whether it is worth trying."""
        if not self._is_offered(address) or self._channels.closed:
            return False
        with self._lock:
            until_s = self._closed_until_s.get(address.node, 0.0)
        return self._clock.monotonic_s() >= until_s

    def avoid(self, node: NodeId) -> None:
        """Not to try that way for a while."""
        with self._lock:
            self._closed_until_s[node] = self._clock.monotonic_s() + RETRY_AFTER_S

    @contextlib.contextmanager
    def to(
        self, address: NodeAddress, kind: Kind, asked: msgspec.Struct, *, file: int | None = None
    ) -> Iterator[LocalLine]:
        """A conversation with that node that begins so, until the `with` block ends.

        Raises:
            Elsewhere: nobody is there.
        """
        try:
            sock = self._connect(address)
        except OSError as exc:
            raise Elsewhere(str(exc)) from exc
        line = LocalSocket(sock, clock=self._clock, timeout_s=None)  # the watch ends what is silent
        watched = self._channels.watch.watch(line.cancel)
        try:
            if self._channels.closed:  # since we asked, and before the watch knew of us
                raise Elsewhere("closed")
            conversation = LocalLine(line, watched)
            conversation.send(kind, pack(asked), file=file)
            yield conversation
        finally:
            self._channels.watch.end(watched)
            line.close()

    @abstractmethod
    def _is_offered(self, address: NodeAddress) -> bool:
        """Whether the node says that it has such a way."""

    @abstractmethod
    def _connect(self, address: NodeAddress) -> socket.socket:
        """Open it; OSError where nobody is there."""


class LocalLinks(Links):
    """To DataNodes of this computer."""

    def _is_offered(self, address: NodeAddress) -> bool:
        return bool(address.local)

    def _connect(self, address: NodeAddress) -> socket.socket:
        return connect(address.local, timeout_s=CONNECT_S)


class StreamLinks(Links):
    """To any DataNode that is reached by HTTP."""

    def _is_offered(self, address: NodeAddress) -> bool:
        return bool(address.http_port)

    def _connect(self, address: NodeAddress) -> socket.socket:
        return streams.connect(address.host, address.http_port, timeout_s=CONNECT_S)
