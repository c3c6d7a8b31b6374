"""Requests on their way through the writer: what is to be done, what became of it, who is told."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from dfs.base.errors import DfsError
from dfs.meta.txn import Txn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Joint(Generic[T]):
    """A request that others like it may be run together with.

    Attributes:
        item: what is asked for.
        together: runs any number of items in their order; what each returned, or was refused with.
            Whatever it raises itself undoes all it did, and the items are run one by one.
    """

    item: Any
    together: Callable[[Txn, Sequence[Any]], Sequence[T | DfsError]]

    def __call__(self, txn: Txn) -> T:
        """Run it alone."""
        (outcome,) = self.together(txn, [self.item])
        if isinstance(outcome, DfsError):
            raise outcome
        return outcome


class Job(Generic[T]):
    """A request, what became of it, and who is told."""

    __slots__ = ("_error", "_result", "_tell", "work")

    def __init__(self, work: Callable[[Txn], T], tell: Callable[["Job[T]"], None]) -> None:
        self.work = work
        self._result: Any = None
        self._error: BaseException | None = None
        self._tell = tell

    def answer(self, result: T) -> None:
        """It was done, with that result."""
        self._result = result

    def refuse(self, error: BaseException) -> None:
        """It was not done, for that reason."""
        self._error = error

    def renew(self) -> None:
        """Nothing became of it: its batch was rolled back, and it is run again."""
        self._result = self._error = None

    def tell(self) -> None:
        """Let its caller know."""
        self._tell(self)

    def result(self) -> T:
        """What it returned, once it is done; raises what it was refused with."""
        if self._error is not None:
            raise self._error
        return cast("T", self._result)


def side_by_side(batch: Sequence[Job[Any]]) -> Iterator[list[Job[Any]]]:
    """The batch in its order: neighbours that may be run together, and the others alone."""
    for together, jobs in itertools.groupby(batch, _together):
        if together is None:
            yield from ([job] for job in jobs)
        else:
            yield list(jobs)


def _together(job: Job[Any]) -> object:
    return job.work.together if isinstance(job.work, Joint) else None


def settled(jobs: Sequence[Job[Any]], outcomes: Sequence[object]) -> list[tuple[Job[Any], object]]:
    """Those that were not refused, each with what it returned."""
    answered = []
    for job, outcome in zip(jobs, outcomes, strict=True):
        if isinstance(outcome, DfsError):
            job.refuse(outcome)
        else:
            answered.append((job, outcome))
    return answered


def refuse_all(batch: Sequence[Job[Any]], exc: Exception) -> None:
    """Refuse a batch that was not committed: what one of it was told may rest on its neighbours."""
    for job in batch:
        job.refuse(exc)
