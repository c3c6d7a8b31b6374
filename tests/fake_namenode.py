"""A NameNode as a DataNode sees it: answers join, register, beat and stock, and remembers."""

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from dfs.base.errors import DfsError, NodeNotJoined
from dfs.base.records import NodeCommand
from dfs.wire import routes
from dfs.wire.nodes_api import (
    Beat,
    BeatReply,
    JoinReply,
    JoinRequest,
    KeyItem,
    NodeRegistration,
    StockReply,
    StockReport,
)
from dfs.wire.shapes import ErrorBody, ErrorReply

SECRET = "dfsn_secret"
JOIN_TOKEN = "dfsj_token"


class FakeNamenode:
    """Every request is kept; what is answered can be changed between them."""

    def __init__(self, *, port: int = 0) -> None:
        self.moved = threading.Condition()
        self.joins: list[JoinRequest] = []
        self.registrations: list[NodeRegistration] = []
        self.beats: list[Beat] = []
        self.reports: list[StockReport] = []
        self.epoch = 1
        self.now_ms = 0  # 0: do not care
        self.registered = False
        self.forget_nodes = False
        self.keys = [KeyItem(1, b"k" * 32, 0, 4_000_000_000_000)]
        self.block_tokens = True
        self.commands: list[NodeCommand] = []
        self.stock_refusals = 0
        self.full_wanted = False
        self.acknowledged: list[int] = []
        self._connections: set[socket.socket] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """Be down: connections are refused from now on."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in list(self._connections):  # kept alive, they would be answered for ever
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def wait(self, holds, timeout_s: float = 20.0) -> None:
        """Wait until `holds()`; it is looked at after each request."""
        with self.moved:
            assert self.moved.wait_for(holds, timeout_s), "did not come to pass"

    def _answer(self, path: str, raw: bytes, credential: str) -> object:
        if path == routes.JOIN.path:
            return self._join(msgspec.json.decode(raw, type=JoinRequest))
        if credential != f"Bearer {SECRET}" or self.forget_nodes:
            raise NodeNotJoined("unknown node")
        if path == routes.STOCK.path:
            return self._stock(msgspec.json.decode(raw, type=StockReport))
        known: list[int] = []
        if path == routes.REGISTER_NODE.path:
            self.registrations.append(msgspec.json.decode(raw, type=NodeRegistration))
            self.registered = True
        else:
            beat = msgspec.json.decode(raw, type=Beat)
            self.beats.append(beat)
            self.acknowledged += beat.acknowledged
            self.commands = [c for c in self.commands if c.command not in beat.acknowledged]
            known = beat.keys
        return BeatReply(
            epoch=self.epoch,
            now_ms=self.now_ms or 1_800_000_000_000,
            registered=self.registered,
            block_tokens=self.block_tokens,
            keys=[key for key in self.keys if key.key_id not in known],
            commands=self.commands if self.registered else [],
        )

    def _join(self, request: JoinRequest) -> JoinReply:
        self.joins.append(request)
        if request.token != JOIN_TOKEN:
            raise NodeNotJoined("the join token is wrong or used up")
        return JoinReply(node=3, secret=SECRET, cluster="c" * 32)

    def _stock(self, report: StockReport) -> StockReply:
        if self.stock_refusals:
            self.stock_refusals -= 1
            raise NodeNotJoined("not now")
        self.reports.append(report)
        wanted, self.full_wanted = self.full_wanted, False
        return StockReply(accepted=len(report.entries) + len(report.gone), full_wanted=wanted)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                fake._connections.add(self.connection)

            def finish(self) -> None:
                fake._connections.discard(self.connection)
                super().finish()

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                with fake.moved:
                    try:
                        status, body = (
                            200,
                            fake._answer(self.path, raw, self.headers.get("Authorization", "")),
                        )
                    except DfsError as err:
                        status, body = 401, ErrorReply(ErrorBody(err.code, err.message))
                    fake.moved.notify_all()
                encoded = msgspec.json.encode(body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *_args: object) -> None:
                """Quiet."""

        return Handler
