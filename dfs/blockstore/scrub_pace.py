"""Pure: how fast the scrubber of a volume reads.

The rate is what finishes the pass in time: the bytes left over the time left of four fifths of the
promised interval (a fifth is spared for foreground work and restarts), between a floor that keeps
small volumes moving and a ceiling that spares the disk's users.  A second limit counts files, for
volumes of many small ones.  Foreground work halves both.
"""

from dataclasses import dataclass
from typing import Final

from dfs.settings.sections import ScrubConfig

BURST_S: Final = 1.0  # so much unused time may be made up for
PASS_SHARE: Final = 0.8  # of the interval promised
LEFT_SHARE_MIN: Final = 0.1  # a pass that is late hurries, but does not stampede
YIELD_SHARE: Final = 0.5
REST_MAX_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Limits in force."""

    bytes_per_s: float
    files_per_s: float


@dataclass(frozen=True, slots=True)
class PaceState:
    """Until when what was read so far is paid for, by each limit, on the monotonic clock."""

    bytes_paid_s: float = 0.0
    files_paid_s: float = 0.0


def pace_for(config: ScrubConfig, *, left_bytes: int, elapsed_s: float, is_busy: bool) -> Pace:
    """The limits of a pass.

    Args:
        config: the promised interval, floor and ceiling.
        left_bytes: to read before the pass is done.
        elapsed_s: since it began; a clock that jumped can only hurry it to the ceiling, or not.
        is_busy: whether the disk has foreground work.
    """
    left_s = config.slo_s * PASS_SHARE - max(0.0, elapsed_s)
    wanted = left_bytes / max(left_s, config.slo_s * LEFT_SHARE_MIN)
    rate = min(max(wanted, config.rate_min_bytes), config.rate_max_bytes)
    share = YIELD_SHARE if is_busy else 1.0
    return Pace(rate * share, config.files_per_second_max * share)


def take(
    state: PaceState, pace: Pace, *, now_s: float, size_bytes: int = 0, files: int = 0
) -> tuple[PaceState, float]:
    """Pay for a read that is about to be done: what is then paid for, and the seconds to wait."""
    bytes_paid_s = _paid(state.bytes_paid_s, now_s, size_bytes, pace.bytes_per_s)
    files_paid_s = _paid(state.files_paid_s, now_s, files, pace.files_per_s)
    wait_s = max(0.0, bytes_paid_s - now_s, files_paid_s - now_s)
    return PaceState(bytes_paid_s, files_paid_s), wait_s


def _paid(paid_s: float, now_s: float, amount: int, per_s: float) -> float:
    return max(paid_s, now_s - BURST_S) + amount / per_s


def rest_after(work_s: float) -> float:
    """How long a scrub without limits rests after a step beside foreground work."""
    return min(REST_MAX_S, work_s * (1 - YIELD_SHARE) / YIELD_SHARE)
