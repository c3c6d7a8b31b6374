"""The moves under way: a few threads that copy and retire, and what beats do not show of them yet.

A move is, in this order, each step seen done before the next:

    1 the target has the block, verified against the truth, and its row says so    (mover.copy)
    2 the source's copy is retired, if enough others are sure at that moment       (mover.retire)

Cut short in between, the block has a copy too many, which repair takes away.  How a copy is made
and what `sure` means is not decided here.
"""

import concurrent.futures
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.errors import DfsError
from dfs.base.ids import BlockId, NodeId
from dfs.base.records import NodeView
from dfs.blocks.redundancy import KeptBlock
from dfs.upkeep.balance_plan import MoveReplica, Transit
from dfs.upkeep.balance_rows import Leaving, read_leaving, still_leaving

BEAT_MS: Final = 1_000  # a beat that arrives later than this after a copy tells of it
TRANSIT_KEEP_S: Final = 600.0  # what is not confirmed by then is not waited for


class Mover(Protocol):
    """Who copies and retires replicas."""

    def copy(self, block: KeptBlock, *, source: NodeId, target: NodeId) -> None:
        """Make a verified copy on the target and write it down.

        Raises:
            DfsError: it could not be made; nothing is written down.
        """
        ...

    def retire(self, block: KeptBlock, node: NodeId, *, reason: str) -> str:
        """Have that copy deleted, when enough others are sure; why not, or ""."""
        ...


class Budget:
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
    """See the module.  Used by one thread, but for `in_flight`, `abandon` and `close`."""

    def __init__(self, mover: Mover, *, clock: Clock, at_once: int) -> None:
        self._mover = mover
        self._clock = clock
        self._at_once = at_once
        self._pool: ThreadPoolExecutor | None = None
        self._flights: dict[Future[str], MoveReplica] = {}
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
        return frozenset(move.block.truth.block for move in list(self._flights.values()))

    def begin(self, move: MoveReplica) -> None:
        """Move a block, beside others."""
        assert self.has_room
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._at_once, thread_name_prefix="balance")
        self._flights[self._pool.submit(self._perform, move)] = move

    def _perform(self, move: MoveReplica) -> str:
        try:
            self._mover.copy(move.block, source=move.source, target=move.target)
            crashpoint.reach("nn.balance.copied")
            why = self._mover.retire(move.block, move.source, reason=f"balance: {move.reason}")
            crashpoint.reach("nn.balance.retired")
        except DfsError as err:
            return f"{err.code}: {err.message}"
        return why

    def ended(self, wait_s: float) -> list[Moved]:
        """The moves that ended since the last call; waits for one if there is none."""
        if not self._flights:
            return []
        done, _ = concurrent.futures.wait(
            self._flights, timeout=wait_s, return_when=concurrent.futures.FIRST_COMPLETED
        )
        moves = [(self._flights.pop(flight), flight) for flight in done]
        ended = [Moved(move, flight.result()) for move, flight in moves]
        for each in ended:
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
        told_ms = {view.node: view.usage.at_ms for view in views}
        keep_ms = int(TRANSIT_KEEP_S * 1000)
        self._arrived = [
            each
            for each in self._arrived
            if told_ms.get(each.node, now_ms) < each.at_ms + BEAT_MS
            and now_ms < each.at_ms + keep_ms
        ]
        there = still_leaving(connection, [leaving for leaving, _ in self._leaving.values()])
        self._leaving = {
            key: (leaving, since_s)
            for key, (leaving, since_s) in self._leaving.items()
            if key in there and now_s - since_s < TRANSIT_KEEP_S
        }

    def forget(self) -> None:
        """A job ended: the next counts anew."""
        self._knows_leaving = False
        self._arrived, self._leaving = [], {}

    def close(self) -> None:
        """Begin nothing more; what is under way is given up, and made again by a later plan."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
