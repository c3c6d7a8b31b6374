"""The catalog of one data folder: a SQLite row for every block file, so that nobody walks the disk.

One thread owns the only read-write connection.  Callers queue; whatever has queued while the last
commit ran is committed together (group commit: the batch grows with the load and a lone caller
does not wait for company).  `synchronous=NORMAL` is enough, because every row but its `verified_ms`
can be rebuilt from the file's tail: a power cut may lose rows, never invent them.  Readers use
read-only connections.  What the rows mean stands in
`catalog_table`, what the scrubber asks in `scrub_rows`; the three are the only modules that know
SQL, and they do not know block files.
"""

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dfs.base import crashpoint
from dfs.base.errors import DfsError, Stopping
from dfs.base.ids import BlockId, InodeId
from dfs.base.records import BlockName
from dfs.base.states import StoredState
from dfs.blockstore.catalog_table import (
    COLUMNS,
    CatalogRow,
    open_reader,
    open_writer,
    row_from,
    sqlite_errors,
    values_of,
)

QUEUE_MAX: Final = 4_096
BATCH_MAX: Final = 256
CHECKPOINT_WRITES: Final = 2_000  # about four 4 KiB pages each: a WAL of some 30 MiB
IDLE_CHECKPOINT_S: Final = 2.0
READERS_KEPT_MAX: Final = 8

Sql = tuple[str, tuple[object, ...]]


