"""Listens on the Unix socket: a bounded number of conversations, each in a thread of its own.

One beyond the bound is sent elsewhere at once: gRPC serves it, or says the same.  The socket of an
earlier run that was killed is a dead name and is removed; a folder is served by one process, which
holds its lock, so nobody else's socket is.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import PeerUnreachable
from dfs.base.events import Emitter, Event
from dfs.wire.local_socket import Kind, LocalSocket, bindable

BACKLOG: Final = 64
# Everybody may connect who reaches the folder: tokens decide, as on the port beside it.
SOCKET_MODE: Final = 0o666
ACCEPT_PAUSE_S: Final = 0.2  # when there are no open files left
TURN_AWAY_S: Final = 1.0

Converse = Callable[[LocalSocket], None]


class LocalServer:
    """Listens from `start` on.

    Args:
        converse: what to do with each conversation; it raises nothing.
        stall_s: the longest silence of the other side.
        outside: the clock, and where it is said that there is no socket.
    """

    def __init__(
        self,
        converse: Converse,
        *,
        path: Path,
        stall_s: float,
        transfers_max: int,
        outside: tuple[Clock, Emitter],
    ) -> None:
        self.path = path
        self._converse = converse
        self._clock, self._emit = outside
        self._stall_s = stall_s
        self._transfers_max = transfers_max
        self._changed = threading.Condition()
        self._lines: set[LocalSocket] = set()
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None

    def start(self) -> str:
        """Listen and serve; the path of the socket, or "" when none can be made there."""
        try:
            self._listener = self._listen()
        except OSError as exc:
            why = exc.strerror or str(exc)
            self._emit.emit(Event.LOCAL_SOCKET_MISSING, path=str(self.path), why=why)
            return ""
        threading.Thread(target=self._accept, name="local-accept", daemon=True).start()
        return str(self.path)

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.path.unlink(missing_ok=True)
            with bindable(str(self.path)) as name:
                listener.bind(name)
            self.path.chmod(SOCKET_MODE)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener

    def stop(self, drain_s: float) -> bool:
        """Take no more, let those under way go on for so long, then end them.

        Returns:
            Whether every conversation ended by itself.
        """
        self._stopping.set()
        if self._listener is None:
            return True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        with self._changed:
            drained = self._changed.wait_for(lambda: not self._lines, drain_s)
            for line in self._lines:
                line.cancel()
            self._changed.wait_for(lambda: not self._lines, TURN_AWAY_S)
        return drained

    def _accept(self) -> None:
        assert self._listener is not None
        with self._listener:
            while not self._stopping.is_set():
                try:
                    sock, _peer = self._listener.accept()
                except OSError:
                    # Out of open files or memory, or the listener was shut down.
                    self._stopping.wait(ACCEPT_PAUSE_S)
                    continue
                self._take_on(LocalSocket(sock, clock=self._clock, timeout_s=self._stall_s))

    def _take_on(self, line: LocalSocket) -> None:
        with self._changed:
            is_full = len(self._lines) >= self._transfers_max
            if not is_full:
                self._lines.add(line)
        if is_full:
            with contextlib.suppress(PeerUnreachable):
                line.send(Kind.ELSEWHERE)
            line.close()
            return
        try:
            threading.Thread(target=self._run, args=(line,), name="local", daemon=True).start()
        except RuntimeError:  # no more threads
            self._end(line)

    def _run(self, line: LocalSocket) -> None:
        try:
            self._converse(line)
        finally:
            self._end(line)

    def _end(self, line: LocalSocket) -> None:
        line.close()
        with self._changed:
            self._lines.discard(line)
            self._changed.notify_all()


def socket_path(folders: Sequence[str], *, folder: str, uuid: str) -> Path:
    """Where the socket of a DataNode lies: in its first data folder, or the folder for sockets."""
    name = f"dfs-{uuid[:12]}.sock"
    return Path(os.path.abspath(folder or folders[0])) / name  # noqa: PTH100 - as named
