"""Pure: letters as bytes, under the seal of a cluster.

An envelope is a few letters from one daemon to another: four letters of ours, a version, an
HMAC-SHA256 over both and over what follows, and the letters in msgpack.  The seal is made with a
secret that the members and voters of one cluster share; so it says that a letter comes from one of
their machines as it was written there, not from which one.  Voters and members fail by stopping,
not by lying: Paxos and what is built on it here rest on that anyway.

An envelope carries neither time nor number, since to open it twice, or years later, does what the
network may do as well, and each letter is proof against that by itself.  It names its cluster and
whom it is for.  It speaks for an epoch, and none is believed below one that was promised.  Beats
count up, a permit names the voter's run, an acknowledgement names a position whose hash stands for
all before it.  Who could send an old envelope again could as well cut the line.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Annotated, Final, NamedTuple

import msgspec

from dfs.base.errors import BadRequest, LimitExceeded, TokenRefused
from dfs.base.units import MiB
from dfs.ha.messages import Letter

LETTERS_PATH: Final = "/v1/ha/letters"
VERSION: Final = 1
LETTERS_MAX: Final = 256  # in an envelope
LETTER_BYTES_MAX: Final = 15 * MiB  # the largest record of the journal has to fit into one
ENVELOPE_BYTES_MAX: Final = 16 * MiB
SECRET_BYTES_MIN: Final = 16
_MARK: Final = b"DFSL"
_SEAL_BYTES: Final = 32
_HEAD_BYTES: Final = len(_MARK) + 1 + _SEAL_BYTES
_PURPOSE: Final = b"letters between members and voters"

_encode = msgspec.msgpack.Encoder().encode
_decode_letter = msgspec.msgpack.Decoder(Letter).decode
_decode_all = msgspec.msgpack.Decoder(
    Annotated[list[msgspec.Raw], msgspec.Meta(max_length=LETTERS_MAX)]
).decode


class Opened(NamedTuple):
    """What was in an envelope: what could be read, and why the rest could not."""

    letters: list[Letter]
    refused: list[str]


def write_letter(letter: Letter) -> bytes:
    """As it goes into an envelope.

    Raises:
        LimitExceeded: it is too long for any.
    """
    raw = _encode(letter)
    if len(raw) > LETTER_BYTES_MAX:
        raise LimitExceeded(f"a letter of {len(raw)} bytes; the longest has {LETTER_BYTES_MAX}")
    return raw


class Seal:
    """What the members and voters of one cluster close and open envelopes with.

    Args:
        secret: shared by them; the key is derived from it, so that it may serve other ends too.
    """

    def __init__(self, secret: bytes) -> None:
        assert len(secret) >= SECRET_BYTES_MIN
        self._key = hmac.digest(secret, _PURPOSE, hashlib.sha256)

    def close(self, letters: Iterable[bytes]) -> bytes:
        """An envelope with letters from `write_letter`."""
        raws = [msgspec.Raw(each) for each in letters]
        assert 0 < len(raws) <= LETTERS_MAX
        mark = _MARK + bytes([VERSION])
        content = _encode(raws)
        assert _HEAD_BYTES + len(content) <= ENVELOPE_BYTES_MAX
        return b"".join((mark, self._sum(mark, content), content))

    def open(self, raw: bytes) -> Opened:
        """What is in it.  A letter of a kind that is not known here does not spoil the others.

        Raises:
            LimitExceeded: larger than any of ours.
            BadRequest: no envelope, or one of another version.
            TokenRefused: not closed by a member or voter of this cluster, or changed since.
        """
        if len(raw) > ENVELOPE_BYTES_MAX:
            raise LimitExceeded(f"an envelope has at most {ENVELOPE_BYTES_MAX} bytes")
        if len(raw) < _HEAD_BYTES or not raw.startswith(_MARK):
            raise BadRequest("this is no envelope with letters of failover")
        version = raw[len(_MARK)]
        if version != VERSION:
            raise BadRequest(
                f"letters of version {version}; this program reads version {VERSION}",
                hint="members and voters of a cluster run versions of DFS that fit each other",
            )
        mark, content = raw[: len(_MARK) + 1], raw[_HEAD_BYTES:]
        if not hmac.compare_digest(raw[len(mark) : _HEAD_BYTES], self._sum(mark, content)):
            raise TokenRefused(
                "the seal on these letters does not hold",
                hint="the members and voters of a cluster share one secret",
            )
        return _read_all(content)

    def _sum(self, mark: bytes, content: bytes) -> bytes:
        made = hmac.new(self._key, mark, hashlib.sha256)
        made.update(content)
        return made.digest()


def _read_all(content: bytes) -> Opened:
    opened = Opened([], [])
    try:
        raws = _decode_all(content)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise BadRequest(f"these letters cannot be read: {exc}") from exc
    for raw in raws:
        try:
            opened.letters.append(_decode_letter(raw))
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            opened.refused.append(f"a letter that cannot be read: {exc}")
    return opened
