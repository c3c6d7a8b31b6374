"""A standby's tables, digested as of one transaction for the leader that asks, under the seal.

The leader asks twice.  `begin` names the transaction, while the leader lets no other begin: the
standby opens its database there, says where it is, and goes on by itself.  `told` asks, now and
then, whether the digests are there.  A standby works on one at a time; a new one ends the other.
"""

import threading
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from dfs.base.decoding import msgpack_reader
from dfs.base.errors import BadRequest, DfsError, PeerUnreachable
from dfs.base.units import KiB
from dfs.failover.lane import Lane
from dfs.failover.sealing import Kind, Sealing
from dfs.ha.digests import TableDigests
from dfs.ha.rows import START, Position
from dfs.wire.http_conversation import HttpConversation
from dfs.wire.http_link import reason_of, refusal_of

DIGEST_PATH: Final = "/v1/ha/digests"
OPEN_S: Final = 2.0  # for a standby to open its database
CONNECT_S: Final = 1.0
ANSWER_S: Final = 3.0
_ASKED: Final = Kind(b"DFSC", 1, b"asking for digests of tables", 4 * KiB, "questions")
_GIVEN: Final = Kind(b"DFSG", 1, b"digests of tables", 64 * KiB, "digests")
_HEADERS: Final = {"Content-Type": "application/octet-stream"}
_encode = msgspec.msgpack.Encoder().encode


class Asked(msgspec.Struct, frozen=True):
    """A question; `number` is of the comparison, `begin` whether it is the first."""

    number: str
    begin: bool


class Told(msgspec.Struct, frozen=True):
    """Where the standby opened its database, and the digests once they are there.

    `failed` says why there will be none.
    """

    number: str
    position: Position
    digests: TableDigests | None = None
    failed: str = ""


_decode_asked = msgpack_reader(Asked)
_decode_told = msgpack_reader(Told)


class Digesting(Protocol):
    """Who can digest the tables; `JournalStore` is the one in use."""

    def digests(
        self, *, stopped: Callable[[], bool], opened: Callable[[Position], None]
    ) -> TableDigests:
        """The digests as of where `opened` was told that the journal is."""
        ...


class Digest:
    """The tables here, digested in another thread from one snapshot of them.

    Args:
        lane: does it.
    """

    def __init__(self, number: str, store: Digesting, lane: Lane) -> None:
        self.number = number
        self._store = store
        self._opened = threading.Event()
        self._ended = threading.Event()
        self._stopped = threading.Event()
        self._told = Told(number, START)
        lane.do(self._work)

    def open(self) -> Told:
        """Wait until the snapshot is open, or cannot be; where it is."""
        self._opened.wait(OPEN_S)
        return self._told

    def told(self) -> Told:
        """What is known by now."""
        return self._told

    def wait(self, timeout_s: float) -> Told:
        """As `told`, once it has ended, or after that time."""
        self._ended.wait(timeout_s)
        return self._told

    def stop(self) -> None:
        """Nobody wants it any more."""
        self._stopped.set()

    def _work(self) -> None:
        try:
            digests = self._store.digests(stopped=self._stopped.is_set, opened=self._note_open)
            self._told = Told(self.number, digests.position, digests)
        except DfsError as err:
            self._told = Told(self.number, self._told.position, failed=err.message)
        finally:
            self._opened.set()
            self._ended.set()

    def _note_open(self, position: Position) -> None:
        self._told = Told(self.number, position)
        self._opened.set()


class DigestDesk:
    """A standby's side.

    Args:
        secret: gives the cluster's, as it is told by now; may raise a `DfsError` before that.
    """

    def __init__(self, store: Digesting, secret: Callable[[], bytes]) -> None:
        self._store = store
        self._secret = secret
        self._lock = threading.Lock()
        self._lane = Lane("digests")
        self._current: Digest | None = None

    def start(self) -> None:
        """Begin."""
        self._lane.start()

    def stop(self) -> None:
        """End what is under way."""
        with self._lock:
            current = self._current
        if current is not None:
            current.stop()
        self._lane.stop()

    def begin(self, number: str) -> Digest:
        """Digest the tables as they are now; what was begun before ends."""
        with self._lock:
            if self._current is not None:
                self._current.stop()
            self._current = Digest(number, self._store, self._lane)
            return self._current

    def answer(self, raw: bytes) -> bytes:
        """The sealed answer to a sealed question.

        Raises:
            TokenRefused, BadRequest, LimitExceeded: it is none of a member of the cluster.
        """
        secret = self._secret()
        try:
            asked = _decode_asked(Sealing(secret, _ASKED).open(raw))
        except (msgspec.MsgspecError, ValueError) as exc:
            raise BadRequest(f"this question for digests cannot be read: {exc}") from exc
        if asked.begin:
            told = self.begin(asked.number).open()
        else:
            with self._lock:
                current = self._current
            if current is None or current.number != asked.number:
                raise BadRequest("that comparison was not begun here, or another one since")
            told = current.told()
        return Sealing(secret, _GIVEN).close(_encode(told))


def ask(url: str, asked: Asked, *, secret: bytes) -> Told:
    """Ask a standby one thing.

    Raises:
        PeerUnreachable: it does not answer.
        DfsError: what it refused.
    """
    body = Sealing(secret, _ASKED).close(_encode(asked))
    try:
        line = HttpConversation(url, connect_s=CONNECT_S, answer_s=ANSWER_S)
        try:
            answer = line.ask("POST", DIGEST_PATH, body=body, headers=_HEADERS)
        finally:
            line.close()
    except (OSError, ValueError) as exc:
        raise PeerUnreachable(f"no answer from {url}: {reason_of(exc)}") from exc
    if answer.status != 200:
        raise refusal_of(url, answer.status, answer.body)
    try:
        return _decode_told(Sealing(secret, _GIVEN).open(answer.body))
    except (msgspec.MsgspecError, ValueError) as exc:
        raise BadRequest(f"digests from {url} cannot be read: {exc}") from exc
