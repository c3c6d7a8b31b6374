"""The rows in the database that say which NameNodes and voters there are, and what they share.

They are journaled like all else, so every member knows them as of its own journal.  Decides
nothing: who leads, and who votes, is decided by `dfs.ha`.

    setting                value
    ha.secret              what the seal on letters is made with, in hex
    ha.version             the transaction that changed any of these last
    ha.member.<name>       a `MemberRecord` as JSON
    ha.voter.<uuid>        a `VoterRecord` as JSON; those of DataNodes and of members alike
    ha.joined.<uuid>       the hash of the join token that a member was let in by
"""

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec
from sqlalchemy import Connection, select

from dfs.base.decoding import json_reader
from dfs.base.errors import MetadataCorrupt
from dfs.failover.roll import MemberRecord, Roll, VoterRecord
from dfs.meta.cluster_tables import SETTING
from dfs.meta.txn import Txn

_SECRET: Final = "ha.secret"
_VERSION: Final = "ha.version"
_MEMBER: Final = "ha.member."
_VOTER: Final = "ha.voter."
_JOINED: Final = "ha.joined."
SEQUENCE: Final = "namenode"
SECRET_BYTES: Final = 32

R = TypeVar("R")


def read_roll(connection: Connection) -> Roll:
    """What a snapshot says.

    Raises:
        MetadataCorrupt: a row cannot be read.
    """
    wanted = select(SETTING).where(SETTING.c.key.like("ha.%"))
    rows: dict[str, str] = {row.key: row.value for row in connection.execute(wanted)}
    try:
        return Roll(
            int(rows.get(_VERSION, 0)),
            bytes.fromhex(rows.get(_SECRET, "")),
            _records(rows, _MEMBER, MemberRecord),
            _records(rows, _VOTER, VoterRecord),
        )
    except (ValueError, msgspec.MsgspecError) as exc:
        raise MetadataCorrupt(f"the rows of failover cannot be read: {exc}") from exc


def make_secret(txn: Txn, secret: bytes) -> None:
    """What letters are sealed with from the beginning of the cluster."""
    assert len(secret) == SECRET_BYTES
    _put(txn, {_SECRET: secret.hex()})


def put_member(txn: Txn, name: str, record: MemberRecord) -> None:
    """A member came, or moved; its voter with it."""
    before = txn.get(SETTING, _MEMBER + name)
    if before is not None:
        old = json_reader(MemberRecord)(before["value"])
        if old.voter != record.voter:
            txn.drop(SETTING, (_VOTER + old.voter,))
    voter = VoterRecord(name, record.url, record.machine)
    _put(txn, {_MEMBER + name: _text(record), _VOTER + record.voter: _text(voter)})


def note_token(txn: Txn, uuid: str, token_hash: str) -> None:
    """A member was let in by that join token: its answer may have been lost."""
    txn.put(SETTING, {"key": _JOINED + uuid, "value": token_hash})


def was_let_in_by(txn: Txn, uuid: str, token_hash: str) -> bool:
    """Whether that member was."""
    found = txn.get(SETTING, _JOINED + uuid)
    return found is not None and found["value"] == token_hash


def change_voters(txn: Txn, came: Mapping[str, VoterRecord], gone: set[str]) -> None:
    """Voters of DataNodes came, or moved, and others are asked by nobody any more."""
    txn.drop(SETTING, *((_VOTER + voter,) for voter in sorted(gone)))
    _put(txn, {_VOTER + voter: _text(record) for voter, record in came.items()})


def drop_member(txn: Txn, name: str) -> None:
    """A member left for good, and its voter."""
    before = txn.get(SETTING, _MEMBER + name)
    if before is not None:
        record = json_reader(MemberRecord)(before["value"])
        txn.drop(SETTING, (_MEMBER + name,), (_VOTER + record.voter,), (_JOINED + record.uuid,))
        _put(txn, {})


def _put(txn: Txn, rows: Mapping[str, str]) -> None:
    values = {**rows, _VERSION: str(txn.txid)}
    txn.put(SETTING, *({"key": key, "value": value} for key, value in values.items()))


def _text(record: MemberRecord | VoterRecord) -> str:
    return msgspec.json.encode(record).decode()


def _records(rows: Mapping[str, str], prefix: str, kind: type[R]) -> dict[str, R]:
    return {
        key.removeprefix(prefix): json_reader(kind)(value)
        for key, value in rows.items()
        if key.startswith(prefix)
    }
