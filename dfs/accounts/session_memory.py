"""What the NameNode remembers of sessions between requests: who they are, when they were used.

A lookup that began before `forget` is not kept: what it read may be what the forgetting was about.
Both memories are bounded; what is pushed out is read from the database again.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dfs.accounts.session_rows import OpenSession
from dfs.base.records import Principal

KNOWN_MAX: Final = 10_000
USED_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Session:
    """A request's session, and who speaks by it."""

    principal: Principal
    session: int
    expires_ms: int
    must_change: bool  # the password was for one time; see `ROUTES_BEFORE_NEW_PASSWORD`


@dataclass(frozen=True, slots=True)
class Known:
    """A session as it was found in the database."""

    row: OpenSession
    session: Session


class SessionMemory:
    """See the module."""

    def __init__(self, *, known_max: int = KNOWN_MAX, used_max: int = USED_MAX) -> None:
        self._known_max = known_max
        self._used_max = used_max
        self._lock = threading.Lock()
        self._version = 0
        self._known: dict[bytes, Known] = {}
        self._used_ms: dict[int, int] = {}  # in the order of use
        self._unsaved: set[int] = set()

    @property
    def version(self) -> int:
        """To be read before a lookup, and given to `keep` after it."""
        return self._version

    def find(self, token_hash: bytes) -> Known | None:
        """What is remembered of a token."""
        return self._known.get(token_hash)

    def keep(self, known: Known, *, version: int) -> None:
        """Remember what a lookup found, unless something was forgotten meanwhile."""
        with self._lock:
            if version != self._version:
                return
            self._known[known.row.token_hash] = known
            if len(self._known) > self._known_max:
                del self._known[next(iter(self._known))]

    def forget(self) -> None:
        """Look every session up again: some account or group changed."""
        with self._lock:
            self._version += 1
            self._known.clear()

    def drop(self, sessions: Iterable[OpenSession]) -> None:
        """Know nothing more of sessions that ended."""
        with self._lock:
            self._version += 1
            for one in sessions:
                self._known.pop(one.token_hash, None)
                self._used_ms.pop(one.id, None)
                self._unsaved.discard(one.id)

    def touch(self, session: int, now_ms: int) -> None:
        """A session was used."""
        with self._lock:
            self._used_ms.pop(session, None)
            self._used_ms[session] = now_ms
            self._unsaved.add(session)
            if len(self._used_ms) > self._used_max:
                oldest = next(iter(self._used_ms))
                del self._used_ms[oldest]
                self._unsaved.discard(oldest)

    def used_ms(self, session: int) -> int:
        """When a session was last used, as far as is remembered; else 0."""
        return self._used_ms.get(session, 0)

    def take_unsaved(self, *, limit: int) -> dict[int, int]:
        """Some of the last uses that were not taken yet."""
        with self._lock:
            taken = [self._unsaved.pop() for _ in range(min(limit, len(self._unsaved)))]
            return {session: self._used_ms[session] for session in taken}
