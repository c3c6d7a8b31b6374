"""Pure: the life of a canary, the copy that is spoiled on purpose to prove that scrub and heal run.

    IDLE --written--> PLACED --ordered--> SPOILED --bad--> FOUND --whole--> HEALED --> PLACED ...
                        ^                    |
                        +------intact--------+          any --vanished--> IDLE

IDLE     there is none: the node's first one is not due yet, or what there was is gone.
PLACED   a small block has a good copy on the node.  Nothing is damaged.
SPOILED  the node was ordered to flip a byte of its copy.  Only its scrubber can tell.
FOUND    the node has reported the copy bad, by itself.
HEALED   the block has all its copies again.  The next round begins when it is due.

A copy is spoiled only while the block has two sure copies, and ordered so once: the order flips a
byte, and twice would be nothing.  Where it is not known that the order was obeyed (this NameNode
was restarted, the node could not), the round begins anew with another block.  So it does when the
node that had the good copy is lost: there is nothing to heal from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from dfs.base.states import IllegalMoveError, ReplicaState
from dfs.base.units import format_duration

LOST: Final = "its last good copy is lost"


class CanaryState(StrEnum):
    """See the module's picture."""

    IDLE = "idle"
    PLACED = "placed"
    SPOILED = "spoiled"
    FOUND = "found"
    HEALED = "healed"


class CanaryEvent(StrEnum):
    """What happens to a canary."""

    WRITTEN = "written"
    ORDERED = "ordered"
    BAD = "bad"
    INTACT = "intact"
    WHOLE = "whole"
    VANISHED = "vanished"


