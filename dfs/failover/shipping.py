"""The writer's records on their way through this NameNode's member (`dfs.meta.shipping`)."""

from collections.abc import Callable

from dfs.base.errors import DfsError
from dfs.failover.member_host import MemberHost
from dfs.failover.records import to_sent
from dfs.meta.journal import Record


class MemberShipping:
    """See the module.

    Args:
        refusal: what a batch is refused with that was not committed, and why.
    """

    def __init__(self, host: MemberHost, refusal: Callable[[str], DfsError]) -> None:
        self._host = host
        self._refusal = refusal

    def propose(self, record: Record) -> DfsError | None:
        """See `Shipping`."""
        verdict = self._host.propose(to_sent(record))
        return None if verdict.commit else self._refusal(verdict.reason)

    def rolled_back(self, _record: Record, reason: str) -> bool:
        """See `Shipping`."""
        return self._host.commit_failed(reason, rolled_back=True)

    def committed(self, record: Record) -> None:
        """See `Shipping`."""
        self._host.committed(to_sent(record).position)
