"""One transaction as a request sees it: read, write rows by key, take numbers.

Writes are whole rows, by primary key, and land in the change log in the same call: there is no way
to change a table that the journal does not know of, except the two `soft` methods for what each
NameNode learns by itself (locations from stock reports, last-used times).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.sql.elements import ColumnElement

from dfs.base.ids import Epoch, TxId
from dfs.meta.cluster_tables import SEQUENCE
from dfs.meta.journal import ChangeLog, Value
from dfs.meta.prepared import Prepared

Row = Mapping[str, Any]


@cache
def _columns(table: Table) -> tuple[str, ...]:
    return tuple(column.key for column in table.columns)


@cache
def _upsert(table: Table) -> Prepared:
    keys = [column.key for column in table.primary_key]
    statement = insert(table)
    rest = {name: statement.excluded[name] for name in _columns(table) if name not in keys}
    if not rest:  # the key is all there is: being there says everything
        return Prepared(statement.on_conflict_do_nothing(index_elements=keys))
    return Prepared(statement.on_conflict_do_update(index_elements=keys, set_=rest))


@cache
def _delete(table: Table) -> Prepared:
    return Prepared(delete(table).where(_key_is(table)))


@cache
def _get(table: Table) -> Prepared:
    return Prepared(select(table).where(_key_is(table)))


def _key_is(table: Table) -> ColumnElement[bool]:
    return and_(*(column == bindparam(f"k_{column.key}") for column in table.primary_key))


class Sequences:
    """The counters, cached by the writer; only it hands out numbers."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}
        self._touched: set[str] = set()

    def take(self, connection: Connection, name: str, count: int) -> int:
        """The first of `count` numbers that nobody had before."""
        if name not in self._next:
            found = _get(SEQUENCE).run(connection, k_name=name)
            self._next[name] = found[0][1] if found else 1
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
        names = [f"k_{column.key}" for column in table.primary_key]
        found = _get(table).run(self.connection, **dict(zip(names, key, strict=True)))
        return dict(zip(_columns(table), found[0], strict=True)) if found else None

    def put(self, table: Table, *rows: Row) -> None:
        """Insert rows, or replace those of the same key.  Each row names every column."""
        if rows:
            self.log.rows(str(table.name), _columns(table), self._write(table, rows))

    def put_images(self, table: Table, images: Sequence[tuple[Value, ...]]) -> None:
        """As `put`, for thousands of rows: each is its values in the order of the columns."""
        if images:
            self._upsert(table).write_many(self.connection, images)
            self.log.rows(str(table.name), _columns(table), images)

    def drop(self, table: Table, *keys: tuple[Value, ...]) -> None:
        """Delete the rows of those primary keys; one that is not there is no error."""
        if keys:
            _delete(table).write_many(self.connection, keys)
            self.log.gone(str(table.name), keys)

    def put_soft(self, table: Table, *rows: Row) -> None:
        """As `put`, without the journal."""
        if rows:
            self._write(table, rows)

    def drop_soft(self, table: Table, *keys: tuple[Value, ...]) -> None:
        """As `drop`, without the journal."""
        if keys:
            _delete(table).write_many(self.connection, keys)

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

    def _write(self, table: Table, rows: Sequence[Row]) -> list[tuple[Value, ...]]:
        columns = _columns(table)
        images = [tuple(row[column] for column in columns) for row in rows]
        self._upsert(table).write_many(self.connection, images)
        return images

    def _upsert(self, table: Table) -> Prepared:
        upsert = _upsert(table)
        assert upsert.names(self.connection) == _columns(table)
        return upsert
