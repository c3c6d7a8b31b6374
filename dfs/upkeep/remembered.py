"""What upkeep must know after a restart: a few named values, journaled.

Owns the keys; each value is JSON of a shape that its owner knows.
"""

from enum import StrEnum
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, select

from dfs.base.decoding import json_reader
from dfs.meta.cluster_tables import SETTING
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer

T = TypeVar("T")


class Key(StrEnum):
    """What is remembered."""

    SAFE_MODE = "safe_mode"  # entered by hand: by whom, since when
    NO_DELETES = "no_deletes_until_ms"  # safe mode was left by force
    LOST_NODES = "lost_nodes"  # since when which nodes count as dead
    ACCEPTED_LOSS = "accepted_loss"  # nodes whose loss the operator accepted
    BALANCE = "balance"  # the job that runs, or the last one
    COMPACTION = "compaction"  # what it was told, and what it did
    REGRESSED = "regressed"  # DataNodes saw newer metadata than there is


class Remembered:
    """Reads and writes such values.  Safe to share between threads."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    def read(self, key: Key, shape: type[T]) -> T | None:
        """The value; None when there is none."""
        with self._reader.view() as connection:
            return read_value(connection, key, shape)

    def keep(self, key: Key, value: object) -> None:
        """Write a value down; it is on the disk when this returns."""
        self._writer.submit(lambda txn: put_value(txn, key, value))

    def forget(self, key: Key) -> None:
        """Have none any more."""
        self._writer.submit(lambda txn: txn.drop(SETTING, (key.value,)))


def read_value(connection: Connection, key: Key, shape: type[T]) -> T | None:
    """As `Remembered.read`, on a snapshot or in a transaction."""
    wanted = select(SETTING.c.value).where(SETTING.c.key == key.value)
    found = connection.execute(wanted).scalar()
    return None if found is None else json_reader(shape)(found)


def put_value(txn: Txn, key: Key, value: object) -> None:
    """As `Remembered.keep`, in a transaction."""
    text = msgspec.json.encode(value).decode()
    txn.put(SETTING, {"key": key.value, "value": text})
