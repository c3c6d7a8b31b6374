"""Waitress, with every limit stated: how a daemon serves its WSGI application.

Owns the listening socket and the thread of the loop.  Requests are bounded in size, connections in
number and in idle time; a traceback never leaves.
"""

import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from wsgiref.types import WSGIApplication

from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server
from waitress.trigger import trigger as Trigger  # noqa: N812 - it is a class

from dfs.base.clock import Clock
from dfs.base.errors import BadConfig, PortInUse
from dfs.base.units import KiB
from dfs.web.connection import Connection, HandOver
from dfs.web.event_loop import Sockets
from dfs.web.front import Front
from dfs.web.workers import Workers

IDLE_S: Final = 30
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Where each thing ends."""

    threads: int
    connections_max: int = 100
    body_bytes_max: int = 64 * KiB
    header_bytes_max: int = 16 * KiB
    request_s: float = 60.0  # in which a request must have come whole


class HttpServer:
    """Listens from its making on, serves from `start` on.

    Args:
        port: 0 for any free one; `port` then says which.
        streams: takes over connections that ask for another protocol (`dfs.wire.streams`); it is
            called in the thread of the loop.

    Raises:
        PortInUse: another process listens there.
        BadConfig: the host is no address of this machine.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        host: str,
        port: int,
        limits: HttpLimits,
        clock: Clock,
        streams: HandOver | None = None,
    ) -> None:
        self._clock = clock
        self._workers = Workers(limits.threads, clock=clock)
        dispatcher: Any = self._workers  # the stubs know one class of them
        self._sockets = Sockets()  # waitress fills it: listeners, connections, triggers
        try:
            self._server: Any = create_server(  # one socket or several: no common type
                app,
                map=self._sockets,
                host=host,
                port=port,
                _dispatcher=dispatcher,
                connection_limit=limits.connections_max,
                max_request_body_size=limits.body_bytes_max,
                max_request_header_size=limits.header_bytes_max,
                channel_timeout=IDLE_S,
                cleanup_interval=IDLE_S // 2,
                channel_request_lookahead=1,
                expose_tracebacks=False,
                ident="dfs",
                clear_untrusted_proxy_headers=True,
            )
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                raise PortInUse(f"another process listens on {host}:{port}") from exc
            raise BadConfig(f"cannot listen on {host}:{port}: {exc.strerror or exc}") from exc
        listeners: list[Any] = [s for s in self._sockets.values() if isinstance(s, BaseWSGIServer)]
        front = app if isinstance(app, Front) else None
        for each in listeners:
            each.channel_class = partial(
                Connection, front=front, request_s=limits.request_s, streams=streams
            )
        self._triggers = [each for each in self._sockets.values() if isinstance(each, Trigger)]
        self.port = self._bound_port()
        self._thread = threading.Thread(target=self._sockets.run, name="http", daemon=True)

    def start(self) -> None:
        """Serve."""
        self._workers.start()
        self._thread.start()

    def stop(self, drain_s: float) -> None:
        """Accept no more, let requests under way be answered for so long, then close the rest."""
        self._in_loop(self._close_listeners)
        until_s = self._clock.monotonic_s() + drain_s
        while self._is_busy() and self._clock.monotonic_s() < until_s:
            self._clock.sleep(_POLL_S)
        self._workers.shutdown(timeout=1)
        self._in_loop(self._close_all)
        if self._thread.ident is not None:
            self._thread.join(_POLL_S * 50)
        if not self._thread.is_alive():
            for each in self._triggers:
                each.close()

    def _is_busy(self) -> bool:
        """Whether a request is being answered, by a worker or where it was begun."""
        begun = (getattr(each, "requests", None) for each in list(self._sockets.values()))
        return self._workers.is_busy() or any(begun)

    def _bound_port(self) -> int:
        listening = getattr(self._server, "effective_listen", None)
        return int(listening[0][1] if listening else self._server.effective_port)

    def _close_listeners(self) -> None:
        for each in list(self._sockets.values()):
            if each.accepting:
                wasyncore.dispatcher.close(each)

    def _close_all(self) -> None:
        """All but the triggers, which somebody may be pulling at this moment: closed under him, his
        byte would go to whatever got the number of their descriptor next.
        """
        others = {n: each for n, each in self._sockets.items() if each not in self._triggers}
        wasyncore.close_all(others, ignore_all=True)
        self._sockets.clear()  # the loop ends

    def _in_loop(self, act: Callable[..., None]) -> None:
        """Do it in the loop's own thread, to which the sockets belong."""
        if not self._thread.is_alive():
            act()
            return
        for each in self._triggers[:1]:
            each.pull_trigger(act)
