"""Where records go before they are committed: to nobody, or to the standbys that have to have them.

The writer asks before each COMMIT, says when it returned, and tells its callers when it hears that
the record is acknowledged.  Who answers is the failover of this NameNode; `Unshipped` is a database
that nobody else has.
"""

from typing import Protocol

from dfs.base.errors import DfsError
from dfs.meta.journal import Record


class Shipping(Protocol):
    """Called by the writer's thread alone."""

    def propose(self, record: Record) -> DfsError | None:
        """Wait until it is decided what becomes of a batch: None to COMMIT it, or why not.

        After None the writer calls `committed` or `rolled_back`, or ends the process.
        """
        ...

    def rolled_back(self, record: Record, reason: str) -> bool:
        """COMMIT failed, and the batch was rolled back; whether nobody else has the record, so that
        the next may take its place.  If not, the process has to end.
        """
        ...

    def committed(self, record: Record) -> None:
        """COMMIT returned.  `Writer.acknowledge` follows, in this call or later."""
        ...


class Unshipped:
    """Every record is committed as it is, and acknowledged by its COMMIT."""

    def propose(self, _record: Record) -> DfsError | None:
        """See `Shipping`."""
        return None

    def rolled_back(self, _record: Record, _reason: str) -> bool:
        """See `Shipping`."""
        return True

    def committed(self, _record: Record) -> None:
        """See `Shipping`."""
