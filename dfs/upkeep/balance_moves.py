"""The moves under way: what is copied and then retired, and what beats do not show of it yet.

A move is, in this order, each step seen done before the next:

    1 the target has the block, verified against the truth, and its row says so    (a copy)
    2 the source's copy is retired, if enough others are sure at that moment       (a drop)

Cut short in between, the block has a copy too many, which repair takes away.  How a copy is made
and what `sure` means is not decided here.
"""

import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.errors import DfsError
from dfs.base.ids import BlockId, NodeId
from dfs.base.records import NodeView
from dfs.base.states import NodeState
from dfs.blocks.redundancy import RepairClass
from dfs.upkeep.balance_plan import MoveReplica, Transit
from dfs.upkeep.balance_rows import Leaving, read_leaving, still_leaving
from dfs.upkeep.executor import CopyOutcome
from dfs.upkeep.retiring import Retirement
from dfs.upkeep.steps import CopyBlock, DropReplica, Purpose

BEAT_MS: Final = 200  # a beat that arrives later than this after a copy tells of it
TRANSIT_KEEP_S: Final = 600.0  # what is not confirmed by then is not waited for


class Mover(Protocol):
    """Who copies and retires replicas; `dfs.upkeep.executor.Executor`."""

    def submit(self, step: CopyBlock, then: Callable[[CopyOutcome], None] | None = None) -> bool:
        """Begin a copy; `then` is told how it ended.  False when it is not taken in now."""
        ...

    def drop(self, step: DropReplica) -> Retirement:
        """Retire a copy if it may go by the rows of now, and order its deletion."""
        ...


class Allowance:
    """Bytes a second, with what was left over lately; a block may overdraw it, and is paid back."""

    def __init__(self, clock: Clock, *, keep_s: float) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._at_s = clock.monotonic_s()
        self._left = 0.0
        self._rate_bytes = 0

    def allows(self, rate_bytes: int) -> bool:
        """Whether something may be spent now, at that rate."""
        now_s = self._clock.monotonic_s()
        if not self._rate_bytes:
            self._left = rate_bytes * self._keep_s
        gained = (now_s - self._at_s) * rate_bytes
        self._left = min(self._left + gained, rate_bytes * self._keep_s)
        self._at_s, self._rate_bytes = now_s, rate_bytes
        return self._left > 0

    def spend(self, size_bytes: int) -> None:
        """That much is spent."""
        self._left -= size_bytes


@dataclass(frozen=True, slots=True)
class Moved:
    """A move that ended: `error` says why it failed, or nothing."""

    move: MoveReplica
    error: str


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A copy that the target's next beats will tell of."""

    node: NodeId
    size_bytes: int
    at_ms: int


