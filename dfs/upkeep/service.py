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
from dfs.upkeep.health_runs import HealthRuns, Known
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
    scrubbing: Scrubbing
    health: HealthRuns

    def close(self) -> None:
        """Let go of connections and threads; what is under way is given up and done again later."""


def build_upkeep(around: Surroundings) -> Upkeep:
    """All of upkeep, wired together."""
    return Upkeep(
        caution=Caution(), scrubbing=_build_scrubbing(around), health=_build_health(around)
    )


def _build_health(around: Surroundings) -> HealthRuns:
    return HealthRuns(
        around.reader,
        around.writer,
        known=Known(nodes=around.registry.views),
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
