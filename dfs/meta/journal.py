"""The journal: what every committed batch changed, chained by hash.

A record is `(txid, epoch, prev_hash, hash, at_ms, changes)`; `changes` is msgpack of groups in the
order they happened, each either rows of a table as they are afterwards (`[table, columns, rows]`)
or keys that are gone (`[table, null, keys]`).  Row images, not statements: applying one twice, or
by another version of the program, or on another database, gives the same rows.

    hash = blake2b-128(prev_hash || epoch || txid || at_ms || changes)
"""

import hashlib
import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, select

from dfs.base.decoding import msgpack_reader
from dfs.base.errors import MetadataCorrupt
from dfs.base.ids import Epoch, TxId
from dfs.base.units import MiB
from dfs.meta.cluster_tables import JOURNAL
from dfs.meta.prepared import Prepared

GENESIS_HASH: Final = bytes(16)
CHECK_RECORDS: Final = 10_000
TRIM_RECORDS_MAX: Final = 5_000
RECORD_BYTES_MAX: Final = 14 * MiB  # of changes: a record has to fit into a letter to a standby
_INSERT: Final = Prepared(JOURNAL.insert())
_PLACES: Final = select(JOURNAL.c.txid, JOURNAL.c.epoch, JOURNAL.c.hash)
_NEWEST: Final = Prepared(_PLACES.order_by(JOURNAL.c.txid.desc()).limit(bindparam("limit", 1)))
_PLACE: Final = Prepared(_PLACES.where(JOURNAL.c.txid == bindparam("txid")))

Value = int | str | bytes | None
Group = tuple[str, tuple[str, ...] | None, list[tuple[Value, ...]]]
_AnyGroup = tuple[str, tuple[str, ...] | None, list[tuple[Any, ...]]]
_read_list = msgpack_reader(list[_AnyGroup])


@dataclass(frozen=True, slots=True)
class Record:
    """One committed batch."""

    txid: TxId
    epoch: Epoch
    prev_hash: bytes
    hash: bytes
    at_ms: int
    changes: bytes


class Place(NamedTuple):
    """A place in the journal.  The hash covers all before: equal places, equal journals."""

    txid: int
    epoch: int
    hash: bytes


class ChangeLog:
    """Collects the changes of a batch; a refused request's are cut off again by `rewind`."""

    def __init__(self) -> None:
        self._entries: list[Group] = []

    def rows(self, table: str, columns: tuple[str, ...], rows: Sequence[tuple[Value, ...]]) -> None:
        """Rows as they are now."""
        self._entries.append((table, columns, list(rows)))

    def gone(self, table: str, keys: Sequence[tuple[Value, ...]]) -> None:
        """Keys that are gone."""
        self._entries.append((table, None, list(keys)))

    def mark(self) -> int:
        """Where the log stands, for `rewind`."""
        return len(self._entries)

    def rewind(self, mark: int) -> None:
        """Forget what was added since `mark`."""
        del self._entries[mark:]

    def groups(self) -> list[Group]:
        """The changes, neighbours of one table and kind put together."""
        merged: list[Group] = []
        for table, columns, rows in self._entries:
            if merged and merged[-1][:2] == (table, columns):
                merged[-1][2].extend(rows)
            else:
                merged.append((table, columns, list(rows)))
        return merged


def make_record(
    *, txid: TxId, epoch: Epoch, prev_hash: bytes, at_ms: int, groups: Sequence[Group]
) -> Record:
    """The record of a batch, hashed onto the one before it."""
    changes = msgspec.msgpack.encode(groups)
    digest = chain_hash(prev_hash, epoch, txid, at_ms, changes)
    return Record(txid, epoch, prev_hash, digest, at_ms, changes)


def write_records(connection: Connection, records: Sequence[Record]) -> None:
    """Put them down as the newest, in order."""
    assert _INSERT.names(connection) == Record.__match_args__
    rows = [
        (each.txid, each.epoch, each.prev_hash, each.hash, each.at_ms, each.changes)
        for each in records
    ]
    _INSERT.write_many(connection, rows)


