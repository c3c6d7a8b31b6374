"""Batches: many items in one transaction, each with an outcome of its own."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from dfs.base.errors import DfsError
from dfs.meta.txn import Txn
from dfs.meta.writer import savepoint
from dfs.wire.shapes import Outcome, Outcomes, error_body

I = TypeVar("I")  # noqa: E741 - an item
V = TypeVar("V")


def look_each(items: Sequence[I], look: Callable[[I], V]) -> Outcomes[V]:
    """Answer each item; a refused one does not keep the others from their answer."""
    return Outcomes(outcomes=[attempt(lambda item=item: look(item)) for item in items])  # type: ignore[misc]


def change_each(
    txn: Txn,
    items: Sequence[I],
    change: Callable[[I], V],
    *,
    atomic: bool,
    forget: Callable[[], None],
) -> Outcomes[V]:
    """Carry out each item under a savepoint of its own; with `atomic` all of them or none.

    Args:
        forget: drops what was remembered of names, after an item was undone.

    Raises:
        DfsError: an item was refused and `atomic` was asked for; nothing of the batch remains.
    """

    def guarded(item: I) -> V:
        try:
            with savepoint(txn):
                return change(item)
        except DfsError:
            forget()
            raise

    if atomic:
        return Outcomes(outcomes=[Outcome(value=change(item)) for item in items])
    return look_each(items, guarded)


def attempt(work: Callable[[], V]) -> Outcome[V]:
    """The value, or the refusal."""
    try:
        return Outcome(value=work())
    except DfsError as exc:
        return Outcome(error=error_body(exc))
