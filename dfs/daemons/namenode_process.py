"""The composition root of a NameNode: every object it is made of, built by hand, top to bottom.

The order of a start: open the database (already checked), make the first block key, build the
services, take the port, run the jobs, serve.  The order of a stop: accept nothing more, answer what
runs, end the jobs, commit what is queued, fold the database's log back, close.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from dfs.accounts.block_keys import BlockKeys
from dfs.accounts.expiry import Expiry
from dfs.accounts.passwords import Passwords
from dfs.accounts.service import Accounts
from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.errors import DatabaseUnavailable, MetadataCorrupt
from dfs.base.events import Event
from dfs.base.ids import node_name
from dfs.blocks.intake import StockIntake
from dfs.blocks.judging import Bench
from dfs.blocks.suspects import Suspects
from dfs.daemons.lifecycle import StopRequest, allow_open_files, announce
from dfs.daemons.namenode_folder import NamenodeFolder
from dfs.daemons.namenode_stock import StockKeeping, add_stock_jobs, build_stock_keeping
from dfs.daemons.schedule import JobResult, Schedule
from dfs.meta.cluster_tables import SETTING
from dfs.meta.journal import TRIM_RECORDS_MAX, trim
from dfs.meta.session import Reader, reader_engine, writer_engine
from dfs.meta.soundness import Soundness
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.namespace.block_paths import paths_of_blocks, paths_of_inodes
from dfs.namespace.genesis import CLUSTER_KEY, make_home
from dfs.namespace.leases import LeaseExpiry
from dfs.namespace.purge import Purge
from dfs.namespace.service import build_namespace
from dfs.nodes.orders import Order
from dfs.nodes.registry import ClusterFacts, NodeRegistry
from dfs.nodes.sweep import HealthSweep
from dfs.observe.audit import AuditTrail
from dfs.observe.logs import Log
from dfs.observe.metrics import Metrics
from dfs.settings.sections import Config
from dfs.upkeep.canary import check_every_s
from dfs.upkeep.cluster_view import NodeStandings
from dfs.upkeep.health_facts import JobFacts
from dfs.upkeep.service import Surroundings, build_upkeep
from dfs.web.http_server import HttpLimits, HttpServer
from dfs.web.namenode_app import Nodes, Services, create_app
from dfs.web.status import HeldBack, Standing
from dfs.wire.http_link import HttpLink

PROGRAM: Final = "dfs-namenode"
DRAIN_S: Final = 10.0
MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0
FILES_BESIDE: Final = 200  # the database's, by every reader, and connections to DataNodes
SOUNDNESS_JOB: Final = "soundness"
GUARDS_S: Final = 1.0  # how often safe mode, storms and regression are looked for
JOB_THREADS: Final = 8  # repair, balance and surveys may each hold one for seconds
# Beside one a request: jobs, the thread of the loop, and a health page while all are busy.
SPARE_READERS: Final = JOB_THREADS + 5


@dataclass(frozen=True, slots=True)
class Database:
    """The open database of a NameNode."""

    reader: Reader
    writer: Writer

    def close(self) -> None:
        """Commit what is queued and close; the last connection, which may write, tidies up."""
        self.reader.close()
        self.writer.close()


def open_database(
    file: Path, *, config: Config, clock: Clock, log: Log, on_fatal: Callable[[str], None]
) -> Database:
    """The writer and the readers of a database that has been checked."""
    reader = Reader(reader_engine(file, connections=config.namenode.threads + SPARE_READERS))
    writer = Writer(
        writer_engine(file),
        file,
        clock=clock,
        emit=log,
        config=config.namenode,
        limits=config.limits,
        on_fatal=on_fatal,
    )
    return Database(reader, writer)


def failed_jobs(results: Sequence[JobResult]) -> list[JobFacts]:
    """The background jobs whose last pass failed, as health has them."""
    return [
        JobFacts(result.job, result.started_ms, str(result.report))
        for result in results
        if not result.ok
    ]


def cluster_id(connection: Connection) -> str:
    """The cluster a database belongs to; empty before its first transaction."""
    found = select(SETTING.c.value).where(SETTING.c.key == CLUSTER_KEY)
    return connection.execute(found).scalar() or ""


class NamenodeProcess:
    """One NameNode, from its database to its port.

    Raises:
        PortInUse, BadConfig: it cannot listen.
        MetadataCorrupt: the database belongs to no cluster.
    """

    def __init__(
        self,
        config: Config,
        folder: NamenodeFolder,
        *,
        log: Log,
        clock: Clock,
        soundness: Soundness,
    ) -> None:
        self._config = config
        self._soundness = soundness
        self._log = log
        self._clock = clock
        self._fatal = ""
        self._stop: StopRequest | None = None
        self.database = open_database(
            folder.database, config=config, clock=clock, log=log, on_fatal=self._on_fatal
        )
        try:
            self._build(folder)
        except BaseException:
            self.database.close()
            raise

    def _build(self, folder: NamenodeFolder) -> None:
        config, clock = self._config, self._clock
        metrics = Metrics()
        self.cluster = self._cluster_of(folder)
        self.keys = self._block_keys()
        self.registry = self._registry()
        self.accounts = self._accounts()
        self.names = build_namespace(
            clock=clock,
            config=config,
            nodes=self.registry.views,
            keys=self.keys,
            rng=Random(),
            fresh=self.registry.presence.fresh,
        )
        self.upkeep = build_upkeep(self._surroundings())
        self.upkeep.compaction.show(metrics)
        self._soundness.on_damage = self.database.writer.give_up
        self.upkeep.caution.hold_deletes(self._soundness.why_no_deletes)
        self.names.explaining.refusal_of_changes = self.upkeep.caution.refusal_of_changes
        self.names.explaining.repairs = self.upkeep.repair_states
        self.stock = self._stock_keeping()
        self.nodes = self._nodes()
        audit = config.logging.audit_file
        self._audit = AuditTrail(Path(audit) if audit else folder.audit, clock=clock)
        self.standing = self._standing(metrics)
        self.http = self._http(metrics)
        self._schedule = self._jobs()
        self.standing.jobs = self._schedule.results

    def _cluster_of(self, folder: NamenodeFolder) -> str:
        with self.database.reader.view() as connection:
            cluster = cluster_id(connection)
        if not cluster:
            raise MetadataCorrupt(f"{folder.database} belongs to no cluster")
        return cluster

    def _block_keys(self) -> BlockKeys:
        keys = BlockKeys(
            self.database.writer,
            self.database.reader,
            self._clock,
            self._config.namenode,
            self.cluster,
            emit=self._log,
        )
        keys.rotate_once()
        return keys

    def _registry(self) -> NodeRegistry:
        config = self._config
        return NodeRegistry(
            self.database.writer,
            self.database.reader,
            clock=self._clock,
            emit=self._log,
            config=config.liveness,
            keys=self.keys,
            facts=ClusterFacts(
                cluster=self.cluster,
                namenodes=config.cluster.namenodes,
                block_tokens=config.namenode.block_tokens,
                join_token_life_s=config.accounts.join_token_life_s,
            ),
        )

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            cluster=self.cluster,
            config=self._config,
            reader=self.database.reader,
            writer=self.database.writer,
            registry=self.registry,
            keys=self.keys,
            canary_files=self.names.canaries,
            own_packs=self.names.packing,
            paths_of_inodes=paths_of_inodes,
            clock=self._clock,
            rng=Random(),
            emit=self._log,
        )

    def _standing(self, metrics: Metrics) -> Standing:
        return Standing(
            cluster=self.cluster,
            writer=self.database.writer,
            views=self.registry.views,
            clock=self._clock,
            metrics=metrics,
            audit=self._audit,
            held_back=self._held_back,
        )

    def _accounts(self) -> Accounts:
        return Accounts(
            self.database.writer,
            self.database.reader,
            self._clock,
            self._config.accounts,
            self._log,
            passwords=Passwords(hashes_at_once=self._config.accounts.hashes_at_once),
            on_register=make_home,
        )

    def _nodes(self) -> Nodes:
        liveness = self._config.liveness
        self._sweeper = HttpLink(timeout_s=liveness.sweep_timeout_s, connections=1)
        sweep = HealthSweep(
            self.database.writer,
            self.database.reader,
            presence=self.registry.presence,
            link=self._sweeper,
            clock=self._clock,
            emit=self._log,
            config=liveness,
        )
        intake = StockIntake(
            self.database.writer,
            self.database.reader,
            registrations=self.registry.presence,
            orders=self.registry,
            clock=self._clock,
            emit=self._log,
        )
        suspects = Suspects(emit=self._log)
        return Nodes(
            registry=self.registry,
            sweep=sweep,
            intake=intake,
            suspects=suspects,
            bad=self.stock.bad,
        )

    def _stock_keeping(self) -> StockKeeping:
        presence = self.registry.presence
        standings = NodeStandings(presence, urgent_after_s=self._config.repair.urgent_after_s)
        bench = Bench(
            writer=self.database.writer,
            reader=self.database.reader,
            standings=standings.standings,
            orders=self.registry,
            why_no_deletes=self.upkeep.caution.why_no_deletes,
            clock=self._clock,
            emit=self._log,
        )
        return build_stock_keeping(bench, presence=presence, config=self._config)

    def _http(self, metrics: Metrics) -> HttpServer:
        config = self._config
        services = Services(
            config=config,
            reader=self.database.reader,
            writer=self.database.writer,
            accounts=self.accounts,
            names=self.names,
            nodes=self.nodes,
            upkeep=self.upkeep,
            standing=self.standing,
            audit=self._audit,
            metrics=metrics,
            log=self._log,
            clock=self._clock,
        )
        limits = HttpLimits(
            threads=config.namenode.threads,
            connections_max=self._connections_max(),
            body_bytes_max=config.limits.body_bytes_max,
            header_bytes_max=config.limits.header_bytes_max,
        )
        host, port = config.namenode.host, config.namenode.port
        self.app = create_app(services)
        return HttpServer(self.app, host=host, port=port, limits=limits, clock=self._clock)

    def _connections_max(self) -> int:
        """As many as the settings allow, and the system lets this process have open."""
        wanted = self._config.limits.connections_max
        return min(wanted, max(1, allow_open_files(wanted + FILES_BESIDE) - FILES_BESIDE))

    def _jobs(self) -> Schedule:
        """What runs in the background, and how often."""
        config, writer, log = self._config, self.database.writer, self._log
        liveness, namenode = config.liveness, config.namenode
        leases = LeaseExpiry(
            writer, self.database.reader, self.names.heard, config=namenode, emit=log
        )
        purge = Purge(writer, clock=self._clock, config=namenode, emit=log)
        expiry = Expiry(
            writer,
            self.accounts.open_sessions,
            emit=log,
            retry_cache_keep_s=namenode.retry_cache_keep_s,
        )
        schedule = Schedule(clock=self._clock, log=log, threads_max=JOB_THREADS)
        schedule.every("liveness", liveness.heartbeat_interval_s, self._tick)
        schedule.every("expiry", MINUTE_S, expiry.expire_once, has_more=lambda r: r.more)
        schedule.every("sweep", liveness.sweep_interval_s, self.nodes.sweep.run_once)
        add_stock_jobs(schedule, self.stock, self.nodes.intake, config=config)
        schedule.every("keys", MINUTE_S, self.keys.rotate_once)
        lease_s = min(MINUTE_S, namenode.lease_soft_s)
        caution = self.upkeep.caution
        schedule.every(
            "leases",
            lease_s,
            lambda: leases.run_once() if caution.refusal_of_changes() is None else None,
            has_more=lambda report: report is not None and report.more,
        )
        schedule.every(
            "purge",
            namenode.purge_interval_s,
            lambda: purge.run_once() if not caution.why_no_deletes() else None,
            has_more=lambda report: report is not None and report.more,
        )
        schedule.every(
            "journal", MINUTE_S, self._trim_journal, has_more=lambda n: n >= TRIM_RECORDS_MAX
        )
        schedule.every(SOUNDNESS_JOB, DAY_S, self._soundness.run_once)
        self._add_upkeep_jobs(schedule)
        return schedule

    def _add_upkeep_jobs(self, schedule: Schedule) -> None:
        """What keeps blocks as they should be."""
        config, health = self._config, self.upkeep.health
        guards_s = min(GUARDS_S, config.liveness.heartbeat_interval_s)
        schedule.every("safety", guards_s, self.upkeep.safety.run_once)
        schedule.every("health", config.health.interval_s, health.run_once)
        repair = self.upkeep.repair.job
        schedule.every("repair", config.repair.interval_s, repair.run_once, has_more=repair.goes_on)
        canaries = self.upkeep.canaries
        schedule.every("canary", check_every_s(config), canaries.run_once)
        self.stock.acknowledged.listen(Order.SPOIL_CANARY, canaries.heard)
        schedule.every(
            "balance",
            config.repair.interval_s,
            self.upkeep.balance.run_once,
            has_more=lambda report: report.more,
        )
        schedule.every(
            "compaction",
            config.repair.interval_s,
            self.upkeep.compaction.run_once,
            has_more=lambda report: report.more,
        )
        health.late.block_paths = paths_of_blocks
        self.upkeep.balance.block_paths = paths_of_blocks
        health.late.probe = self.nodes.sweep.run_once
        health.late.failed_jobs = lambda: failed_jobs(schedule.results())

    def _held_back(self) -> HeldBack:
        safety = self.upkeep.safety
        return HeldBack(
            safe_mode=safety.safe_mode.is_on(),
            frozen=safety.storm.storm().frozen,
            regressed=bool(safety.regression.why()),
        )

    def _tick(self) -> list[str]:
        """Who fell silent: a line in the log when somebody did."""
        report = self.registry.tick_once()
        return [node_name(node) for node in (*report.stale, *report.dead)]

    def _trim_journal(self) -> int:
        namenode = self._config.namenode
        keep_ms = int(namenode.journal_keep_s * 1000)

        def work(txn: Txn) -> int:
            return trim(
                txn.connection,
                older_than_ms=txn.now_ms - keep_ms,
                records_max=namenode.journal_records_max,
            )

        return self.database.writer.submit(work)

    def run(self, stop: StopRequest) -> None:
        """Serve until asked to stop, then drain.

        Raises:
            DatabaseUnavailable: the database failed; the next start recovers what was committed.
        """
        self._stop = stop
        if self._fatal:
            stop.ask(self._fatal)
        try:
            self._schedule.start()
            if not self._soundness.is_proven:
                self._schedule.soon(SOUNDNESS_JOB)
            self.http.start()
            self._say_ready()
            stop.wait()
            self.standing.stopping = True
            self._log.emit(Event.DAEMON_STOPPING, why=stop.signal_name)
        finally:
            self.close()
        if self._fatal:
            raise DatabaseUnavailable(self._fatal)

    def close(self) -> None:
        """Let what runs be answered, then commit and close."""
        self.http.stop(DRAIN_S)
        self._schedule.hold()
        self._soundness.break_off()
        self.upkeep.close()  # a pass that waits for a DataNode ends with it
        self._schedule.stop()
        self.database.close()
        if not self._fatal:
            self._soundness.leave_mark(*self.database.writer.head)
        self._audit.close()
        self._sweeper.close()
        self._log.emit(Event.DAEMON_STOPPED, clean=not self._fatal)

    def _say_ready(self) -> None:
        http = f"{self._config.namenode.host}:{self.http.port}"
        self._log.emit(
            Event.DAEMON_STARTED,
            http=http,
            cluster=self.cluster,
            epoch=self.database.writer.epoch,
            txid=self.database.writer.txid,
        )
        announce(f"{PROGRAM} ready: http {http} cluster {self.cluster}")

    def _on_fatal(self, reason: str) -> None:
        """The writer cannot trust its database any more: end, and let the next start recover."""
        self._fatal = reason
        if self._stop is not None:
            self._stop.ask(reason)
