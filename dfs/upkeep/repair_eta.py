"""Pure: how long the copies that are owed will take, by what the last minute's copies took.

A copy costs something however small it is (a conversation, an fsync, a commit) and something for
each of its bytes.  Were only bytes counted, thousands of small blocks would seem to be done at
once after some large ones, and a few large ones to take for ever after thousands of small.  So both
are added up in one measure: a copy is worth its bytes and `COPY_COSTS_BYTES` more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dfs.base.units import MiB
from dfs.blocks.redundancy import RepairClass
from dfs.upkeep.survey import SurveyTotals, Tally

COPY_COSTS_BYTES: Final = MiB  # what a disk writes while a copy is begun and ended


@dataclass(frozen=True, slots=True)
class Pace:
    """What was copied in a second, lately."""

    copies_per_s: float = 0.0
    bytes_per_s: float = 0.0


def eta_s(owed: Tally, pace: Pace) -> float | None:
    """Seconds until what is owed is copied at that pace; None when nothing was copied lately."""
    if not owed.owed_copies:
        return 0.0
    rate = _cost(pace.copies_per_s, pace.bytes_per_s)
    return _cost(owed.owed_copies, owed.owed_bytes) / rate if rate else None


def total_eta_s(totals: SurveyTotals, paces: Mapping[RepairClass, Pace]) -> float | None:
    """Seconds to full redundancy, the classes one after another; None when it cannot be said."""
    return eta_s(_sum(totals.by_class.values()), _together(paces.values()))


def _cost(copies: float, size_bytes: float) -> float:
    return copies * COPY_COSTS_BYTES + size_bytes


def _sum(tallies: Iterable[Tally]) -> Tally:
    every = list(tallies)
    return Tally(
        owed_bytes=sum(each.owed_bytes for each in every),
        owed_copies=sum(each.owed_copies for each in every),
    )


def _together(paces: Iterable[Pace]) -> Pace:
    every = list(paces)
    return Pace(sum(each.copies_per_s for each in every), sum(each.bytes_per_s for each in every))
