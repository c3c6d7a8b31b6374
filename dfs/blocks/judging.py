"""What every deciding job of this package reads and asks, in one place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dfs.base.clock import Clock
from dfs.base.events import Emitter
from dfs.base.ids import NodeId
from dfs.base.records import BlockName
from dfs.blocks.redundancy import Standings
from dfs.meta.session import Reader
from dfs.meta.writer import Writer


class Orderer(Protocol):
    """How a DataNode is told to do something."""

    def enqueue(
        self, node: NodeId, verb: str, block: BlockName | None = None, *, reason: str = ""
    ) -> bool:
        """Order it; False when too much waits already, or it could not do the same lately."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a job that judges copies works with.

    Attributes:
        standings: what every node's copies are worth now.
        why_no_deletes: why nothing may be deleted now, or "".
    """

    writer: Writer
    reader: Reader
    standings: Callable[[], Standings]
    orders: Orderer
    why_no_deletes: Callable[[], str]
    clock: Clock
    emit: Emitter


class Asked:
    """Orders that were given lately, so that a job that runs often does not repeat them.

    Args:
        again_s: after so long the same is ordered again, because it brought nothing.
        asked_max: how many are remembered; beyond that, everything is ordered again.
    """

    def __init__(self, clock: Clock, *, again_s: float, asked_max: int = 100_000) -> None:
        self._clock = clock
        self._again_s = again_s
        self._asked_max = asked_max
        self._at_s: dict[tuple[NodeId, str, BlockName], float] = {}

    def is_due(self, node: NodeId, verb: str, name: BlockName) -> bool:
        """Whether that was not ordered lately."""
        at_s = self._at_s.get((node, verb, name))
        return at_s is None or self._clock.monotonic_s() - at_s >= self._again_s

    def note(self, node: NodeId, verb: str, name: BlockName) -> bool:
        """It is ordered now; whether that is news (the first time in a while)."""
        if len(self._at_s) >= self._asked_max:
            self._at_s.clear()
        news = (node, verb, name) not in self._at_s
        self._at_s[node, verb, name] = self._clock.monotonic_s()
        return news

    def prune(self) -> None:
        """Forget what was ordered long ago."""
        before_s = self._clock.monotonic_s() - 2 * self._again_s
        self._at_s = {key: at_s for key, at_s in self._at_s.items() if at_s >= before_s}
