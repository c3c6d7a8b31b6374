"""Pure: what a DataNode says of a block, held against what the NameNode knows of it.

    the NameNode has         the node reports              verdict     the replica's row afterwards
    committed G, hash        G, same length and hash       LIVE        live
    committed G, hash        G, the same, its disk fails   FAILING     failing
    committed G, hash        G, it vouches for other bytes DISPUTED    disputed
    any G but garbage        G, in quarantine              CORRUPT     corrupt
    any G but garbage        G, on its way out             MISSING     gone
    allocated G              G                             IN_FLIGHT   suspect, till it is committed
    garbage G                G, whatever state             GARBAGE     there, so that gc.py finds it
    any G                    a lower generation            STALE       as it was
    any G                    a higher generation           FUTURE      as it was
    nothing, other place     any                           ORPHAN      as it was
    a replica's row          absent from a full report     MISSING     gone

Two states outlive good news.  A *suspect* copy stays so until a verification younger than what was
known when somebody doubted.  A *retiring* copy stays so until its node says that it is gone: good
or not, it is on its way out, and counts for nothing.

Only rows about locations follow from a report, never a deletion: STALE, FUTURE and ORPHAN are
written down as strays, and the bytes stay where they are until `strays.py` says otherwise.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dfs.base.ids import BlockId, Generation
from dfs.base.records import BlockName, StockEntry
from dfs.base.states import BlockState, ReplicaState, StoredState


class Verdict(StrEnum):
    """See the module's table."""

    LIVE = "live"
    FAILING = "failing"
    DISPUTED = "disputed"
    CORRUPT = "corrupt"
    IN_FLIGHT = "in_flight"
    GARBAGE = "garbage"
    STALE = "stale"
    FUTURE = "future"
    ORPHAN = "orphan"
    MISSING = "missing"


# The copy that the NameNode's row is about is on the node's disk, in whatever state.
PRESENT = frozenset(
    {
        Verdict.LIVE,
        Verdict.FAILING,
        Verdict.DISPUTED,
        Verdict.CORRUPT,
        Verdict.IN_FLIGHT,
        Verdict.GARBAGE,
    }
)
# It is no copy of anything that the NameNode wants there.
STRAY = frozenset({Verdict.STALE, Verdict.FUTURE, Verdict.ORPHAN})


@dataclass(frozen=True, slots=True)
class Expected:
    """What the NameNode has of a block."""

    name: BlockName
    state: BlockState
    length_bytes: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Location:
    """What the NameNode has of one node's copy of a block."""

    generation: Generation
    state: ReplicaState
    verified_ms: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and the sentence that goes with it."""

    verdict: Verdict
    reason: str


_AS_WRITTEN: Final = Finding(Verdict.LIVE, "as written")  # what nearly every entry is


def judge(entry: StockEntry, expected: Expected | None) -> Finding:
    """What a reported copy is.  See the module's table."""
    if expected is None:
        return Finding(Verdict.ORPHAN, "no such block is known")
    known, said = expected.name, entry.name
    if said.generation < known.generation:
        return Finding(Verdict.STALE, f"generation {said.generation} of {known.generation}")
    if said.generation > known.generation:
        return Finding(Verdict.FUTURE, f"generation {said.generation}, {known.generation} is known")
    if said != known:
        return Finding(Verdict.ORPHAN, f"it lies as part {said.number} of file {said.file}")
    if expected.state is BlockState.GARBAGE:
        return Finding(Verdict.GARBAGE, "nothing refers to it any more")
    if entry.state is StoredState.CORRUPT:
        return Finding(Verdict.CORRUPT, "its node found it bad")
    if entry.state is StoredState.DELETING:
        return Finding(Verdict.MISSING, "its node is deleting it")
    if expected.state is BlockState.ALLOCATED:
        return Finding(Verdict.IN_FLIGHT, "written, not committed yet")
    return _judge_content(entry, expected)


def _judge_content(entry: StockEntry, expected: Expected) -> Finding:
    if entry.length_bytes != expected.length_bytes:
        return Finding(
            Verdict.DISPUTED,
            f"its node vouches for {entry.length_bytes} bytes, not {expected.length_bytes}",
        )
    if entry.hash != expected.hash:
        return Finding(Verdict.DISPUTED, "its node vouches for other bytes than were written")
    if entry.state is StoredState.FAILING:
        return Finding(Verdict.FAILING, "as written, on a disk that takes no writes any more")
    return _AS_WRITTEN


def location_after(
    verdict: Verdict, entry: StockEntry, before: Location | None, *, now_ms: int
) -> Location | None:
    """What the NameNode has of the copy after the verdict; None for no row.

    Doubt ends with a verification that is younger than what was known when somebody doubted: the
    same old hash, reported again, proves nothing.
    """
    match verdict:
        case Verdict.LIVE:
            return _good(ReplicaState.LIVE, entry, before, now_ms)
        case Verdict.FAILING:
            return _good(ReplicaState.FAILING, entry, before, now_ms)
        case Verdict.DISPUTED:
            return _bad(ReplicaState.DISPUTED, entry, before)
        case Verdict.CORRUPT:
            return _bad(ReplicaState.CORRUPT, entry, before)
        case Verdict.IN_FLIGHT:
            return before or Location(entry.name.generation, ReplicaState.SUSPECT, 0)
        case Verdict.GARBAGE:
            return before or Location(entry.name.generation, ReplicaState.LIVE, 0)
        case Verdict.MISSING:
            return location_without(entry, before)
        case Verdict.STALE | Verdict.FUTURE | Verdict.ORPHAN:
            return before


def _good(state: ReplicaState, entry: StockEntry, before: Location | None, now_ms: int) -> Location:
    verified_ms = min(entry.verified_ms, now_ms)  # a node's clock may be ahead
    if before is None or before.generation != entry.name.generation:
        return Location(entry.name.generation, state, verified_ms)
    newest_ms = max(verified_ms, before.verified_ms)
    if before.state is ReplicaState.RETIRING:
        return Location(before.generation, ReplicaState.RETIRING, newest_ms)
    if before.state is ReplicaState.SUSPECT and verified_ms <= before.verified_ms:
        return before
    return Location(before.generation, state, newest_ms)


def _bad(state: ReplicaState, entry: StockEntry, before: Location | None) -> Location:
    same = before is not None and before.generation == entry.name.generation
    verified_ms = before.verified_ms if before is not None and same else 0
    return Location(entry.name.generation, state, verified_ms)


def location_without(entry: StockEntry, before: Location | None) -> Location | None:
    """What the NameNode has after the node said that this copy is gone: another's row stays."""
    if before is not None and before.generation != entry.name.generation:
        return before
    return None


def absent(expected: Iterable[BlockId], reported: Sequence[int]) -> Iterator[BlockId]:
    """Those expected on a node that its full report, sorted by block, does not have."""
    for block in expected:
        at = bisect_left(reported, block)
        if at == len(reported) or reported[at] != block:
            yield block
