"""Copies under way, and what failed lately: so that nothing is begun twice or tried in a circle.

A copy is under way from the moment it is handed to the executor until it is settled.  A source that
could not give a block, or a target that could not take it, is passed over for that block for a
while, longer each time, as long as there is another.  What a node failed before it was started anew
is forgotten.  Kept in memory: after a restart the worst is one attempt too many.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dfs.base.clock import Clock
from dfs.base.ids import BlockId, NodeId
from dfs.upkeep.steps import CopyBlock

BACKOFF_FIRST_S: Final = 5.0
BACKOFF_CAP_S: Final = 600.0
FORGET_AFTER_S: Final = 3600.0
REMEMBERED_MAX: Final = 50_000


@dataclass(frozen=True, slots=True)
class Pending:
    """What is under way at one moment.

    Attributes:
        copies: those under way, by block and target.
        outgoing, incoming: how many each node gives and takes.
        failed_sources, failed_targets: nodes to pass over for a block, as long as others are left.
        resting: blocks not to be tried now, and why.
        landed: copies that ended well since the last survey began: it may not know of them.
        dropped: blocks of which a copy was retired since, or could not be.
    """

    copies: Mapping[tuple[BlockId, NodeId], CopyBlock] = field(default_factory=dict)
    outgoing: Mapping[NodeId, int] = field(default_factory=dict)
    incoming: Mapping[NodeId, int] = field(default_factory=dict)
    failed_sources: Mapping[BlockId, frozenset[NodeId]] = field(default_factory=dict)
    failed_targets: Mapping[BlockId, frozenset[NodeId]] = field(default_factory=dict)
    resting: Mapping[BlockId, str] = field(default_factory=dict)
    landed: frozenset[tuple[BlockId, NodeId]] = frozenset()
    dropped: frozenset[BlockId] = frozenset()

    def targets(self) -> Mapping[BlockId, frozenset[NodeId]]:
        """The nodes that a copy of each block is on its way to, or arrived at a moment ago."""
        found: dict[BlockId, frozenset[NodeId]] = {}
        for block, target in (*self.copies, *self.landed):
            found[block] = found.get(block, frozenset()) | {target}
        return found


NOTHING_PENDING: Final = Pending()


@dataclass(slots=True)
class _Trouble:
    """What went wrong with one block lately."""

    sources: dict[NodeId, int] = field(default_factory=dict)  # failures
    targets: dict[NodeId, int] = field(default_factory=dict)
    failures: int = 0
    until_s: float = 0.0
    last_s: float = 0.0
    why: str = ""


class PendingTable:
    """See the module.  Safe to share between threads.

    Args:
        attempts_max: failures after which a source or target is passed over.
    """

    def __init__(self, *, clock: Clock, attempts_max: int) -> None:
        self._clock = clock
        self._attempts_max = attempts_max
        self._lock = threading.Lock()
        self._copies: dict[tuple[BlockId, NodeId], CopyBlock] = {}
        self._cancelled: set[tuple[BlockId, NodeId]] = set()
        self._troubles: dict[BlockId, _Trouble] = {}
        self._landed: dict[tuple[BlockId, NodeId], float] = {}
        self._dropped: dict[BlockId, float] = {}
        self._started: dict[NodeId, int] = {}

    def begin(self, step: CopyBlock) -> bool:
        """A copy is under way from now on; False when the same already is."""
        with self._lock:
            key = _key(step)
            if key in self._copies:
                return False
            self._copies[key] = step
            return True

    def cancel(self, step: CopyBlock) -> None:
        """It is not needed any more: if it has not begun to move bytes, it is left out."""
        with self._lock:
            if _key(step) in self._copies:
                self._cancelled.add(_key(step))

    def is_cancelled(self, step: CopyBlock) -> bool:
        """Whether it is not needed any more."""
        with self._lock:
            return _key(step) in self._cancelled

    def end(self, step: CopyBlock) -> None:
        """It is over, one way or another."""
        with self._lock:
            self._copies.pop(_key(step), None)
            self._cancelled.discard(_key(step))

    def succeeded(self, step: CopyBlock) -> None:
        """The block has a copy more: what went wrong before is forgotten."""
        with self._lock:
            self._troubles.pop(step.name.block, None)
            self._landed[_key(step)] = self._clock.monotonic_s()

    def dropped(self, block: BlockId) -> None:
        """A copy of it was retired, or could not be: the next survey says how it stands now."""
        with self._lock:
            self._dropped[block] = self._clock.monotonic_s()

    def surveyed(self, began_s: float) -> None:
        """A survey that began then knows what ended before."""
        with self._lock:
            self._landed = {key: at for key, at in self._landed.items() if at >= began_s}
            self._dropped = {block: at for block, at in self._dropped.items() if at >= began_s}

    def failed(
        self, step: CopyBlock, *, source: bool, target: bool, proved: bool = False, why: str
    ) -> None:
        """It did not work out.

        Args:
            source, target: whose fault it may have been.
            proved: no doubt about that: it is passed over from now on, and another tried at once.
        """
        now_s = self._clock.monotonic_s()
        with self._lock:
            trouble = self._troubles.pop(step.name.block, None) or _Trouble()
            self._troubles[step.name.block] = trouble
            weight = self._attempts_max if proved else 1
            sides = [(trouble.sources, step.source)] if source else []
            sides += [(trouble.targets, step.target)] if target else []
            was_last_hope = any(at.get(node, 0) >= self._attempts_max for at, node in sides)
            for at, node in sides:
                at[node] = at.get(node, 0) + weight
            trouble.failures += 1
            trouble.last_s, trouble.why = now_s, why
            if not proved or was_last_hope:
                wait_s = BACKOFF_FIRST_S * 2 ** min(trouble.failures - 1, 10)
                trouble.until_s = now_s + min(wait_s, BACKOFF_CAP_S)
            while len(self._troubles) > REMEMBERED_MAX:
                del self._troubles[next(iter(self._troubles))]

    def welcome(self, started: Mapping[NodeId, int]) -> None:
        """When each node registered last: one that did again is given another chance at once."""
        with self._lock:
            anew = {n for n, at in started.items() if self._started.get(n, at) != at}
            self._started = dict(started)
            for trouble in self._troubles.values() if anew else ():
                if not anew.isdisjoint((*trouble.sources, *trouble.targets)):
                    for node in anew:
                        trouble.sources.pop(node, None)
                        trouble.targets.pop(node, None)
                    trouble.failures, trouble.until_s = 0, 0.0

    def snapshot(self) -> Pending:
        """What is under way now."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            self._forget_old(now_s)
            copies = dict(self._copies)
            limit = self._attempts_max
            return Pending(
                copies=copies,
                outgoing=Counter(step.source for step in copies.values()),
                incoming=Counter(step.target for step in copies.values()),
                failed_sources={
                    block: frozenset(n for n, times in trouble.sources.items() if times >= limit)
                    for block, trouble in self._troubles.items()
                },
                failed_targets={
                    block: frozenset(n for n, times in trouble.targets.items() if times >= limit)
                    for block, trouble in self._troubles.items()
                },
                resting={
                    block: f"tried {trouble.failures} times, again later: {trouble.why}"
                    for block, trouble in self._troubles.items()
                    if now_s < trouble.until_s
                },
                landed=frozenset(self._landed),
                dropped=frozenset(self._dropped),
            )

    def _forget_old(self, now_s: float) -> None:
        for block in [b for b, t in self._troubles.items() if now_s - t.last_s > FORGET_AFTER_S]:
            del self._troubles[block]


def _key(step: CopyBlock) -> tuple[BlockId, NodeId]:
    return step.name.block, step.target
