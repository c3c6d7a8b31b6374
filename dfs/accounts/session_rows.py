"""Sessions: rows in, records out.  Of a token only its SHA-256 is kept."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Select, func, or_, select

from dfs.accounts.account_rows import IDS_AT_ONCE
from dfs.base.ids import UserId
from dfs.meta.cluster_tables import SESSION
from dfs.meta.txn import Txn

ADDRESS_LENGTH_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Somebody is logged in."""

    id: int
    token_hash: bytes = field(repr=False)
    user: UserId
    address: str  # from where the session was opened
    bound: bool  # whether it is good from there only
    created_ms: int
    last_used_ms: int  # as last written, which lags
    expires_ms: int


def token_hash(token: str) -> bytes:
    """By what a token is known to the database."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def session_by_token(connection: Connection, wanted: bytes) -> OpenSession | None:
    """The session of the token with that hash."""
    found = _read(connection, _SESSIONS.where(SESSION.c.token_hash == wanted))
    return found[0] if found else None


def sessions_of(connection: Connection, user: UserId) -> list[OpenSession]:
    """A user's sessions, the oldest first."""
    return _read(connection, _SESSIONS.where(SESSION.c.user == user).order_by(SESSION.c.id))


def newest_sessions(connection: Connection, *, limit: int) -> list[OpenSession]:
    """Everybody's sessions, the newest first."""
    return _read(connection, _SESSIONS.order_by(SESSION.c.id.desc()).limit(limit))


def count_sessions(connection: Connection, *, now_ms: int) -> dict[UserId, int]:
    """How many sessions each user has that did not expire."""
    wanted = select(SESSION.c.user, func.count()).where(SESSION.c.expires_ms > now_ms)
    rows = connection.execute(wanted.group_by(SESSION.c.user))
    return {UserId(user): int(count) for user, count in rows}


def overdue_sessions(
    connection: Connection, *, now_ms: int, unused_since_ms: int, limit: int
) -> list[OpenSession]:
    """Sessions that expired, or were not used for too long as far as the database knows."""
    overdue = or_(SESSION.c.expires_ms <= now_ms, SESSION.c.last_used_ms <= unused_since_ms)
    return _read(connection, _SESSIONS.where(overdue).limit(limit))


def put_session(txn: Txn, session: OpenSession) -> None:
    """Write the row of a session."""
    txn.put(SESSION, _row(session))


def drop_sessions(txn: Txn, sessions: Iterable[int]) -> None:
    """End sessions."""
    txn.drop(SESSION, *((session,) for session in sessions))


def save_last_used(txn: Txn, used_ms: Mapping[int, int]) -> None:
    """Write when sessions were last used; those that ended meanwhile stay ended.  Not journaled."""
    ids = sorted(used_ms)
    for at in range(0, len(ids), IDS_AT_ONCE):
        part = SESSION.c.id.in_(ids[at : at + IDS_AT_ONCE])
        found = _read(txn.connection, _SESSIONS.where(part))
        rows = (dataclasses.replace(one, last_used_ms=used_ms[one.id]) for one in found)
        txn.put_soft(SESSION, *(_row(one) for one in rows))


_SESSIONS: Final = select(
    SESSION.c.id,
    SESSION.c.token_hash,
    SESSION.c.user,
    SESSION.c.address,
    SESSION.c.bound,
    SESSION.c.created_ms,
    SESSION.c.last_used_ms,
    SESSION.c.expires_ms,
)


def _read(connection: Connection, wanted: Select[*tuple[Any, ...]]) -> list[OpenSession]:
    return [
        OpenSession(id_, token, UserId(user), address, bool(bound), created, used, expires)
        for id_, token, user, address, bound, created, used, expires in connection.execute(wanted)
    ]


def _row(session: OpenSession) -> dict[str, object]:
    return dataclasses.asdict(session) | {"bound": int(session.bound)}
