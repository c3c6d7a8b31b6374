"""A connection of waitress's, and how its requests are answered.

Routes of `/v1` go to the `Front` straight from the request, without WSGI between; so go their
answers, head and body in one piece.  What is begun in microseconds is begun by the thread of the
loop itself, as handing it to another thread and back would cost more: a look-up is answered at
once, a small change by the writer's thread when it is on the disk.
"""

import socket
import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import build_http_date

from dfs.web.answers import JSON, Answer, Asking
from dfs.web.errors import error_json, protocol_error
from dfs.web.event_loop import Sockets
from dfs.web.front import STATUS_LINES, Front
from dfs.web.lean_request import LeanRequest
from dfs.wire.http_link import REQUEST_ID_HEADER, STALE_OK, STALE_OK_HEADER
from dfs.wire.streams import is_request

HandOver = Callable[[socket.socket], None]
_CROWDED: Final = 0.9  # of the connections there may be
_REQUEST_ID: Final = REQUEST_ID_HEADER.upper().replace("-", "_")
_STALE_OK: Final = STALE_OK_HEADER.upper().replace("-", "_")


class RefusalTask(ErrorTask):
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


class AnswerTask(WSGITask):
    """Answers one request; head and body leave together where the body is whole."""

    def execute(self) -> None:
        """Answer."""
        asked: Any = self.request
        connection: Any = self.channel
        front: Front | None = connection.front
        if asked.body is None or front is None or asked.path not in front.served:
            super().execute()
            return
        answer = front.answer(asked.path, _asking(asked, connection.addr[0]))
        body = b"" if asked.command == "HEAD" else answer.body
        self.wrote_header = self.complete = True
        self.channel.write_soon(_head(answer, int(self.start_time)) + body)

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

    def __init__(self, server: Any, channel: "Connection") -> None:
        self._server = server
        self._channel: Any = channel

    def __getattr__(self, name: str) -> Any:
        """What else a server has."""
        return getattr(self._server, name)

    def add_task(self, channel: "Connection") -> None:
        """Have the connection's first request answered."""
        if not channel.begins_itself():
            self._server.add_task(channel)

    def pull_trigger(self) -> None:
        """Wake the loop if the channel has bytes left to send, is to be closed, or may listen again
        after so many requests that it did not.
        """
        channel = self._channel
        leaves = channel.close_when_flushed or channel.will_close
        if channel.total_outbufs_len or leaves or channel.requests:
            self._server.pull_trigger()


