"""What a NameNode shows of itself to anyone who can reach it: `/health`, `/metrics`, OpenAPI.

`/health` is what an operator's monitoring and `dfs-local` ask: it says whether the NameNode serves,
how many DataNodes it hears and how its background jobs fared.  Nothing here names a file or a user.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, Protocol

import msgspec
from flask import Flask, Response

from dfs import __version__
from dfs.base.clock import Clock
from dfs.base.records import NodeView
from dfs.base.states import NodeState
from dfs.meta.writer import Writer
from dfs.observe.audit import AuditTrail
from dfs.observe.metrics import CONTENT_TYPE, Metrics
from dfs.web.openapi import document
from dfs.wire.ha_api import HaStatus

JSON: Final = "application/json"


class JobResult(Protocol):
    """How a job's last pass went; `dfs.daemons.schedule.JobResult` is the one in use."""

    @property
    def job(self) -> str:
        """Its name."""
        ...

    @property
    def started_ms(self) -> int:
        """When the pass began."""
        ...

    @property
    def took_s(self) -> float:
        """How long it ran."""
        ...

    @property
    def ok(self) -> bool:
        """Whether it ended without an error."""
        ...

    @property
    def report(self) -> object:
        """What it found, or the error's words."""
        ...


class JobLine(msgspec.Struct, frozen=True):
    """A background job's last pass; `report` is what it found, or the error's words."""

    job: str
    started_ms: int
    took_s: float
    ok: bool
    report: object


class NodeCounts(msgspec.Struct, frozen=True):
    """DataNodes by liveness; `joined` are those that joined and never registered."""

    live: int
    stale: int
    dead: int
    joined: int


class FailoverLine(msgspec.Struct, frozen=True):
    """How failover stands, as far as anybody may know.

    Attributes:
        mode: single, manual or automatic.
        leader: its base URL; empty when nobody is known to lead.
        serves: whether this NameNode leads and may answer now.
        in_sync: whether it has every change that was acknowledged, as it was told last.
        lag_records: how many it lacks; below 0 when it does not know.
        others, others_in_sync: NameNodes beside this one, the leader among them.
    """

    mode: str
    leader: str
    serves: bool
    in_sync: bool
    lag_records: int
    others: int
    others_in_sync: int


def failover_line(status: HaStatus) -> FailoverLine:
    """What of a status anybody may know."""
    own = next((each for each in status.members if each.name == status.name), None)
    others = [each for each in status.members if each.name != status.name]
    return FailoverLine(
        mode=status.mode,
        leader=status.leader_url,
        serves=status.role == "leader" and not status.why_not_serving,
        in_sync=own is not None and own.in_sync,
        lag_records=own.lag_records if own is not None else -1,
        others=len(others),
        others_in_sync=sum(each.in_sync for each in others),
    )


class Health(msgspec.Struct, frozen=True):
    """The body of `/health`.  `status` is `ok`, `degraded` (a job failed, a node is not live,
    audit lines were lost, something is held back) or `stopping`.

    `safe_mode`, `frozen` (by the storm brake) and `regressed` are true while that holds changes,
    repair or deletions back; an administrator is told why.
    """

    status: str
    role: str
    cluster: str
    version: str
    epoch: int
    txid: int
    uptime_s: float
    changes_waiting: int
    audit_lines_lost: int
    nodes: NodeCounts
    safe_mode: bool
    frozen: bool
    regressed: bool
    failover: FailoverLine
    jobs: list[JobLine]


class HeldBack(msgspec.Struct, frozen=True):
    """Whether each guard holds something back."""

    safe_mode: bool = False
    frozen: bool = False
    regressed: bool = False


