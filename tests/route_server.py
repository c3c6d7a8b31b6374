"""Real HTTP on loopback for a NameNode that a test plays; refusals travel as a daemon's do."""

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import msgspec

from dfs.base.errors import DfsError
from dfs.web.errors import error_json, http_status

Answer = Callable[[str, bytes, Mapping[str, str]], object]


class Headed(NamedTuple):
    """An answer or a refusal with headers of its own."""

    answer: object
    headers: Mapping[str, str]


class RouteServer:
    """Serves when made.

    Args:
        answer: what to say to a POST, by its path, body and headers: a shape, or bytes as they
            are, or either `Headed`.  What it raises is refused; None leaves the caller without an
            answer.
        port: 0 takes a free one.
    """

    def __init__(self, answer: Answer, *, port: int = 0) -> None:
        self._answer = answer
        self._connections: set[socket.socket] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Be down: connections are refused from now on."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in list(self._connections):  # kept alive, they would be answered for ever
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _said(
        self, path: str, raw: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes, Mapping[str, str]] | None:
        try:
            body = self._answer(path, raw, headers)
        except DfsError as refusal:
            return http_status(refusal), error_json(refusal), {}
        if body is None:
            return None
        shape, more = (body.answer, body.headers) if isinstance(body, Headed) else (body, {})
        if isinstance(shape, DfsError):
            return http_status(shape), error_json(shape), more
        return 200, shape if isinstance(shape, bytes) else msgspec.json.encode(shape), more

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                server._connections.add(self.connection)

            def finish(self) -> None:
                server._connections.discard(self.connection)
                super().finish()

            def do_POST(self) -> None:  # noqa: N802 - the name http.server calls
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                said = server._said(self.path, raw, self.headers)
                if said is None:
                    self.close_connection = True
                    return
                status, body, more = said
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