CANARY_MOVES: Final[Mapping[tuple[CanaryState, CanaryEvent], CanaryState]] = {
    (CanaryState.IDLE, CanaryEvent.WRITTEN): CanaryState.PLACED,
    (CanaryState.PLACED, CanaryEvent.WRITTEN): CanaryState.PLACED,
    (CanaryState.HEALED, CanaryEvent.WRITTEN): CanaryState.PLACED,
    (CanaryState.PLACED, CanaryEvent.ORDERED): CanaryState.SPOILED,
    (CanaryState.SPOILED, CanaryEvent.INTACT): CanaryState.PLACED,
    (CanaryState.SPOILED, CanaryEvent.BAD): CanaryState.FOUND,
    (CanaryState.FOUND, CanaryEvent.WHOLE): CanaryState.HEALED,
    (CanaryState.PLACED, CanaryEvent.VANISHED): CanaryState.IDLE,
    (CanaryState.SPOILED, CanaryEvent.VANISHED): CanaryState.IDLE,
    (CanaryState.FOUND, CanaryEvent.VANISHED): CanaryState.IDLE,
    (CanaryState.HEALED, CanaryEvent.VANISHED): CanaryState.IDLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One node's canary, as it is kept.  Times are 0 for what has not happened in this round."""

    state: CanaryState = CanaryState.IDLE
    path: str = ""
    block: int = 0
    first_ms: int  # when the node's first one was thought of
    armed_ms: int = 0
    told_ms: int = 0  # when the node said that its copy is spoiled
    found_ms: int = 0
    healed_ms: int = 0
    last_healed_ms: int = 0
    round_ms: int = 0
    rounds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What the catalog says of a canary's block now.

    Attributes:
        here: the state of the node's own copy; None when it has none.
        here_sure: whether a deletion could rely on that copy.
        read_ms: when the node last read its copy and found it good.
        found_bad: the node has reported its copy bad since it was spoiled.
        lost: no good copy is known any more, and none is expected back.
    """

    wanted: int
    counting: int
    sure: int
    here: ReplicaState | None
    here_sure: bool = False
    read_ms: int = 0
    found_bad: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds for every canary now.

    Attributes:
        first_after_s: how long a node's first canary waits.
        order_s: how long an order may take to be obeyed.
        others: nodes beside this one that could hold a copy.
        why_not: why nothing may be spoiled now; "" when it may.
    """

    now_ms: int
    interval_s: float
    first_after_s: float
    order_s: float
    others: int
    why_not: str = ""


class Act(StrEnum):
    """What is to be done for a canary."""

    WAIT = "wait"
    WRITE = "write"  # a new block, the old one is done with
    SPOIL = "spoil"
    NOTE = "note"  # something was seen: keep it


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, why, and the canary as it is then (a WRITE says more when it is done)."""

    act: Act
    canary: Canary
    why: str


def advance_canary(state: CanaryState, event: CanaryEvent) -> CanaryState:
    """The state after the event.

    Raises:
        IllegalMoveError: the table has no such move.
    """
    try:
        return CANARY_MOVES[state, event]
    except KeyError:
        raise IllegalMoveError(f"{state} does not accept {event}") from None


def decide(canary: Canary, seen: Sighting | None, terms: Terms) -> Decision:
    """The next step of a canary's life.

    Args:
        seen: None when its block is not there (any more).
    """
    if canary.state is CanaryState.IDLE:
        return _when_idle(canary, terms)
    if seen is None:
        return _gone(canary, "its block is gone")
    match canary.state:
        case CanaryState.PLACED:
            return _when_placed(canary, seen, terms)
        case CanaryState.SPOILED:
            return _when_spoiled(canary, seen, terms)
        case CanaryState.FOUND:
            return _when_found(canary, seen, terms)
        case CanaryState.HEALED:
            if seen.lost:
                return _gone(canary, LOST)
            return _when_due(canary, canary.armed_ms, terms.interval_s, terms)


def written(canary: Canary, *, path: str, block: int) -> Canary:
    """After a new block was written for it: a new round begins."""
    return replace(
        canary,
        state=advance_canary(canary.state, CanaryEvent.WRITTEN),
        path=path,
        block=block,
        armed_ms=0,
        told_ms=0,
        found_ms=0,
        healed_ms=0,
    )


def is_late(canary: Canary, terms: Terms, *, late_s: float) -> bool:
    """Whether no round came to its end for so long; never where none could."""
    since_ms = canary.last_healed_ms or canary.first_ms
    return terms.others > 0 and terms.now_ms - since_ms > late_s * 1000


def _when_idle(canary: Canary, terms: Terms) -> Decision:
    if canary.rounds or canary.path:
        return Decision(Act.WRITE, canary, "it is gone")
    return _when_due(canary, canary.first_ms, terms.first_after_s, terms)


def _when_due(canary: Canary, since_ms: int, after_s: float, terms: Terms) -> Decision:
    left_s = after_s - (terms.now_ms - since_ms) / 1000
    if left_s > 0:
        return Decision(Act.WAIT, canary, f"the next round begins in {format_duration(left_s)}")
    return Decision(Act.WRITE, canary, "it is due")


def _when_placed(canary: Canary, seen: Sighting, terms: Terms) -> Decision:
    if terms.others and seen.wanted < 2:
        return Decision(Act.WRITE, canary, "there is a second DataNode now")
    if seen.here not in (ReplicaState.LIVE, ReplicaState.SUSPECT):
        return Decision(Act.WRITE, canary, "the node has no good copy of it")
    if not terms.others:
        return Decision(Act.WAIT, canary, "not spoiled: there is no other DataNode to heal from")
    if seen.sure < 2 or not seen.here_sure:
        return Decision(Act.WAIT, canary, f"not spoiled: {seen.sure} sure copies, 2 needed")
    if terms.why_not:
        return Decision(Act.WAIT, canary, f"not spoiled: {terms.why_not}")
    spoiled = replace(
        canary,
        state=advance_canary(canary.state, CanaryEvent.ORDERED),
        armed_ms=terms.now_ms,
        told_ms=0,
    )
    return Decision(Act.SPOIL, spoiled, "")


def _when_spoiled(canary: Canary, seen: Sighting, terms: Terms) -> Decision:
    if seen.found_bad or seen.here is ReplicaState.CORRUPT:
        found = advance_canary(canary.state, CanaryEvent.BAD)
        noted = replace(canary, state=found, found_ms=terms.now_ms)
        return Decision(Act.NOTE, noted, "found")
    if seen.here is None or seen.here is ReplicaState.MISSING:
        return _gone(canary, "the node lost its copy by other means")
    if not canary.told_ms:
        if terms.now_ms - canary.armed_ms > terms.order_s * 1000:
            return _gone(canary, "the node did not say that it was spoiled")
        return Decision(Act.WAIT, canary, "its spoiling is ordered")
    if seen.read_ms > canary.told_ms + terms.order_s * 1000:
        intact = advance_canary(canary.state, CanaryEvent.INTACT)
        return Decision(Act.NOTE, replace(canary, state=intact), "it was read since and is good")
    return Decision(Act.WAIT, canary, "waits for the node's scrubber to find it")


def _when_found(canary: Canary, seen: Sighting, terms: Terms) -> Decision:
    if seen.lost:
        return _gone(canary, LOST)
    if seen.counting < seen.wanted:
        return Decision(Act.WAIT, canary, "waits for its copy to be healed")
    healed = replace(
        canary,
        state=advance_canary(canary.state, CanaryEvent.WHOLE),
        healed_ms=terms.now_ms,
        last_healed_ms=terms.now_ms,
        round_ms=terms.now_ms - canary.armed_ms,
        rounds=canary.rounds + 1,
    )
    return Decision(Act.NOTE, healed, "healed")


def _gone(canary: Canary, why: str) -> Decision:
    state = advance_canary(canary.state, CanaryEvent.VANISHED)
    return Decision(Act.NOTE, replace(canary, state=state), why)
