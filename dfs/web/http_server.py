"""Waitress, with every limit stated: how a daemon serves its WSGI application.

Owns the listening socket and the thread of the loop.  Requests are bounded in size, connections in
number and in idle time; a traceback never leaves.
"""

import errno
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from wsgiref.types import WSGIApplication

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask, WSGITask
from waitress.trigger import trigger as Trigger  # noqa: N812 - it is a class

from dfs.base.clock import Clock
from dfs.base.errors import BadConfig, PortInUse
from dfs.base.units import KiB
from dfs.web.errors import error_json, protocol_error
from dfs.web.event_loop import Sockets

IDLE_S: Final = 30
_POLL_S: Final = 0.02
_CROWDED: Final = 0.9  # of the connections there may be


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Where each thing ends."""

    threads: int
    connections_max: int = 100
    body_bytes_max: int = 64 * KiB
    header_bytes_max: int = 16 * KiB
    request_s: float = 60.0  # in which a request must have come whole


class _RefusalTask(ErrorTask):
    """What waitress itself refuses (too large, not HTTP), said in our shape."""

    def execute(self) -> None:
        """Answer and close."""
        parsed: Any = self.request  # the stubs name another class
        error, known = parsed.error, vars(parsed)  # of what is no HTTP, little is known
        path, method = known.get("path") or "/", known.get("command") or "request"
        body = error_json(protocol_error(error.code, method, path, f"{error.reason}: {error.body}"))
        self.status = f"{error.code} {error.reason}"
        self.response_headers = [("Content-Type", "application/json")]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _AnswerTask(WSGITask):
    """Answers one request; head and body leave together where the body is whole."""

    def write(self, data: bytes) -> None:
        """Send some of the answer."""
        if self.wrote_header or not data or self.content_length != len(data):
            super().write(data)
            return
        head = self.build_response_header()
        self.wrote_header = True
        self.content_bytes_written = len(data)
        self.channel.write_soon(head + data)


class _Waker:
    """The server as a channel sees it: its loop is woken where there is something for it to do.

    Waitress wakes it after every answer, because by its defaults it does not listen to a connection
    while a request of it is answered.  Ours goes on listening (`channel_request_lookahead`).
    """

    def __init__(self, server: Any, channel: HTTPChannel) -> None:
        self._server = server
        self._channel: Any = channel

    def __getattr__(self, name: str) -> Any:
        """What else a server has."""
        return getattr(self._server, name)

    def pull_trigger(self) -> None:
        """Wake the loop if the channel has bytes left to send, is to be closed, or may listen again
        after so many requests that it did not.
        """
        channel = self._channel
        leaves = channel.close_when_flushed or channel.will_close
        if channel.total_outbufs_len or leaves or channel.requests:
            self._server.pull_trigger()


class _Channel(HTTPChannel):
    """One connection.

    A request must have come whole within `request_s`, however busily its bytes trickle.  When
    connections get few, the one that has been without a whole request longest gives way to the new
    one: whoever opens many and asks nothing keeps nobody out.  `began_s` is by waitress's own
    clock, as `last_activity` is.
    """

    task_class = _AnswerTask
    error_task_class = _RefusalTask

    def __init__(self, server: Any, *args: Any, request_s: float, **more: Any) -> None:
        waker: Any = _Waker(server, self)
        super().__init__(waker, *args, **more)
        self._request_s = request_s
        self.began_s: float = self.creation_time
        if len(more["map"]) > self.adj.connection_limit * _CROWDED:
            self._make_room(server.active_channels.values(), more["map"])

    def received(self, data: bytes) -> bool:
        """Take some bytes of a request, unless it has been coming for too long."""
        under_way: Any = self.request
        if under_way is not None and self.last_activity > self.began_s + self._request_s:
            self.will_close = True
            return False
        taken = bool(super().received(data))
        if self.request is not under_way:
            self.began_s = self.last_activity
        return taken

    def _make_room(self, channels: Iterable["_Channel"], sockets: Sockets) -> None:
        waiting = [
            each
            for each in channels
            if each is not self and not each.requests and not each.will_close
        ]
        if waiting:
            oldest = min(waiting, key=lambda each: each.began_s)
            oldest.will_close = True
            sockets.look_at(oldest)


class HttpServer:
    """Listens from its making on, serves from `start` on.

    Args:
        port: 0 for any free one; `port` then says which.

    Raises:
        PortInUse: another process listens there.
        BadConfig: the host is no address of this machine.
    """

    def __init__(
        self, app: WSGIApplication, *, host: str, port: int, limits: HttpLimits, clock: Clock
    ) -> None:
        self._clock = clock
        # It would say of every request that waits for a thread that it does, in a line each.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._sockets = Sockets()  # waitress fills it: listeners, connections, triggers
        try:
            self._server: Any = create_server(  # one socket or several: no common type
                app,
                map=self._sockets,
                host=host,
                port=port,
                threads=limits.threads,
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
        for each in listeners:
            each.channel_class = partial(_Channel, request_s=limits.request_s)
        self._triggers = [each for each in self._sockets.values() if isinstance(each, Trigger)]
        self.port = self._bound_port()
        self._thread = threading.Thread(target=self._sockets.run, name="http", daemon=True)

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def stop(self, drain_s: float) -> None:
        """Accept no more, let requests under way be answered for so long, then close the rest."""
        self._in_loop(self._close_listeners)
        until_s = self._clock.monotonic_s() + drain_s
        while self._busy() and self._clock.monotonic_s() < until_s:
            self._clock.sleep(_POLL_S)
        self._server.task_dispatcher.shutdown(timeout=1)
        self._in_loop(self._close_all)
        if self._thread.ident is not None:
            self._thread.join(_POLL_S * 50)
        if not self._thread.is_alive():
            for each in self._triggers:
                each.close()

    def _bound_port(self) -> int:
        listening = getattr(self._server, "effective_listen", None)
        return int(listening[0][1] if listening else self._server.effective_port)

    def _busy(self) -> bool:
        dispatcher = self._server.task_dispatcher
        return bool(dispatcher.queue) or dispatcher.active_count > 0

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