def chain_hash(prev_hash: bytes, epoch: int, txid: int, at_ms: int, changes: bytes) -> bytes:
    """See the module's formula."""
    state = hashlib.blake2b(prev_hash, digest_size=16)
    state.update(struct.pack(">QQQ", epoch, txid, at_ms))
    state.update(changes)
    return state.digest()


def read_groups(changes: bytes) -> list[Group]:
    """The groups of a record."""
    return _read_list(changes)


def last_record(connection: Connection) -> Record | None:
    """The newest record, or None in a database without one."""
    row = connection.execute(select(JOURNAL).order_by(JOURNAL.c.txid.desc()).limit(1)).first()
    return None if row is None else Record(*row)


def newest_place(connection: Connection) -> Place | None:
    """Where the journal ends; None in a database without a record."""
    rows = _NEWEST.run(connection)
    return Place(*rows[0]) if rows else None


def place_of(connection: Connection, txid: int) -> Place | None:
    """The place of that record; None where there is none, or none any more."""
    rows = _PLACE.run(connection, txid=txid)
    return Place(*rows[0]) if rows else None


def records_after(
    connection: Connection, txid: TxId, *, limit: int
) -> Generator[Record, None, None]:
    """Up to `limit` records that follow `txid`, in order.  Close it when not all are read."""
    wanted = select(JOURNAL).where(JOURNAL.c.txid > txid).order_by(JOURNAL.c.txid).limit(limit)
    with connection.execute(wanted) as rows:
        for row in rows:
            yield Record(*row)


def check_chain(
    connection: Connection, *, records: int = CHECK_RECORDS, bytes_max: int | None = None
) -> None:
    """Recompute the newest part of the chain: so many records, or so many bytes of them.

    Raises:
        MetadataCorrupt: a record is missing, or does not hash to what it says.
    """
    newest_first = select(JOURNAL).order_by(JOURNAL.c.txid.desc()).limit(records)
    left = bytes_max
    after: Record | None = None
    with connection.execute(newest_first) as rows:
        for record in (Record(*row) for row in rows):
            check_hash(record)
            if after:
                check_order(after, record.txid, record.hash)
            after = record
            if left is not None and (left := left - len(record.changes)) <= 0:
                return


def check_hash(record: Record) -> None:
    """Hold a record against its own hash.

    Raises:
        MetadataCorrupt: it is not what was hashed.
    """
    expected = chain_hash(record.prev_hash, record.epoch, record.txid, record.at_ms, record.changes)
    if record.hash != expected:
        raise MetadataCorrupt(f"journal record {record.txid} does not match its hash")


def check_order(record: Record, txid: int, hash_there: bytes) -> None:
    """Hold a record against the one before it.

    Raises:
        MetadataCorrupt: it is not the next, or follows another one of that number.
    """
    if record.prev_hash != hash_there or record.txid != txid + 1:
        raise MetadataCorrupt(f"journal record {record.txid} does not follow {txid}")


def trim(connection: Connection, *, older_than_ms: int, records_max: int) -> int:
    """Delete the oldest records beyond age and number, a bounded part a call; how many went."""
    newest = connection.execute(select(func.max(JOURNAL.c.txid))).scalar() or 0
    by_age = (
        connection.execute(
            select(func.max(JOURNAL.c.txid)).where(JOURNAL.c.at_ms < older_than_ms)
        ).scalar()
        or 0
    )
    keep_from = max(by_age, newest - records_max)
    oldest = connection.execute(select(func.min(JOURNAL.c.txid))).scalar() or 0
    until = min(keep_from, oldest + TRIM_RECORDS_MAX, newest - 1)  # the newest carries the chain
    gone: Any = connection.execute(delete(JOURNAL).where(JOURNAL.c.txid <= until))
    return int(gone.rowcount)
