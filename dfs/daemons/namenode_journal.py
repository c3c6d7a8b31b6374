"""The journal as a member works on it: only while no reign has the database open.

A member that stood down may be sent records before its reign is closed; they wait.  A snapshot
takes the place of the database, so nobody reads the old one meanwhile.
"""

from typing import Final

from dfs.base.errors import DatabaseUnavailable
from dfs.daemons.namenode_following import Following
from dfs.daemons.namenode_helm import Helm
from dfs.failover.journal_store import JournalStore
from dfs.failover.journal_works import Stretch
from dfs.ha.messages import JournalRecord, SnapshotOffer
from dfs.ha.rows import Position

CLOSED_WITHIN_S: Final = 60.0


class HeldJournal:
    """See the module.  A `Journal` of a `MemberHost`."""

    def __init__(self, store: JournalStore, helm: Helm, following: Following) -> None:
        self._store = store
        self._helm = helm
        self._following = following

    def head(self) -> Position:
        """See `Journal`."""
        return self._store.head()

    def apply(self, records: tuple[JournalRecord, ...]) -> Position:
        """See `Journal`."""
        self._await_end_of_reign()
        head = self._store.apply(records)
        self._following.open()
        return head

    def read(self, after: Position, *, bytes_max: int) -> Stretch | None:
        """See `Journal`."""
        return self._store.read(after, bytes_max=bytes_max)

    def make_snapshot(self) -> tuple[Position, str]:
        """See `Journal`."""
        return self._store.make_snapshot()

    def fetch_snapshot(self, offer: SnapshotOffer, source: str) -> None:
        """See `Journal`."""
        self._store.fetch_snapshot(offer, source)

    def install_snapshot(self, name: str, *, aside: bool) -> Position:
        """See `Journal`."""
        self._await_end_of_reign()
        self._following.close()
        try:
            return self._store.install_snapshot(name, aside=aside)
        finally:
            self._following.open()

    def _await_end_of_reign(self) -> None:
        if not self._helm.idle.wait(CLOSED_WITHIN_S):
            raise DatabaseUnavailable("this NameNode's reign is still being closed")
