"""Repair, built and wired together: what its job runs with, and what others share of it."""

from dataclasses import dataclass

from dfs.accounts.block_keys import BlockKeys
from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.events import Emitter
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from dfs.nodes.registry import NodeRegistry
from dfs.settings.sections import Config
from dfs.transfer.channels import Channels
from dfs.upkeep.budget import configured_rates
from dfs.upkeep.caution import Caution
from dfs.upkeep.cluster_view import NodeStandings, Watch
from dfs.upkeep.copy_rates import CopyRates
from dfs.upkeep.executor import Executor, ExecutorParts
from dfs.upkeep.lost_blocks import LostBlocks
from dfs.upkeep.mini_client import MiniClient
from dfs.upkeep.pending import PendingTable
from dfs.upkeep.repair import RepairJob, RepairParts
from dfs.upkeep.repair_plan import RepairLimits
from dfs.upkeep.repair_settings import RepairSettings
from dfs.upkeep.reprieve import Reprieve
from dfs.upkeep.surveyor import Surveyor


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairGround:
    """What repair stands on."""

    config: Config
    reader: Reader
    writer: Writer
    registry: NodeRegistry
    keys: BlockKeys
    caution: Caution
    clock: Clock
    rng: Random
    emit: Emitter


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """The services of repair; balance and health share the first four."""

    surveyor: Surveyor
    watch: Watch
    executor: Executor
    pending: PendingTable
    settings: RepairSettings
    rates: CopyRates
    reprieve: Reprieve
    job: RepairJob

    def close(self) -> None:
        """Give up the copies under way; they are begun again after the next start."""
        self.executor.close()


def build_repair(ground: RepairGround) -> Repair:
    """All of repair, wired together."""
    config = ground.config.repair
    presence = ground.registry.presence
    standings = NodeStandings(presence, urgent_after_s=config.urgent_after_s)
    surveyor = Surveyor(
        ground.reader, source=standings, clock=ground.clock, interval_s=config.interval_s
    )
    pending = PendingTable(clock=ground.clock, attempts_max=config.attempts_max)
    executor = _build_executor(ground, pending, standings)
    rates = CopyRates(ground.clock)
    executor.listen(rates.take)
    watch = Watch(
        presence,
        clock=ground.clock,
        caution=ground.caution,
        survey=lambda: surveyor.latest,
        pending=pending.snapshot,
        urgent_after_s=config.urgent_after_s,
    )
    settings = RepairSettings(ground.writer, ground.reader, configured=configured_rates(config))
    reprieve = Reprieve(
        ground.writer,
        ground.reader,
        orders=ground.registry,
    )
    parts = RepairParts(
        surveyor=surveyor,
        watch=watch,
        executor=executor,
        pending=pending,
        settings=settings,
        rates=rates,
        reprieve=reprieve,
        lost=LostBlocks(ground.writer, ground.reader, emit=ground.emit),
        registry=ground.registry,
        writer=ground.writer,
        clock=ground.clock,
        rng=ground.rng,
        emit=ground.emit,
    )
    limits = RepairLimits(config.in_flight_per_node, config.copies_at_once)
    return Repair(
        surveyor=surveyor,
        watch=watch,
        executor=executor,
        pending=pending,
        settings=settings,
        rates=rates,
        reprieve=reprieve,
        job=RepairJob(parts, limits=limits, history_keep_s=config.history_keep_s),
    )


def _build_executor(
    ground: RepairGround, pending: PendingTable, standings: NodeStandings
) -> Executor:
    config = ground.config
    client = MiniClient(
        Channels(clock=ground.clock, stall_s=config.client.stall_s),
        ground.keys,
        timeout_s=config.repair.timeout_s,
        sign=config.namenode.block_tokens,
    )
    parts = ExecutorParts(
        reader=ground.reader,
        writer=ground.writer,
        nodes=ground.registry,
        client=client,
        pending=pending,
        caution=ground.caution,
        standings=standings.standings,
        clock=ground.clock,
        emit=ground.emit,
    )
    threads = config.repair.copies_at_once + config.balance.moves_at_once
    return Executor(parts, threads=threads)
