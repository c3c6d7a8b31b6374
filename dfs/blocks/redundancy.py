"""Pure: how well a block is kept, given its copies and what is known of their nodes.

Everything that speaks of a block's health (repair, balance, health, fsck, explain) reads it here,
so that no two of them can disagree.  Two steps: a node's *standing* says what a good copy on it is
worth; `assess` adds the copies of one block up.

    copy                                       counts   sure   source
    live, on a live node in service            yes      yes    yes
    live, node silent for a while or excused   yes      no     no      (it may come back)
    suspect, on a live node                    yes      no     last    (a reader's word only)
    live, node leaves or its disk fails        no       no     yes
    live, on a doubtful node; or retiring      no       no     last
    corrupt, disputed, missing, node dead      no       no     no

*Counts* is held against the wanted number, so that a hiccup or a client's lie copies nothing.
*Sure* is what a deletion may rely on.  A copy of another generation is no copy at all.

The five classes of repair are HDFS's (LowRedundancyBlocks), the worst first.  A good copy on a live
node that is being emptied makes no copy count, but it does make the loss of the others bearable: a
planned departure is no emergency.  One on a failing disk does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from dfs.base.ids import Generation, NodeId
from dfs.base.records import BlockName, BlockTruth, NodeView
from dfs.base.states import NodeDuty, NodeState, ReplicaState


class NodeWorth(StrEnum):
    """What a good copy on a node is worth."""

    FULL = "full"  # live, in service
    AWAY = "away"  # silent, but expected back: stale, in maintenance, stopped in order
    SILENT = "silent"  # as AWAY, and silent for so long that a last copy does not wait for it
    SPARE = "spare"  # live, on its way out (decommissioned)
    DOUBTFUL = "doubtful"  # live, but its breaker is open
    NONE = "none"  # dead, or not known


class RepairClass(IntEnum):
    """How urgent a repair is; 0 is the most."""

    LAST_COPY = 0  # one copy is left that is not about to be lost, or none
    FEW_COPIES = 1  # fewer than a third of those wanted
    UNDER = 2  # fewer than wanted
    MISPLACED = 3  # all on one rack, and another could take one
    DAMAGED = 4  # only bad copies: nothing to copy from, keep them


class BlockHealth(StrEnum):
    """What a block is to its owner."""

    HEALTHY = "healthy"
    EXCESS = "excess"  # more sure copies than wanted
    MISPLACED = "misplaced"
    UNDER_REPLICATED = "under_replicated"
    AWAY = "away"  # every copy is on a node that is expected back
    MISSING = "missing"  # no copy is known anywhere
    CORRUPT = "corrupt"  # every copy known is bad
    DISPUTED = "disputed"  # nodes vouch for bytes that are not the truth, and no good copy is left


UNREADABLE: Final = frozenset(
    {BlockHealth.AWAY, BlockHealth.MISSING, BlockHealth.CORRUPT, BlockHealth.DISPUTED}
)


@dataclass(frozen=True, slots=True)
class BlockCopy:
    """One node's copy as the NameNode knows it."""

    node: NodeId
    generation: Generation
    state: ReplicaState
    verified_ms: int


