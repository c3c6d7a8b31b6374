"""The door by which chance comes in.  Pure functions take an `rng`; secrets are made here alone.

They are the kernel's random bytes, as those of the standard library's `secrets`, which brings
OpenSSL into every command.
"""

import os
from base64 import urlsafe_b64encode
from random import Random, SystemRandom

__all__ = ["Random", "SystemRandom", "new_id", "new_password", "new_secret", "new_token"]

# 32 letters and digits without the pairs people mix up (0/O, 1/l/I): 5 bits each.
_READABLE = "abcdefghijkmnpqrstuvwxyz23456789"


def new_id() -> str:
    """128 random bits as 32 hex digits: a cluster, node or request id."""
    return os.urandom(16).hex()


def new_secret() -> bytes:
    """256 random bits: a signing key."""
    return os.urandom(32)


def new_token(prefix: str) -> str:
    """A bearer token with 256 random bits behind a readable prefix (`dfs_...`)."""
    return f"{prefix}_{urlsafe_b64encode(os.urandom(32)).rstrip(b'=').decode()}"


def new_password() -> str:
    """A one-time password of 80 random bits in groups that can be read over a phone."""
    chance = SystemRandom()
    letters = [chance.choice(_READABLE) for _ in range(16)]
    return "-".join("".join(letters[i : i + 4]) for i in range(0, 16, 4))
