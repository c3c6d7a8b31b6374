"""What a NameNode consists of while it follows: a reader of the database that its journal makes.

It points to the leader, answers what failover is asked, and reads for who says that a standby may
answer.  Before it has a database (it has just joined) it points, and no more.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from dfs.accounts.block_keys import BlockKeys
from dfs.accounts.sessions import Sessions
from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.errors import DfsError, NotLeader
from dfs.daemons.namenode_folder import NamenodeFolder
from dfs.failover.desk import FailoverDesk
from dfs.failover.gauges import add_failover_gauges
from dfs.failover.member_host import MemberHost
from dfs.failover.steward import Steward
from dfs.ha.follower import Follower
from dfs.ha.member import Member
from dfs.meta.session import Reader, reader_engine
from dfs.meta.standby import NoWriter
from dfs.namespace.service import build_namespace
from dfs.nodes.registry import ClusterFacts, NodeRegistry
from dfs.observe.audit import AuditTrail
from dfs.observe.logs import Log
from dfs.observe.metrics import Metrics
from dfs.settings.sections import Config
from dfs.web.front import Front
from dfs.web.standby_app import StandbyServices, create_standby, pointing_app, pointing_front
from dfs.web.status import Standing

READERS_BESIDE: Final = 4  # the thread of the loop, the look at the roll, digests, a page of health
FRESH_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """What a NameNode that follows has beside it, made with the process."""

    config: Config
    folder: NamenodeFolder
    log: Log
    clock: Clock
    audit: AuditTrail


class Following:
    """See the module.  Safe to share between threads.

    Attributes:
        host, steward, desk: what was built with the process; set before `open`.
        changed: told that `front` is another now.
    """

    def __init__(self, beside: Company) -> None:
        self._beside = beside
        self._changing = threading.RLock()  # one opens or closes at a time
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        self._registry: NodeRegistry | None = None
        self._sessions: Sessions | None = None
        self._looked_s = 0.0
        self.host: MemberHost | None = None
        self.steward: Steward | None = None
        self.desk: FailoverDesk | None = None
        self.changed: Callable[[], None] = lambda: None
        self.front = self._pointing()

    # ---- who leads

    def whom_to_ask(self) -> Mapping[str, object]:
        """The leader's URL and all NameNodes', for who asked the wrong one."""
        if self.desk is None:
            return {"leader": "", "namenodes": []}
        return {"leader": self.desk.leader_url(), "namenodes": list(self.desk.namenodes())}

    def not_here(self) -> DfsError:
        """What is answered to all that only the leader does."""
        details = self.whom_to_ask()
        leader = details["leader"]
        text = f"the leader is at {leader}" if leader else "no NameNode leads at this moment"
        return NotLeader(f"this NameNode does not lead; {text}", details=details)

    # ---- the database

    def open(self) -> None:
        """Read the database, if there is one."""
        with self._changing:
            if self._reader is not None or not self._beside.folder.database.exists():
                return
            connections = self._beside.config.namenode.threads + READERS_BESIDE
            reader = Reader(reader_engine(self._beside.folder.database, connections=connections))
            with self._lock:
                self._reader = reader
            self.look()
            self.front = self._make_front(reader)
            self.changed()

    def close(self) -> None:
        """Let the database go: it is led from here now, or another takes its place."""
        with self._changing:
            with self._lock:
                reader, self._reader = self._reader, None
            if reader is not None:
                self.front = self._pointing()
                self.changed()
                reader.close()

    def _pointing(self) -> Front:
        return pointing_front(self.not_here, pointing_app(), self._beside.log)

    def look(self) -> None:
        """Take over what the journal says of NameNodes and voters by now."""
        with self._lock:
            reader = self._reader
        if reader is not None and self.steward is not None:
            self.steward.read(reader)

    def refresh(self) -> None:
        """Forget what was remembered of accounts, keys and nodes, once a second at most."""
        now_s = self._beside.clock.monotonic_s()
        if now_s - self._looked_s < FRESH_S:
            return
        self._looked_s = now_s
        if self._sessions is not None:
            self._sessions.forget()
        registry = self._registry
        if registry is not None:
            registry.load()

    def head(self) -> tuple[int, int]:
        """The epoch and transaction of the newest record here."""
        assert self.host is not None
        return self.host.look(lambda member, _now_s: _head_of(member))

    def lag(self) -> tuple[int, float]:
        """Records behind the leader, and seconds since it was heard."""
        assert self.host is not None
        return self.host.look(_lag_of)

    def _make_front(self, reader: Reader) -> Front:
        beside = self._beside
        config, clock, log = beside.config, beside.clock, beside.log
        assert self.desk is not None
        cluster = self.desk.place.cluster
        writer = NoWriter(self.head, self.not_here)
        keys = BlockKeys(writer, reader, clock, config.namenode, cluster, emit=log)
        registry = NodeRegistry(
            writer,
            reader,
            clock=clock,
            emit=log,
            config=config.liveness,
            keys=keys,
            facts=ClusterFacts(
                cluster=cluster,
                namenodes=self.desk.namenodes(),
                block_tokens=config.namenode.block_tokens,
                join_token_life_s=config.accounts.join_token_life_s,
            ),
        )
        sessions = Sessions(reader, clock=clock, config=config.accounts)
        self._registry, self._sessions = registry, sessions
        metrics = Metrics()
        names = build_namespace(
            clock=clock, config=config, nodes=registry.views, keys=keys, rng=Random()
        )
        standing = Standing(
            cluster=cluster,
            writer=writer,
            views=registry.views,
            clock=clock,
            metrics=metrics,
            audit=beside.audit,
            failover=self.desk.status,
        )
        add_failover_gauges(metrics, self.desk)
        standing.role = "standby"
        services = StandbyServices(
            config=config,
            reader=reader,
            writer=writer,
            sessions=sessions,
            names=names,
            standing=standing,
            audit=beside.audit,
            metrics=metrics,
            log=log,
            clock=clock,
            failover=self.desk,
            not_here=self.not_here,
            refresh=self.refresh,
            lag=self.lag,
        )
        return create_standby(services)


def _head_of(member: Member) -> tuple[int, int]:
    head = member.ground.head
    return head.epoch, head.txid


def _lag_of(member: Member, now_s: float) -> tuple[int, float]:
    role = member.role
    if not isinstance(role, Follower):
        return -1, -1.0
    records = max(0, role.lead_end.txid - member.ground.head.txid)
    return records, max(0.0, now_s - member.ground.led_s)
