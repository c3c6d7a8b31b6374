"""NameNodes of which one leads, over real HTTP: they name each other, hang, die in mid-answer."""

import threading
from collections import Counter
from collections.abc import Mapping

from dfs.base.errors import DfsError, NotLeader
from dfs.wire import routes
from dfs.wire.accounts_api import WhoamiReply
from dfs.wire.http_link import STALE_HEADER, STALE_OK_HEADER
from dfs.wire.nodes_api import ClusterReply
from dfs.wire.shapes import Done
from tests.route_server import Headed, RouteServer

WHOAMI = WhoamiReply(
    user="ada",
    groups=[],
    superuser=False,
    address="127.0.0.1",
    expires_ms=0,
    must_change_password=False,
)


class LedNamenode:
    """One of them.  What it does can be changed between requests.

    Attributes:
        leads: whether it judges.
        leader: whom it names otherwise.
        others: whom it knows of.
        stale: the header of what it answers as a standby; empty: it answers nothing then.
        fails: raised for the next requests, in order.
        dies: it does what is asked next, and ends the connection without a word.
    """

    def __init__(self) -> None:
        self.leads = False
        self.leader = ""
        self.others: list[str] = []
        self.stale = ""
        self.fails: list[DfsError] = []
        self.dies = False
        self.requests: Counter[str] = Counter()
        self.ids: list[str] = []
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._server = RouteServer(self._answer)
        self.url = self._server.url

    def freeze(self) -> None:
        """Take requests in and say nothing."""
        self._goes_on.clear()

    def thaw(self) -> None:
        """Answer what waits."""
        self._goes_on.set()

    def close(self) -> None:
        """Be down."""
        self.thaw()
        self._server.close()

    def _answer(self, path: str, raw: bytes, headers: Mapping[str, str]) -> object:
        name = path.rsplit("/", 1)[1]
        self.requests[name] += 1
        if path != routes.CLUSTER.path:
            self.ids.append(headers.get("X-Request-Id", ""))
        self._goes_on.wait()
        if self.dies:
            self.dies = False
            self.leads = False
            return None
        if self.fails:
            raise self.fails.pop(0)
        if self.leads:
            return self._reply(path)
        if self.stale and headers.get(STALE_OK_HEADER):
            return Headed(self._reply(path), {STALE_HEADER: self.stale})
        raise NotLeader(
            "it follows", details={"leader": self.leader, "namenodes": [self.url, *self.others]}
        )

    def _reply(self, path: str) -> object:
        if path == routes.WHOAMI.path:
            return WHOAMI
        if path != routes.CLUSTER.path:
            return Done()
        return ClusterReply(
            cluster="c" * 32,
            version="0",
            epoch=1,
            txid=1,
            now_ms=0,
            role="leader",
            leader=self.url,
            namenodes=[self.url, *self.others],
            default_replication=2,
            block_size_bytes=1 << 20,
            batch_items_max=1,
            page_entries_max=1,
        )
