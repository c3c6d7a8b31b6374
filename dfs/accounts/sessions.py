"""Sessions: opened by a login, known by a token, over by time, by address or by being ended.

A token is 256 random bits, said once; the database has its SHA-256.  A session ends a fixed time
after its login, and earlier when it is not used: unused time counts from its last use, or from the
start of this NameNode where that is later, since uses are not journaled and a failover must not
log everybody out.  Looking a session up writes nothing: uses are saved in bulk by `expiry.py`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection

from dfs.accounts import session_rows
from dfs.accounts.account_rows import Account, account_by_id, principal_of
from dfs.accounts.session_memory import Known, Session, SessionMemory
from dfs.accounts.session_rows import ADDRESS_LENGTH_MAX, OpenSession
from dfs.base.clock import Clock
from dfs.base.entropy import new_token
from dfs.base.errors import NotLoggedIn, SessionExpired
from dfs.base.ids import UserId
from dfs.base.records import Principal
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.settings.sections import AccountsConfig
from dfs.wire.routes import LOGOUT, PASSWORD, WHOAMI

__all__ = ["ROUTES_BEFORE_NEW_PASSWORD", "Session", "Sessions"]

# All that a session may ask for while its one-time password was not replaced.
ROUTES_BEFORE_NEW_PASSWORD: Final = frozenset({PASSWORD.path, WHOAMI.path, LOGOUT.path})
TOKEN_PREFIX: Final = "dfs"
SESSIONS_PER_USER_MAX: Final = 100
SESSIONS_LISTED_MAX: Final = 10_000


class Sessions:
    """See the module."""

    def __init__(self, reader: Reader, *, clock: Clock, config: AccountsConfig) -> None:
        self._reader = reader
        self._clock = clock
        self._life_ms = int(config.session_life_s * 1000)
        self._idle_ms = int(config.session_idle_s * 1000)
        self._bind_all = config.bind_address
        self._memory = SessionMemory()
        self._serving_since_ms = clock.now_ms()

    def authenticate(self, token: str, address: str) -> Session:
        """The session of a token, for a request from `address`.

        Raises:
            NotLoggedIn: it is no token of a session.
            SessionExpired: the session is over, or not for that address.
        """
        if not token.startswith(f"{TOKEN_PREFIX}_"):
            raise NotLoggedIn("not logged in")
        token_hash = session_rows.token_hash(token)
        known = self._memory.find(token_hash) or self._look_up(token_hash)
        now_ms = self._clock.now_ms()
        self._check(known.row, address, now_ms)
        self._memory.touch(known.row.id, now_ms)
        if address == known.session.principal.address:
            return known.session
        principal = msgspec.structs.replace(known.session.principal, address=address)
        return dataclasses.replace(known.session, principal=principal)

    def open(
        self, txn: Txn, account: Account, *, address: str, bind: bool
    ) -> tuple[str, OpenSession]:
        """Log a user in: the token, and the session it opens.

        Whoever is logged in too often is logged out where it was longest ago used.
        """
        token = new_token(TOKEN_PREFIX)
        opened = OpenSession(
            id=txn.take("session"),
            token_hash=session_rows.token_hash(token),
            user=account.user,
            address=address[:ADDRESS_LENGTH_MAX],
            bound=bind or self._bind_all,
            created_ms=txn.now_ms,
            last_used_ms=txn.now_ms,
            expires_ms=txn.now_ms + self._life_ms,
        )
        others = session_rows.sessions_of(txn.connection, account.user)
        others.sort(key=self._last_used_ms, reverse=True)
        self.end(txn, others[SESSIONS_PER_USER_MAX - 1 :])
        session_rows.put_session(txn, opened)
        return token, opened

    def end(self, txn: Txn, sessions: Sequence[OpenSession]) -> int:
        """End sessions; how many."""
        if sessions:
            session_rows.drop_sessions(txn, (one.id for one in sessions))
            txn.after_commit(lambda: self._memory.drop(sessions))
        return len(sessions)

    def end_all_of(self, txn: Txn, user: UserId, *, but: int = 0) -> int:
        """End a user's sessions, but one where said; how many."""
        found = session_rows.sessions_of(txn.connection, user)
        return self.end(txn, [one for one in found if one.id != but])

    def forget_after(self, txn: Txn) -> None:
        """Once the change commits, no request is answered by what was true before it."""
        txn.after_commit(self._memory.forget)

    def forget(self) -> None:
        """Look everything up again: for when the journal of another NameNode was applied."""
        self._memory.forget()

    def listed(self, connection: Connection, who: Principal) -> list[OpenSession]:
        """Who is logged in: one's own sessions, for superusers everybody's (the newest 10,000)."""
        found = (
            session_rows.newest_sessions(connection, limit=SESSIONS_LISTED_MAX)
            if who.is_superuser
            else session_rows.sessions_of(connection, who.user)
        )
        now_ms = self._clock.now_ms()
        fresh = (
            dataclasses.replace(
                one, last_used_ms=max(one.last_used_ms, self._memory.used_ms(one.id))
            )
            for one in found
        )
        return [one for one in fresh if not self._why_over(one, now_ms)]

    def save_uses(self, txn: Txn, *, limit: int) -> None:
        """Write some of the last uses down, so that they can be seen after a restart."""
        session_rows.save_last_used(txn, self._memory.take_unsaved(limit=limit))

    def end_overdue(self, txn: Txn, *, limit: int) -> list[OpenSession]:
        """End some of the sessions whose time is over; which."""
        unused_since_ms = txn.now_ms - self._idle_ms
        if unused_since_ms < self._serving_since_ms:
            unused_since_ms = 0  # nobody has been idle for so long yet
        found = session_rows.overdue_sessions(
            txn.connection, now_ms=txn.now_ms, unused_since_ms=unused_since_ms, limit=limit
        )
        over = [one for one in found if self._why_over(one, txn.now_ms)]
        self.end(txn, over)
        return over

    def _look_up(self, token_hash: bytes) -> Known:
        version = self._memory.version
        with self._reader.view() as connection:
            row = session_rows.session_by_token(connection, token_hash)
            account = account_by_id(connection, row.user) if row else None
            if row is None or account is None or account.disabled:
                raise SessionExpired("the session is over")
            principal = principal_of(connection, account, address=row.address)
        session = Session(principal, row.id, row.expires_ms, account.must_change_password)
        known = Known(row, session)
        self._memory.keep(known, version=version)
        return known

    def _check(self, row: OpenSession, address: str, now_ms: int) -> None:
        if why := self._why_over(row, now_ms):
            raise SessionExpired(why)
        if row.bound and row.address != address[:ADDRESS_LENGTH_MAX]:
            raise SessionExpired(f"the session is good from {row.address} only")

    def _why_over(self, row: OpenSession, now_ms: int) -> str:
        """Why a session is over; empty while it is good."""
        if now_ms >= row.expires_ms:
            return "the session expired"
        if now_ms >= self._last_used_ms(row) + self._idle_ms:
            return "the session was not used for too long"
        return ""

    def _last_used_ms(self, row: OpenSession) -> int:
        remembered_ms = max(self._memory.used_ms(row.id), self._serving_since_ms)
        return max(row.last_used_ms, remembered_ms)
