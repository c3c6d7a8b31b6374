"""Pure: which DataNodes take a block's copies, and why each of the others does not.

A node is fit when it is live, in service, has a volume that takes writes, and has room for the
block beside what was promised to it since its last beats.  Among the fit, each copy goes to the
rack with the fewest copies so far (so the second leaves the rack of the first, when another has
room), and there to the better of two nodes drawn at random:

* the draw is weighted by room, as HDFS's AvailableSpaceBlockPlacementPolicy (HDFS-8131) favours
  emptier nodes, so that nodes of different size fill at the same pace;
* of the two, the one with less work for its room wins: M. Mitzenmacher, "The Power of Two Choices
  in Randomized Load Balancing", IEEE TPDS 12(10), 2001.  Always taking the single best would send
  a whole burst to one node, because its beat is seconds old.

Nodes that beat but did not answer the last sweep are used only when the others are too few.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from dfs.base.entropy import Random
from dfs.base.ids import NodeId
from dfs.base.records import NodeView, Refusal
from dfs.base.states import NodeDuty, NodeState, VolumeState
from dfs.base.units import format_duration, format_size

EXCLUDED: Final = "already holds or failed this block (excluded)"
_DUTY_REASON: Final[Mapping[NodeDuty, str]] = {
    NodeDuty.MAINTENANCE: "in maintenance",
    NodeDuty.DECOMMISSIONING: "being decommissioned",
    NodeDuty.DECOMMISSIONED: "decommissioned",
}


@dataclass(frozen=True, slots=True)
class Promised:
    """What a node was given to store since the beats that its usage comes from."""

    size_bytes: int = 0
    blocks: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """The nodes chosen, in the order to write to them, and a reason for every other node."""

    targets: tuple[NodeView, ...]
    refusals: tuple[Refusal, ...]


@dataclass(slots=True, eq=False)
class _Candidate:
    """A fit node during a round; room and load move with every block it is given."""

    view: NodeView
    node: NodeId
    rack: str
    reachable: bool
    room_bytes: int
    volume_bytes: int  # the longest block that fits on one of its volumes
    promised_bytes: int
    load: int
    enough: Refusal

    def takes(self, size_bytes: int) -> bool:
        return self.room_bytes >= size_bytes <= self.volume_bytes

    def give(self, size_bytes: int) -> None:
        self.room_bytes -= size_bytes
        self.promised_bytes += size_bytes
        self.load += 1

    def why_too_small(self, size_bytes: int) -> str:
        needs = f"block needs {format_size(size_bytes)} above the reserve"
        free = f"{format_size(max(0, self.room_bytes))} free"
        if self.promised_bytes:
            free += f" beside {format_size(self.promised_bytes)} promised"
        if self.room_bytes >= size_bytes:
            free += f", {format_size(max(0, self.volume_bytes))} on its emptiest volume"
        return f"{free}, {needs}"


class _Pool:
    """The candidates for blocks of one size, and why the other nodes are none."""

    def __init__(
        self,
        size_bytes: int,
        exclude: frozenset[NodeId],
        fit: tuple[_Candidate, ...],
        refusals: tuple[Refusal, ...],
    ) -> None:
        self.size_bytes = size_bytes
        self.exclude = exclude
        self.fit = fit
        self.refusals = refusals
        self.reachable = [c for c in fit if c.reachable]
        self.unreachable = [c for c in fit if not c.reachable]


class PlacementRound:
    """Choices over one snapshot of the nodes: each block given to a node counts for the next one.

    Args:
        nodes: every node of the cluster, fit or not.
        promised: what they were given since their last beats.
    """

    def __init__(
        self, nodes: Iterable[NodeView], promised: Mapping[NodeId, Promised] | None = None
    ) -> None:
        promised = promised or {}
        self._fit: list[_Candidate] = []
        self._unfit: list[Refusal] = []
        self._pool: _Pool | None = None
        for view in nodes:
            reason = _why_unfit(view)
            if reason:
                self._unfit.append(Refusal(view.node, reason))
            else:
                self._fit.append(_candidate(view, promised.get(view.node, Promised())))

    def choose(
        self, *, size_bytes: int, copies: int, exclude: frozenset[NodeId], rng: Random
    ) -> Placement:
        """Targets for one block; fewer than `copies` when there are not enough fit nodes.

        Args:
            size_bytes: the most the block may become.
            exclude: nodes that hold the block already, or failed it.
        """
        assert size_bytes >= 0
        assert copies >= 1
        pool = self._pool_for(size_bytes, exclude)
        chosen = _pick(pool.reachable, copies, [], rng)
        if len(chosen) < copies:
            chosen = _pick(pool.unreachable, copies, chosen, rng)
        for candidate in chosen:
            candidate.give(size_bytes)
            if not candidate.takes(size_bytes):
                self._pool = None
        spare = [c.enough for c in pool.fit if c not in chosen]
        return Placement(tuple(c.view for c in chosen), (*pool.refusals, *spare))

    def _pool_for(self, size_bytes: int, exclude: frozenset[NodeId]) -> "_Pool":
        """Who may take such a block.  Batches ask for one size thousands of times, and a choice
        changes only those it chose: the last pool is good until one of them runs out of room.
        """
        pool = self._pool
        if pool is None or (pool.size_bytes, pool.exclude) != (size_bytes, exclude):
            self._pool = pool = self._fill_pool(size_bytes, exclude)
        return pool

    def _fill_pool(self, size_bytes: int, exclude: frozenset[NodeId]) -> "_Pool":
        fit, refusals = [], list(self._unfit)
        for candidate in self._fit:
            if candidate.node in exclude:
                refusals.append(Refusal(candidate.node, EXCLUDED))
            elif candidate.takes(size_bytes):
                fit.append(candidate)
            else:
                refusals.append(Refusal(candidate.node, candidate.why_too_small(size_bytes)))
        return _Pool(size_bytes, exclude, tuple(fit), tuple(refusals))


def choose_targets(
    *,
    size_bytes: int,
    copies: int,
    nodes: Sequence[NodeView],
    exclude: frozenset[NodeId],
    rng: Random,
    promised: Mapping[NodeId, Promised] | None = None,
) -> Placement:
    """Targets for one block by itself: see `PlacementRound`, which chooses for many at once."""
    return PlacementRound(nodes, promised).choose(
        size_bytes=size_bytes, copies=copies, exclude=exclude, rng=rng
    )


def _candidate(view: NodeView, promised: Promised) -> _Candidate:
    online = [v.free_bytes for v in view.volumes if v.state is VolumeState.ONLINE]
    return _Candidate(
        view=view,
        node=view.node,
        rack=view.address.rack,
        reachable=view.reachable,
        room_bytes=view.usage.free_bytes - promised.size_bytes,
        volume_bytes=max(online, default=view.usage.free_bytes),
        promised_bytes=promised.size_bytes,
        load=view.usage.in_flight + promised.blocks,
        enough=Refusal(view.node, "enough copies"),
    )


def _why_unfit(view: NodeView) -> str:
    """Why a node takes no block at all, or nothing."""
    match view.state:
        case NodeState.JOINED:
            return "not heard since this NameNode started"
        case NodeState.STALE:
            return f"stale: silent for {format_duration(view.silent_s)}"
        case NodeState.DEAD:
            return f"dead: silent for {format_duration(view.silent_s)}"
        case NodeState.LIVE:
            pass
    if view.duty is not NodeDuty.IN_SERVICE:
        return _DUTY_REASON[view.duty]
    if view.condition.doubtful:
        return "doubted: so many bad blocks lately that memory or code is the likelier culprit"
    return "" if view.writable_volumes else "no volume of it takes writes"


def _pick(
    pool: list[_Candidate], copies: int, chosen: list[_Candidate], rng: Random
) -> list[_Candidate]:
    """`chosen` and more from `pool`, until there are `copies` or the pool is empty."""
    chosen, pool = list(chosen), list(pool)
    while pool and len(chosen) < copies:
        best = _better_of_two(_on_emptiest_racks(pool, chosen), rng)
        chosen.append(best)
        pool.remove(best)
    return chosen


def _on_emptiest_racks(pool: list[_Candidate], chosen: list[_Candidate]) -> list[_Candidate]:
    """Those of the pool on the racks with the fewest copies of this block so far."""
    if not chosen:
        return pool
    copies = Counter(candidate.rack for candidate in chosen)
    unused = [candidate for candidate in pool if candidate.rack not in copies]
    if unused:
        return unused
    fewest = min(copies[candidate.rack] for candidate in pool)
    return [candidate for candidate in pool if copies[candidate.rack] == fewest]


def _better_of_two(pool: list[_Candidate], rng: Random) -> _Candidate:
    if len(pool) == 1:
        return pool[0]
    weights = list(accumulate([c.room_bytes + 1 for c in pool]))
    one, other = rng.choices(pool, cum_weights=weights, k=2)
    return one if _work_for_its_room(one) <= _work_for_its_room(other) else other


def _work_for_its_room(candidate: _Candidate) -> float:
    return (candidate.load + 1) / (candidate.room_bytes + 1)
