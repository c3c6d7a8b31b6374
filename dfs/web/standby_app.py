"""The web application of a NameNode that follows: it points to the leader.

Every address of the route table is there.  What failover is asked is answered; a view is, where the
asker said that a standby may, and the answer says how far behind it is; for all else the answer is
who leads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from flask import Flask, Response

from dfs import __version__
from dfs.accounts.sessions import Sessions
from dfs.base.clock import Clock
from dfs.base.errors import DfsError, NodeNotJoined
from dfs.base.ids import NodeId
from dfs.base.units import MiB
from dfs.failover.desk import FailoverDesk
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from dfs.namespace.service import Namespace
from dfs.observe.audit import AuditTrail
from dfs.observe.metrics import Metrics
from dfs.settings.sections import Config
from dfs.web.answers import JSON, Answer, Asking, refusal
from dfs.web.authn import Gatekeeper
from dfs.web.dispatch import (
    Desk,
    Endpoint,
    RequestMetrics,
    WebLog,
    answer_protocol_errors,
    methods_of,
)
from dfs.web.front import Front, Served
from dfs.web.handlers import Change, Handlers, JointChange, View
from dfs.web.namenode_app import bind_failover, bind_names, cluster_reply
from dfs.web.status import Standing, mount_status
from dfs.wire import routes
from dfs.wire.http_link import STALE_HEADER
from dfs.wire.routes import ROUTES, Route

POINTING_QUICK_BYTES: Final = 1 * MiB  # to say who leads, the body is not read


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyServices:
    """What a standby answers with.

    Attributes:
        not_here: what is answered to all that only the leader does.
        refresh: takes over what the journal brought since, before a view is answered.
        lag: records behind, and seconds since the leader was heard.
    """

    config: Config
    reader: Reader
    writer: Writer
    sessions: Sessions
    names: Namespace
    standing: Standing
    audit: AuditTrail
    metrics: Metrics
    log: WebLog
    clock: Clock
    failover: FailoverDesk
    not_here: Callable[[], DfsError]
    refresh: Callable[[], None]
    lag: Callable[[], tuple[int, float]]


class _NoNodes:
    """DataNodes speak to the leader."""

    def authenticate(self, _secret: str) -> NodeId:
        """Nobody's."""
        raise NodeNotJoined("this NameNode does not lead")


def pointing_front(not_here: Callable[[], DfsError], app: Flask, log: WebLog) -> Front:
    """Every address, and who leads for an answer."""
    return Front({route.path: _pointing(route, not_here) for route in ROUTES}, app, log.exception)


def pointing_app() -> Flask:
    """What answers beside the routes while there is no database to speak of: `/health` alone, and
    that it does not serve yet.
    """
    app = Flask("dfs.web.pointing", static_folder=None)
    body = msgspec.json.encode(
        {"status": "starting", "role": "standby", "version": __version__, "jobs": []}
    )
    app.add_url_rule("/health", "health", lambda: Response(body, 503, content_type=JSON))
    return app


def create_standby(services: StandbyServices) -> Front:
    """The application of a NameNode that follows and has a database."""
    app = Flask("dfs.web.standby_app", static_folder=None)
    mount_status(app, services.standing)
    answer_protocol_errors(app, services.log)
    desk = Desk(
        reader=services.reader,
        writer=services.writer,
        gate=Gatekeeper(services.sessions, _NoNodes()),
        clock=services.clock,
        log=services.log,
        audit=services.audit,
        metrics=RequestMetrics(services.metrics),
        items_max=services.config.limits.batch_items_max,
    )
    front = pointing_front(services.not_here, app, services.log)
    served = dict(front.served)
    for route, handler in _handlers(services).table.values():
        if isinstance(handler, Change | JointChange):
            continue
        endpoint = Endpoint(route, handler, desk)
        if isinstance(handler, View):
            served[route.path] = _stale(route, endpoint, services)
        else:
            served[route.path] = Served(methods_of(route), endpoint, endpoint.begin)
    front.served = served
    return front


def _handlers(services: StandbyServices) -> Handlers:
    handlers = Handlers()
    bind_names(handlers, services.names)
    bind_failover(handlers, services.failover)
    handlers.call_anywhere(
        routes.CLUSTER,
        lambda _asked, _body: cluster_reply(
            services.standing, services.failover, services.config, services.clock
        ),
    )
    return handlers


def _pointing(route: Route[Any, Any], not_here: Callable[[], DfsError]) -> Served:
    def answer(_asking: Asking) -> Answer:
        return refusal(not_here())

    return Served.at_once(methods_of(route), answer, quick_bytes=POINTING_QUICK_BYTES)


def _stale(route: Route[Any, Any], endpoint: Endpoint, services: StandbyServices) -> Served:
    def answer(asking: Asking) -> Answer:
        if not asking.stale_ok:
            return refusal(services.not_here())
        services.refresh()
        given = endpoint(asking)
        records, silent_s = services.lag()
        told = (STALE_HEADER, f"{records} {int(silent_s * 1000)}")
        return given._replace(headers=(*given.headers, told))

    return Served.at_once(methods_of(route), answer)
