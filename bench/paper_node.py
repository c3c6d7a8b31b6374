"""DataNodes of paper: they join, register and beat like real ones and sign for blocks they drop.

With them the NameNode's metadata can be filled with a million files in minutes, every row as real
files would make it, without writing a million block files.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dfs import __version__
from dfs.base.entropy import new_id
from dfs.base.errors import DfsError
from dfs.base.ids import NodeId
from dfs.base.records import BlockKey, BlockTruth, NodeUsage, Receipt, VolumeStatus
from dfs.base.states import VolumeState
from dfs.base.units import TiB
from dfs.wire import nodes_api as n
from dfs.wire import routes
from dfs.wire.http_link import HttpLink
from dfs.wire.tokens import KeyRing, sign_receipt

BEAT_S = 0.5


class _Health(BaseHTTPRequestHandler):
    """Answers the NameNode's sweep."""

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        body = b'{"status": "ok"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class PaperNode:
    """One DataNode without a disk."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._http = HttpLink(timeout_s=30)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Health)
        self._uuid = new_id()
        joined = self._http.call(url, routes.JOIN, n.JoinRequest(token=token, uuid=self._uuid))
        self.node = NodeId(joined.node)
        self._secret = joined.secret
        self._keys: dict[int, BlockKey] = {}
        self._epoch = 0
        self._stop = threading.Event()
        self._register(joined.cluster)
        self._threads = [
            threading.Thread(target=self._server.serve_forever, daemon=True),
            threading.Thread(target=self._beat_on, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def sign(self, truth: BlockTruth) -> Receipt:
        """Its word that it holds the block."""
        key = KeyRing(list(self._keys.values())).newest()
        return sign_receipt(truth, node=self.node, epoch=self._epoch, key=key)

    def close(self) -> None:
        """Fall silent."""
        self._stop.set()
        self._server.shutdown()
        self._http.close()

    def _register(self, cluster: str) -> None:
        registration = n.NodeRegistration(
            cluster=cluster,
            host="127.0.0.1",
            grpc_port=self.node,  # nobody calls there; an address has one node
            http_port=self._server.server_address[1],
            rack="/default",
            version=__version__,
            restarts=0,
            clean_stop=True,
            usage=a_usage(),
            volumes=self._volumes(),
        )
        self._take(
            self._http.call(self._url, routes.REGISTER_NODE, registration, credential=self._secret)
        )
        self._beat()

    def _beat_on(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                self._beat()
            except DfsError:  # a busy or ended NameNode: the next beat will tell
                continue

    def _beat(self) -> None:
        beat = n.Beat(
            usage=a_usage(), volumes=self._volumes(), epoch=self._epoch, keys=sorted(self._keys)
        )
        self._take(self._http.call(self._url, routes.BEAT, beat, credential=self._secret))

    def _volumes(self) -> list[VolumeStatus]:
        return [VolumeStatus(self._uuid, "/paper", VolumeState.ONLINE, 100 * TiB, 90 * TiB, TiB, 0)]

    def _take(self, reply: n.BeatReply) -> None:
        self._epoch = max(self._epoch, reply.epoch)
        for key in reply.keys:
            self._keys[key.key_id] = BlockKey(
                key.key_id, key.secret, key.created_ms, key.expires_ms
            )


def a_usage() -> NodeUsage:
    """Of a DataNode with room for everything."""
    return NodeUsage(
        total_bytes=100 * TiB, free_bytes=90 * TiB, used_bytes=TiB, uptime_s=60.0, in_flight=0
    )