@dataclass(frozen=True, slots=True)
class KeptBlock:
    """A committed block, what it must be, and every copy known of it."""

    truth: BlockTruth
    name: BlockName
    wanted: int
    created_ms: int
    copies: tuple[BlockCopy, ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """What `assess` found.  The tuples hold nodes; `sources` has the best first."""

    health: BlockHealth
    repair: RepairClass | None  # None: nothing to do for it
    reason: str
    counting: tuple[NodeId, ...]
    sure: tuple[NodeId, ...]
    sources: tuple[NodeId, ...]
    bad: tuple[NodeId, ...]
    disputed: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Standings:
    """What every node's copies are worth at one moment; see `standings`.

    Attributes:
        racks: the rack of each node known.
        open_racks: racks with a node that could take a copy.
        fresh: nodes whose stock is known; only their copies are sure.
    """

    worth: Mapping[NodeId, NodeWorth]
    racks: Mapping[NodeId, str]
    open_racks: frozenset[str]
    fresh: frozenset[NodeId]


def standings(
    nodes: Sequence[NodeView], *, fresh: frozenset[NodeId], urgent_after_s: float
) -> Standings:
    """What every node's copies are worth now."""
    worth = {view.node: worth_of(view, urgent_after_s=urgent_after_s) for view in nodes}
    return Standings(
        worth=worth,
        racks={view.node: view.address.rack for view in nodes},
        open_racks=frozenset(
            view.address.rack
            for view in nodes
            if worth[view.node] is NodeWorth.FULL and view.writable_volumes
        ),
        fresh=fresh,
    )


def worth_of(view: NodeView | None, *, urgent_after_s: float) -> NodeWorth:
    """What a good copy on that node is worth.

    Args:
        view: None for a node that is not known any more.
        urgent_after_s: silence, since its excuse ended, after which a block with one sure copy is
            not left waiting.
    """
    if view is None or view.state is NodeState.DEAD:
        return NodeWorth.NONE
    expected_away = view.is_excused or view.duty is NodeDuty.MAINTENANCE
    if view.state in (NodeState.STALE, NodeState.JOINED):
        if view.duty in (NodeDuty.DECOMMISSIONING, NodeDuty.DECOMMISSIONED):
            return NodeWorth.NONE  # its copies would not count if it came back either
        overdue = view.silent_s - view.excused_s >= urgent_after_s and not expected_away
        return NodeWorth.SILENT if overdue else NodeWorth.AWAY
    if view.condition.doubtful:
        return NodeWorth.DOUBTFUL
    if view.duty in (NodeDuty.DECOMMISSIONING, NodeDuty.DECOMMISSIONED):
        return NodeWorth.SPARE
    return NodeWorth.FULL


class _Place(StrEnum):
    """What one copy is good for."""

    SURE = "sure"
    DOUBTED = "doubted"  # counts, on a reader's word against it
    AWAY = "away"  # counts, not here now
    SILENT = "silent"  # counts, overdue
    SPARE = "spare"  # a source that does not count: its node is being emptied
    FAILING = "failing"  # the same: its disk may be gone any time
    LAST = "last"  # a source when there is no other
    BAD = "bad"
    DISPUTED = "disputed"
    NOTHING = "nothing"


_LIVE_PLACES: Final[Mapping[NodeWorth, _Place]] = {
    NodeWorth.FULL: _Place.SURE,
    NodeWorth.AWAY: _Place.AWAY,
    NodeWorth.SILENT: _Place.SILENT,
    NodeWorth.SPARE: _Place.SPARE,
    NodeWorth.DOUBTFUL: _Place.LAST,
    NodeWorth.NONE: _Place.NOTHING,
}
_HERE: Final = frozenset({NodeWorth.FULL, NodeWorth.SPARE, NodeWorth.DOUBTFUL})
_TOLD: Final[Mapping[ReplicaState, _Place]] = {
    ReplicaState.CORRUPT: _Place.BAD,
    ReplicaState.DISPUTED: _Place.DISPUTED,
    ReplicaState.MISSING: _Place.NOTHING,
}
_WORSE: Final[Mapping[ReplicaState, _Place]] = {
    ReplicaState.SUSPECT: _Place.DOUBTED,
    ReplicaState.FAILING: _Place.FAILING,
}


def _place_of(state: ReplicaState, worth: NodeWorth) -> _Place:
    if state in _TOLD:
        return _TOLD[state]
    if state is ReplicaState.RETIRING:
        return _Place.LAST if worth in _HERE else _Place.NOTHING
    if state is ReplicaState.FAILING and worth not in _HERE:
        return _Place.NOTHING
    place = _LIVE_PLACES[worth]
    return _WORSE.get(state, place) if place is _Place.SURE else place


_PLACE_WORDS: Final[Mapping[_Place, str]] = {
    _Place.SURE: "good",
    _Place.DOUBTED: "counts, though a reader could not read it; its node is looking",
    _Place.AWAY: "counts, on a node that is expected back",
    _Place.SILENT: "counts, on a node that fell silent",
    _Place.SPARE: "good, and does not count: its node is on the way out",
    _Place.FAILING: "good, and does not count: its disk takes no writes any more",
    _Place.LAST: "does not count: being retired, or its node is in doubt",
    _Place.BAD: "bad",
    _Place.DISPUTED: "other bytes than were written, its node says they are right",
    _Place.NOTHING: "out of reach: its node is dead or gone",
}
OLD_COPY: Final = "of another generation: no copy of this block"
LACKED: Final = "its node said that it has it no more"


def words_for(copy: BlockCopy, block: KeptBlock, at: Standings) -> str:
    """What that copy is good for, for people; see the module's table."""
    if copy.generation != block.truth.generation:
        return OLD_COPY
    if copy.state is ReplicaState.MISSING:
        return LACKED
    return _PLACE_WORDS[_place_of(copy.state, at.worth.get(copy.node, NodeWorth.NONE))]


_Tally = Mapping[_Place, Sequence[NodeId]]


def assess(block: KeptBlock, at: Standings) -> Assessment:
    """How well a block is kept, and how urgent its repair is.  See the module's table."""
    tally = _tally(block, at)
    health, repair, reason = _judge(block, tally, at)
    return Assessment(
        health=health,
        repair=repair,
        reason=reason,
        counting=_counting(tally),
        sure=tuple(node for node in tally[_Place.SURE] if node in at.fresh),
        sources=(
            *tally[_Place.SURE],
            *tally[_Place.SPARE],
            *tally[_Place.FAILING],
            *tally[_Place.DOUBTED],
            *tally[_Place.LAST],
        ),
        bad=tuple(tally[_Place.BAD]),
        disputed=tuple(tally[_Place.DISPUTED]),
    )


def _counting(tally: _Tally) -> tuple[NodeId, ...]:
    return (
        *tally[_Place.SURE],
        *tally[_Place.DOUBTED],
        *tally[_Place.AWAY],
        *tally[_Place.SILENT],
    )


def _tally(block: KeptBlock, at: Standings) -> _Tally:
    tally: dict[_Place, list[NodeId]] = {place: [] for place in _Place}
    for copy in sorted(block.copies, key=lambda copy: (-copy.verified_ms, copy.node)):
        if copy.generation == block.truth.generation:
            worth = at.worth.get(copy.node, NodeWorth.NONE)
            tally[_place_of(copy.state, worth)].append(copy.node)
    return tally


def _judge(
    block: KeptBlock, tally: _Tally, at: Standings
) -> tuple[BlockHealth, RepairClass | None, str]:
    here = len(tally[_Place.SURE]) + len(tally[_Place.DOUBTED])
    silent = len(tally[_Place.SILENT])
    counting = len(_counting(tally))
    others = (_Place.SPARE, _Place.FAILING, _Place.LAST)
    if not here + sum(len(tally[place]) for place in others):
        return _judge_unreadable(tally, counting)
    if counting < block.wanted:
        return _judge_under(block, counting, spare=len(tally[_Place.SPARE]))
    if silent and here <= 1 < block.wanted:
        words = f"{here} of {block.wanted} copies here, {silent} on nodes that fell silent"
        return BlockHealth.UNDER_REPLICATED, RepairClass.LAST_COPY, words
    if _is_misplaced(block, tally, at):
        return BlockHealth.MISPLACED, RepairClass.MISPLACED, "every copy is on one rack"
    more = len(tally[_Place.SURE]) - block.wanted
    if more > 0:
        return BlockHealth.EXCESS, None, f"{more} more than the {block.wanted} wanted"
    return BlockHealth.HEALTHY, None, f"{counting} of {block.wanted} copies"


def _judge_under(
    block: KeptBlock, counting: int, *, spare: int
) -> tuple[BlockHealth, RepairClass | None, str]:
    words = f"{counting} of {block.wanted} copies"
    if spare:
        words = f"{words}, {spare} more on nodes that are being emptied"
    if counting + spare >= min(2, block.wanted):
        few = (counting + spare) * 3 < block.wanted
        repair = RepairClass.FEW_COPIES if few else RepairClass.UNDER
        return BlockHealth.UNDER_REPLICATED, repair, words
    only = "the only copy left that counts" if counting else "only copies that may be gone soon"
    return BlockHealth.UNDER_REPLICATED, RepairClass.LAST_COPY, f"{only}; {words}"


def _judge_unreadable(tally: _Tally, counting: int) -> tuple[BlockHealth, RepairClass | None, str]:
    bad = len(tally[_Place.BAD])
    if counting:
        return BlockHealth.AWAY, None, f"{counting} copies, on nodes that are silent now"
    if tally[_Place.DISPUTED]:
        words = "nodes vouch for other bytes than were written, and nobody has those"
        return BlockHealth.DISPUTED, RepairClass.DAMAGED, words
    if bad:
        return BlockHealth.CORRUPT, RepairClass.DAMAGED, f"every copy known is bad ({bad})"
    gone = len(tally[_Place.NOTHING])
    words = f"no copy is left; {gone} known, of nodes that are dead or lack it" if gone else ""
    return BlockHealth.MISSING, RepairClass.DAMAGED, words or "no copy is known"


def _is_misplaced(block: KeptBlock, tally: _Tally, at: Standings) -> bool:
    """On one rack only, though another has a node that could take one."""
    racks = {at.racks[node] for node in _counting(tally)}
    return block.wanted > 1 and len(racks) == 1 and bool(at.open_racks - racks)
