"""Pure: letters as bytes, under the seal of a cluster.

An envelope is a few letters from one daemon to another, in msgpack, under a seal that says that
they come from a machine of the cluster (`sealing.py`), not from which one.  Voters and members fail
by stopping, not by lying: Paxos and what is built on it here rest on that anyway.

An envelope carries neither time nor number, since to open it twice, or years later, does what the
network may do as well, and each letter is proof against that by itself.  It names its cluster and
whom it is for.  It speaks for an epoch, and none is believed below one that was promised.  Beats
count up, a permit names the voter's run, an acknowledgement names a position whose hash stands for
all before it.  Who could send an old envelope again could as well cut the line.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Final, NamedTuple

import msgspec

from dfs.base.decoding import msgpack_reader
from dfs.base.errors import BadRequest, LimitExceeded
from dfs.base.units import MiB
from dfs.failover.sealing import Kind, Sealing
from dfs.ha.messages import Letter

LETTERS_PATH: Final = "/v1/ha/letters"
VERSION: Final = 1
LETTERS_MAX: Final = 256  # in an envelope
LETTER_BYTES_MAX: Final = 15 * MiB  # the largest record of the journal has to fit into one
ENVELOPE_BYTES_MAX: Final = 16 * MiB
KIND: Final = Kind(
    b"DFSL", VERSION, b"letters between members and voters", ENVELOPE_BYTES_MAX, "letters"
)

_encode = msgspec.msgpack.Encoder().encode
_decode_letter = msgpack_reader(Letter)
_decode_all: Callable[[bytes], list[msgspec.Raw]] = msgpack_reader(
    Annotated[list[msgspec.Raw], msgspec.Meta(max_length=LETTERS_MAX)]  # type: ignore[arg-type]
)


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
        secret: shared by them.
    """

    def __init__(self, secret: bytes) -> None:
        self._sealing = Sealing(secret, KIND)

    def close(self, letters: Iterable[bytes]) -> bytes:
        """An envelope with letters from `write_letter`."""
        raws = [msgspec.Raw(each) for each in letters]
        assert 0 < len(raws) <= LETTERS_MAX
        return self._sealing.close(_encode(raws))

    def open(self, raw: bytes) -> Opened:
        """What is in it.  A letter of a kind that is not known here does not spoil the others.

        Raises:
            LimitExceeded: larger than any of ours.
            BadRequest: no envelope, or one of another version.
            TokenRefused: not closed by a member or voter of this cluster, or changed since.
        """
        return _read_all(self._sealing.open(raw))


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
