"""Pure: block files that are no copy of anything wanted where they are, and when they may leave.

    kind     what it is                                          leaves when
    stale    an older generation of a block that is known        the block has as many sure copies
                                                                 as wanted, and two full reports
                                                                 had the stray
    orphan   nothing of that name is known, or it lies as part   two full reports that had it lie
             of another file                                     `keep` apart, and (for a block that
                                                                 is known) as for stale
    future   a newer generation, or a number that this NameNode  never: it is a sign that the
             never handed out                                    metadata went back

A sighting is a *full* report that had it; a change that tells of it only begins the row.  So
`first_ms` is the first full report that had it and `last_ms` the newest, once there was one.  A
stray that becomes one of another kind begins anew: what was true of the old kind proves nothing.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from dfs.base.ids import BlockId, Generation, NodeId
from dfs.base.records import BlockName, StockEntry
from dfs.base.states import BlockState
from dfs.blocks.reconcile import STRAY, Expected, Verdict

SIGHTINGS_MIN = 2


class StrayKind(StrEnum):
    """See the module's table."""

    STALE = "stale"
    ORPHAN = "orphan"
    FUTURE = "future"


@dataclass(frozen=True, slots=True)
class StrayKey:
    """Which stray of a node."""

    block: BlockId
    generation: Generation


@dataclass(frozen=True, slots=True)
class Stray:
    """A stray on a node, and since when it is known."""

    node: NodeId
    name: BlockName
    length_bytes: int
    kind: StrayKind
    first_ms: int
    last_ms: int
    sightings: int

    @property
    def key(self) -> StrayKey:
        """Which of its node's it is."""
        return StrayKey(self.name.block, self.name.generation)


@dataclass(frozen=True, slots=True)
class Frontier:
    """Where the numbers end that this NameNode's history has handed out.

    Attributes:
        block: the first id that was never handed out.
        generation: the same of generations.
        lost_blocks: ids that only a part of history can have used that this NameNode lost.
        lost_generations: the same of generations.
    """

    block: BlockId
    generation: Generation
    lost_blocks: tuple[range, ...] = ()
    lost_generations: tuple[range, ...] = ()

    def is_beyond(self, name: BlockName) -> bool:
        """Whether this NameNode cannot have made that name."""
        return (
            name.block >= self.block
            or name.generation >= self.generation
            or any(name.block in lost for lost in self.lost_blocks)
            or any(name.generation in lost for lost in self.lost_generations)
        )


def kind_of(verdict: Verdict, name: BlockName, frontier: Frontier) -> StrayKind | None:
    """What kind of stray a judged copy is; None when it is none."""
    if verdict not in STRAY:
        return None
    if verdict is Verdict.FUTURE or frontier.is_beyond(name):
        return StrayKind.FUTURE
    return StrayKind.STALE if verdict is Verdict.STALE else StrayKind.ORPHAN


def sighted(
    entry: StockEntry,
    kind: StrayKind,
    before: Stray | None,
    *,
    node: NodeId,
    now_ms: int,
    in_full: bool,
) -> Stray:
    """What is known of a stray after a report told of it.

    A full report moves `last_ms`; it is counted when it ends (`counted`).
    """
    if before is None or before.kind is not kind or before.name != entry.name:
        return Stray(node, entry.name, entry.length_bytes, kind, now_ms, now_ms, 0)
    return replace(before, last_ms=now_ms) if in_full else before


def counted(stray: Stray, *, began_ms: int) -> Stray | None:
    """What is known of a stray after a full report that began then; None when the report lacked it.

    What a change told of while the report was on its way counts as seen.
    """
    if stray.last_ms < began_ms:
        return None
    first_ms = stray.first_ms if stray.sightings else stray.last_ms
    return replace(stray, first_ms=first_ms, sightings=stray.sightings + 1)


@dataclass(frozen=True, slots=True)
class Leave:
    """Whether a stray may leave now, and why (not)."""

    may: bool
    reason: str


def may_leave(
    stray: Stray,
    expected: Expected | None,
    *,
    sure: int,
    wanted: int,
    frontier: Frontier,
    now_ms: int,
    keep_ms: int,
) -> Leave:
    """Judge a stray against the truth of today.

    Args:
        stray: its row.
        expected: what the NameNode has of the block of that id.
        sure: how many sure copies that block has.
        wanted: how many it should have.
        frontier: what was never handed out.
        now_ms: the time.
        keep_ms: how long an orphan is kept.
    """
    kind = _kind_today(stray, expected, frontier)
    if kind is None:
        return Leave(may=False, reason="it is a copy of what is known, after all")
    if kind is not stray.kind:
        return Leave(may=False, reason=f"{kind} now, {stray.kind} when it was reported")
    if kind is StrayKind.FUTURE:
        return Leave(may=False, reason="from a future that this NameNode knows nothing of")
    if stray.sightings < SIGHTINGS_MIN:
        return Leave(may=False, reason=f"{stray.sightings} of {SIGHTINGS_MIN} full reports had it")
    if kind is StrayKind.ORPHAN and not _is_old(stray, now_ms, keep_ms):
        return Leave(may=False, reason="no two full reports lie far enough apart yet")
    if expected is not None and expected.state is not BlockState.COMMITTED:
        return Leave(may=False, reason=f"its block is {expected.state}")
    if expected is not None and sure < wanted:
        return Leave(may=False, reason=f"its block has {sure} of {wanted} sure copies")
    if kind is StrayKind.STALE:
        return Leave(may=True, reason="an older generation of a block that is well kept")
    return Leave(may=True, reason="nothing known refers to it")


def _kind_today(stray: Stray, expected: Expected | None, frontier: Frontier) -> StrayKind | None:
    if frontier.is_beyond(stray.name):
        return StrayKind.FUTURE
    if expected is None:
        return StrayKind.ORPHAN
    if stray.name.generation < expected.name.generation:
        return StrayKind.STALE
    if stray.name.generation > expected.name.generation:
        return StrayKind.FUTURE
    return None if stray.name == expected.name else StrayKind.ORPHAN


def _is_old(stray: Stray, now_ms: int, keep_ms: int) -> bool:
    apart_ms = stray.last_ms - stray.first_ms
    return apart_ms >= keep_ms and now_ms - stray.first_ms >= keep_ms
