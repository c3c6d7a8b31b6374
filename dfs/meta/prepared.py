"""Statements compiled once and run by position.

SQLAlchemy prepares parameters and results anew at each execution, which costs more than SQLite
needs to answer a look-up by key.  The few statements that every request runs are compiled here,
once for each database, and go to the driver as text; everything else is ordinary Core.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.sql.base import Executable

_Compiled = tuple[str, tuple[str, ...], dict[str, Any]]  # text, parameters in order, constants


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
            raise OperationalError(sql, parameters, exc) from exc
        return rows

    def write_many(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run it once for each row of values, which are in the order of `names`."""
        sql = self._sql(connection)[0]
        connection.exec_driver_sql(sql, list(rows) if len(rows) > 1 else rows[0])

    def names(self, connection: Connection) -> tuple[str, ...]:
        """The parameters in the order the database takes them."""
        return self._sql(connection)[1]

    def _sql(self, connection: Connection) -> _Compiled:
        dialect = connection.dialect
        known = self._compiled.get(dialect.name)
        if known is None:
            compiled: Any = self._statement.compile(dialect=dialect)  # type: ignore[attr-defined]
            constants = {
                name: value for name, value in compiled.params.items() if value is not None
            }
            known = str(compiled), tuple(compiled.positiontup), constants
            self._compiled[dialect.name] = known
        return known
