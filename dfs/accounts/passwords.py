"""Passwords as they are kept: Argon2id, salted, a few at a time, outside every transaction.

One hash takes 64 MiB of memory and tens of milliseconds on purpose.  So at most `hashes_at_once`
run together and a few wait; who comes beyond that is refused at once, lest logins hold every
thread of the server.  An unknown user costs the same work as a known one.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import (
    HashingError,
    InvalidHashError,
    VerificationError,
    VerifyMismatchError,
)

from dfs.accounts.password_rules import PASSWORD_BYTES_MAX, password_bytes
from dfs.base.entropy import new_token
from dfs.base.errors import MetadataCorrupt, Overloaded

WAITING_PER_HASH: Final = 4


@dataclass(frozen=True, slots=True)
class HashCost:
    """What one hash takes; the defaults are RFC 9106's second recommendation (64 MiB)."""

    passes: int = 3
    memory_kib: int = 65_536
    lanes: int = 4


class Passwords:
    """Hashes and verifies.

    Args:
        hashes_at_once: how many at the same time; four times as many may wait.
    """

    def __init__(self, *, hashes_at_once: int, cost: HashCost | None = None) -> None:
        cost = cost or HashCost()
        self._hasher = PasswordHasher(
            time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes
        )
        self._running = threading.BoundedSemaphore(hashes_at_once)
        self._admitted = threading.BoundedSemaphore(hashes_at_once * (1 + WAITING_PER_HASH))
        self._nobodys = self._hasher.hash(new_token("nobody"))

    def hash(self, password: str) -> str:
        """A new salted hash, in the PHC string format.

        Raises:
            Overloaded: too many wait already, or memory ran out.
        """
        with self._turn():
            return self._hasher.hash(password_bytes(password))

    def matches(self, kept: str | None, password: str) -> bool:
        """Whether the password is the one that was hashed.

        Args:
            kept: None for a user there is not: the same work, and False.

        Raises:
            Overloaded: as `hash`.
            MetadataCorrupt: what is kept is no hash.
        """
        raw = password_bytes(password)
        possible = kept is not None and len(raw) <= PASSWORD_BYTES_MAX
        with self._turn():
            found = self._verify(kept or self._nobodys, raw[:PASSWORD_BYTES_MAX])
        return found and possible

    def is_outdated(self, kept: str) -> bool:
        """Whether it was hashed at another cost than today's."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, kept: str, raw: bytes) -> bool:
        try:
            return self._hasher.verify(kept, raw)
        except VerifyMismatchError:
            return False
        except InvalidHashError:
            raise MetadataCorrupt("a password hash in the database is unreadable") from None

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for one of the few places to hash in, or be refused when too many wait."""
        if not self._admitted.acquire(blocking=False):
            raise Overloaded("too many logins at once")
        try:
            with self._running:
                yield
        except (HashingError, VerificationError) as exc:
            raise Overloaded(f"a password could not be hashed: {exc}") from exc
        finally:
            self._admitted.release()
