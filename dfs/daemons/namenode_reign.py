"""What a NameNode consists of while it leads, built by hand, top to bottom.

A reign begins with an election (or, for a NameNode alone, with the start of the process), and what
it knows beside the database it learns anew: DataNodes register with it, leases count from now.
So a NameNode that takes over is in no other state than one that was restarted.

The order of its beginning: open the database, say who leads (the first record of the epoch), make
the first block key, build the services, call DataNodes, run the jobs.  The order of its end: where
the lead was lost the helm has deposed its writer, which refuses what waits; jobs end, the database
is closed.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from dfs.accounts.block_keys import BlockKeys
from dfs.accounts.expiry import Expiry
from dfs.accounts.passwords import Passwords
from dfs.accounts.service import Accounts
from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.ids import Epoch, node_name
from dfs.blocks.intake import StockIntake
from dfs.blocks.judging import Bench
from dfs.blocks.suspects import Suspects
from dfs.daemons.namenode_folder import NamenodeFolder
from dfs.daemons.namenode_stock import StockKeeping, add_stock_jobs, build_stock_keeping
from dfs.daemons.schedule import JobResult, Schedule
from dfs.failover.desk import FailoverDesk
from dfs.failover.gauges import add_failover_gauges
from dfs.failover.roll import VoterRecord
from dfs.failover.steward import Steward
from dfs.meta.cluster_tables import SETTING
from dfs.meta.journal import TRIM_RECORDS_MAX, trim
from dfs.meta.session import Reader, reader_engine, writer_engine
from dfs.meta.shipping import Shipping
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
from dfs.web.front import Front
from dfs.web.namenode_app import Nodes, Services, create_app
from dfs.web.status import HeldBack, Standing
from dfs.wire.ha_api import Correspondents
from dfs.wire.http_link import HttpLink

MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0
SOUNDNESS_JOB: Final = "soundness"
STEWARD_S: Final = 1.0
WATCH_S: Final = 1.0  # how often failover is looked at, for what shows over time only
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Premises:
    """What a reign is built on, and outlives it.

    Attributes:
        epoch: it writes in.
        takes_over: another led until now, with the same journal.
        shipping: where its records go before they are committed.
        on_fatal: ends the process: the database cannot be trusted any more.
        steward: keeps the roll of NameNodes and voters, once it is given a writer.
        lead_above: leads in an epoch above that one; which.
        on_epoch_seen: told of epochs above ours that a DataNode has seen.
        correspondents: what DataNodes are told with their beats.
    """

    config: Config
    folder: NamenodeFolder
    cluster: str
    log: Log
    clock: Clock
    soundness: Soundness
    audit: AuditTrail
    failover: FailoverDesk
    epoch: Epoch
    takes_over: bool
    shipping: Shipping
    on_fatal: Callable[[str], None]
    steward: Steward
    lead_above: Callable[[int], int]
    on_epoch_seen: Callable[[int], None]
    correspondents: Callable[[], Correspondents | None]


class Reign:
    """See the module.

    Args:
        adopt: given the writer before it is asked for anything: it may have to be deposed.

    Raises:
        DfsError: the lead was lost meanwhile, or the database cannot be opened.
    """

    def __init__(self, on: Premises, adopt: Callable[[Writer, Epoch], None]) -> None:
        self._on = on
        self._config = on.config
        self._soundness = on.soundness
        self._log = on.log
        self._clock = on.clock
        self.cluster = on.cluster
        self._audit = on.audit
        self.database = open_database(
            on.folder.database, config=on.config, clock=on.clock, log=on.log, on_fatal=on.on_fatal
        )
        self.database.writer.lead(on.epoch, on.shipping)
        adopt(self.database.writer, on.epoch)
        try:
            on.steward.take_up(self.database.writer)
            self._build()
        except BaseException:
            self.database.close()
            raise

    def _build(self) -> None:
        config, clock = self._config, self._clock
        metrics = Metrics()
        self.keys = self._block_keys()
        self.registry = self._registry()
        self.registry.namenodes = self._on.failover.namenodes
        self.registry.correspondents = self._on.correspondents
        self.registry.on_epoch_seen = self._on.on_epoch_seen
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
        add_failover_gauges(metrics, self._on.failover)
        self._soundness.on_damage = self.database.writer.give_up
        self.upkeep.caution.hold_deletes(self._soundness.why_no_deletes)
        self.names.explaining.refusal_of_changes = self.upkeep.caution.refusal_of_changes
        self.names.explaining.repairs = self.upkeep.repair_states
        self.stock = self._stock_keeping()
        self.nodes = self._nodes()
        self.standing = self._standing(metrics)
        self.front = self._front(metrics)
        self._schedule = self._jobs()
        self.standing.jobs = self._schedule.results

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
                namenodes=self._on.failover.namenodes(),
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
            failover=self._on.failover,
            takes_over=self._on.takes_over,
            lead_above=self._on.lead_above,
        )

    def _standing(self, metrics: Metrics) -> Standing:
        return Standing(
            cluster=self.cluster,
            writer=self.database.writer,
            views=self.registry.views,
            clock=self._clock,
            metrics=metrics,
            audit=self._audit,
            failover=self._on.failover.status,
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

    def _front(self, metrics: Metrics) -> Front:
        return create_app(
            Services(
                config=self._config,
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
                failover=self._on.failover,
            )
        )

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
        schedule.every("failover", STEWARD_S, self._steward_once)
        schedule.every("verify", config.ha.verify_interval_s, self._on.failover.verify)
        self._add_upkeep_jobs(schedule)
        return schedule

    def _add_upkeep_jobs(self, schedule: Schedule) -> None:
        """What keeps blocks as they should be."""
        config, health = self._config, self.upkeep.health
        guards_s = min(GUARDS_S, config.liveness.heartbeat_interval_s)
        schedule.every("safety", guards_s, self.upkeep.safety.run_once)
        schedule.every("health", config.health.interval_s, health.run_once)
        watch, liveness = self.upkeep.failover, config.liveness
        schedule.every("watch", WATCH_S, watch.look_once)
        schedule.every(
            "versions", liveness.sweep_interval_s, partial(watch.ask_once, self._sweeper)
        )
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

    def _steward_once(self) -> list[str]:
        return self._on.steward.run_once(self.database.reader, self._voters_of_nodes)

    def _voters_of_nodes(self) -> dict[str, VoterRecord]:
        return {
            voter: VoterRecord(daemon, url, machine)
            for voter, (daemon, url, machine) in self.registry.voters().items()
        }

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

    def start(self) -> None:
        """Have DataNodes come, and run the jobs."""
        self._soundness.go_on()
        self._schedule.start()
        if not self._soundness.is_proven:
            self._schedule.soon(SOUNDNESS_JOB)
        threading.Thread(target=self.nodes.sweep.call_all, name="calling", daemon=True).start()

    def close(self) -> None:
        """End the jobs, commit what is queued (where it was not deposed), close the database."""
        self._schedule.hold()
        self._soundness.break_off()
        self.upkeep.close()  # a pass that waits for a DataNode ends with it
        self._schedule.stop()
        self.database.close()
        self._sweeper.close()
