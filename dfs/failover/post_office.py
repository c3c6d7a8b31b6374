"""Letters out and in: every daemon that hosts a member or a voter has one post office.

Who is where is told by `book`; who lives here, by `house`.  To send never waits: a letter goes into
the inbox of somebody here or into the outbox of a daemon.  What comes in is handed to whom it is
for, and answered before anybody has read it; an answer, if there is one, is a letter.  Letters that
do not get there are dropped and counted, as the protocol allows for.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import BadRequest, DfsError, LimitExceeded
from dfs.failover.envelope import Seal, write_letter
from dfs.failover.outbox import Correspondence, Outbox
from dfs.ha.messages import Letter

DAEMONS_MAX: Final = 64
Take = Callable[[Letter], bool]


@dataclass(frozen=True, slots=True)
class PostState:
    """What went through so far.

    Attributes:
        received: letters that were for somebody here.
        misdirected: for nobody here, as those to a voter whose disk was lost.
        refused: envelopes and letters that could not be believed, or read.
        undeliverable: for somebody that nobody knows the address of, or too long.
        daemons: those that letters go to now.
        sent, dropped: to these and to those that were left.
    """

    received: int
    misdirected: int
    refused: int
    undeliverable: int
    daemons: tuple[Correspondence, ...]
    sent: int = 0
    dropped: int = 0


def check_book(urls: Mapping[str, str]) -> None:
    """Refuse a book that no post office takes.

    Raises:
        LimitExceeded: more daemons than a cluster has members and voters.
    """
    if len(set(urls.values())) > DAEMONS_MAX:
        raise LimitExceeded(f"at most {DAEMONS_MAX} daemons host members and voters")


class PostOffice:
    """See the module.  Safe to share between threads.

    Args:
        patience_s: see `Outbox`; a beat that takes longer does not count for a lease anyway.
    """

    def __init__(self, *, seal: Seal, clock: Clock, patience_s: float) -> None:
        self._seal = seal
        self._clock = clock
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._urls: dict[str, str] = {}
        self._outboxes: dict[str, Outbox] = {}
        self._leaving: list[Outbox] = []
        self._left_sent = self._left_dropped = 0  # by outboxes that are over
        self._here: dict[str, Take] = {}
        self._stopped = False
        self._received = self._misdirected = self._refused = self._undeliverable = 0

    def house(self, name: str, take: Take) -> None:
        """Hand letters for that member or voter to `take`, which does not wait."""
        with self._lock:
            self._here[name] = take

    def book(self, urls: Mapping[str, str]) -> None:
        """From now on these members and voters are at these addresses, and others nowhere.

        Does not wait for what is under way to daemons that are left.

        Args:
            urls: `http://host:port` of the daemon, by the name of who lives there.

        Raises:
            LimitExceeded: more daemons than a cluster has members and voters.
        """
        check_book(urls)
        with self._lock:
            if self._stopped:
                return
            self._urls = dict(urls)
            gone = self._reopen(leave=set(self._outboxes) - set(urls.values()))
        for each in gone:
            each.stop()

    def use(self, seal: Seal, *, patience_s: float) -> None:
        """From now on letters go out, and come in, under that seal.

        Does not wait for what is under way under the one before; it is dropped.
        """
        with self._lock:
            if self._stopped:
                return
            self._seal, self._patience_s = seal, patience_s
            gone = self._reopen(leave=set(self._outboxes))
        for each in gone:
            each.stop()

    def _reopen(self, *, leave: Set[str]) -> list[Outbox]:
        """Leave these daemons, and have an outbox for each that is wanted; those to be stopped."""
        gone = [self._outboxes.pop(url) for url in leave]
        for each in [each for each in self._leaving if each.is_over()]:
            self._leaving.remove(each)
            over = each.state()
            self._left_sent += over.sent
            self._left_dropped += over.dropped
        self._leaving += gone
        for url in set(self._urls.values()) - set(self._outboxes):
            self._outboxes[url] = self._outbox(url)
            self._outboxes[url].start()
        return gone

    def send(self, letters: Iterable[Letter]) -> None:
        """Let them go, in order; without waiting."""
        for letter in letters:
            with self._lock:
                take = self._here.get(letter.to)
                outbox = self._outboxes.get(self._urls.get(letter.to, ""))
            if take is not None:
                take(letter)
            elif outbox is None:
                self._count(undeliverable=1)
            else:
                self._write(letter, outbox)

    def receive(self, raw: bytes) -> None:
        """Take an envelope in.

        Raises:
            BadRequest, LimitExceeded, TokenRefused: it, or a letter in it, is refused; the other
                letters were handed on.
        """
        try:
            letters, refused = self._seal.open(raw)
        except DfsError:
            self._count(refused=1)
            raise
        for letter in letters:
            with self._lock:
                take = self._here.get(letter.to)
            if take is not None:
                take(letter)
            self._count(received=take is not None, misdirected=take is None)
        if refused:
            self._count(refused=len(refused))
            raise BadRequest(refused[0])

    def state(self) -> PostState:
        """What went through so far."""
        with self._lock:
            daemons = tuple(self._outboxes[url].state() for url in sorted(self._outboxes))
            each_one = [*daemons, *(each.state() for each in self._leaving)]
            return PostState(
                self._received,
                self._misdirected,
                self._refused,
                self._undeliverable,
                daemons,
                sent=self._left_sent + sum(each.sent for each in each_one),
                dropped=self._left_dropped + sum(each.dropped for each in each_one),
            )

    def stop(self) -> None:
        """Send nothing more, close every connection, wait for the threads."""
        with self._lock:
            self._stopped = True
            ending = [*self._outboxes.values(), *self._leaving]
            self._outboxes, self._leaving = {}, []
        for each in ending:
            each.stop()
        for each in ending:
            each.join()

    def _outbox(self, url: str) -> Outbox:
        return Outbox(url, seal=self._seal, clock=self._clock, patience_s=self._patience_s)

    def _write(self, letter: Letter, outbox: Outbox) -> None:
        try:
            raw = write_letter(letter)
        except LimitExceeded:
            self._count(undeliverable=1)
            return
        outbox.put(letter, raw)

    def _count(
        self, *, received: int = 0, misdirected: int = 0, refused: int = 0, undeliverable: int = 0
    ) -> None:
        with self._lock:
            self._received += received
            self._misdirected += misdirected
            self._refused += refused
            self._undeliverable += undeliverable
