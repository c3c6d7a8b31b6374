"""What holds repair and deletes back: one place that everything destructive asks first.

Each reason is a sentence for people; an empty one means "go on".  Who decides is elsewhere (safe
mode, the regression guard, the storm brake); here their words are joined.
"""

from collections.abc import Callable, Sequence

from dfs.base.errors import DfsError
from dfs.blocks.redundancy import RepairClass


class Caution:
    """See the module.  Safe to share between threads when its sources are.

    Args:
        changes: each says the refusal that every change of the namespace gets now, or None.
        deletes: each says why nothing may be deleted now, or "".
        repairs: each says why a class of repair must wait, or "".
    """

    def __init__(
        self,
        *,
        changes: Sequence[Callable[[], DfsError | None]] = (),
        deletes: Sequence[Callable[[], str]] = (),
        repairs: Sequence[Callable[[RepairClass], str]] = (),
    ) -> None:
        self._changes = tuple(changes)
        self._deletes = tuple(deletes)
        self._repairs = tuple(repairs)

    def hold_deletes(self, why: Callable[[], str]) -> None:
        """Ask another as well why nothing may be deleted now."""
        self._deletes = (*self._deletes, why)

    def refusal_of_changes(self) -> DfsError | None:
        """What a change of the namespace is refused with now; None when it is welcome."""
        return next((err for ask in self._changes if (err := ask()) is not None), None)

    def why_no_deletes(self) -> str:
        """Why no replica may be deleted now; "" when it may."""
        return next((why for ask in self._deletes if (why := ask())), "")

    def why_no_repair(self, urgency: RepairClass) -> str:
        """Why repairs of that class must wait; "" when they need not."""
        return next((why for ask in self._repairs if (why := ask(urgency))), "")
