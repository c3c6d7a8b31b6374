"""Rows as wholes, by primary key: the statements that write, delete and find them, compiled once.

All that changes rows of the metadata goes through here, whether a request does it (`txn.py`) or the
journal of another NameNode (`replay.py`).  An image is the values of a row in the order of the
table's columns.
"""

from collections.abc import Sequence
from functools import cache

from sqlalchemy import Connection, Table, and_, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.sql.elements import ColumnElement

from dfs.meta.journal import Value
from dfs.meta.prepared import Prepared

Image = tuple[Value, ...]
Key = tuple[Value, ...]


@cache
def columns_of(table: Table) -> tuple[str, ...]:
    """The order of values in an image."""
    return tuple(column.key for column in table.columns)


@cache
def key_of(table: Table) -> tuple[str, ...]:
    """The order of values in a key."""
    return tuple(column.key for column in table.primary_key)


def write_images(connection: Connection, table: Table, images: Sequence[Image]) -> None:
    """Insert rows, or replace those of the same key.

    Raises:
        DBAPIError: as Core would raise it.
    """
    upsert = _upsert(table)
    assert upsert.names(connection) == columns_of(table)
    upsert.write_many(connection, images)


def delete_keys(connection: Connection, table: Table, keys: Sequence[Key]) -> None:
    """Delete the rows of those keys; one that is not there is no error.

    Raises:
        DBAPIError: as Core would raise it.
    """
    _delete(table).write_many(connection, keys)


def image_of(connection: Connection, table: Table, key: Key) -> Image | None:
    """The row of that key.

    Raises:
        DBAPIError: as Core would raise it.
    """
    names = (f"k_{name}" for name in key_of(table))
    found = _get(table).run(connection, **dict(zip(names, key, strict=True)))
    return found[0] if found else None


@cache
def _upsert(table: Table) -> Prepared:
    keys = key_of(table)
    statement = insert(table)
    rest = {name: statement.excluded[name] for name in columns_of(table) if name not in keys}
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
