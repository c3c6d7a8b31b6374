"""What one daemon sends another: a bounded queue of letters, a thread and a connection.

A letter that cannot go out soon is worth nothing: the one after it says more.  So letters that
waited too long, found no room, or were on a connection that broke are dropped and counted, and a
beat takes the place of an older one that has not left yet.  While an envelope is on its way, what
comes in meanwhile gathers for the next.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.clock import Clock
from dfs.base.units import KiB, MiB
from dfs.failover.envelope import LETTERS_MAX, LETTERS_PATH, Seal
from dfs.ha.messages import Beat, Letter, VoterBeat
from dfs.wire.http_conversation import HttpConversation
from dfs.wire.http_link import reason_of

WAITING_MAX: Final = 1_024
WAITING_BYTES_MAX: Final = 32 * MiB
FILL_BYTES: Final = 32 * KiB  # of an envelope, unless a single letter has more
JOIN_MARGIN_S: Final = 1.0
_HEADERS: Final = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class _Waiting:
    letter: Letter
    raw: bytes
    since_s: float


@dataclass(frozen=True, slots=True)
class Correspondence:
    """How it goes with one daemon.

    `error` says why the last envelope did not get there; empty when it did.  `status` is that of
    the answer to it, in HTTP; 0 when there was none.
    """

    url: str
    sent: int
    dropped: int
    error: str
    status: int = 0


class Outbox:
    """See the module.  Any thread may put letters in.

    Args:
        patience_s: the longest wait for a connection and for each answer, and the greatest age of
            a letter that is still sent.
    """

    def __init__(self, url: str, *, seal: Seal, clock: Clock, patience_s: float) -> None:
        self._url = url.rstrip("/")
        self._seal = seal
        self._clock = clock
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._conversation: HttpConversation | None = None
        self._stopping = False
        self._sent = self._dropped = 0
        self._error, self._status = "", 0
        self._thread = threading.Thread(target=self._run, name=f"letters {url}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def put(self, letter: Letter, raw: bytes) -> None:
        """Have a letter sent; `raw` is how it was written."""
        with self._changed:
            if self._stopping:
                self._dropped += 1
                return
            self._give_way(letter)
            self._waiting.append(_Waiting(letter, raw, self._clock.monotonic_s()))
            self._waiting_bytes += len(raw)
            while len(self._waiting) > WAITING_MAX or self._waiting_bytes > WAITING_BYTES_MAX:
                self._drop_oldest()
            self._changed.notify()

    def stop(self) -> None:
        """Send nothing more, and end what is under way; `join` waits for it."""
        with self._changed:
            self._stopping = True
            while self._waiting:
                self._drop_oldest()
            if self._conversation is not None:
                self._conversation.cut()
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for the thread to end: no longer than for a connection that is being made."""
        if self._thread.ident is not None:
            self._thread.join(self._patience_s + JOIN_MARGIN_S)

    def is_over(self) -> bool:
        """Whether it was started, and its thread has ended."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def state(self) -> Correspondence:
        """How it goes."""
        with self._changed:
            return Correspondence(self._url, self._sent, self._dropped, self._error, self._status)

    def _give_way(self, letter: Letter) -> None:
        """Drop an older beat that the new one says all of."""
        if not isinstance(letter.body, Beat | VoterBeat):
            return
        for at, each in enumerate(self._waiting):
            if _says_all_of(letter, each.letter):
                self._waiting_bytes -= len(each.raw)
                self._dropped += 1
                del self._waiting[at]
                return

    def _drop_oldest(self) -> None:
        self._waiting_bytes -= len(self._waiting.popleft().raw)
        self._dropped += 1

    def _run(self) -> None:
        while batch := self._next():
            error, status = self._deliver(batch)
            with self._changed:
                self._error, self._status = error, status
                if error:
                    self._dropped += len(batch)
                else:
                    self._sent += len(batch)
        self._hang_up()

    def _next(self) -> list[bytes]:
        """The letters of one envelope, once there are any; none when it is over."""
        with self._changed:
            while not self._stopping:
                oldest_s = self._clock.monotonic_s() - self._patience_s
                while self._waiting and self._waiting[0].since_s < oldest_s:
                    self._drop_oldest()
                if self._waiting:
                    return self._take()
                self._changed.wait()
            return []

    def _take(self) -> list[bytes]:
        batch: list[bytes] = []
        room = FILL_BYTES
        while self._waiting and len(batch) < LETTERS_MAX:
            raw = self._waiting[0].raw
            if batch and len(raw) > room:
                break
            room -= len(raw)
            self._waiting_bytes -= len(raw)
            self._waiting.popleft()
            batch.append(raw)
        return batch

    def _deliver(self, batch: Sequence[bytes]) -> tuple[str, int]:
        """Send them in one envelope; why they did not get there, and the status of the answer."""
        body = self._seal.close(batch)
        try:
            conversation = self._connected()
            if conversation is None:
                return "stopping", 0
            answer = conversation.ask("POST", LETTERS_PATH, body=body, headers=_HEADERS)
        except (OSError, ValueError) as exc:  # no answer, none in HTTP, or no address
            self._hang_up()
            return f"no answer from {self._url}: {reason_of(exc)}", 0
        if not answer.stays:
            self._hang_up()
        if answer.status == 200:
            return "", 200
        said = answer.body[:200].decode(errors="replace")
        return f"{self._url} answered {answer.status}: {said}", answer.status

    def _connected(self) -> HttpConversation | None:
        """The connection, a new one where the old has ended; None when it is over."""
        if self._conversation is not None and self._conversation.has_ended():
            self._hang_up()
        if self._conversation is None:
            patience_s = self._patience_s
            fresh = HttpConversation(self._url, connect_s=patience_s, answer_s=patience_s)
            with self._changed:
                self._conversation = fresh
        with self._changed:
            return None if self._stopping else self._conversation

    def _hang_up(self) -> None:
        with self._changed:
            conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.close()


def _says_all_of(new: Letter, old: Letter) -> bool:
    """Whether the older beat of two is not missed; one that a voter is to write down is."""
    fresh, stale = new.body, old.body
    if (new.sender, new.to) != (old.sender, old.to):
        return False
    if isinstance(fresh, VoterBeat) and isinstance(stale, VoterBeat):
        return fresh.epoch >= stale.epoch and fresh.durable >= stale.durable
    return isinstance(fresh, Beat) and isinstance(stale, Beat) and fresh.epoch >= stale.epoch
