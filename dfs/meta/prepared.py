"""Statements compiled once and run by position, past SQLAlchemy's execution.

SQLAlchemy prepares parameters and results anew at each execution, and builds a statement with a
list of keys anew each time: that costs ten times what SQLite needs to answer a look-up by key.  The
statements that requests run are compiled here, once for each database, and go to the driver as
text; everything else is ordinary Core.  A list of keys goes as one parameter, a JSON array, so that
one text serves any number of them.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Select, String, and_, bindparam, func, select, tuple_
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.elements import ColumnElement

_Compiled = tuple[str, tuple[str, ...], dict[str, Any]]  # text, parameters in order, constants
_encode: Final = msgspec.json.Encoder().encode


class Prepared:
    """A Core statement, and the values that its parameters have from the start.

    Rows come as the driver gives them, which for our column types (integers, text, bytes) is what
    Core would give.
    """

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """Every row the statement gives with those values.

        Raises:
            DBAPIError: as Core would raise it.
        """
        sql, names, constants = self._sql(connection)
        parameters = tuple(values[name] if name in values else constants[name] for name in names)
        raw: Any = connection.connection.driver_connection
        try:
            rows: list[tuple[Any, ...]] = raw.execute(sql, parameters).fetchall()
        except raw.Error as exc:
            raise _as_core(sql, parameters, exc) from exc
        return rows

    def pages(self, connection: Connection, *, rows_max: int) -> Iterator[list[tuple[Any, ...]]]:
        """Every row, in pages of so many; for more of them than memory should hold.

        Raises:
            DBAPIError: as Core would raise it.
        """
        sql, names, constants = self._sql(connection)
        parameters = tuple(constants[name] for name in names)
        raw: Any = connection.connection.driver_connection
        try:
            cursor = raw.execute(sql, parameters)
            while page := cursor.fetchmany(rows_max):
                yield page
        except raw.Error as exc:
            raise _as_core(sql, parameters, exc) from exc

    def write_many(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run it once for each row of values, which are in the order of `names`.

        Raises:
            DBAPIError: as Core would raise it.
        """
        sql = self._sql(connection)[0]
        raw: Any = connection.connection.driver_connection
        try:
            if len(rows) == 1:
                raw.execute(sql, rows[0])
            else:
                raw.executemany(sql, rows)
        except raw.Error as exc:
            raise _as_core(sql, None, exc) from exc

    def names(self, connection: Connection) -> tuple[str, ...]:
        """The parameters in the order the database takes them."""
        return self._sql(connection)[1]

    def _sql(self, connection: Connection) -> _Compiled:
        name = connection.dialect.name
        known = self._compiled.get(name)
        if known is None:
            compiled: Any = self._statement.compile(  # type: ignore[attr-defined]
                dialect=connection.dialect
            )
            constants = {
                name: value for name, value in compiled.params.items() if value is not None
            }
            known = str(compiled), tuple(compiled.positiontup), constants
            self._compiled[name] = known
        return known


class ByKeys:
    """What a statement gives for each of any number of keys.

    Args:
        statement: the question, without the keys.
        columns: what is asked by: an indexed column, or several that are indexed together.
    """

    def __init__(self, statement: Select[Any], *columns: ColumnElement[Any]) -> None:
        same = (column == bindparam(f"key_{at}") for at, column in enumerate(columns))
        self._names = [f"key_{at}" for at in range(len(columns))]
        self._one = Prepared(statement.where(and_(*same)))
        self._many = Prepared(statement.where(_is_listed(columns)))

    def run(
        self, connection: Connection, keys: Sequence[Any], **values: Any
    ) -> list[tuple[Any, ...]]:
        """Every row of those keys, in no order; keys of several columns are tuples.

        Raises:
            DBAPIError: as Core would raise it.
        """
        if not keys:
            return []
        if len(keys) > 1:
            return self._many.run(connection, keys=_encode(keys).decode(), **values)
        (key,) = keys
        parts = key if len(self._names) > 1 else (key,)
        return self._one.run(connection, **dict(zip(self._names, parts, strict=True)), **values)


def _is_listed(columns: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
    listed = func.json_each(bindparam("keys", type_=String)).table_valued("value")
    if len(columns) == 1:
        return columns[0].in_(select(listed.c.value))
    parts = (func.json_extract(listed.c.value, f"$[{at}]") for at in range(len(columns)))
    return tuple_(*columns).in_(select(*parts))


def execute(connection: Connection, sql: str) -> None:
    """Run one statement without parameters or rows: BEGIN, SAVEPOINT and their like.

    Raises:
        DBAPIError: as Core would raise it.
    """
    raw: Any = connection.connection.driver_connection
    try:
        raw.execute(sql)
    except raw.Error as exc:
        raise _as_core(sql, None, exc) from exc


def is_open(connection: Connection) -> bool:
    """Whether the database is in a transaction."""
    raw: Any = connection.connection.driver_connection
    return bool(raw.in_transaction)


def _as_core(sql: str, parameters: Any, exc: Exception) -> DBAPIError:
    """What Core would raise; both name the database's own exception as `orig`."""
    kind = IntegrityError if type(exc).__name__ == "IntegrityError" else OperationalError
    return kind(sql, parameters, exc)