class Standing:
    """How this NameNode is now.

    Args:
        views: every DataNode.
        failover: how failover stands.
        held_back: whether each guard holds something back now.

    Attributes:
        role: leader or standby.
    """

    def __init__(  # noqa: PLR0913 - a page of many parts
        self,
        *,
        cluster: str,
        writer: Writer,
        views: Callable[[], Sequence[NodeView]],
        clock: Clock,
        metrics: Metrics,
        audit: AuditTrail,
        failover: Callable[[], HaStatus],
        held_back: Callable[[], HeldBack] = HeldBack,
    ) -> None:
        self.cluster = cluster
        self.role = "leader"
        self.stopping = False
        self.jobs: Callable[[], Sequence[JobResult]] = tuple
        self._writer = writer
        self._views = views
        self._clock = clock
        self._metrics = metrics
        self._audit = audit
        self._failover = failover
        self._held_back = held_back
        self._started_s = clock.monotonic_s()
        self._show_gauges()

    @property
    def reached(self) -> tuple[int, int]:
        """The epoch and the newest transaction here."""
        return self._writer.epoch, self._writer.txid

    def health(self) -> Health:
        """The body of `/health`."""
        nodes, held = self.node_counts(), self._held_back()
        jobs = [
            JobLine(one.job, one.started_ms, one.took_s, one.ok, one.report) for one in self.jobs()
        ]
        return Health(
            status=self._status(nodes, jobs, held),
            role=self.role,
            cluster=self.cluster,
            version=__version__,
            epoch=self._writer.epoch,
            txid=self._writer.txid,
            uptime_s=round(self._clock.monotonic_s() - self._started_s, 3),
            changes_waiting=self._writer.waiting(),
            audit_lines_lost=self._audit.lost,
            nodes=nodes,
            safe_mode=held.safe_mode,
            frozen=held.frozen,
            regressed=held.regressed,
            failover=failover_line(self._failover()),
            jobs=jobs,
        )

    def node_counts(self) -> NodeCounts:
        """DataNodes by liveness."""
        states = Counter(view.state for view in self._views())
        return NodeCounts(
            live=states[NodeState.LIVE],
            stale=states[NodeState.STALE],
            dead=states[NodeState.DEAD],
            joined=states[NodeState.JOINED],
        )

    def exposition(self) -> bytes:
        """The body of `/metrics`."""
        return self._metrics.exposition()

    def _status(self, nodes: NodeCounts, jobs: Sequence[JobLine], held: HeldBack) -> str:
        if self.stopping:
            return "stopping"
        well = all(job.ok for job in jobs) and not (nodes.stale or nodes.dead or self._audit.lost)
        return "ok" if well and held == HeldBack() else "degraded"

    def _show_gauges(self) -> None:
        metrics, writer, nodes = self._metrics, self._writer, self.node_counts
        metrics.gauge("dfs_txid", "Newest committed transaction", lambda: writer.txid)
        metrics.gauge("dfs_epoch", "Epoch this NameNode writes in", lambda: writer.epoch)
        metrics.gauge(
            "dfs_changes_waiting", "Changes queued for the metadata writer", writer.waiting
        )
        held = self._held_back
        metrics.gauge("dfs_safe_mode", "1 while nothing may be changed", lambda: held().safe_mode)
        metrics.gauge("dfs_storm_frozen", "1 while the storm brake is on", lambda: held().frozen)
        metrics.gauge(
            "dfs_regressed", "1 when DataNodes saw newer metadata", lambda: held().regressed
        )
        metrics.gauge("dfs_nodes_live", "DataNodes whose beats arrive", lambda: nodes().live)
        metrics.gauge("dfs_nodes_stale", "DataNodes silent for a while", lambda: nodes().stale)
        metrics.gauge("dfs_nodes_dead", "DataNodes that count as lost", lambda: nodes().dead)


def mount_status(app: Flask, standing: Standing) -> None:
    """Let the application answer `/health`, `/metrics` and `/v1/openapi.json`."""

    @app.get("/health")
    def health() -> Response:
        return Response(msgspec.json.encode(standing.health(), enc_hook=str), content_type=JSON)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(standing.exposition(), content_type=CONTENT_TYPE)

    @app.get("/v1/openapi.json")
    def openapi() -> Response:
        return Response(_openapi(), content_type=JSON)


@cache
def _openapi() -> bytes:
    return msgspec.json.encode(document())