class Connection(HTTPChannel):
    """One connection.

    A request must have come whole within `request_s`, however busily its bytes trickle.  When
    connections get few, the one that has been without a whole request longest gives way to the new
    one: whoever opens many and asks nothing keeps nobody out.  `began_s` is by waitress's own
    clock, as `last_activity` is.
    """

    task_class = AnswerTask
    error_task_class = RefusalTask
    parser_class = LeanRequest

    def __init__(
        self,
        server: Any,
        *args: Any,
        front: Front | None,
        request_s: float,
        streams: HandOver | None,
        **more: Any,
    ) -> None:
        waker: Any = _Waker(server, self)
        super().__init__(waker, *args, **more)
        self.front = front  # waitress wraps the application that it is given
        self._streams = streams
        self._request_s = request_s
        self._receiver = 0  # the loop's thread, while it takes bytes
        self._at_once = False
        self._is_begun = False  # the first request, by the loop's thread
        self.began_s: float = self.creation_time
        if len(more["map"]) > self.adj.connection_limit * _CROWDED:
            self._make_room(server.active_channels.values(), more["map"])

    def received(self, data: bytes) -> bool:
        """Take some bytes of a request, unless it has been coming for too long."""
        under_way: Any = self.request
        if self._streams is not None and is_request(data) and self._is_free():
            self._hand_over(self._streams)
            return True
        if under_way is not None and self.last_activity > self.began_s + self._request_s:
            self.will_close = True
            return False
        self._receiver = threading.get_ident()
        taken = bool(super().received(data))
        self._receiver = 0
        if self.request is not under_way:
            self.began_s = self.last_activity
        if self._at_once and self.front is not None:
            self._at_once, self._is_begun = False, True
            first: Any = self.requests[0]
            self.front.begin(first.path, _asking(first, self.addr[0]), self._answer)
        return taken

    def begins_itself(self) -> bool:
        """Whether the loop's thread will begin the first request, as soon as it has read on.

        Never one that a worker found behind the one it answered.
        """
        if self._receiver != threading.get_ident():
            return False
        first: Any = self.requests[0]
        self._at_once = (
            first.body is not None
            and self.front is not None
            and self.front.is_quick(first.path, first.command, len(first.body))
        )
        return self._at_once

    def _answer(self, answer: Answer) -> None:
        """Send the answer to the first request; by whatever thread has it.  Once: what follows it
        is another's.

        The same as `service` does, without its task: the request was whole and plain, else it would
        not have been begun by the loop.
        """
        if not self._is_begun or not self.requests:  # none are left where it was cancelled
            return
        self._is_begun = False
        asked: Any = self.requests[0]
        body = b"" if asked.command == "HEAD" else answer.body
        self._send(_head(answer, int(self.last_activity)) + body)
        channel: Any = self  # the stubs know little of one
        with channel.requests_lock:
            del channel.requests[:1]
            if not self.connected:
                return
            if channel.requests:
                channel.server.add_task(self)
            elif _waits_for_leave(channel.request) and not channel.sent_continue:
                channel.send_continue()
        channel.server.pull_trigger()

    def _send(self, data: bytes) -> None:
        """At once, as far as the socket takes it; the loop sends the rest."""
        with self.outbuf_lock:
            if not self.connected:
                return
            sent, line = 0, self.socket
            if not self.total_outbufs_len and line is not None:
                try:
                    sent = line.send(data)
                except BlockingIOError:
                    pass
                except OSError:
                    self.will_close = True
                    return
            if sent < len(data):
                self.outbufs[-1].append(data[sent:])
                self.current_outbuf_count += len(data) - sent
                self.total_outbufs_len += len(data) - sent

    def _is_free(self) -> bool:
        """Whether nothing is asked, answered or sent on it."""
        return self.request is None and not self.requests and not self.total_outbufs_len

    def _hand_over(self, streams: HandOver) -> None:
        """Leave the loop; what becomes of the connection is another's business."""
        line = self.socket
        assert line is not None, "it just received"
        self.del_channel()
        self.socket = None
        self.connected = False
        streams(line)

    def _make_room(self, channels: Iterable["Connection"], sockets: Sockets) -> None:
        waiting = [
            each
            for each in channels
            if each is not self and not each.requests and not each.will_close
        ]
        if waiting:
            oldest = min(waiting, key=lambda each: each.began_s)
            oldest.will_close = True
            sockets.look_at(oldest)


def _waits_for_leave(request: Any) -> bool:
    """Whether a request that is still coming wants to be told to go on."""
    return request is not None and bool(request.expect_continue and request.headers_finished)


def _asking(request: Any, address: str) -> Asking:
    headers = request.headers
    return Asking(
        request.command,
        "",
        address,
        headers.get("AUTHORIZATION", ""),
        headers.get(_REQUEST_ID, ""),
        request.body,
        headers.get(_STALE_OK, "") == STALE_OK,
    )


def _head(answer: Answer, now_s: int) -> bytes:
    more = "".join([f"{name}: {value}\r\n" for name, value in answer.headers])
    return (
        f"HTTP/1.1 {STATUS_LINES[answer.status]}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        f"Content-Type: {JSON}\r\n"
        f"Date: {_date(now_s)}\r\n"
        f"Server: dfs\r\n{more}\r\n"
    ).encode("latin-1")


@lru_cache(maxsize=2)
def _date(now_s: int) -> str:
    return str(build_http_date(now_s))
