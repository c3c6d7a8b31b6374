"""Pure: whether writes and reads of one path can have happened one after the other.

No two writes of a path write the same value, so each read says which write it saw.  The operations
are put in a row, each at a moment at which it was under way; that explains them when the reads of a
value all stand between its write and the next one.  Of the *group* of a value - its write and the
reads of it - let `first` be the one that ended first and `last` the one that began last: the value
was there by the end of the one, and still at the beginning of the other.  A row exists exactly when
no two groups each have that end before the other's beginning (Gibbons and Korach, "Testing shared
memories", 1997), which sorting finds.

A write without an answer has no end: it counts from where somebody saw it.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from tests.histories import Answer, Operation, Verb
from tests.history_violations import Kind, Violation


@dataclass(slots=True)
class _Group:
    """The write of one value, and the reads of it; that nothing was there needed no write."""

    value: str | None
    write: Operation | None
    reads: list[Operation] = field(default_factory=list)
    first: Operation | None = None
    last: Operation | None = None

    def settle(self) -> None:
        """Find `first` and `last`."""
        members = [*self.reads, *([self.write] if self.write is not None else [])]
        self.first = min(members, key=lambda one: one.done_s) if self.write is not None else None
        self.last = max(members, key=lambda one: one.begin_s, default=None)

    @property
    def there_s(self) -> float:
        """By when it was written, as somebody knew."""
        return -math.inf if self.first is None else self.first.done_s

    @property
    def still_s(self) -> float:
        """Until when it was not yet overwritten, as somebody knew."""
        return -math.inf if self.last is None else self.last.begin_s


def check_register(path: str, history: Sequence[Operation]) -> Iterator[Violation]:
    """What no order of these writes and reads of a path explains.

    Raises:
        ValueError: a value was written twice; the history says nothing of who saw which.
    """
    groups, strange = _groups(path, history)
    yield from strange
    for group in groups:
        group.settle()
    spans = sorted((g for g in groups if g.there_s < g.still_s), key=lambda g: g.there_s)
    points = [g for g in groups if g.there_s >= g.still_s]
    yield from _overlapping(path, spans)
    yield from _enclosed(path, spans, points)


def _groups(path: str, history: Sequence[Operation]) -> tuple[list[_Group], list[Violation]]:
    """Every value that counts, and what was read that cannot have been."""
    groups: dict[str | None, _Group] = {None: _Group(None, None)}
    refused: dict[str | None, Operation] = {}
    for one in history:
        if one.verb is Verb.WRITE:
            if one.value is None or one.value in groups or one.value in refused:
                raise ValueError(f"{path}: a value that no other write has is needed: {one}")
            if one.answer is Answer.REFUSED:
                refused[one.value] = one
            else:
                groups[one.value] = _Group(one.value, one)
    strange: list[Violation] = []
    for one in history:
        if one.verb is not Verb.READ or not one.is_known:
            continue
        value = one.value if one.answer is Answer.OK else None
        group = groups.get(value)
        if group is None:
            said = refused.get(value)
            words = f"{path}: read {value}, " + (
                "which nobody wrote" if said is None else "whose write was refused"
            )
            strange.append(
                Violation(Kind.PHANTOM, path, words, (one,) if said is None else (said, one))
            )
        elif group.write is not None and one.precedes(group.write):
            words = f"{path}: read {value} before it was written"
            strange.append(Violation(Kind.PHANTOM, path, words, (one, group.write)))
        else:
            group.reads.append(one)
    # What nobody saw and nobody was told of need not have happened.
    seen = [g for g in groups.values() if g.reads or g.write is None or g.write.is_known]
    return seen, strange


def _overlapping(path: str, spans: Sequence[_Group]) -> Iterator[Violation]:
    """Groups each of which lasted into the other."""
    longest: _Group | None = None
    for group in spans:
        if longest is not None and group.there_s < longest.still_s:
            yield _violation(path, longest, group)
        if longest is None or group.still_s > longest.still_s:
            longest = group


def _enclosed(path: str, spans: Sequence[_Group], points: Sequence[_Group]) -> Iterator[Violation]:
    """Groups that can only have been while another one was surely there."""
    begins = [span.there_s for span in spans]
    longest = list(accumulate(spans, lambda a, b: a if a.still_s >= b.still_s else b))
    for group in points:
        before = bisect_left(begins, group.still_s)
        if before and group.there_s < longest[before - 1].still_s:
            yield _violation(path, longest[before - 1], group)


def _violation(path: str, one: _Group, other: _Group) -> Violation:
    """Each of the two was there before the other was, and after."""
    old, new = sorted((one, other), key=_order)
    assert new.first is not None
    assert new.last is not None
    assert old.last is not None
    evidence = [old.first, new.last, new.first, old.last]
    kind = Kind.STALE_READ if new.reads else Kind.LOST_WRITE
    told = "was read" if new.first.verb is Verb.READ else "was acknowledged"
    words = f"{path}: {_named(old)} was read after {_named(new)}, which came later, {told}"
    in_order = sorted({id(each): each for each in evidence if each is not None}.values(), key=_when)
    return Violation(kind, path, words, tuple(in_order))


def _order(group: _Group) -> float:
    return -math.inf if group.write is None else group.write.begin_s


def _when(operation: Operation) -> float:
    return operation.begin_s


def _named(group: _Group) -> str:
    return "nothing" if group.write is None else str(group.value)
