"""What every table is declared with: the base class, column types, constraint names."""

from typing import Any, ClassVar, cast

from sqlalchemy import BigInteger, Integer, LargeBinary, MetaData, Table
from sqlalchemy.orm import DeclarativeBase

# SQLite gives a table its row id as primary key only when the type is spelt INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")
Bytes = LargeBinary()

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """All tables; names of constraints follow one rule, so SQLite and alembic agree on them."""

    metadata = MetaData(naming_convention=NAMING)
    # Rows are addressed by primary key alone, so a composite key is the table's own order on disk.
    keyed_table: ClassVar[dict[str, Any]] = {"sqlite_with_rowid": False}


def table_of(row: type[Base]) -> Table:
    """The Core table of a row class: statements are written against it."""
    return cast("Table", row.__table__)
