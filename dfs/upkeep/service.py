"""Every service of upkeep, built and wired together; the daemon runs its jobs, REST asks it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dfs.accounts.block_keys import BlockKeys
from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.events import Emitter
from dfs.base.ids import BlockId
from dfs.blocks.explanation import RepairState
from dfs.blocks.redundancy import KeptBlock, RepairClass
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from dfs.nodes.registry import NodeRegistry
from dfs.settings.sections import Config
from dfs.transfer.channels import Channels
from dfs.transfer.node_memory import NodeMemory
from dfs.upkeep.balance import BalanceParts, Balancer
from dfs.upkeep.balance_search import why_repair_first
from dfs.upkeep.block_upload import BlockUpload
from dfs.upkeep.canary import Canaries, CanaryFiles, CanaryParts
from dfs.upkeep.caution import Caution
from dfs.upkeep.cluster_view import NodeStandings
from dfs.upkeep.compaction import CompactionParts, Compactor
from dfs.upkeep.compaction_pack import OwnPacks, PathsOf, Rewriter, RewriterParts
from dfs.upkeep.compaction_reads import StretchReader
from dfs.upkeep.disk_levelling import DiskLevelling
from dfs.upkeep.failover_watch import FailoverSeen, FailoverWatch
from dfs.upkeep.health_facts import RepairFacts, SafetyFacts
from dfs.upkeep.health_runs import HealthRuns, Known
from dfs.upkeep.repair_answers import repair_states
from dfs.upkeep.repair_desk import RepairDesk
from dfs.upkeep.repair_eta import total_eta_s
from dfs.upkeep.repair_service import Repair, RepairGround, build_repair
from dfs.upkeep.safety import Safety, SafetyParts
from dfs.upkeep.scrubbing import Scrubbing, ScrubParts


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What upkeep is built from.

    Attributes:
        failover: how it stands, as the leader sees it.
        takes_over: another NameNode led until now, with the same journal.
        lead_above: has this NameNode lead in an epoch above that one; which.
    """

    cluster: str
    config: Config
    reader: Reader
    writer: Writer
    registry: NodeRegistry
    keys: BlockKeys
    canary_files: CanaryFiles
    own_packs: OwnPacks
    paths_of_inodes: PathsOf
    clock: Clock
    rng: Random
    emit: Emitter
    failover: FailoverSeen
    takes_over: bool
    lead_above: Callable[[int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """The services of upkeep."""

    caution: Caution
    safety: Safety
    canaries: Canaries
    scrubbing: Scrubbing
    failover: FailoverWatch
    health: HealthRuns
    repair: Repair
    repair_desk: RepairDesk
    balance: Balancer
    disks: DiskLevelling
    compaction: Compactor

    def repair_states(self, blocks: Sequence[KeptBlock]) -> dict[BlockId, RepairState]:
        """What repair is about with each of those blocks."""
        job = self.repair.job
        return repair_states(blocks, self.repair.watch.view(), job.plan, paused=job.why_paused())

    def close(self) -> None:
        """Let go of connections and threads; what is under way is given up and done again later."""
        self.repair.close()
        self.canaries.close()
        self.compaction.close()


def build_upkeep(around: Surroundings) -> Upkeep:
    """All of upkeep, wired together."""
    safety = _build_safety(around)
    canaries = _build_canaries(around, safety.caution)
    repair = _build_repair(around, safety.caution)
    compaction = _build_compaction(around, safety.caution, repair)
    watch = _build_watch(around)
    return Upkeep(
        caution=safety.caution,
        safety=safety,
        canaries=canaries,
        scrubbing=_build_scrubbing(around, canaries),
        failover=watch,
        health=_build_health(around, safety, repair, canaries, compaction, watch),
        repair=repair,
        repair_desk=RepairDesk(repair, around.reader, why_no_deletes=safety.caution.why_no_deletes),
        balance=_build_balance(around, safety.caution, repair),
        disks=DiskLevelling(
            nodes=around.registry,
            emit=around.emit,
            threshold_percent=around.config.balance.threshold_percent,
        ),
        compaction=compaction,
    )


def _build_repair(around: Surroundings, caution: Caution) -> Repair:
    return build_repair(
        RepairGround(
            config=around.config,
            reader=around.reader,
            writer=around.writer,
            registry=around.registry,
            keys=around.keys,
            caution=caution,
            clock=around.clock,
            rng=around.rng,
            emit=around.emit,
        )
    )


def _build_balance(around: Surroundings, caution: Caution, repair: Repair) -> Balancer:
    return Balancer(
        BalanceParts(
            writer=around.writer,
            reader=around.reader,
            views=around.registry.views,
            stock=around.registry.presence,
            mover=repair.executor,
            holds=(
                caution.why_no_deletes,
                lambda: caution.why_no_repair(RepairClass.MISPLACED),
                lambda: why_repair_first(repair.surveyor.latest.totals),
            ),
            clock=around.clock,
            emit=around.emit,
            config=around.config.balance,
            repair=around.config.repair,
        )
    )


def _build_compaction(around: Surroundings, caution: Caution, repair: Repair) -> Compactor:
    config = around.config
    channels = Channels(clock=around.clock, stall_s=config.client.stall_s)

    def why_wait() -> str:
        refusal = caution.refusal_of_changes()
        return (
            (refusal.message if refusal else "")
            or caution.why_no_deletes()
            or caution.why_no_repair(RepairClass.MISPLACED)
            or why_repair_first(repair.surveyor.latest.totals)
        )

    worth = NodeStandings(around.registry.presence, urgent_after_s=config.repair.urgent_after_s)
    rewriter = RewriterParts(
        writer=around.writer,
        reader=around.reader,
        packs=around.own_packs,
        blocks=BlockUpload(channels, NodeMemory(clock=around.clock)),
        stretches=StretchReader(
            channels,
            around.keys,
            nodes=around.registry,
            doubts=repair.executor,
            standings=worth.standings,
        ),
        standings=worth.standings,
        paths_of=around.paths_of_inodes,
        why_wait=why_wait,
        keep_ms=int(config.namenode.block_token_life_s * 1000),
        pack_bytes=config.compact.pack_bytes,
    )
    return Compactor(
        CompactionParts(
            writer=around.writer,
            reader=around.reader,
            rewriter=Rewriter(rewriter),
            why_wait=why_wait,
            clock=around.clock,
            emit=around.emit,
            config=config.compact,
            close=channels.close,
        )
    )


def _build_safety(around: Surroundings) -> Safety:
    return Safety(
        SafetyParts(
            config=around.config,
            reader=around.reader,
            writer=around.writer,
            registry=around.registry,
            keys=around.keys,
            clock=around.clock,
            emit=around.emit,
            takes_over=around.takes_over,
            lead_above=around.lead_above,
        )
    )


def _safety_facts(safety: Safety) -> SafetyFacts:
    status = safety.status()
    return SafetyFacts(
        safe_mode=status.safe_mode, safe_since_ms=status.since_ms, regressed=status.regressed
    )


def _build_watch(around: Surroundings) -> FailoverWatch:
    return FailoverWatch(
        around.failover,
        node_machines=lambda: {seen.machine for seen in around.registry.voters().values()},
        lease_s=around.config.ha.lease_s,
        clock=around.clock,
    )


def _build_health(  # noqa: PLR0913 - whoever knows something
    around: Surroundings,
    safety: Safety,
    repair: Repair,
    canaries: Canaries,
    compaction: Compactor,
    watch: FailoverWatch,
) -> HealthRuns:
    return HealthRuns(
        around.reader,
        around.writer,
        known=Known(
            nodes=around.registry.views,
            survey=lambda: repair.surveyor.latest,
            repair=lambda: _repair_facts(safety, repair),
            safety=lambda: _safety_facts(safety),
            canaries=canaries.statuses,
            compaction=compaction.why_failing,
            failover=watch.facts,
        ),
        clock=around.clock,
        emit=around.emit,
        config=around.config,
    )


def _repair_facts(safety: Safety, repair: Repair) -> RepairFacts:
    return RepairFacts(
        eta_s=total_eta_s(repair.surveyor.latest.totals, repair.rates.paces()) or 0.0,
        paused_until_ms=repair.settings.paused_until_ms,
        storm=safety.storm.storm().reason,
        held={
            urgency: why
            for urgency in RepairClass
            if (why := safety.caution.why_no_repair(urgency))
        },
        failing=len(repair.pending.snapshot().resting),
    )


def _build_canaries(around: Surroundings, caution: Caution) -> Canaries:
    channels = Channels(clock=around.clock, stall_s=around.config.client.stall_s)
    parts = CanaryParts(
        writer=around.writer,
        reader=around.reader,
        nodes=around.registry,
        stock=around.registry.presence,
        files=around.canary_files,
        blocks=BlockUpload(channels, NodeMemory(clock=around.clock)),
        caution=caution,
        clock=around.clock,
        rng=around.rng,
        emit=around.emit,
        config=around.config,
    )
    return Canaries(parts)


def _build_scrubbing(around: Surroundings, canaries: Canaries) -> Scrubbing:
    parts = ScrubParts(
        writer=around.writer,
        reader=around.reader,
        nodes=around.registry,
        stock=around.registry.presence,
        clock=around.clock,
        emit=around.emit,
        config=around.config,
    )
    return Scrubbing(parts, canaries)