class Catalog:
    """Opens or makes the catalog at `file`, and starts its writer.

    Raises:
        MetadataCorrupt: SQLite finds it damaged, or it is no such catalog.
        LocalIoError: the disk fails.
    """

    def __init__(self, file: Path, *, sync: bool = True) -> None:
        self._file = file
        with sqlite_errors(file):
            self._connection = open_writer(file, sync=sync)
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue(READERS_KEPT_MAX)
        self._queue: queue.Queue[_Write | None] = queue.Queue(QUEUE_MAX)
        self._gate = threading.Lock()  # nothing may queue behind the end
        self._is_closed = False
        self._unchecked = 0  # writes since the last checkpoint
        self._thread = threading.Thread(target=self._run, name=f"catalog {file.parent.name}")
        self._thread.daemon = True
        self._thread.start()

    # Writes: each returns when it is committed.

    def put(self, row: CatalogRow) -> None:
        """Insert the row, or replace the one of the same block and generation."""
        self.put_all((row,))

    def put_all(self, rows: Sequence[CatalogRow]) -> None:
        """Insert or replace many rows in one commit."""
        marks = ", ".join("?" * 15)
        sql = f"INSERT OR REPLACE INTO block ({COLUMNS}) VALUES ({marks})"
        self.apply([(sql, values_of(row)) for row in rows])

    def set_state(self, name: BlockName, state: StoredState) -> None:
        """Move a row to another state."""
        sql = "UPDATE block SET state = ? WHERE block = ? AND generation = ?"
        self.apply([(sql, (state.value, name.block, name.generation))])

    def verified(self, name: BlockName, at_ms: int) -> None:
        """The file was re-read and matched: remember when; a FOUND one is FINAL from now on."""
        sql = (
            "UPDATE block SET verified_ms = ?, state = 'final', reread = 1"
            " WHERE block = ? AND generation = ? AND state IN ('final', 'found')"
        )
        self.apply([(sql, (at_ms, name.block, name.generation))])

    def forget(self, name: BlockName) -> None:
        """Delete the row."""
        sql = "DELETE FROM block WHERE block = ? AND generation = ?"
        self.apply([(sql, (name.block, name.generation))])

    # Reads.

    def row(self, name: BlockName) -> CatalogRow | None:
        """The row of exactly that file, number, block and generation."""
        where = "block = ? AND generation = ? AND file = ? AND number = ?"
        rows = self.select(f"WHERE {where}", (name.block, name.generation, name.file, name.number))
        return rows[0] if rows else None

    def rows_of(self, block: BlockId) -> list[CatalogRow]:
        """Every generation held of a block, in every state."""
        return self.select("WHERE block = ? ORDER BY generation", (block,))

    def page(
        self,
        *,
        after: BlockName | None,
        limit: int,
        buckets: Collection[int] = (),
    ) -> list[CatalogRow]:
        """Rows ordered by (file, number, block, generation), from the one after `after`.

        Args:
            after: the last row of the page before.
            limit: how many at most.
            buckets: the low byte of the blocks to list; none for all.
        """
        order = "file, number, block, generation"
        wanted: list[str] = []
        values: list[object] = []
        if after is not None:
            wanted.append(f"({order}) > (?, ?, ?, ?)")
            values += (after.file, after.number, after.block, after.generation)
        if buckets:
            wanted.append(f"block & 255 IN ({', '.join('?' * len(buckets))})")
            values += buckets
        where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
        return self.select(f"{where} ORDER BY {order} LIMIT ?", (*values, limit))

    def bucket(self, number: int) -> list[CatalogRow]:
        """The rows of the files in one of the 256 bucket folders."""
        return self.select("WHERE file & 255 = ?", (number,))

    def rows_in(self, file: InodeId) -> list[CatalogRow]:
        """The rows of the blocks of one file, in every state."""
        return self.select("WHERE file = ?", (file,))

    def files_in(self, number: int) -> list[InodeId]:
        """The files that have rows in one of the 256 bucket folders."""
        sql = "SELECT DISTINCT file FROM block WHERE file & 255 = ?"
        return [InodeId(file) for (file,) in self.query(sql, (number,))]

    def filled_buckets(self) -> set[int]:
        """The buckets that have rows."""
        with self._reading() as connection:
            return {
                number for (number,) in connection.execute("SELECT DISTINCT file & 255 FROM block")
            }

    def finished_since(self, mtime_ns: int) -> list[CatalogRow]:
        """Readable blocks last written at or after a time, in the order they lie on the disk."""
        return self.select(
            "WHERE mtime_ns >= ? AND state IN ('final', 'found') ORDER BY inode", (mtime_ns,)
        )

    def newest_ns(self) -> int:
        """When the last block was finished, by its file's time; 0 when there is none."""
        return self._number("SELECT coalesce(max(mtime_ns), 0) FROM block")

    def totals(self) -> tuple[int, int]:
        """`(block files, bytes of them)` of the published ones."""
        where = "FROM block WHERE state IN ('final', 'found')"
        return (
            self._number(f"SELECT count(*) {where}"),
            self._number(f"SELECT coalesce(sum(size), 0) {where}"),
        )

    # For those who know SQL: `scrub_rows`.

    def select(self, tail: str, values: tuple[object, ...]) -> list[CatalogRow]:
        """The rows of blocks that a `WHERE ...` finds."""
        with self._reading() as connection:
            found = connection.execute(f"SELECT {COLUMNS} FROM block {tail}", values).fetchall()
        return [row_from(each) for each in found]

    def query(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[int, ...]]:
        """Any question whose answer is numbers."""
        with self._reading() as connection:
            return list(connection.execute(sql, values).fetchall())

    def apply(self, statements: list[Sql]) -> None:
        """Statements with their values, in one commit; returns when it is done."""
        write = _Write(statements, Future())
        with self._gate:
            if self._is_closed:
                raise Stopping(f"the catalog {self._file} is closed")
            self._queue.put(write)
        write.done.result()

    def close(self) -> None:
        """Commit what is queued, fold the WAL into the file and stop the writer."""
        with self._gate:
            self._is_closed = True
        while not self._readers.empty():  # first: the last connection to close removes the WAL
            self._readers.get_nowait().close()
        self._queue.put(None)
        self._thread.join()

    def _number(self, sql: str) -> int:
        with self._reading() as connection:
            return int(connection.execute(sql).fetchone()[0])

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with sqlite_errors(self._file):
            try:
                connection = self._readers.get_nowait()
            except queue.Empty:
                connection = open_reader(self._file)
            try:
                yield connection
            finally:
                try:
                    self._readers.put_nowait(connection)
                except queue.Full:
                    connection.close()

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch, is_open = self._next_batch()
            if batch:
                self._commit(batch)
            if not batch or self._unchecked >= CHECKPOINT_WRITES:
                self._checkpoint()
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _next_batch(self) -> tuple[list["_Write"], bool]:
        """What has queued, and whether to go on; an idle pause gives an empty batch."""
        batch: list[_Write] = []
        try:
            write = self._queue.get(timeout=IDLE_CHECKPOINT_S if self._unchecked else None)
            while write is not None:
                batch.append(write)
                if len(batch) == BATCH_MAX:
                    return batch, True
                write = self._queue.get_nowait()
        except queue.Empty:
            return batch, True
        return batch, False

    def _commit(self, batch: list["_Write"]) -> None:
        """One transaction for all; every caller is answered after the commit."""
        try:
            with sqlite_errors(self._file):
                self._transact(batch)
        except DfsError as exc:
            if len(batch) > 1:  # one bad write must not refuse the others
                for write in batch:
                    self._commit([write])
            else:
                batch[0].done.set_exception(exc)
            return
        crashpoint.reach("dn.catalog.committed")
        self._unchecked += len(batch)
        for write in batch:
            write.done.set_result(None)

    def _transact(self, batch: list["_Write"]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for write in batch:
                for sql, values in write.statements:
                    self._connection.execute(sql, values)
            self._connection.execute("COMMIT")
        except (sqlite3.Error, OverflowError):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _checkpoint(self) -> None:
        """Fold the WAL back.  On failure the WAL stays and is tried again later."""
        self._unchecked = 0
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


@dataclass(frozen=True, slots=True)
class _Write:
    statements: list[Sql]
    done: "Future[None]"


def read_all(file: Path) -> list[CatalogRow]:
    """Every row of a catalog that another process may be serving.

    Raises:
        MetadataCorrupt, LocalIoError: it cannot be read.
    """
    with sqlite_errors(file), contextlib.closing(open_reader(file)) as connection:
        return [row_from(each) for each in connection.execute(f"SELECT {COLUMNS} FROM block")]
