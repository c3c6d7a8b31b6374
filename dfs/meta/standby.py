"""The writer of a NameNode that follows: it knows how far the journal is, and takes no change.

Services read their database through a `Reader` and change it through a `Writer`; those that a
standby has for answering questions get this one.
"""

from collections.abc import Callable
from typing import TypeVar

from dfs.base.errors import DfsError
from dfs.base.ids import Epoch, TxId
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer

T = TypeVar("T")


class NoWriter(Writer):
    """See the module.

    Args:
        head: the epoch and transaction of the journal's newest record.
        refusal: what every change is refused with.
    """

    def __init__(  # it has no thread and no connection
        self, head: Callable[[], tuple[int, int]], refusal: Callable[[], DfsError]
    ) -> None:
        self._at = head
        self._refusal = refusal
        self.opened_txid = TxId(head()[1])

    @property
    def epoch(self) -> Epoch:  # type: ignore[override]
        """Of the newest record."""
        return Epoch(self._at()[0])

    @property
    def txid(self) -> TxId:
        """The newest transaction that is here."""
        return TxId(self._at()[1])

    def submit(self, work: Callable[[Txn], T]) -> T:  # noqa: ARG002 - of the interface
        """Refuse it."""
        raise self._refusal()

    def submit_then(
        self,
        work: Callable[[Txn], T],  # noqa: ARG002 - of the interface
        then: Callable[[Callable[[], T]], None],  # noqa: ARG002
    ) -> None:
        """Refuse it."""
        raise self._refusal()

    def waiting(self) -> int:
        """Nothing waits."""
        return 0
