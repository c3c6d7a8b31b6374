"""The web application of a NameNode: which service answers which route.

`Services` is what the composition root hands over; `bind` is the list of who answers what, held
against the route table by a test.  Nothing is decided here.
"""

from dataclasses import dataclass

from flask import Flask

from dfs import __version__
from dfs.accounts.service import Accounts
from dfs.base.clock import Clock
from dfs.base.ids import NodeId
from dfs.blocks.bad_copies import BadCopies
from dfs.blocks.intake import StockIntake
from dfs.blocks.suspects import Suspects
from dfs.failover.desk import FailoverDesk
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from dfs.namespace.invariants import invariants_of
from dfs.namespace.service import Namespace
from dfs.nodes.registry import NodeRegistry
from dfs.nodes.sweep import HealthSweep
from dfs.observe.audit import AuditTrail
from dfs.observe.metrics import Metrics
from dfs.settings.sections import Config
from dfs.upkeep.service import Upkeep
from dfs.web.authn import Gatekeeper
from dfs.web.dispatch import Desk, RequestMetrics, WebLog, answer_protocol_errors, endpoints
from dfs.web.front import Front
from dfs.web.handlers import Handlers
from dfs.web.status import Standing, mount_status
from dfs.web.upkeep_routes import bind_upkeep
from dfs.wire import routes
from dfs.wire.nodes_api import (
    AuditReply,
    AuditRequest,
    Beat,
    BeatReply,
    ClusterReply,
    NodesReply,
    RemoveNodeRequest,
    SweepsReply,
)
from dfs.wire.shapes import Done

