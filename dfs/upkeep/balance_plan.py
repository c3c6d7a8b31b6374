"""Pure: which replicas move where, until every DataNode is about as full as the others.

A node's *use* is what its block files take of its disks; the *mean* is all that the nodes hold over
all the room they have.  A node further than the threshold from the mean is *over* or *under*.  Two
steps: `weigh` says where each node stands, and which of them give and take; `plan_moves` picks
blocks.

    who moves      only blocks that are healthy, whose copy on the giver is sure: balancing neither
                   repairs nor gets in the way of repair
    which first    the biggest block that brings giver and taker no further than the mean; when none
                   does, the smallest that keeps both within the threshold or nearer than they were
    where to       the emptiest taker with room that holds nothing of the block, in whatever state,
                   and so that its copies are on as many racks as before

Each move lowers the sum of squared distances from the mean, so moves come to an end and are never
undone by later ones, and the span between the emptiest and the fullest never grows.  A move is a
copy, its verification, then the end of the copy on the giver; whoever performs it keeps that order
(`balance.py`), so that a plan cut short leaves a copy too many at worst.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.records import NodeView
from dfs.base.states import NodeDuty, NodeState, VolumeState
from dfs.base.units import format_size
from dfs.blocks.redundancy import Assessment, BlockHealth, KeptBlock, Standings, assess

NAMED_MAX: Final = 5  # nodes in a sentence
MOVES_MAX: Final = 100  # planned at a time; the next plan sees what became of them


class Side(StrEnum):
    """Where a node stands."""

    OVER = "over"
    WITHIN = "within"
    UNDER = "under"
    OUT = "out"  # takes no part; `Share.why` says for what reason


@dataclass(frozen=True, slots=True)
class Transit:
    """What beats do not show yet: bytes on their way to a node, and those on their way out."""

    coming_bytes: int = 0
    going_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """One node's place in the balance.

    Attributes:
        used_bytes: by block files, when what is under way has arrived and gone.
        room_bytes: what it could still take.
        volume_bytes: the longest block that one of its volumes could take.
        excess_bytes: what it holds above the mean; below zero what it lacks.
        why: of `Side.OUT`, for what reason it takes no part.
    """

    node: NodeId
    side: Side
    used_bytes: int
    total_bytes: int
    room_bytes: int = 0
    volume_bytes: int = 0
    excess_bytes: int = 0
    why: str = ""

    @property
    def percent(self) -> float:
        """How full it is."""
        return 100 * self.used_bytes / self.total_bytes if self.total_bytes else 0.0


@dataclass(frozen=True, slots=True)
class Balance:
    """Where every node stands.

    Attributes:
        mean: used over total, of the nodes that take part; 0..1.
        threshold: how far from the mean a node may be; 0..1.
        to_move_bytes: what must move until every node is within the threshold.
        givers: nodes to look for blocks on, the fullest first; empty when all are within.
    """

    shares: tuple[Share, ...]
    mean: float
    threshold: float
    to_move_bytes: int
    givers: tuple[NodeId, ...]

    @property
    def is_level(self) -> bool:
        """Whether every node that takes part is within the threshold."""
        return not any(share.side in (Side.OVER, Side.UNDER) for share in self.shares)

    @property
    def words(self) -> str:
        """``every node is within 10 % of the mean 43 %``, or which are not."""
        mean = f"{self.threshold * 100:.3g} % of the mean {self.mean * 100:.3g} %"
        far = [share for share in self.shares if share.side in (Side.OVER, Side.UNDER)]
        if not far:
            return f"every node is within {mean}"
        named = [f"{node_name(share.node)} is at {share.percent:.3g} %" for share in far]
        return f"not within {mean}: {first_few(named, ', ')}"


@dataclass(frozen=True, slots=True)
class MoveReplica:
    """Copy a block to another node; when that copy is verified, retire the one on the source."""

    block: KeptBlock
    source: NodeId
    target: NodeId
    size_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class BalancePlan:
    """Moves in the order to make them, and for each giver or taker left over why it is.

    `whys` is in words, by node; a node that moves enough is not in it.
    """

    moves: tuple[MoveReplica, ...]
    whys: Mapping[NodeId, str]

    @property
    def size_bytes(self) -> int:
        """What the moves copy."""
        return sum(move.size_bytes for move in self.moves)


_NO_TRANSIT: Final = Transit()


def first_few(words: Sequence[str], between: str) -> str:
    """The first of them, and how many more there are."""
    more = [f"and {len(words) - NAMED_MAX} more"] if len(words) > NAMED_MAX else []
    return between.join([*words[:NAMED_MAX], *more])


def weigh(
    nodes: Sequence[NodeView],
    *,
    threshold_percent: float,
    transit: Mapping[NodeId, Transit] | None = None,
) -> Balance:
    """Where every node stands, fullest first.

    Args:
        transit: what is on its way, by node; counted as arrived and gone.
    """
    assert threshold_percent > 0
    shares = [_share_of(view, (transit or {}).get(view.node, _NO_TRANSIT)) for view in nodes]
    part = [share for share in shares if share.side is not Side.OUT]
    used = sum(share.used_bytes for share in part)
    total = sum(share.total_bytes for share in part)
    mean, threshold = used / total if total else 0.0, threshold_percent / 100
    placed = [_placed(share, mean, threshold) for share in shares]
    placed.sort(key=lambda share: (-share.percent, share.node))
    too_much = sum(_beyond(share, threshold) for share in placed if share.side is Side.OVER)
    too_little = sum(_beyond(share, threshold) for share in placed if share.side is Side.UNDER)
    return Balance(
        shares=tuple(placed),
        mean=mean,
        threshold=threshold,
        to_move_bytes=int(max(too_much, too_little)),
        givers=_givers(placed),
    )


def _share_of(view: NodeView, transit: Transit) -> Share:
    used = max(0, view.usage.used_bytes + transit.coming_bytes - transit.going_bytes)
    why = _why_out(view)
    if why:
        return Share(view.node, Side.OUT, used, view.usage.total_bytes, why=why)
    online = [v.free_bytes for v in view.volumes if v.state is VolumeState.ONLINE]
    room = view.usage.free_bytes - transit.coming_bytes
    return Share(
        node=view.node,
        side=Side.WITHIN,
        used_bytes=used,
        total_bytes=view.usage.total_bytes,
        room_bytes=room,
        volume_bytes=max(online, default=view.usage.free_bytes) - transit.coming_bytes,
    )


def _why_out(view: NodeView) -> str:
    """Why a node neither gives nor takes, or nothing."""
    if view.state is not NodeState.LIVE:
        return view.state.value
    if view.duty is not NodeDuty.IN_SERVICE:
        return view.duty.value.replace("_", " ")
    if view.condition.doubtful:
        return "its circuit breaker is open"
    if not view.reachable:
        return "it does not answer sweeps"
    if not view.writable_volumes:
        return "no volume of it takes writes"
    return "" if view.usage.total_bytes > 0 else "it has no room at all"


def _placed(share: Share, mean: float, threshold: float) -> Share:
    if share.side is Side.OUT:
        return share
    excess = share.used_bytes - mean * share.total_bytes
    band = threshold * share.total_bytes
    # Whole bytes: a node is not over by the rounding of a fraction.
    side = Side.OVER if excess - band >= 1 else Side.UNDER if -excess - band >= 1 else Side.WITHIN
    return Share(
        node=share.node,
        side=side,
        used_bytes=share.used_bytes,
        total_bytes=share.total_bytes,
        room_bytes=share.room_bytes,
        volume_bytes=share.volume_bytes,
        excess_bytes=round(excess),
    )


def _beyond(share: Share, threshold: float) -> float:
    return abs(share.excess_bytes) - threshold * share.total_bytes


def _givers(shares: Sequence[Share]) -> tuple[NodeId, ...]:
    """The nodes over; all above the mean when some node is under and has to be given to."""
    someone_lacks = any(share.side is Side.UNDER for share in shares)
    return tuple(
        share.node
        for share in shares
        if share.side is Side.OVER
        or (someone_lacks and share.side is Side.WITHIN and share.excess_bytes > 0)
    )


# ---- which blocks


@dataclass(slots=True, eq=False)
class _Level:
    """A node while a plan is made; what it holds moves with every block it gives or takes."""

    node: NodeId
    rack: str
    used: float
    total: int
    room: int
    volume: int
    mean: float
    threshold: float

    @property
    def use(self) -> float:
        return self.used / self.total

    @property
    def excess(self) -> float:
        return self.used - self.mean * self.total

    @property
    def side(self) -> Side:
        band = self.threshold * self.total
        if self.excess - band >= 1:
            return Side.OVER
        return Side.UNDER if -self.excess - band >= 1 else Side.WITHIN

    def shift(self, size_bytes: int) -> None:
        self.used += size_bytes
        self.room -= size_bytes
        self.volume -= max(0, size_bytes)


class _Why(StrEnum):
    """Why a block stays where it is; counted, and said in this order of interest."""

    NOT_HEALTHY = "not healthy, which repair sees to"
    NOT_SURE = "with a copy here that is not sure"
    HELD = "on every node already that could take one"
    RACKS = "that would be on fewer racks"
    ROOM = "that fit on no node that lacks some"
    TOO_BIG = "too big for what is left to move"


def plan_moves(
    balance: Balance,
    samples: Mapping[NodeId, Sequence[KeptBlock]],
    at: Standings,
    *,
    busy: frozenset[BlockId] = frozenset(),
    moves_max: int = MOVES_MAX,
) -> BalancePlan:
    """The next moves, most urgent first: see the module.

    Args:
        samples: some blocks of each giver, in any order.
        at: what copies are worth, by node.
        busy: blocks that are being copied already.
    """
    planner = _Planner(balance, at, busy, moves_max)
    for giver in balance.givers:
        planner.unload(giver, samples.get(giver, ()))
    return BalancePlan(tuple(planner.moves), planner.whys())


class _Planner:
    """One plan in the making."""

    def __init__(
        self, balance: Balance, at: Standings, busy: frozenset[BlockId], moves_max: int
    ) -> None:
        self.moves: list[MoveReplica] = []
        self._at = at
        self._planned = set(busy)
        self._moves_max = moves_max
        self._seen: dict[NodeId, int] = {}
        self._stays: dict[NodeId, Counter[_Why]] = {}
        self._levels = {
            share.node: _Level(
                node=share.node,
                rack=at.racks.get(share.node, ""),
                used=share.used_bytes,
                total=share.total_bytes,
                room=share.room_bytes,
                volume=share.volume_bytes,
                mean=balance.mean,
                threshold=balance.threshold,
            )
            for share in balance.shares
            if share.side is not Side.OUT
        }

    def unload(self, giver: NodeId, blocks: Sequence[KeptBlock]) -> None:
        """Plan for the blocks of one giver: those that fit well first, then those that just fit."""
        source = self._levels[giver]
        self._seen[giver] = len(blocks)
        movable, stays = self._movable(source, blocks)
        self._stays[giver] = stays
        movable.sort(key=lambda pair: (-pair[0].truth.length_bytes, pair[0].truth.block))
        left = [pair for pair in movable if not self._move(source, *pair, strict=True)]
        for block, found in reversed(left):
            if not self._move(source, block, found, strict=False):
                stays[self._why_not(source, block, found)] += 1

    def _movable(
        self, source: _Level, blocks: Sequence[KeptBlock]
    ) -> tuple[list[tuple[KeptBlock, Assessment]], Counter[_Why]]:
        movable: list[tuple[KeptBlock, Assessment]] = []
        stays: Counter[_Why] = Counter()
        for block in blocks:
            if not block.truth.length_bytes or block.truth.block in self._planned:
                continue
            found = assess(block, self._at)
            if found.health is not BlockHealth.HEALTHY:
                stays[_Why.NOT_HEALTHY] += 1
            elif source.node not in found.sure:
                stays[_Why.NOT_SURE] += 1
            else:
                movable.append((block, found))
        return movable, stays

    def _move(self, source: _Level, block: KeptBlock, found: Assessment, *, strict: bool) -> bool:
        """Plan the move of that block; False when it stays."""
        if len(self.moves) >= self._moves_max or block.truth.block in self._planned:
            return False
        size = block.truth.length_bytes
        holders = {copy.node for copy in block.copies}
        takers = [
            level
            for level in self._levels.values()
            if level.node not in holders
            and _helps(source, level, size, strict=strict)
            and _has_room(level, size)
            and self._keeps_racks(source, level, found)
        ]
        if not takers:
            return False
        target = min(takers, key=lambda level: (level.use, level.node))
        self.moves.append(_described(block, source, target))
        self._planned.add(block.truth.block)
        source.shift(-size)
        target.shift(size)
        return True

    def _keeps_racks(self, source: _Level, target: _Level, found: Assessment) -> bool:
        before = {self._at.racks[node] for node in found.counting}
        after = {self._at.racks[node] for node in found.counting if node != source.node}
        return len(after | {target.rack}) >= len(before)

    def _why_not(self, source: _Level, block: KeptBlock, found: Assessment) -> _Why:
        size = block.truth.length_bytes
        holders = {copy.node for copy in block.copies}
        free = [each for each in self._levels.values() if each.node not in holders]
        roomy = [each for each in free if each.excess < 0 and _has_room(each, size)]
        if not free or not any(each.excess < 0 for each in free):
            return _Why.HELD
        if not roomy:
            return _Why.ROOM
        if not any(self._keeps_racks(source, each, found) for each in roomy):
            return _Why.RACKS
        return _Why.TOO_BIG

    def whys(self) -> dict[NodeId, str]:
        """For each node that is not within the threshold after the plan, why."""
        if len(self.moves) >= self._moves_max:
            return {}  # it is only the plan that is full
        return {
            level.node: self._words(level)
            for level in self._levels.values()
            if level.side is not Side.WITHIN
        }

    def _words(self, level: _Level) -> str:
        if level.side is Side.UNDER:
            return "no node above the mean has a block that may move here"
        seen, stays = self._seen.get(level.node, 0), self._stays.get(level.node, Counter())
        if not seen:
            return "no block of it is known"
        counted = [f"{stays[why]} {why.value}" for why in _Why if stays[why]]
        return f"of {seen} blocks looked at, {', '.join(counted) or 'all move already'}"


def _helps(source: _Level, target: _Level, size: int, *, strict: bool) -> bool:
    """Whether both are nearer to the mean, or within the threshold, when the block has moved.

    Strictly: neither goes past the mean.
    """
    if source.side is not Side.OVER and target.side is not Side.UNDER:
        return False
    if source.excess <= 0 or target.excess >= 0:
        return False
    if strict:
        return size <= source.excess and size <= -target.excess
    stays_up = source.excess - size >= -source.threshold * source.total
    stays_down = target.excess + size <= target.threshold * target.total
    gap = source.use - target.use
    # Both end between where the two were: the span of all nodes cannot grow.
    between = size / source.total <= gap and size / target.total <= gap
    swaps = size / source.total + size / target.total >= 2 * gap
    return stays_up and stays_down and between and not swaps


def _has_room(level: _Level, size: int) -> bool:
    return level.room >= size <= level.volume


def _described(block: KeptBlock, source: _Level, target: _Level) -> MoveReplica:
    size = block.truth.length_bytes
    reason = (
        f"{node_name(source.node)} is at {source.use * 100:.3g} %, "
        f"{node_name(target.node)} at {target.use * 100:.3g} %, "
        f"the mean is {source.mean * 100:.3g} %; {format_size(size)}"
    )
    return MoveReplica(block, source.node, target.node, size, reason)
