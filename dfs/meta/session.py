"""Connections to the metadata database: one that writes, many that read.

SQLite in WAL mode with `synchronous=FULL`: a commit is on the disk when it returns.  Nobody but
the writer's thread ever writes or checkpoints, which also sidesteps SQLite's WAL-reset corruption
(fixed in 3.51.3; it needs two connections that write or checkpoint at once).  Pragmas are set on
every connection and read back.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool

from dfs.base.errors import DatabaseUnavailable, DfsError, MetadataCorrupt, Overloaded

DATABASE_FILE: Final = "dfs.sqlite"
WRITER_CACHE_KIB: Final = 64 * 1024
READER_CACHE_KIB: Final = 4 * 1024  # there are some thirty, and memory stays under 400 MiB
BUSY_WAIT_MS: Final = 5000  # for a lock of the file that somebody else holds
COPY_PAGES: Final = 4096  # at once; other threads have their turn in between
PLACE_WAIT_S: Final = 30.0  # for one of the readers' connections

_NOT_THE_FILE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
_SPENT: Final = -1  # generation of a connection that is not used again
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DISK_TROUBLE: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
    }
)
_PRAGMAS: Final[dict[str, str | int]] = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL
    "foreign_keys": 1,
    "busy_timeout": BUSY_WAIT_MS,
    "wal_autocheckpoint": 0,
    "mmap_size": 0,
    "cell_size_check": 1,
    "trusted_schema": 0,
    "temp_store": 2,  # MEMORY
}


def writer_engine(file: Path) -> Engine:
    """The engine of the one connection that writes; it says BEGIN and COMMIT itself."""
    engine = create_engine(
        f"sqlite:///{file}", poolclass=NullPool, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _connect(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None  # we say BEGIN ourselves
        _set_pragmas(raw, _PRAGMAS | {"cache_size": -WRITER_CACHE_KIB})

    return engine


def reader_engine(file: Path, *, connections: int) -> Engine:
    """The engine of the connections that only read, each on a snapshot of its own."""
    engine = create_engine(
        f"sqlite:///file:{file}?mode=ro&uri=true",
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _connect(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None
        readable = {k: v for k, v in _PRAGMAS.items() if k != "journal_mode"}
        _set_pragmas(raw, readable | {"query_only": 1, "cache_size": -READER_CACHE_KIB})

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _set_pragmas(raw: sqlite3.Connection, pragmas: dict[str, str | int]) -> None:
    for name, wanted in pragmas.items():
        raw.execute(f"PRAGMA {name}={wanted}")
        (got,) = raw.execute(f"PRAGMA {name}").fetchone()
        if got != wanted:
            raise MetadataCorrupt(f"SQLite did not take {name}={wanted} (it says {got})")


class _Slot:
    """A connection that stays open between views.

    To SQLAlchemy it is one transaction without an end, so that only SQLite is told of the views:
    its own accounts of beginning, ending and pooling cost more than a look-up.
    """

    def __init__(self, connection: Connection, generation: int) -> None:
        self.generation = generation
        self.connection = connection
        connection.begin()  # SQLAlchemy's; and SQLite's, of the first view
        raw: Any = connection.connection.driver_connection
        raw.rollback()
        self.raw: sqlite3.Connection = raw

    def close(self) -> None:
        if self.generation == _SPENT:
            self.connection.invalidate()
        self.connection.close()


class Reader:
    """Snapshots of the database for whoever only looks; as many at once as the engine has
    connections.
    """

    def __init__(self, engine: Engine) -> None:
        assert isinstance(engine.pool, QueuePool), "made by `reader_engine`"
        self._engine = engine
        self._places = threading.Semaphore(engine.pool.size())
        self._lock = threading.Lock()
        self._free: list[_Slot] = []  # the one used last is taken first: its cache is the warmest
        self._generation = 0

    def view(self) -> "View":
        """A connection on one snapshot; leaving ends it.  Keep it short: it delays checkpoints.

        Entering and leaving raise:
            DatabaseUnavailable, MetadataCorrupt: the disk or the file failed a read.
            Overloaded: every connection is in use, and stayed so.
        """
        return View(self)

    def take(self) -> _Slot:
        """A place and its connection, on a snapshot of its own; `give_back` ends it."""
        if not self._places.acquire(timeout=PLACE_WAIT_S):
            raise Overloaded("too many requests read the metadata at once")
        slot: _Slot | None = None
        try:
            slot = self._slot()
            slot.raw.execute("BEGIN")
        except BaseException as exc:
            if slot is not None:
                slot.generation = _SPENT
            self.give_back(slot)
            _raise_translated(exc)
            raise
        return slot

    def give_back(self, slot: _Slot | None) -> None:
        """End the snapshot, and let the next have the place."""
        try:
            if slot is not None:
                self._put_back(slot)
        finally:
            self._places.release()

    def close(self) -> None:
        """Close every connection, those in use when their view ends."""
        with self._lock:
            self._generation += 1
            free, self._free = self._free, []
        for slot in free:
            slot.close()
        self._engine.dispose()

    def _slot(self) -> _Slot:
        with self._lock:
            if self._free:
                return self._free.pop()
            generation = self._generation
        return _Slot(self._engine.connect(), generation)

    def _put_back(self, slot: _Slot) -> None:
        try:
            slot.raw.rollback()  # nothing was written: the end of the snapshot
        except sqlite3.Error:
            slot.generation = _SPENT
        with self._lock:
            if slot.generation == self._generation:
                self._free.append(slot)
                return
        slot.close()


class View:
    """One snapshot, as a `with` statement; a generator would cost twice as much a request."""

    __slots__ = ("_reader", "_slot")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __enter__(self) -> Connection:
        """Begin."""
        self._slot = self._reader.take()
        return self._slot.connection

    def __exit__(self, _kind: object, exc: BaseException | None, _trace: object) -> None:
        """End, and say what the database itself raised in our words."""
        failed = isinstance(exc, (DBAPIError, sqlite3.Error))
        if failed:
            self._slot.generation = _SPENT
        self._reader.give_back(self._slot)
        if failed and exc is not None:
            _raise_translated(exc)


def _raise_translated(exc: BaseException) -> None:
    """Raise what the database raised as ours; a statement of ours that is wrong stays as it is."""
    if isinstance(exc, (DBAPIError, sqlite3.Error)) and sqlite_code(exc) in (
        _NOT_THE_FILE | _DAMAGE
    ):
        raise _translated("reading the metadata", exc) from exc


@contextlib.contextmanager
def database_errors(doing: str) -> Iterator[None]:
    """Turn the database's own exceptions into ours.

    Raises:
        DatabaseUnavailable: the disk or its rights are to blame, not what the file holds.
        MetadataCorrupt: the database could not do it; the message says what.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as exc:
        raise _translated(doing, exc) from exc


