"""Listens on the Unix socket.

The socket of an earlier run that was killed is a dead name and is removed; a folder is served by
one process, which holds its lock, so nobody else's socket is.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dfs.base.events import Emitter, Event
from dfs.rpc.conversations import Conversations
from dfs.wire.local_socket import bindable

BACKLOG: Final = 64
# Everybody may connect who reaches the folder: tokens decide, as on the port beside it.
SOCKET_MODE: Final = 0o666
ACCEPT_PAUSE_S: Final = 0.2  # when there are no open files left


class LocalServer:
    """Listens from `start` on.

    Args:
        conversations: holds each.
        emit: where it is said that there is no socket.
    """

    def __init__(self, conversations: Conversations, *, path: Path, emit: Emitter) -> None:
        self.path = path
        self._conversations = conversations
        self._emit = emit
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
        return self._conversations.stop(drain_s)

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
                self._conversations.take_on(sock)


def socket_path(folders: Sequence[str], *, folder: str, uuid: str) -> Path:
    """Where the socket of a DataNode lies: in its first data folder, or the folder for sockets."""
    name = f"dfs-{uuid[:12]}.sock"
    return Path(os.path.abspath(folder or folders[0])) / name  # noqa: PTH100 - as named