class Moves:
    """See the module.  Used by one thread, but for `in_flight`."""

    def __init__(self, mover: Mover, *, clock: Clock, at_once: int) -> None:
        self._mover = mover
        self._clock = clock
        self._at_once = at_once
        self._flights: dict[BlockId, MoveReplica] = {}
        self._ended: queue.SimpleQueue[Moved] = queue.SimpleQueue()
        self._arrived: list[_Arrived] = []
        self._leaving: dict[tuple[BlockId, NodeId], tuple[Leaving, float]] = {}
        self._knows_leaving = False

    @property
    def in_flight(self) -> int:
        """Moves under way."""
        return len(self._flights)

    @property
    def has_room(self) -> bool:
        """Whether another may begin."""
        return len(self._flights) < self._at_once

    @property
    def busy(self) -> frozenset[BlockId]:
        """The blocks that are on their way."""
        return frozenset(self._flights)

    def begin(self, move: MoveReplica) -> bool:
        """Move a block, beside others; False when it cannot begin now."""
        assert self.has_room
        assert move.block.truth.block not in self._flights
        step = CopyBlock(
            name=move.block.name,
            truth=move.block.truth,
            source=move.source,
            target=move.target,
            reason=move.reason,
            urgency=RepairClass.MISPLACED,
            purpose=Purpose.BALANCE,
        )
        self._flights[move.block.truth.block] = move
        begun = self._mover.submit(step, lambda outcome: self._copied(move, outcome))
        if not begun:
            del self._flights[move.block.truth.block]
        return begun

    def _copied(self, move: MoveReplica, outcome: CopyOutcome) -> None:
        """In the thread that copied: the source's copy may go now."""
        error = "it ended in the middle"  # stands when something raises what it should not
        try:
            error = outcome.why or self._drop(move)
        except DfsError as err:
            error = f"{err.code}: {err.message}"
        finally:
            self._ended.put(Moved(move, error))

    def _drop(self, move: MoveReplica) -> str:
        """Retire the source's copy; why not, or ""."""
        crashpoint.reach("nn.balance.copied")
        step = DropReplica(move.block.name, move.source, move.reason, Purpose.BALANCE)
        return self._mover.drop(step).why_not

    def ended(self, wait_s: float) -> list[Moved]:
        """The moves that ended since the last call; waits for one if there is none."""
        if not self._flights:
            return []
        ended: list[Moved] = []
        try:
            ended.append(self._ended.get(timeout=wait_s) if wait_s else self._ended.get_nowait())
            while True:
                ended.append(self._ended.get_nowait())
        except queue.Empty:
            pass
        for each in ended:
            del self._flights[each.move.block.truth.block]
            self._note(each)
        return ended

    def _note(self, moved: Moved) -> None:
        """Remember what no beat shows yet.  Of a failed move the copy may have been made."""
        move, now_ms = moved.move, self._clock.now_ms()
        self._arrived.append(_Arrived(move.target, move.size_bytes, now_ms))
        if not moved.error:
            leaving = Leaving(move.block.truth.block, move.source, move.size_bytes)
            key = leaving.block, leaving.node
            self._leaving[key] = leaving, self._clock.monotonic_s()

    def transit(
        self, connection: Connection, views: Sequence[NodeView]
    ) -> Mapping[NodeId, Transit]:
        """What is coming to and going from each node, and is not in what it last said."""
        self._forget_shown(connection, views)
        coming: dict[NodeId, int] = {}
        for move in list(self._flights.values()):
            coming[move.target] = coming.get(move.target, 0) + move.size_bytes
        for each in self._arrived:
            coming[each.node] = coming.get(each.node, 0) + each.size_bytes
        going: dict[NodeId, int] = {}
        for leaving, _ in self._leaving.values():
            going[leaving.node] = going.get(leaving.node, 0) + leaving.size_bytes
        # Once it has arrived elsewhere, what is in flight leaves its source.
        for move in list(self._flights.values()):
            going[move.source] = going.get(move.source, 0) + move.size_bytes
        return {
            node: Transit(coming.get(node, 0), going.get(node, 0)) for node in {*coming, *going}
        }

    @property
    def is_settled(self) -> bool:
        """Whether the nodes' last words tell of everything."""
        return not (self._flights or self._arrived or self._leaving)

    def _forget_shown(self, connection: Connection, views: Sequence[NodeView]) -> None:
        now_s, now_ms = self._clock.monotonic_s(), self._clock.now_ms()
        if not self._knows_leaving:  # what an earlier run had under way
            self._knows_leaving = True
            found = read_leaving(connection)
            self._leaving.update({(each.block, each.node): (each, now_s) for each in found})
        # What is silent says nothing more, and does not hold the others up.
        told_ms = {v.node: v.usage.at_ms for v in views if v.state is NodeState.LIVE}
        keep_ms = int(TRANSIT_KEEP_S * 1000)
        self._arrived = [
            each
            for each in self._arrived
            if told_ms.get(each.node, 1 << 62) < each.at_ms + BEAT_MS
            and now_ms < each.at_ms + keep_ms
        ]
        there = still_leaving(connection, [leaving for leaving, _ in self._leaving.values()])
        self._leaving = {
            key: (leaving, since_s)
            for key, (leaving, since_s) in self._leaving.items()
            if key in there and key[1] in told_ms and now_s - since_s < TRANSIT_KEEP_S
        }

    def forget(self) -> None:
        """A job ended: the next counts anew."""
        self._knows_leaving = False
        self._arrived, self._leaving = [], {}
