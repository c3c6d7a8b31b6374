"""Every service of upkeep, built and wired together; the daemon runs its jobs, REST asks it."""

from dataclasses import dataclass

from dfs.accounts.block_keys import BlockKeys
from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.events import Emitter
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from dfs.nodes.registry import NodeRegistry
from dfs.settings.sections import Config
from dfs.upkeep.caution import Caution
from dfs.upkeep.health_facts import RepairFacts, SafetyFacts
from dfs.upkeep.health_runs import HealthRuns, Known
from dfs.upkeep.safety import Safety, SafetyParts
from dfs.upkeep.scrubbing import NoCanaries, Scrubbing, ScrubParts


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What upkeep is built from."""

    cluster: str
    config: Config
    reader: Reader
    writer: Writer
    registry: NodeRegistry
    keys: BlockKeys
    clock: Clock
    rng: Random
    emit: Emitter


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """The services of upkeep."""

    caution: Caution
    safety: Safety
    scrubbing: Scrubbing
    health: HealthRuns

    def close(self) -> None:
        """Let go of connections and threads; what is under way is given up and done again later."""


def build_upkeep(around: Surroundings) -> Upkeep:
    """All of upkeep, wired together."""
    safety = _build_safety(around)
    return Upkeep(
        caution=safety.caution,
        safety=safety,
        scrubbing=_build_scrubbing(around),
        health=_build_health(around, safety),
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
        )
    )


def _safety_facts(safety: Safety) -> SafetyFacts:
    status = safety.status()
    return SafetyFacts(
        safe_mode=status.safe_mode, safe_since_ms=status.since_ms, regressed=status.regressed
    )


def _build_health(around: Surroundings, safety: Safety) -> HealthRuns:
    return HealthRuns(
        around.reader,
        around.writer,
        known=Known(
            nodes=around.registry.views,
            repair=lambda: RepairFacts(storm=safety.storm.storm().reason),
            safety=lambda: _safety_facts(safety),
        ),
        clock=around.clock,
        emit=around.emit,
        config=around.config,
    )


def _build_scrubbing(around: Surroundings) -> Scrubbing:
    parts = ScrubParts(
        writer=around.writer,
        reader=around.reader,
        nodes=around.registry,
        waiting=around.registry.presence,
        clock=around.clock,
        emit=around.emit,
        config=around.config,
    )
    return Scrubbing(parts, NoCanaries())