AUDIT_LINES_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """The services of DataNodes and what they hold."""

    registry: NodeRegistry
    sweep: HealthSweep
    intake: StockIntake
    suspects: Suspects
    bad: BadCopies


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that answers a request."""

    config: Config
    reader: Reader
    writer: Writer
    accounts: Accounts
    names: Namespace
    nodes: Nodes
    upkeep: Upkeep
    standing: Standing
    audit: AuditTrail
    metrics: Metrics
    log: WebLog
    clock: Clock
    failover: FailoverDesk


def create_app(services: Services) -> Front:
    """The application, with every route of the table."""
    app = Flask("dfs.web.namenode_app", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = services.config.limits.body_bytes_max
    desk = Desk(
        reader=services.reader,
        writer=services.writer,
        gate=Gatekeeper(services.accounts, services.nodes.registry),
        clock=services.clock,
        log=services.log,
        audit=services.audit,
        metrics=RequestMetrics(services.metrics),
        items_max=services.config.limits.batch_items_max,
        refusal_of_changes=services.upkeep.caution.refusal_of_changes,
        refusal_of_reads=services.failover.refusal_of_reads,
        reads_wait=services.config.ha.reads == "strict",
    )
    mount_status(app, services.standing)
    answer_protocol_errors(app, services.log)
    return Front(endpoints(bind(services), desk), app, services.log.exception)


def bind(services: Services) -> Handlers:
    """Who answers what."""
    handlers = Handlers()
    _bind_accounts(handlers, services.accounts)
    bind_names(handlers, services.names)
    _bind_nodes(handlers, services.nodes)
    _bind_cluster(handlers, services)
    bind_failover(handlers, services.failover)
    handlers.call(
        routes.JOIN_MEMBER, lambda _asked, body: services.failover.admit(services.writer, body)
    )
    bind_upkeep(handlers, services.upkeep)
    return handlers


def bind_failover(handlers: Handlers, failover: FailoverDesk) -> None:
    """What any NameNode answers, whether it leads or follows."""
    handlers.call_anywhere(routes.HA_STATUS, lambda _asked, _body: failover.status())
    handlers.call_anywhere(
        routes.HA_ORDER, lambda asked, body: failover.order(body, by=asked.who.name)
    )


def bind_names(handlers: Handlers, names: Namespace) -> None:
    """What is asked of names and files."""
    handlers.view(routes.STAT, names.lookup.stat)
    handlers.view(routes.LIST, names.lookup.list)
    handlers.view(routes.FIND, names.lookup.find)
    handlers.view(routes.DU, names.lookup.du)
    handlers.view(routes.DF, names.lookup.df)
    handlers.view(routes.CHECKSUM, names.lookup.checksum)
    handlers.view(routes.LOCATE, names.locating.locate)
    handlers.view(routes.LOCATE_MANY, names.locating_many.locate_many)
    handlers.view(routes.TRASH, names.trash.trash)
    handlers.view(routes.FSCK, names.checking.fsck)
    handlers.view(routes.COPIES, names.keeping.copies)
    handlers.view(routes.HISTORY, names.keeping.history)
    handlers.view(routes.INVARIANTS, invariants_of)
    handlers.view(routes.EXPLAIN, names.explaining.explain)
    handlers.guarded(routes.MKDIR, names.changes.mkdir)
    handlers.guarded(routes.MOVE, names.changes.move)
    handlers.guarded(routes.COPY, names.copying.copy)
    handlers.guarded(routes.REMOVE, names.trash.remove)
    handlers.guarded(routes.UNDELETE, names.trash.undelete)
    handlers.guarded(routes.CHMOD, names.changes.chmod)
    handlers.guarded(routes.CHOWN, names.changes.chown)
    handlers.guarded(routes.SETREP, names.changes.setrep)
    handlers.guarded(routes.TOUCH, names.changes.touch)
    handlers.guarded(routes.CREATE, names.writing.create)
    handlers.guarded(routes.ALLOCATE, names.writing.allocate)
    handlers.guarded(routes.COMPLETE, names.completing.complete)
    handlers.guarded(routes.BEGIN_PACKS, names.packing.begin)
    handlers.guarded_joint(routes.COMMIT_FILES, names.packing.commit)
    handlers.change(routes.RENEW, names.completing.renew)
    handlers.guarded(routes.ABANDON, names.completing.abandon)


def _bind_accounts(handlers: Handlers, accounts: Accounts) -> None:
    handlers.call(
        routes.REGISTER,
        lambda asked, body: accounts.register(body, address=asked.address),
        once=True,
    )
    handlers.call(routes.LOGIN, lambda asked, body: accounts.login(body, address=asked.address))
    handlers.call(routes.ADD_USER, lambda asked, body: accounts.add(asked.who, body))
    handlers.call(
        routes.PASSWORD, lambda asked, body: accounts.password(asked.logged_in, body), once=True
    )
    handlers.session_change(routes.LOGOUT, accounts.logout)
    handlers.change(routes.REMOVE_USER, accounts.remove)
    handlers.change(routes.SET_USER_STATE, accounts.set_state)
    handlers.change(routes.SET_MEMBERS, accounts.set_members)
    handlers.session_view(
        routes.WHOAMI, lambda connection, session, _body: accounts.whoami(connection, session)
    )
    handlers.view(routes.USERS, accounts.users)
    handlers.view(routes.SESSIONS, accounts.sessions)
    handlers.view(routes.GROUPS, accounts.groups)


def _bind_nodes(handlers: Handlers, nodes: Nodes) -> None:
    registry = nodes.registry
    handlers.call(routes.JOIN, lambda _asked, body: registry.join(body))
    handlers.call(routes.REGISTER_NODE, lambda asked, body: registry.register(asked.joined, body))
    handlers.call(routes.BEAT, lambda asked, body: _beat(nodes, asked.joined, body))
    handlers.call(routes.STOCK, lambda asked, body: nodes.intake.take(asked.joined, body))
    handlers.call(
        routes.STOCK_DIGESTS, lambda asked, body: nodes.intake.compare(asked.joined, body)
    )
    handlers.change(routes.SUSPECT, nodes.suspects.suspect)
    handlers.call(routes.NODES, lambda _asked, _body: NodesReply(nodes=list(registry.views())))
    handlers.call(
        routes.SWEEPS,
        lambda _asked, body: SweepsReply(
            reports=nodes.sweep.reports(node=body.node, limit=body.limit)
        ),
    )
    handlers.call(
        routes.JOIN_TOKEN,
        lambda _asked, body: registry.create_join_token(body.uses, body.life_s),
    )
    handlers.call(routes.REMOVE_NODE, lambda _asked, body: _remove_node(registry, body), once=True)


def _beat(nodes: Nodes, node: NodeId, beat: Beat) -> BeatReply:
    reply = nodes.registry.beat(node, beat)
    nodes.bad.note(node, beat.quarantine_due)
    return reply


def _remove_node(registry: NodeRegistry, body: RemoveNodeRequest) -> Done:
    registry.remove(body.name, force=body.force)
    return Done()


def _bind_cluster(handlers: Handlers, services: Services) -> None:
    handlers.call(
        routes.CLUSTER,
        lambda _asked, _body: cluster_reply(
            services.standing, services.failover, services.config, services.clock
        ),
    )
    handlers.call(routes.AUDIT, lambda _asked, body: _audit(services.audit, body))


def cluster_reply(
    standing: Standing, failover: FailoverDesk, config: Config, clock: Clock
) -> ClusterReply:
    """What a client needs to know before it starts, from a leader or a standby."""
    epoch, txid = standing.reached
    return ClusterReply(
        cluster=standing.cluster,
        version=__version__,
        epoch=epoch,
        txid=txid,
        now_ms=clock.now_ms(),
        role=standing.role,
        leader=failover.leader_url(),
        namenodes=list(failover.namenodes()),
        default_replication=config.replication.default,
        block_size_bytes=config.client.block_size_bytes,
        batch_items_max=config.limits.batch_items_max,
        page_entries_max=config.limits.page_entries_max,
    )


def _audit(trail: AuditTrail, body: AuditRequest) -> AuditReply:
    limit = max(1, min(body.limit, AUDIT_LINES_MAX))
    return AuditReply(lines=trail.newest(limit=limit, user=body.user))
