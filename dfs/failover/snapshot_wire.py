"""A snapshot from one NameNode to another: over HTTP, in pieces, each under the cluster's seal.

A request names a snapshot and where its piece begins; the answer says the same again, so that none
can be passed off as another.  Who recorded a request could ask for that piece again, and gets what
it saw go by; the seal does not hide anything, as little as that of letters does.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from dfs.base.clock import Clock
from dfs.base.decoding import msgpack_reader
from dfs.base.entropy import SystemRandom
from dfs.base.errors import (
    BadRequest,
    DfsError,
    ErrorKind,
    LocalIoError,
    LocalNotFound,
    MetadataCorrupt,
    PeerUnreachable,
)
from dfs.base.retry import backoff_delays
from dfs.base.units import KiB, MiB
from dfs.failover.sealing import Kind, Sealing
from dfs.failover.snapshots import Shelf, read_name
from dfs.wire.http_conversation import HttpAnswer, HttpConversation
from dfs.wire.http_link import reason_of, refusal_of

SNAPSHOT_PATH: Final = "/v1/ha/snapshot"
PIECE_BYTES_MAX: Final = 4 * MiB  # takes a good deal longer than asking for it does
CONNECT_S: Final = 5.0
ANSWER_S: Final = 30.0
RETRIES_MAX: Final = 4  # of a piece
RETRY_FIRST_S: Final = 0.2
RETRY_CAP_S: Final = 2.0
_ASKED: Final = Kind(b"DFSQ", 1, b"asking for a piece of a snapshot", 4 * KiB, "requests")
_GIVEN: Final = Kind(b"DFSP", 1, b"a piece of a snapshot", PIECE_BYTES_MAX + 4 * KiB, "pieces")
_HEADERS: Final = {"Content-Type": "application/octet-stream"}
_encode = msgspec.msgpack.Encoder().encode


class _Asked(msgspec.Struct, frozen=True):
    name: str
    offset: int


class _Given(msgspec.Struct, frozen=True):
    name: str
    offset: int
    total_bytes: int
    data: bytes


_decode_asked = msgpack_reader(_Asked)
_decode_given = msgpack_reader(_Given)


class SnapshotSeal:
    """What requests for snapshots, and their pieces, are sealed with.

    Args:
        secret: gives the cluster's, as it is told by now; may raise a `DfsError` before that.
    """

    def __init__(self, secret: Callable[[], bytes]) -> None:
        self._secret = secret

    @property
    def asked(self) -> Sealing:
        """That of requests."""
        return Sealing(self._secret(), _ASKED)

    @property
    def given(self) -> Sealing:
        """That of pieces."""
        return Sealing(self._secret(), _GIVEN)


class SnapshotDesk:
    """Gives pieces of the snapshots on a shelf to members of the cluster."""

    def __init__(self, shelf: Shelf, seal: SnapshotSeal) -> None:
        self._shelf = shelf
        self._seal = seal

    def answer(self, raw: bytes) -> bytes:
        """The sealed piece that a sealed request asks for.

        Raises:
            TokenRefused, BadRequest, LimitExceeded: it is no request of a member of the cluster.
            LocalNotFound: there is no such snapshot any more.
            LocalIoError: the disk does not let it be read.
        """
        try:
            asked = _decode_asked(self._seal.asked.open(raw))
        except (msgspec.MsgspecError, ValueError) as exc:
            raise BadRequest(f"this request for a snapshot cannot be read: {exc}") from exc
        file = self._shelf.find(asked.name)
        try:
            given = _read(file, asked)
        except FileNotFoundError:
            raise LocalNotFound(f"there is no snapshot {asked.name}") from None
        except OSError as exc:
            raise LocalIoError(f"cannot read {file}: {exc.strerror or exc}") from exc
        return self._seal.given.close(_encode(given))


def _read(file: Path, asked: _Asked) -> _Given:
    with file.open("rb") as content:
        total_bytes = os.fstat(content.fileno()).st_size
        if not 0 <= asked.offset < total_bytes:
            raise BadRequest(f"{asked.name} has no byte {asked.offset}")
        content.seek(asked.offset)
        return _Given(asked.name, asked.offset, total_bytes, content.read(PIECE_BYTES_MAX))


class SnapshotFetcher:
    """Gets snapshots from other members.  One at a time.

    Args:
        url_of: `http://host:port` of a member by its name; empty when it is not known.
        progress: told of bytes that are here, and of how many there will be.
    """

    def __init__(
        self,
        url_of: Callable[[str], str],
        *,
        seal: SnapshotSeal,
        clock: Clock,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._url_of = url_of
        self._seal = seal
        self._clock = clock
        self._progress = progress

    def fetch(self, source: str, name: str, shelf: Shelf) -> Path:
        """Get one: a file beside those of the shelf, not proven; none is left of a failure.

        Raises:
            BadRequest: it is no name of one.
            PeerUnreachable: that member did not give it.
            MetadataCorrupt: what it gave does not fit together.
            LocalDiskFull, LocalIoError: our disk does not take it.
            DfsError: what that member refused, as it raised it.
        """
        url = self._url_of(source)
        if not url:
            raise PeerUnreachable(f"nobody knows where {source} is")
        part = shelf.begin(str(read_name(name)), 0)
        line = _Line(url.rstrip("/"), self._seal, self._clock)
        try:
            with part.open("wb") as out:
                done = total_bytes = 0
                while done < total_bytes or not total_bytes:
                    given = line.piece(name, done)
                    if not total_bytes:
                        total_bytes = given.total_bytes
                        shelf.require_room(total_bytes)
                    _require_next(given, name, done, total_bytes)
                    out.write(given.data)
                    done += len(given.data)
                    self._progress(done, total_bytes)
        except OSError as exc:
            part.unlink(missing_ok=True)
            raise LocalIoError(f"cannot write {part}: {exc.strerror or exc}") from exc
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        finally:
            line.close()
        return part


def _require_next(given: _Given, name: str, offset: int, total_bytes: int) -> None:
    end = offset + len(given.data)
    fits = (given.name, given.offset, given.total_bytes) == (name, offset, total_bytes)
    if not (fits and offset < end <= total_bytes):
        raise MetadataCorrupt(f"a piece of {name} at {offset} was answered with another one")


class _Line:
    """A connection to one member, a new one after a fault."""

    def __init__(self, url: str, seal: SnapshotSeal, clock: Clock) -> None:
        self._url = url
        self._seal = seal
        self._clock = clock
        self._conversation: HttpConversation | None = None

    def piece(self, name: str, offset: int) -> _Given:
        """The piece that begins there; asked for a few times, if need be."""
        body = self._seal.asked.close(_encode(_Asked(name, offset)))
        delays = backoff_delays(
            first_s=RETRY_FIRST_S, cap_s=RETRY_CAP_S, retries_max=RETRIES_MAX, rng=SystemRandom()
        )
        while True:
            try:
                return self._decoded(self._ask(body))
            except DfsError as err:
                delay_s = next(delays, None) if err.kind is ErrorKind.UNAVAILABLE else None
                if delay_s is None:
                    raise
            self._clock.sleep(delay_s)

    def close(self) -> None:
        """End it."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.close()

    def _ask(self, body: bytes) -> bytes:
        try:
            answer = self._said(body)
        except (OSError, ValueError) as exc:  # no answer, none in HTTP, or no address
            self.close()
            raise PeerUnreachable(f"no snapshot from {self._url}: {reason_of(exc)}") from exc
        if not answer.stays:
            self.close()
        if answer.status != 200:
            raise refusal_of(self._url, answer.status, answer.body)
        return answer.body

    def _said(self, body: bytes) -> HttpAnswer:
        if self._conversation is None:
            self._conversation = HttpConversation(self._url, connect_s=CONNECT_S, answer_s=ANSWER_S)
        return self._conversation.ask("POST", SNAPSHOT_PATH, body=body, headers=_HEADERS)

    def _decoded(self, raw: bytes) -> _Given:
        content = self._seal.given.open(raw)
        try:
            return _decode_given(content)
        except (msgspec.MsgspecError, ValueError) as exc:
            raise MetadataCorrupt(f"a piece from {self._url} cannot be read: {exc}") from exc
