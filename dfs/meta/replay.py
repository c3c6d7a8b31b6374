"""Journal records of another NameNode, put down here: the rows they tell of, and themselves.

All records of a call stand in one transaction, or nothing of them does.  Before it begins, each is
held against its hash, the one before it and the tables that this program knows.

Rows of one table are written in the order they were written in, since a name is free only once who
had it gave it up.  Tables know nothing of each other (there are no foreign keys), so all that a
call brings for one goes in a few long runs.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from dfs.base import crashpoint
from dfs.base.errors import MetadataCorrupt, SchemaMismatch
from dfs.meta.cluster_tables import JOURNAL
from dfs.meta.journal import (
    GENESIS_HASH,
    Place,
    Record,
    Value,
    check_hash,
    check_order,
    newest_place,
    read_groups,
    write_records,
)
from dfs.meta.prepared import execute
from dfs.meta.row_images import columns_of, delete_keys, key_of, write_images
from dfs.meta.session import database_errors
from dfs.meta.tables import BLOCK

_NUMBER_END: Final = 1 << 63  # of what a column holds
_KNOWN: Final = {
    str(table.name): table for table in BLOCK.metadata.sorted_tables if table is not JOURNAL
}


@dataclass(slots=True)
class _Run:
    """Images of rows, or keys of rows that are gone, one after the other."""

    gone: bool
    rows: list[tuple[Value, ...]]


def replay(connection: Connection, records: Sequence[Record]) -> Place:
    """Put records down behind the newest; where the journal ends then, on the disk.

    Those that are here already, up to the newest, are passed over: a commit of which nobody knew
    whether it took place may be repeated.

    Args:
        connection: the one that writes, of `session.writer_engine`; outside of a transaction.

    Raises:
        MetadataCorrupt: they do not follow what is here, are not what was hashed, or no rows.
        SchemaMismatch: they tell of a table or column that this program does not know.
        DatabaseUnavailable: the disk did not take them.
    """
    assert records
    for record in records:
        _check(record)
    for before, after in pairwise(records):
        check_order(after, before.txid, before.hash)
    runs = _gather(records)
    with database_errors("applying the journal"):
        execute(connection, "BEGIN IMMEDIATE")
        try:
            _write(connection, records, runs)
            crashpoint.reach("nn.ha.apply.before")
            execute(connection, "COMMIT")
        except BaseException:
            with contextlib.suppress(DBAPIError):  # a full disk makes SQLite undo it by itself
                execute(connection, "ROLLBACK")
            raise
        crashpoint.reach("nn.ha.apply.after")
        place = newest_place(connection)
    assert place is not None
    return place


def _check(record: Record) -> None:
    numbers = (record.txid, record.epoch, record.at_ms)
    if not all(0 <= number < _NUMBER_END for number in numbers):
        raise MetadataCorrupt(f"journal record {record.txid} has a number that none can have")
    check_hash(record)


def _write(
    connection: Connection, records: Sequence[Record], runs: dict[Table, list[_Run]]
) -> None:
    newest = newest_place(connection) or Place(0, 0, GENESIS_HASH)
    known = [at for at, record in enumerate(records) if record.hash == newest.hash]
    if known:
        records = records[known[0] + 1 :]
        runs = _gather(records)
    if not records:
        return
    check_order(records[0], newest.txid, newest.hash)
    try:
        for table, of_table in runs.items():
            for run in of_table:
                put = delete_keys if run.gone else write_images
                put(connection, table, run.rows)
    except OverflowError as exc:
        raise MetadataCorrupt(f"the journal has a number that no column holds: {exc}") from exc
    write_records(connection, records)


def _gather(records: Sequence[Record]) -> dict[Table, list[_Run]]:
    found: dict[Table, list[_Run]] = {}
    for record in records:
        try:
            groups = read_groups(record.changes)
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            raise MetadataCorrupt(f"journal record {record.txid} cannot be read: {exc}") from exc
        for name, columns, rows in groups:
            table = _KNOWN.get(name)
            if table is None:
                raise SchemaMismatch(
                    f"journal record {record.txid} tells of a table {name!r}, unknown here",
                    hint="the NameNodes of a cluster run one version of DFS",
                )
            width = len(key_of(table)) if columns is None else len(columns)
            if any(len(row) != width for row in rows):
                raise MetadataCorrupt(f"journal record {record.txid} has a row that is cut")
            if columns is not None and columns != columns_of(table):
                rows = _in_our_order(record, table, columns, rows)
            runs = found.setdefault(table, [])
            if runs and runs[-1].gone == (columns is None):
                runs[-1].rows.extend(rows)
            else:
                runs.append(_Run(columns is None, list(rows)))
    return found


def _in_our_order(
    record: Record, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    ours = columns_of(table)
    if sorted(columns) != sorted(ours):
        strange = ", ".join(sorted(set(columns) ^ set(ours))) or "one twice"
        raise SchemaMismatch(
            f"journal record {record.txid} has other columns of {table.name} than this program: "
            f"{strange}",
            hint="the NameNodes of a cluster run one version of DFS",
        )
    pick = itemgetter(*(columns.index(name) for name in ours))
    return [pick(row) for row in rows]
