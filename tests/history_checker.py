"""Pure: does a history of what clients were told fit a service that loses and invents nothing?

Each path is judged by itself, as linearizability may be: a set of operations on several paths has
an order exactly when those on each path have.  A path is one of two kinds.

* A *register* is written and read (`history_registers.py`).
* A *presence* is created, added, removed, and seen by listings of its folder, each of which says of
  every name whether it was there (`history_presence.py`).  Listings are not held to be one look at
  all names at once.

What took no effect (`REFUSED`) may be told, and then proves what could only come of it to be wrong.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tests.histories import Answer, Operation, Verb
from tests.history_presence import Step, check_presence, step_of
from tests.history_registers import check_register
from tests.history_violations import Violation

# A listing, and what it says of a name that it does not show and of one that it does.
_Sightings = tuple[Operation, Step, Step]
_REGISTER = (Verb.WRITE, Verb.READ)


def violations(history: Iterable[Operation]) -> list[Violation]:
    """What cannot have happened, by path; nothing where everything can have.

    Raises:
        ValueError: two writes of one path have the same value, a path is a register and a presence,
            or an answer is none to that question.
    """
    by_path: dict[str, list[Operation]] = defaultdict(list)
    listings: dict[str, list[_Sightings]] = defaultdict(list)
    for operation in sorted(history, key=lambda one: one.begin_s):
        if operation.verb is Verb.LIST:
            if operation.answer is Answer.OK:
                listings[operation.path].append(_sightings(operation))
        else:
            by_path[operation.path].append(operation)
    for folder, seen in listings.items():
        for name in frozenset().union(*(one.names for one, *_ in seen)):
            by_path[_below(folder, name)]  # judged even where nobody made it
    found: list[Violation] = []
    for path in sorted(by_path):
        folder, _, name = path.rpartition("/")
        found += _check(path, by_path[path], listings.get(folder or "/", ()), name)
    return found


def _check(
    path: str, told: Sequence[Operation], listings: Sequence[_Sightings], name: str
) -> Iterator[Violation]:
    registers = sum(one.verb in _REGISTER for one in told)
    if registers == len(told) and registers:
        return check_register(path, told)
    if registers:
        raise ValueError(f"{path}: written or read, and created, added or removed as well")
    steps = [step for one in told if (step := step_of(one)) is not None]
    begun_s = min((step.operation.begin_s for step in steps), default=math.inf)
    for one, absent, there in listings:
        if name in one.names:
            steps.append(there)
        elif one.done_s >= begun_s:  # before that there is nothing to miss
            steps.append(absent)
    return check_presence(path, steps)


def _sightings(listing: Operation) -> _Sightings:
    return listing, Step(listing, needs=False, leaves=False), Step(listing, needs=True, leaves=True)


def _below(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"
