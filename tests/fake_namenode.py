"""A NameNode as a DataNode sees it: answers join, register, beat and stock, and remembers."""

import threading
from collections.abc import Mapping

from dfs.base.decoding import json_reader
from dfs.base.errors import NodeNotJoined, NotLeader
from dfs.base.records import NodeCommand
from dfs.wire import routes
from dfs.wire.ha_api import Correspondents
from dfs.wire.nodes_api import (
    Beat,
    BeatReply,
    JoinReply,
    JoinRequest,
    KeyItem,
    NodeRegistration,
    StockBuckets,
    StockDigests,
    StockReply,
    StockReport,
)
from dfs.wire.stock_sums import BUCKETS
from tests.route_server import RouteServer

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
        self.digests: list[StockDigests] = []
        self.buckets = list(range(BUCKETS))  # that it claims to know otherwise
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
        self.namenodes: list[str] = []
        self.correspondents: Correspondents | None = None
        self.leader: str | None = None  # who leads; None: this one, "": it does not know
        self.asked_in_vain = 0  # while it does not lead
        self._server = RouteServer(self._served, port=port)
        self.port, self.url = self._server.port, self._server.url
        self.close = self._server.close

    def wait(self, holds, timeout_s: float = 20.0) -> None:
        """Wait until `holds()`; it is looked at after each request."""
        with self.moved:
            assert self.moved.wait_for(holds, timeout_s), "did not come to pass"

    def _served(self, path: str, raw: bytes, headers: Mapping[str, str]) -> object:
        with self.moved:
            try:
                return self._answer(path, raw, headers.get("Authorization", ""))
            finally:
                self.moved.notify_all()

    def _answer(self, path: str, raw: bytes, credential: str) -> object:
        if self.leader is not None:
            self.asked_in_vain += 1
            details = {"leader": self.leader, "namenodes": self.namenodes}
            raise NotLeader("it does not lead", details=details)
        if path == routes.JOIN.path:
            return self._join(json_reader(JoinRequest)(raw))
        if credential != f"Bearer {SECRET}" or self.forget_nodes:
            raise NodeNotJoined("unknown node")
        if path == routes.STOCK.path:
            return self._stock(json_reader(StockReport)(raw))
        if path == routes.STOCK_DIGESTS.path:
            return self._compare(json_reader(StockDigests)(raw))
        known: list[int] = []
        if path == routes.REGISTER_NODE.path:
            self.registrations.append(json_reader(NodeRegistration)(raw))
            self.registered = True
            version = 0
        else:
            beat = json_reader(Beat)(raw)
            self.beats.append(beat)
            self.acknowledged += beat.acknowledged
            self.commands = [c for c in self.commands if c.command not in beat.acknowledged]
            known, version = beat.keys, beat.correspondents
        ours = self.correspondents
        return BeatReply(
            epoch=self.epoch,
            now_ms=self.now_ms or 1_800_000_000_000,
            registered=self.registered,
            block_tokens=self.block_tokens,
            keys=[key for key in self.keys if key.key_id not in known],
            commands=self.commands if self.registered else [],
            namenodes=self.namenodes,
            correspondents=ours if ours is not None and ours.version > version else None,
        )

    def _join(self, request: JoinRequest) -> JoinReply:
        self.joins.append(request)
        if request.token != JOIN_TOKEN:
            raise NodeNotJoined("the join token is wrong or used up")
        return JoinReply(node=3, secret=SECRET, cluster="c" * 32)

    def _compare(self, digests: StockDigests) -> StockBuckets:
        if self.stock_refusals:
            self.stock_refusals -= 1
            raise NodeNotJoined("not now")
        self.digests.append(digests)
        return StockBuckets(buckets=self.buckets)

    def _stock(self, report: StockReport) -> StockReply:
        if self.stock_refusals:
            self.stock_refusals -= 1
            raise NodeNotJoined("not now")
        self.reports.append(report)
        wanted, self.full_wanted = self.full_wanted, False
        return StockReply(accepted=len(report.entries) + len(report.gone), full_wanted=wanted)
