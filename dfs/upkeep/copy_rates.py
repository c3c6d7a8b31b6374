"""How fast copies were made lately, by class: what `repair_eta` works with."""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dfs.base.clock import Clock
from dfs.blocks.redundancy import RepairClass
from dfs.upkeep.executor import CopyOutcome
from dfs.upkeep.repair_eta import Pace
from dfs.upkeep.steps import Purpose

WINDOW_S: Final = 60.0
KEPT_MAX: Final = 20_000


@dataclass(frozen=True, slots=True)
class Copied:
    """Totals since the start."""

    copies: int = 0
    size_bytes: int = 0
    failed: int = 0


class CopyRates:
    """Listens to the executor.  Safe to share between threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began_s = clock.monotonic_s()
        self._recent: deque[tuple[float, RepairClass, int]] = deque(maxlen=KEPT_MAX)
        self._totals = Copied()

    def take(self, outcome: CopyOutcome) -> None:
        """A copy of repair is over; balance keeps its own figures."""
        step = outcome.step
        if step.purpose is not Purpose.REPAIR:
            return
        with self._lock:
            was = self._totals
            if not outcome.done:
                self._totals = Copied(was.copies, was.size_bytes, was.failed + 1)
                return
            size_bytes = step.truth.length_bytes
            self._totals = Copied(was.copies + 1, was.size_bytes + size_bytes, was.failed)
            self._recent.append((self._clock.monotonic_s(), step.urgency, size_bytes))

    def totals(self) -> Copied:
        """Since the start."""
        with self._lock:
            return self._totals

    def paces(self) -> Mapping[RepairClass, Pace]:
        """What each class moved over the last minute; those that moved nothing are left out."""
        now_s = self._clock.monotonic_s()
        sums: dict[RepairClass, list[int]] = {}
        with self._lock:
            while self._recent and now_s - self._recent[0][0] > WINDOW_S:
                self._recent.popleft()
            first_s = self._recent[0][0] if self._recent else now_s
            for _, urgency, size_bytes in self._recent:
                counted = sums.setdefault(urgency, [0, 0])
                counted[0] += 1
                counted[1] += size_bytes
        window_s = max(1.0, min(WINDOW_S, now_s - first_s))
        return {
            urgency: Pace(copies / window_s, size_bytes / window_s)
            for urgency, (copies, size_bytes) in sums.items()
        }
