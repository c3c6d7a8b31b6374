"""Pure: whether one path can have been there and not there as its clients were told.

Creates, additions, removals and sightings are put in a row one by one, each at the latest moment:
when it was answered (Lowe, "Testing for linearizability", 2017).  What is known by then is a set of
*worlds*: whether the path is there, and which of the operations under way took place already.  A
moment at which no world is left is a violation.

An operation without an answer takes place just before one that needs it, or not at all, and any of
them that has begun serves; so worlds count how many were used up, not which.  Who only looks is put
in the row as soon as things stand as he saw them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from tests.histories import Answer, Operation, Verb
from tests.history_violations import Kind, Violation

CHANGES_SHOWN_MAX: Final = 8


class Step(NamedTuple):
    """What an operation says of one path.

    Attributes:
        needs: whether the path was there just before; None where that does not matter.
        leaves: whether it was there just after.
    """

    operation: Operation
    needs: bool | None
    leaves: bool

    @property
    def looks(self) -> bool:
        """Whether it changes nothing."""
        return self.needs == self.leaves


class _World(NamedTuple):
    """One way in which things can stand."""

    there: bool
    done: frozenset[int]  # of the steps under way, those that took place
    creates: int  # how many without an answer took place
    removes: int


@dataclass(slots=True)
class _Pools:
    """How many operations without an answer have begun."""

    creates: int = 0
    removes: int = 0


def check_presence(path: str, steps: Sequence[Step]) -> Iterator[Violation]:
    """The first step that no order explains, if there is one, and what it contradicts."""
    failing = _failing(steps)
    if failing is None:
        return
    last = steps[failing]
    before = [s for s in steps if s.operation.begin_s <= last.operation.done_s]
    # Steps that only look can be left out of any history; those that change cannot.
    looks = [s for s in before if s.looks and s is not last]
    changes = [s for s in before if not s.looks and s is not last]

    def still_fails(some: Sequence[Step]) -> bool:
        kept = [*changes, *some, last]
        return _failing(kept, only=len(kept) - 1) is not None

    proof = _fewest(looks, still_fails)
    kind, words = _meaning(path, last, changes)
    shown = changes[-CHANGES_SHOWN_MAX:]
    if len(shown) < len(changes):
        words += f" ({len(changes) - len(shown)} earlier changes are not shown)"
    in_order = sorted((s.operation for s in (*shown, *proof)), key=lambda one: one.begin_s)
    yield Violation(kind, path, words, (*in_order, last.operation))


def step_of(operation: Operation) -> Step | None:
    """What a create, an addition or a removal says of its path; None where it says nothing."""
    match operation.verb, operation.answer:
        case Verb.ADD, Answer.OK | Answer.UNKNOWN:
            return Step(operation, None, leaves=True)
        case Verb.CREATE, Answer.OK | Answer.UNKNOWN:
            return Step(operation, needs=False, leaves=True)
        case Verb.CREATE, Answer.EXISTS:
            return Step(operation, needs=True, leaves=True)
        case Verb.REMOVE, Answer.OK | Answer.UNKNOWN:
            return Step(operation, needs=True, leaves=False)
        case Verb.REMOVE, Answer.MISSING:
            return Step(operation, needs=False, leaves=False)
        case _, Answer.REFUSED:
            return None
        case _:
            raise ValueError(f"no answer to that: {operation}")


def _failing(steps: Sequence[Step], *, only: int | None = None) -> int | None:
    """The place of the first step answered in a way that no world allows.

    Args:
        only: stop after the answer of that one.
    """
    worlds = {_World(there=False, done=frozenset(), creates=0, removes=0)}
    pools = _Pools()
    open_steps: dict[int, Step] = {}
    for _at, is_end, number in _moments(steps):
        step = steps[number]
        if step.operation.answer is Answer.UNKNOWN:
            pools.creates += step.leaves
            pools.removes += not step.leaves
        elif not is_end:
            open_steps[number] = step
        else:
            worlds = _answered(worlds, number, open_steps, pools)
            del open_steps[number]
            if not worlds:
                return number
            if number == only:
                return None
    return None


def _moments(steps: Sequence[Step]) -> list[tuple[float, bool, int]]:
    """Every beginning and end, in order of time; of what touches, beginnings first."""
    moments: list[tuple[float, bool, int]] = []
    for number, step in enumerate(steps):
        moments.append((step.operation.begin_s, False, number))
        if step.operation.end_s is not None:
            moments.append((step.operation.end_s, True, number))
    moments.sort()
    return moments


def _answered(
    worlds: set[_World], number: int, open_steps: dict[int, Step], pools: _Pools
) -> set[_World]:
    """The worlds in which that step took place, others that were under way perhaps before it."""
    step = open_steps[number]
    if step.looks and all(w.there == step.needs and number not in w.done for w in worlds):
        return worlds
    found: set[_World] = set()
    seen = set(worlds)
    waiting = list(worlds)
    while waiting:
        world = waiting.pop()
        if number in world.done or (step.looks and step.needs == world.there):
            found.add(world._replace(done=world.done - {number}))
            continue
        if step.looks and (turned := _turned(world, open_steps, pools)) is not None:
            found.add(turned._replace(done=turned.done - {number}))
        for each, change in open_steps.items():
            if change.looks or each in world.done:
                continue
            for after in _changed(world, each, open_steps, pools):
                if after not in seen:
                    seen.add(after)
                    waiting.append(after)
    return _cheapest(found)


def _changed(
    world: _World, number: int, open_steps: dict[int, Step], pools: _Pools
) -> Iterator[_World]:
    """The worlds just after that change, with an operation without an answer before it or not.

    Where a change does not need one, somebody may still have looked just before it.
    """
    step = open_steps[number]
    before = [world] if step.needs in (None, world.there) else []
    if step.needs != world.there and (turned := _turned(world, open_steps, pools)) is not None:
        before.append(turned)
    for one in before:
        done = one.done | _seen_in(one, open_steps) | {number}
        yield one._replace(there=step.leaves, done=done)


def _turned(world: _World, open_steps: dict[int, Step], pools: _Pools) -> _World | None:
    """The world after an operation without an answer, if there is one left that changes it."""
    creates = world.creates + (not world.there)
    removes = world.removes + world.there
    if creates > pools.creates or removes > pools.removes:
        return None
    turned = _World(not world.there, world.done | _seen_in(world, open_steps), creates, removes)
    return turned._replace(done=turned.done | _seen_in(turned, open_steps))


def _seen_in(world: _World, open_steps: dict[int, Step]) -> frozenset[int]:
    """Looks under way that fit: they may as well have taken place, as they change nothing."""
    fits = (n for n, step in open_steps.items() if step.looks and step.needs == world.there)
    return frozenset(fits)


def _cheapest(worlds: set[_World]) -> set[_World]:
    """Without those from which nothing follows that does not follow from another."""
    alike: dict[tuple[bool, frozenset[int]], list[_World]] = {}
    for world in sorted(worlds, key=lambda one: (one.creates, one.removes)):
        better = alike.setdefault((world.there, world.done), [])
        if not any(one.removes <= world.removes for one in better):
            better.append(world)
    return {world for some in alike.values() for world in some}


def _fewest(looks: Sequence[Step], still_fails: Callable[[Sequence[Step]], bool]) -> list[Step]:
    """Some of them, none of which can be left out."""
    kept = list(looks)
    size = len(kept)
    while size:
        start = 0
        while start < len(kept):
            without = kept[:start] + kept[start + size :]
            if still_fails(without):
                kept = without
            else:
                start += size
        size //= 2
    return kept


def _meaning(path: str, last: Step, changes: Sequence[Step]) -> tuple[Kind, str]:
    """What it is called when that step is the one that does not fit."""
    told = last.operation
    if last.needs and not any(step.leaves for step in changes):
        return Kind.PHANTOM, f"{path}: there, says the last, and nobody had tried to make it"
    if last.needs and not last.leaves:
        return Kind.DOUBLE_REMOVE, f"{path}: removed more often than it can have been made"
    if last.needs:
        return Kind.RESURRECTED, f"{path}: there, says the last, though it was removed"
    if told.verb is Verb.CREATE:
        return Kind.DOUBLE_CREATE, f"{path}: made anew although it was there, and not removed"
    return Kind.LOST_NAME, f"{path}: gone, says the last, and no removal explains that"