def _translated(doing: str, exc: Exception) -> DfsError:
    error = DatabaseUnavailable if sqlite_code(exc) in _NOT_THE_FILE else MetadataCorrupt
    return error(f"{doing}: {_first_line(exc)}")


def sqlite_code(exc: BaseException) -> int:
    """SQLite's primary result code; 0 where there is none."""
    code: int = getattr(getattr(exc, "orig", exc), "sqlite_errorcode", 0)
    return code & 0xFF


def is_disk_trouble(exc: BaseException) -> bool:
    """Whether the disk or the file is to blame, and not the statement (which is a bug of ours)."""
    return sqlite_code(exc) in _DISK_TROUBLE


def is_full(exc: BaseException) -> bool:
    """Whether there was no room: nothing remains of the change, and all is as good as before."""
    return sqlite_code(exc) == sqlite3.SQLITE_FULL


def _first_line(exc: Any) -> str:
    return str(getattr(exc, "orig", None) or exc).splitlines()[0]


def quick_check(
    file: Path, *, hold: Callable[[sqlite3.Connection | None], None] = lambda _raw: None
) -> None:
    """Read the whole file's structure.

    Args:
        hold: is given the connection while it is at work, for whoever must interrupt it.

    Raises:
        MetadataCorrupt: SQLite found damage; the message holds its first finding.
    """
    with (
        database_errors(f"checking {file}"),
        contextlib.closing(
            sqlite3.connect(f"file:{file}?mode=ro", uri=True, check_same_thread=False)
        ) as raw,
    ):
        hold(raw)
        try:
            (verdict,) = raw.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            hold(None)
    if verdict != "ok":
        raise MetadataCorrupt(f"{file}: {verdict}")


def copy_database(source: Path, target: Path) -> None:
    """Copy a database, in use or not, to a new file by SQLite's online backup, and check the copy.

    All of it is of one moment, and nobody who writes meanwhile waits for it: it is read in one
    transaction.  Without that the backup would begin again after every commit.

    Raises:
        DatabaseUnavailable: the disk or its rights are to blame.
        MetadataCorrupt: the source could not be read or the copy failed its check.
    """
    with (
        database_errors(f"copying {source}"),
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as origin,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        origin.execute("BEGIN")
        origin.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the moment
        origin.backup(copy, pages=COPY_PAGES)
        copy.execute("PRAGMA journal_mode=delete")
    quick_check(target)


def be_one_file(file: Path) -> None:
    """Fold the log of a database and do without one, so that the file alone is all of it.

    Raises:
        DatabaseUnavailable: somebody else has it open, or the disk did not take it.
        MetadataCorrupt: it is no database.
    """
    _set_journal_mode(file, "delete")


def keep_log(file: Path) -> None:
    """Have a database that is one file written by way of a log again, as all others expect it.

    Raises:
        DatabaseUnavailable, MetadataCorrupt: as `be_one_file`.
    """
    _set_journal_mode(file, "wal")


def _set_journal_mode(file: Path, mode: str) -> None:
    with (
        database_errors(f"closing {file}"),
        contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as raw,
    ):
        (got,) = raw.execute(f"PRAGMA journal_mode={mode}").fetchone()
    if got != mode:
        raise DatabaseUnavailable(f"{file} is in use")
