"""A digest of every table that the journal tells all of, as of one place in the journal.

Two NameNodes whose journals are equal there have equal digests; if not, one of them has a bug, or a
disk that rots.  A digest is xxh3_128 of the names of the columns and of the rows by primary key,
packed in pages of `PAGE_ROWS`.  Whatever a NameNode changes by itself is left out (see below); so
is the journal, which is compared by its hash and kept for as long as each NameNode likes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import msgspec
import xxhash
from sqlalchemy import Connection, Table, select

from dfs.base.errors import Stopping
from dfs.meta.cluster_tables import (
    HEALTH_REPORT,
    HEALTH_RUN,
    JOURNAL,
    RETRY_CACHE,
    SESSION,
)
from dfs.meta.journal import GENESIS_HASH, Place, newest_place
from dfs.meta.prepared import Prepared
from dfs.meta.session import Reader
from dfs.meta.tables import BLOCK, BLOCK_EVENT, REPLICA, STRAY

PAGE_ROWS: Final = 4096  # part of what a digest is: both sides have to agree on it
LEFT_OUT: Final[Mapping[Table, str]] = {
    JOURNAL: "compared by its hash; each NameNode trims its own",
    RETRY_CACHE: "old answers are dropped without the journal",
    REPLICA: "what stock reports change in it is not journaled",
    STRAY: "learned from stock reports",
    BLOCK_EVENT: "a log of one NameNode",
    HEALTH_REPORT: "what one NameNode was told when it swept",
    HEALTH_RUN: "what one NameNode found",
}
COLUMNS_LEFT_OUT: Final[Mapping[Table, Mapping[str, str]]] = {
    SESSION: {"last_used_ms": "written at most once a minute, without the journal"},
}
DIGESTED: Final = tuple(
    sorted((t for t in BLOCK.metadata.sorted_tables if t not in LEFT_OUT), key=lambda t: t.name)
)
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Digests:
    """What every table amounts to at that place of the journal."""

    place: Place
    tables: dict[str, bytes]


def digest_tables(connection: Connection, *, stopped: Callable[[], bool]) -> dict[str, bytes]:
    """The digest of each table by its name, on the snapshot that the connection has.

    Args:
        stopped: looked at between pages.

    Raises:
        Stopping: it was.
        DBAPIError: as Core would raise it.
    """
    return {str(table.name): _digest(connection, table, stopped) for table in DIGESTED}


def digest_now(
    reader: Reader,
    *,
    stopped: Callable[[], bool],
    opened: Callable[[Place], None] = lambda _place: None,
) -> Digests:
    """The digests as of one moment.

    Args:
        opened: told where the journal is then, before the work begins.

    Raises:
        Stopping: see `digest_tables`.
        DatabaseUnavailable, MetadataCorrupt: the disk or the file failed a read.
    """
    with reader.view() as connection:
        place = newest_place(connection) or Place(0, 0, GENESIS_HASH)
        opened(place)
        return Digests(place, digest_tables(connection, stopped=stopped))


def _digest(connection: Connection, table: Table, stopped: Callable[[], bool]) -> bytes:
    state = xxhash.xxh3_128(_encode(_compared(table)))
    for page in _rows(table).pages(connection, rows_max=PAGE_ROWS):
        if stopped():
            raise Stopping("the tables are not compared: this NameNode stops")
        state.update(_encode(page))
    return state.digest()


@cache
def _rows(table: Table) -> Prepared:
    columns = (table.c[name] for name in _compared(table))
    return Prepared(select(*columns).order_by(*table.primary_key))


def _compared(table: Table) -> list[str]:
    without = COLUMNS_LEFT_OUT.get(table, {})
    return [column.key for column in table.columns if column.key not in without]
