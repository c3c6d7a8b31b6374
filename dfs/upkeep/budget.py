"""Pure: how many bytes a second each class of repair may move.

A token bucket a class.  It holds at most one second's worth (so that a rest saves up no burst) and
may be overdrawn by the one block that is begun while something is in it: a block larger than a
second's worth is begun all the same, and the next waits until the debt is paid.  0 is no limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dfs.blocks.redundancy import RepairClass
from dfs.settings.sections import RepairConfig

BURST_S: Final = 1.0
NO_LIMIT: Final = 0


@dataclass(frozen=True, slots=True)
class Bucket:
    """What one class may still move now."""

    rate_bytes: int  # a second; 0 is no limit
    level_bytes: float = 0.0
    filled_s: float = 0.0  # when the level was so


@dataclass(frozen=True, slots=True)
class Budget:
    """A bucket for each class that has copies to make."""

    buckets: Mapping[RepairClass, Bucket]

    def at(self, now_s: float) -> "Budget":
        """The budget as it is now."""
        return Budget({each: _filled(bucket, now_s) for each, bucket in self.buckets.items()})

    def allows(self, urgency: RepairClass) -> bool:
        """Whether a copy of that class may begin."""
        bucket = self.buckets.get(urgency)
        return bucket is None or bucket.rate_bytes == NO_LIMIT or bucket.level_bytes > 0

    def spend(self, urgency: RepairClass, size_bytes: int) -> "Budget":
        """The budget after a copy of that class."""
        bucket = self.buckets.get(urgency)
        if bucket is None or bucket.rate_bytes == NO_LIMIT:
            return self
        left = Bucket(bucket.rate_bytes, bucket.level_bytes - size_bytes, bucket.filled_s)
        return Budget({**self.buckets, urgency: left})

    def with_rate(self, urgency: RepairClass, rate_bytes: int, now_s: float) -> "Budget":
        """The budget with another rate for one class, from now on; its debt is forgiven."""
        assert rate_bytes >= 0
        level = rate_bytes * BURST_S
        return Budget({**self.buckets, urgency: Bucket(rate_bytes, level, now_s)})

    def rates(self) -> dict[RepairClass, int]:
        """Bytes a second of each class."""
        return {each: bucket.rate_bytes for each, bucket in self.buckets.items()}


def budget_of(rates: Mapping[RepairClass, int], now_s: float) -> Budget:
    """A budget with full buckets."""
    return Budget({each: Bucket(rate, rate * BURST_S, now_s) for each, rate in rates.items()})


def configured_rates(config: RepairConfig) -> dict[RepairClass, int]:
    """The rates that [repair] names."""
    return {
        RepairClass.LAST_COPY: config.last_copy_bytes,
        RepairClass.FEW_COPIES: config.few_copies_bytes,
        RepairClass.UNDER: config.under_bytes,
        RepairClass.MISPLACED: config.misplaced_bytes,
    }


def _filled(bucket: Bucket, now_s: float) -> Bucket:
    gained = max(0.0, now_s - bucket.filled_s) * bucket.rate_bytes
    level = min(bucket.rate_bytes * BURST_S, bucket.level_bytes + gained)
    return Bucket(bucket.rate_bytes, level, now_s)
