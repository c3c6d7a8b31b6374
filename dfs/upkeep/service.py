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

    def close(self) -> None:
        """Let go of connections and threads; what is under way is given up and done again later."""


def build_upkeep(around: Surroundings) -> Upkeep:
    """All of upkeep, wired together."""
    del around
    return Upkeep(caution=Caution())
