"""One transaction as a request sees it: read, write rows by key, take numbers.

Writes are whole rows, by primary key, and land in the change log in the same call: there is no way
to change a table that the journal does not know of, except the two `soft` methods for what each
NameNode learns by itself (locations from stock reports, last-used times).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table

from dfs.base.ids import Epoch, TxId
from dfs.meta.cluster_tables import SEQUENCE
from dfs.meta.journal import ChangeLog, Value
from dfs.meta.row_images import Image, Key, columns_of, delete_keys, image_of, write_images

Row = Mapping[str, Any]


class Sequences:
    """The counters, cached by the writer; only it hands out numbers."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}
        self._touched: set[str] = set()

    def take(self, connection: Connection, name: str, count: int) -> int:
        """The first of `count` numbers that nobody had before."""
        if name not in self._next:
            found: Any = image_of(connection, SEQUENCE, (name,))
            self._next[name] = found[1] if found else 1
        first = self._next[name]
        self._next[name] += count
        self._touched.add(name)
        return first

    def touched_rows(self) -> list[dict[str, Any]]:
        """Rows of the counters that moved since the last call."""
        rows = [{"name": name, "next": self._next[name]} for name in sorted(self._touched)]
        self._touched.clear()
        return rows


class Txn:
    """What a request may do inside the writer's transaction.

    Attributes:
        connection: for reads; they see this transaction's own writes.
        txid: the number the batch gets when it commits.
        epoch: the epoch it is written in.
        now_ms: the time of the batch, one for all its requests.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        txid: TxId,
        epoch: Epoch,
        now_ms: int,
        sequences: Sequences,
    ) -> None:
        self.connection = connection
        self.txid = txid
        self.epoch = epoch
        self.now_ms = now_ms
        self.log = ChangeLog()
        self._sequences = sequences
        self._after_commit: list[Callable[[], None]] = []

    def take(self, sequence: str, count: int = 1) -> int:
        """The first of `count` fresh numbers of that sequence."""
        return self._sequences.take(self.connection, sequence, count)

    def get(self, table: Table, *key: Value) -> Row | None:
        """The row of that primary key, as a mapping."""
        found = image_of(self.connection, table, key)
        return dict(zip(columns_of(table), found, strict=True)) if found else None

    def put(self, table: Table, *rows: Row) -> None:
        """Insert rows, or replace those of the same key.  Each row names every column."""
        if rows:
            self.log.rows(str(table.name), columns_of(table), self._write(table, rows))

    def put_images(self, table: Table, images: Sequence[Image]) -> None:
        """As `put`, for thousands of rows: each is its values in the order of the columns."""
        if images:
            write_images(self.connection, table, images)
            self.log.rows(str(table.name), columns_of(table), images)

    def drop(self, table: Table, *keys: Key) -> None:
        """Delete the rows of those primary keys; one that is not there is no error."""
        if keys:
            delete_keys(self.connection, table, keys)
            self.log.gone(str(table.name), keys)

    def put_soft(self, table: Table, *rows: Row) -> None:
        """As `put`, without the journal."""
        if rows:
            self._write(table, rows)

    def drop_soft(self, table: Table, *keys: Key) -> None:
        """As `drop`, without the journal."""
        if keys:
            delete_keys(self.connection, table, keys)

    def after_commit(self, hook: Callable[[], None]) -> None:
        """Run `hook` once the batch is on the disk; never if it is not."""
        self._after_commit.append(hook)

    def mark(self) -> tuple[int, int]:
        """Where the transaction stands, for `rewind`."""
        return self.log.mark(), len(self._after_commit)

    def rewind(self, mark: tuple[int, int]) -> None:
        """Forget the changes and hooks since `mark`; the savepoint undoes the rows."""
        self.log.rewind(mark[0])
        del self._after_commit[mark[1] :]

    def hooks(self) -> Sequence[Callable[[], None]]:
        """What to run after the commit."""
        return self._after_commit

    def _write(self, table: Table, rows: Sequence[Row]) -> list[Image]:
        columns = columns_of(table)
        images = [tuple(row[column] for column in columns) for row in rows]
        write_images(self.connection, table, images)
        return images
