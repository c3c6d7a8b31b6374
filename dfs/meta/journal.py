"""The journal: what every committed batch changed, chained by hash.

A record is `(txid, epoch, prev_hash, hash, at_ms, changes)`; `changes` is msgpack of groups in the
order they happened, each either rows of a table as they are afterwards (`[table, columns, rows]`)
or keys that are gone (`[table, null, keys]`).  Row images, not statements: applying one twice, or
by another version of the program, or on another database, gives the same rows.

    hash = blake2b-128(prev_hash || epoch || txid || at_ms || changes)
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, func, select

from dfs.base.errors import MetadataCorrupt
from dfs.base.ids import Epoch, TxId
from dfs.meta.cluster_tables import JOURNAL
from dfs.meta.prepared import Prepared

GENESIS_HASH: Final = bytes(16)
CHECK_RECORDS: Final = 10_000
TRIM_RECORDS_MAX: Final = 5_000
_INSERT: Final = Prepared(JOURNAL.insert())

Value = int | str | bytes | None
Group = tuple[str, tuple[str, ...] | None, list[tuple[Value, ...]]]
_AnyGroup = tuple[str, tuple[str, ...] | None, list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Record:
    """One committed batch."""

    txid: TxId
    epoch: Epoch
    prev_hash: bytes
    hash: bytes
    at_ms: int
    changes: bytes


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


def write_record(connection: Connection, record: Record) -> None:
    """Put it down as the newest."""
    assert _INSERT.names(connection) == Record.__match_args__
    values = (
        record.txid,
        record.epoch,
        record.prev_hash,
        record.hash,
        record.at_ms,
        record.changes,
    )
    _INSERT.write_many(connection, [values])


def chain_hash(prev_hash: bytes, epoch: int, txid: int, at_ms: int, changes: bytes) -> bytes:
    """See the module's formula."""
    state = hashlib.blake2b(prev_hash, digest_size=16)
    state.update(struct.pack(">QQQ", epoch, txid, at_ms))
    state.update(changes)
    return state.digest()


def read_groups(changes: bytes) -> list[Group]:
    """The groups of a record."""
    return msgspec.msgpack.decode(changes, type=list[_AnyGroup])


def last_record(connection: Connection) -> Record | None:
    """The newest record, or None in a database without one."""
    row = connection.execute(select(JOURNAL).order_by(JOURNAL.c.txid.desc()).limit(1)).first()
    return None if row is None else Record(*row)


def records_after(connection: Connection, txid: TxId, *, limit: int) -> Iterator[Record]:
    """Up to `limit` records that follow `txid`, in order."""
    wanted = select(JOURNAL).where(JOURNAL.c.txid > txid).order_by(JOURNAL.c.txid).limit(limit)
    return (Record(*row) for row in connection.execute(wanted))


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
            expected = chain_hash(
                record.prev_hash, record.epoch, record.txid, record.at_ms, record.changes
            )
            if record.hash != expected:
                raise MetadataCorrupt(f"journal record {record.txid} does not match its hash")
            if after and (after.prev_hash != record.hash or after.txid != record.txid + 1):
                raise MetadataCorrupt(f"journal record {after.txid} does not follow {record.txid}")
            after = record
            if left is not None and (left := left - len(record.changes)) <= 0:
                return


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
