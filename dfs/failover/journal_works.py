"""What a member has done to its journal, in threads of its own, and the event that answers each.

Three lanes, none of which waits for another: what is written (one thing at a time), records that
are sent to who lacks them, and snapshots.  Each piece of work is answered by one event whatever
becomes of it; a snapshot that cannot be made is not, as nobody waits for it: it is asked for again.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, Protocol

from dfs.base.errors import DfsError
from dfs.base.units import MiB
from dfs.failover.lane import Lane
from dfs.ha.effects import (
    Applied,
    ApplyFailed,
    ApplyRecords,
    Event,
    FetchSnapshot,
    InstallSnapshot,
    MakeSnapshot,
    SnapshotFetched,
    SnapshotMade,
    StreamEnded,
    StreamRecords,
)
from dfs.ha.messages import Append, JournalRecord, SnapshotOffer
from dfs.ha.rows import Position

STREAM_BYTES_MAX: Final = 1 * MiB  # in one letter, unless a record has more: beats wait behind it
Work = ApplyRecords | InstallSnapshot | StreamRecords | MakeSnapshot | FetchSnapshot
WORK: Final = (ApplyRecords, InstallSnapshot, StreamRecords, MakeSnapshot, FetchSnapshot)


class Stretch(NamedTuple):
    """Records that follow each other, and where the committed journal ended when it was read."""

    records: tuple[JournalRecord, ...]
    head: Position


class Journal(Protocol):
    """The journal and the database that it makes.

    Any of these may raise a `DfsError`: then it was not done.  Each is called in one thread at a
    time, but reading goes on beside writing, and snapshots beside both.
    """

    def head(self) -> Position:
        """Where it ends on the disk."""
        ...

    def apply(self, records: tuple[JournalRecord, ...]) -> Position:
        """Put them down in one durable transaction, each hash verified; where it ends then."""
        ...

    def read(self, after: Position, *, bytes_max: int) -> Stretch | None:
        """What follows that position: one record at least, if there is one.

        None where the journal does not have that position, or not any more.
        """
        ...

    def make_snapshot(self) -> tuple[Position, str]:
        """Copy the database; as of when, and the name by which it can be had."""
        ...

    def fetch_snapshot(self, offer: SnapshotOffer, source: str) -> None:
        """Get a copy beside our own database: it is here, whole and proven, when this returns."""
        ...

    def install_snapshot(self, name: str, *, aside: bool) -> Position:
        """Put a fetched one in the place of ours, which is kept `aside`; where it ends then."""
        ...


class JournalWorks:
    """See the module.

    Args:
        tell: told of each event; does not wait.
        send: sends a member records.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        tell: Callable[[Event], None],
        send: Callable[[str, Append], None],
    ) -> None:
        self._journal = journal
        self._tell = tell
        self._send = send
        self._writing = Lane("member writing")
        self._streams = Lane("member streams")
        self._snapshots = Lane("member snapshots")
        self._lanes = (self._writing, self._streams, self._snapshots)

    def start(self) -> None:
        """Begin."""
        for each in self._lanes:
            each.start()

    def stop(self) -> None:
        """Begin nothing more, and wait shortly for what is under way."""
        for each in self._lanes:
            each.stop()

    def begin(self, work: Work) -> None:
        """Have it done; without waiting."""
        match work:
            case ApplyRecords():
                self._writing.do(partial(self._apply, work))
            case InstallSnapshot():
                self._writing.do(partial(self._install, work))
            case StreamRecords():
                self._streams.do(partial(self._stream, work))
            case MakeSnapshot():
                self._snapshots.do(partial(self._make, work))
            case FetchSnapshot():
                self._snapshots.do(partial(self._fetch, work))

    def _apply(self, work: ApplyRecords) -> None:
        try:
            self._tell(Applied(self._journal.apply(work.records)))
        except DfsError as err:
            self._tell(ApplyFailed(err.message))

    def _install(self, work: InstallSnapshot) -> None:
        try:
            head = self._journal.install_snapshot(work.name, aside=work.aside)
        except DfsError as err:
            self._tell(ApplyFailed(err.message, snapshot=work.name))
        else:
            self._tell(Applied(head))

    def _stream(self, work: StreamRecords) -> None:
        """A journal that cannot be read now may well have the position: no snapshot for that."""
        found = True
        try:
            stretch = self._journal.read(work.after, bytes_max=STREAM_BYTES_MAX)
        except DfsError:
            stretch = None
        else:
            found = stretch is not None
        if stretch is not None:
            self._send(work.to, Append(work.epoch, work.after, stretch.records, stretch.head))
        self._tell(StreamEnded(work.to, work.epoch, found))

    def _make(self, work: MakeSnapshot) -> None:
        try:
            position, name = self._journal.make_snapshot()
        except DfsError:
            return
        self._tell(SnapshotMade(work.to, work.epoch, position, name))

    def _fetch(self, work: FetchSnapshot) -> None:
        sound = True
        try:
            self._journal.fetch_snapshot(work.offer, work.source)
        except DfsError:
            sound = False
        self._tell(SnapshotFetched(work.offer.name, sound))
