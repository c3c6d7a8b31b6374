"""The journal and the database of a NameNode, as failover changes and reads them.

What is written here is another NameNode's: records, or a whole database.  So this has a connection
of its own that writes, opened when the first record comes and closed by `release` before this
NameNode leads: SQLite allows one writer at a time, and the leader's is `dfs.meta.writer`.  Reading,
and copying for others, goes on in either role.

A database comes into being by a snapshot only: `read` has nothing for who has none yet.  Records
from the first one on would do as well, but there is one way of beginning instead of two, and most
journals do not go back that far.

A disk that failed a write, or a name that may not be on the disk, is trusted no more: everything is
refused from then on, and `on_fatal` ends the process.  A disk that is merely full is not like that.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import DBAPIError

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.durable import sync_folder
from dfs.base.errors import DatabaseUnavailable, DfsError, LocalIoError, MetadataCorrupt
from dfs.base.events import Emitter, Event
from dfs.base.ids import TxId
from dfs.failover.diverged import Diverged
from dfs.failover.journal_works import Stretch
from dfs.failover.records import to_kept, to_sent
from dfs.failover.snapshot_wire import SnapshotFetcher
from dfs.failover.snapshots import Shelf
from dfs.ha.digests import TableDigests
from dfs.ha.messages import JournalRecord, SnapshotOffer
from dfs.ha.rows import START, Position
from dfs.meta.cluster_tables import JOURNAL
from dfs.meta.journal import newest_place, place_of, records_after, trim
from dfs.meta.prepared import execute
from dfs.meta.replay import replay
from dfs.meta.retry_cache import forget_answers
from dfs.meta.session import (
    Reader,
    be_one_file,
    database_errors,
    is_disk_trouble,
    is_full,
    keep_log,
    reader_engine,
    writer_engine,
)
from dfs.meta.table_digests import digest_now
from dfs.meta.wal import WriteAheadLog

READERS: Final = 3  # one that streams, one that compares tables, one for where it ends
RECORDS_MAX: Final = 10_000  # in a stretch
ANSWERS_MAX: Final = 5_000
EVERYBODY_OUT_S: Final = 5.0  # so long others may take to close the file
EVERYBODY_OUT_STEP_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSurroundings:
    """What a store is put into.

    Attributes:
        fetcher: gets snapshots from other members.
        fold_bytes: about so much may be in the log of the database.
        let_go: has everybody else in this process close the database; they may open it again.
        on_fatal: has the process end; does not wait for that, and closes nothing here.
    """

    fetcher: SnapshotFetcher
    clock: Clock
    emit: Emitter
    fold_bytes: int
    let_go: Callable[[], None] = lambda: None
    on_fatal: Callable[[str], None] = lambda _reason: None


class _Hand:
    """The connection that writes, and the log it folds."""

    def __init__(self, file: Path, around: StoreSurroundings) -> None:
        self._engine: Engine = writer_engine(file)
        try:
            self.connection: Connection = self._engine.connect()
        except BaseException:
            self._engine.dispose()
            raise
        self.log = WriteAheadLog(
            self.connection, file, fold_bytes=around.fold_bytes, emit=around.emit
        )

    def close(self) -> None:
        with contextlib.suppress(DBAPIError):
            self.connection.close()
        self._engine.dispose()


class JournalStore:
    """See the module.  A `journal_works.Journal`.

    Made while nobody has the database open: what a crash left of snapshots is tidied up.

    Args:
        data: the data folder, of this process alone.
        database: the file, in that folder; it need not exist.

    Raises:
        LocalIoError: the disk does not let it tidy up.
    """

    def __init__(
        self, data: Path, database: Path, *, shelf: Shelf, around: StoreSurroundings
    ) -> None:
        self._data = data
        self._file = database
        self._shelf = shelf
        self._around = around
        self._diverged = Diverged(data)
        self._diverged.undo(database)
        shelf.clear()
        self._writing = threading.Lock()
        self._hand: _Hand | None = None
        self._broken = ""
        self._reader = Reader(reader_engine(database, connections=READERS))

    def head(self) -> Position:
        """Where it ends on the disk.

        Raises:
            DatabaseUnavailable, MetadataCorrupt: the disk or the file failed a read.
        """
        if not self._file.exists():
            return START
        with self._look() as connection:
            if not inspect(connection).has_table(JOURNAL.name):
                return START  # a first start was cut off before its tables were made
            return _newest(connection)

    def apply(self, records: tuple[JournalRecord, ...]) -> Position:
        """Put them down in one durable transaction, each hash verified; where it ends then.

        Raises:
            MetadataCorrupt, SchemaMismatch: they do not fit what is here; nothing was changed.
            DatabaseUnavailable: there is no database yet, or the disk did not take them.
        """
        kept = [to_kept(each) for each in records]
        with self._writing, self._writer() as hand:
            place = replay(hand.connection, kept)
            hand.log.fold_if_long()
        return Position(*place)

    def trim(
        self, *, older_than_ms: int, records_max: int, answers_before_ms: int
    ) -> tuple[int, int]:
        """Drop the oldest records and remembered answers, a bounded part a call; how many of each.

        Neither is journaled when the leader does it, so a follower has to.  Does nothing unless
        records were applied since the last `release`.

        Raises:
            DatabaseUnavailable, MetadataCorrupt: the disk did not take it.
        """
        with self._writing:
            if self._hand is None:
                return 0, 0
            with self._writer() as hand, database_errors("trimming the journal"):
                connection = hand.connection
                execute(connection, "BEGIN IMMEDIATE")
                records = trim(connection, older_than_ms=older_than_ms, records_max=records_max)
                answers = forget_answers(connection, before_ms=answers_before_ms, limit=ANSWERS_MAX)
                execute(connection, "COMMIT")
                hand.log.fold_if_long()
        return records, answers

    def read(self, after: Position, *, bytes_max: int) -> Stretch | None:
        """What follows that position: one record at least, if there is one.

        None where the journal does not have that position, or not any more; so for `START`.

        Raises:
            DatabaseUnavailable, MetadataCorrupt: the disk or the file failed a read.
        """
        if after == START or not self._file.exists():
            return None
        with self._look() as connection:
            place = place_of(connection, after.txid)
            if place is None or Position(*place) != after:
                return None
            return Stretch(_records(connection, after.txid, bytes_max), _newest(connection))

    def digests(
        self,
        *,
        stopped: Callable[[], bool],
        opened: Callable[[Position], None] = lambda _position: None,
    ) -> TableDigests:
        """Digests of all tables as of one moment.

        Args:
            opened: told where the journal is then, before the work begins.

        Raises:
            Stopping: `stopped`, which is looked at now and then, said so.
            DatabaseUnavailable, MetadataCorrupt: the disk or the file failed a read.
        """
        found = digest_now(
            self._reader, stopped=stopped, opened=lambda place: opened(Position(*place))
        )
        return TableDigests(Position(*found.place), found.tables)

    def make_snapshot(self) -> tuple[Position, str]:
        """Copy the database; as of when, and the name by which it can be had.

        Raises:
            LocalDiskFull, LocalIoError: our disk does not take it.
            DatabaseUnavailable, MetadataCorrupt: the database could not be read or copied.
        """
        began_s = self._around.clock.monotonic_s()
        position, name = self._shelf.copy(self._file)
        took_s = round(self._around.clock.monotonic_s() - began_s, 3)
        self._around.emit.emit(Event.SNAPSHOT_MADE, snapshot=name, took_s=took_s)
        return position, name

    def fetch_snapshot(self, offer: SnapshotOffer, source: str) -> None:
        """Get a copy beside our own database: it is here, whole and proven, when this returns.

        Raises:
            DfsError: it is not, and why.
        """
        part = self._around.fetcher.fetch(source, offer.name, self._shelf)
        try:
            self._shelf.take_in(part, offer.name, offer.position)
        finally:
            part.unlink(missing_ok=True)
        self._around.emit.emit(Event.SNAPSHOT_FETCHED, snapshot=offer.name, source=source)

    def install_snapshot(self, name: str, *, aside: bool) -> Position:
        """Put a fetched one in the place of ours, which is kept `aside`; where it ends then.

        The order is the contract:

        1 our database is one file that nobody has open    (its log is folded, and gone)
        2 it has a second name                             (linked, the folder fsynced)
        3 the snapshot has the first                       (renamed, the folders fsynced)

        A crash before 3 leaves ours, without the second name after the next start; one after it
        leaves the snapshot.  There is no moment without a database.

        Raises:
            LocalNotFound: there is no such snapshot any more.
            DatabaseUnavailable, MetadataCorrupt, LocalIoError: it was not done.
        """
        with self._writing:
            self._require_trust()
            fresh = self._shelf.find(name)
            keep_log(fresh)  # as who opens it next expects
            epoch = self._fold_ours()
            crashpoint.reach("nn.ha.snapshot.folded")
            kept: Path | None = None
            if aside and self._file.exists():
                now_ms = self._around.clock.now_ms()
                kept = self._diverged.keep(self._file, epoch=epoch, now_ms=now_ms)
            crashpoint.reach("nn.ha.snapshot.aside")
            self._put_in_place(fresh, kept)
            self._reader.close()
            self._around.let_go()  # who opened the old one since we began
        self._diverged.forget(now_ms=self._around.clock.now_ms())
        said = {"snapshot": name, "aside": kept.name if kept else ""}
        self._around.emit.emit(Event.SNAPSHOT_INSTALLED, **said)
        return self.head()

    def release(self) -> None:
        """Close the database; waits for records that are being applied.

        It is opened again by whatever needs it.
        """
        with self._writing:
            self._close()

    def forget_diverged(self, now_ms: int) -> list[str]:
        """Remove what was kept for long enough: databases set aside, and old snapshots.

        Returns:
            The names of the databases.

        Raises:
            LocalIoError: the disk does not allow it.
        """
        self._shelf.forget(now_ms=now_ms)
        return self._diverged.forget(now_ms=now_ms)

    @contextlib.contextmanager
    def _look(self) -> Iterator[Connection]:
        with database_errors(f"reading {self._file}"), self._reader.view() as connection:
            yield connection

    @contextlib.contextmanager
    def _writer(self) -> Iterator[_Hand]:
        """The connection that writes; closed after any fault, which undoes what it was at."""
        self._require_trust()
        if not self._file.exists():
            raise DatabaseUnavailable(
                "this NameNode has no database yet: it needs a snapshot",
                hint="the leader sends one by itself; see: dfs-admin ha status",
            )
        try:
            if self._hand is None:
                with database_errors(f"opening {self._file}"):
                    self._hand = _Hand(self._file, self._around)
            yield self._hand
        except DfsError as err:
            was_open = self._hand is not None
            self._drop_hand()
            if _is_lasting(err) and (was_open or isinstance(err, MetadataCorrupt)):
                self._give_up(err.message)
            raise

    def _fold_ours(self) -> int:
        """Have the database be one file that nobody has open; the epoch of its last record."""
        if not self._file.exists():
            self._close()
            self._clear_beside()
            return 0
        epoch = self.head().epoch
        clock = self._around.clock
        until_s = clock.monotonic_s() + EVERYBODY_OUT_S
        while True:
            self._close()
            self._around.let_go()
            try:
                be_one_file(self._file)
            except DatabaseUnavailable:
                if clock.monotonic_s() >= until_s:
                    raise
            else:
                break
            clock.sleep(EVERYBODY_OUT_STEP_S)
        if any(each.exists() for each in self._beside()):
            raise DatabaseUnavailable(f"{self._file} still has a log beside it")
        return epoch

    def _put_in_place(self, fresh: Path, kept: Path | None) -> None:
        try:
            fresh.replace(self._file)
        except OSError as exc:
            if kept is not None:
                kept.unlink(missing_ok=True)
            raise LocalIoError(f"cannot install {fresh}: {exc.strerror or exc}") from exc
        crashpoint.reach("nn.ha.snapshot.renamed")
        try:
            sync_folder(self._data)
            sync_folder(self._shelf.folder)
        except OSError as exc:
            self._give_up(f"it is unknown which database the disk has: {exc.strerror or exc}")
            raise LocalIoError(self._broken) from exc
        crashpoint.reach("nn.ha.snapshot.installed")

    def _beside(self) -> list[Path]:
        name = self._file.name
        return [self._file.with_name(f"{name}-{kind}") for kind in ("wal", "shm", "journal")]

    def _clear_beside(self) -> None:
        """A log without its database would be taken for one of the next that has the name."""
        try:
            for each in self._beside():
                each.unlink(missing_ok=True)
        except OSError as exc:
            raise LocalIoError(f"cannot tidy {self._data}: {exc.strerror or exc}") from exc

    def _close(self) -> None:
        self._reader.close()  # first: the last one, which may write, tidies up
        self._drop_hand()

    def _drop_hand(self) -> None:
        hand, self._hand = self._hand, None
        if hand is not None:
            hand.close()

    def _require_trust(self) -> None:
        if self._broken:
            raise DatabaseUnavailable(self._broken)

    def _give_up(self, reason: str) -> None:
        self._broken = f"the metadata database failed: {reason}"
        self._around.emit.emit(Event.DATABASE_FAILED, reason=reason, fatal=True)
        self._around.on_fatal(self._broken)


def _newest(connection: Connection) -> Position:
    place = newest_place(connection)
    return START if place is None else Position(*place)


def _records(connection: Connection, after: int, bytes_max: int) -> tuple[JournalRecord, ...]:
    found: list[JournalRecord] = []
    room = bytes_max
    with contextlib.closing(records_after(connection, TxId(after), limit=RECORDS_MAX)) as records:
        for each in records:
            room -= len(each.changes)
            if found and room < 0:
                break
            found.append(to_sent(each))
    return tuple(found)


def _is_lasting(err: DfsError) -> bool:
    """Whether the disk or the file is to blame, and for more than want of room."""
    cause = err.__cause__
    return cause is not None and is_disk_trouble(cause) and not is_full(cause)
