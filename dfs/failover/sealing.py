"""Pure: content under the seal of a cluster: whatever its daemons tell each other without a login.

    four letters of ours, a version, an HMAC-SHA256 over both and over what follows, the content

The seal is made with a secret that the members and voters of one cluster share; so it says that the
content comes from one of their machines as it was written there, not from which one.  Each kind of
content has a key of its own, so that nothing can be passed off as something else.
"""

import hashlib
import hmac
from typing import Final, NamedTuple

from dfs.base.errors import BadRequest, LimitExceeded, TokenRefused

SECRET_BYTES_MIN: Final = 16
_SEAL_BYTES: Final = 32


class Kind(NamedTuple):
    """A kind of content.

    Attributes:
        mark: four letters.
        purpose: what its key is derived for.
        bytes_max: with the seal.
        name: what people call it, in the plural.
    """

    mark: bytes
    version: int
    purpose: bytes
    bytes_max: int
    name: str

    @property
    def head(self) -> bytes:
        """What it begins with."""
        return self.mark + bytes([self.version])

    @property
    def content_bytes_max(self) -> int:
        """Without the seal."""
        return self.bytes_max - len(self.head) - _SEAL_BYTES


class Sealing:
    """Closes and opens one kind of content.

    Args:
        secret: the cluster's; the key is derived from it, so that it may serve other ends too.
    """

    def __init__(self, secret: bytes, kind: Kind) -> None:
        assert len(secret) >= SECRET_BYTES_MIN
        self._kind = kind
        self._key = hmac.digest(secret, kind.purpose, hashlib.sha256)

    def close(self, content: bytes) -> bytes:
        """The content under its seal."""
        assert len(content) <= self._kind.content_bytes_max
        return b"".join((self._kind.head, self._sum(content), content))

    def open(self, raw: bytes) -> bytes:
        """The content.

        Raises:
            LimitExceeded: larger than any of ours.
            BadRequest: nothing of this kind, or of another version.
            TokenRefused: not closed by a member or voter of this cluster, or changed since.
        """
        kind = self._kind
        if len(raw) > kind.bytes_max:
            raise LimitExceeded(f"sealed {kind.name} have at most {kind.bytes_max} bytes")
        start = len(kind.head) + _SEAL_BYTES
        if len(raw) < start or not raw.startswith(kind.mark):
            raise BadRequest(f"these are no {kind.name} of failover")
        version = raw[len(kind.mark)]
        if version != kind.version:
            raise BadRequest(
                f"{kind.name} of version {version}; this program reads version {kind.version}",
                hint="members and voters of a cluster run versions of DFS that fit each other",
            )
        content = raw[start:]
        if not hmac.compare_digest(raw[len(kind.head) : start], self._sum(content)):
            raise TokenRefused(
                f"the seal on these {kind.name} does not hold",
                hint="the members and voters of a cluster share one secret",
            )
        return content

    def _sum(self, content: bytes) -> bytes:
        made = hmac.new(self._key, self._kind.head, hashlib.sha256)
        made.update(content)
        return made.digest()
