"""Passwords as they are kept: Argon2id, salted, a few at a time, outside every transaction.

One hash takes 64 MiB of memory and tens of milliseconds on purpose.  So at most `hashes_at_once`
run together and a few wait; who comes beyond that is refused at once, lest logins hold every
thread of the server.  An unknown user costs the same work as a known one.
"""

import base64
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
from argon2.low_level import ARGON2_VERSION

from dfs.accounts.password_rules import PASSWORD_BYTES_MAX, password_bytes
from dfs.base.entropy import new_id, new_secret
from dfs.base.errors import MetadataCorrupt, Overloaded

WAITING_PER_HASH: Final = 4


@dataclass(frozen=True, slots=True)
class HashCost:
    """What one hash takes; the defaults are RFC 9106's second recommendation (64 MiB)."""

    passes: int = 3
    memory_kib: int = 65_536
    lanes: int = 4


class Turns:
    """Places to work in, and places to wait for one.

    Args:
        at_once: how many work together.
        waiting_max: how many wait; who comes beyond is refused.
    """

    def __init__(self, *, at_once: int, waiting_max: int) -> None:
        self._places = threading.BoundedSemaphore(at_once)
        self._inside_max = at_once + waiting_max
        self._lock = threading.Lock()
        self._inside = 0

    @property
    def inside(self) -> int:
        """How many work or wait now."""
        return self._inside

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Hold a place, once one is free.

        Raises:
            Overloaded: too many wait already.
        """
        with self._lock:
            if self._inside >= self._inside_max:
                raise Overloaded("too many logins at once")
            self._inside += 1
        try:
            with self._places:
                yield
        finally:
            with self._lock:
                self._inside -= 1


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
        self._turns = Turns(at_once=hashes_at_once, waiting_max=hashes_at_once * WAITING_PER_HASH)
        self._nobodys = _hash_of_nothing(cost)

    def hash(self, password: str) -> str:
        """A new salted hash, in the PHC string format.

        Raises:
            Overloaded: too many wait already, or memory ran out.
        """
        with self._turns.turn(), _hashing_errors():
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
        with self._turns.turn(), _hashing_errors():
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


def _hash_of_nothing(cost: HashCost) -> str:
    """A hash that no password has, and that costs as much to hold one against as any."""
    salt, digest = (
        base64.b64encode(chance).decode().rstrip("=")
        for chance in (bytes.fromhex(new_id()), new_secret())
    )
    parameters = f"m={cost.memory_kib},t={cost.passes},p={cost.lanes}"
    return f"$argon2id$v={ARGON2_VERSION}${parameters}${salt}${digest}"


@contextlib.contextmanager
def _hashing_errors() -> Iterator[None]:
    """Argon2 fails when memory runs out: that passes."""
    try:
        yield
    except (HashingError, VerificationError) as exc:
        raise Overloaded(f"a password could not be hashed: {exc}") from exc
