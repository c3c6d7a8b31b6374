"""Which NameNodes there are to ask, in which order, and which to leave alone for a while.

Asked first is who led last.  One that let a caller wait and said nothing is left alone for about
as long again, unless nobody else speaks: a machine that is dead costs a connection's time-out each
time, and in a change of leaders many questions are asked in a second.
"""

import threading
from collections.abc import Sequence
from typing import Final

from dfs.base.clock import Clock
from dfs.wire.leading import NAMENODES_MAX, base_urls

REST_MAX_S: Final = 5.0
_RESTS_PER_WAIT: Final = 2  # at most a third of the time is spent on one that is dead
_LOOPBACK: Final = ("localhost", "127.", "[::1]", "0.0.0.0")  # noqa: S104 - compared, not bound


class KnownNamenodes:
    """Safe to share between threads.

    Args:
        configured: base URLs, in order of preference; never forgotten.
    """

    def __init__(self, configured: Sequence[str], *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.configured = tuple(url.rstrip("/") for url in configured)[:NAMENODES_MAX]
        self._all = self.configured
        self._first = self.configured[0]
        self._rest_until_s: dict[str, float] = {}
        # What another computer calls itself by such an address is nobody here.
        self._near = all(map(_is_loopback, self.configured))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._all)

    def all(self) -> tuple[str, ...]:
        """The configured ones, then those that were learnt."""
        return self._all

    def by_lead(self) -> tuple[str, ...]:
        """Who led last, then the others."""
        with self._lock:
            return tuple(dict.fromkeys((self._first, *self._all)))

    def order(self) -> list[str]:
        """Whom to ask one after the other: those that rest come last."""
        urls = self.by_lead()
        return sorted(urls, key=self.is_resting) if self._rest_until_s else list(urls)

    def is_resting(self, url: str) -> bool:
        """Whether it is better left alone while anybody else speaks."""
        until_s = self._rest_until_s.get(url)
        return until_s is not None and self._clock.monotonic_s() < until_s

    def learn(self, urls: Sequence[str], *, these_alone: bool = False) -> None:
        """There are those too; what was learnt longest ago is forgotten when there are too many.

        Args:
            these_alone: and no others but those configured.
        """
        told = [url for url in base_urls(urls) if self._near or not _is_loopback(url)]
        with self._lock:
            before = () if these_alone else self._all
            known = dict.fromkeys((*self.configured, *told, *before))
            self._all = tuple(known)[:NAMENODES_MAX]
            if self._first not in self._all:
                self._first = self._all[0]

    def led(self, url: str) -> None:
        """It answered as who leads does."""
        if url != self._first or self._rest_until_s:
            with self._lock:
                self._first = url
                self._rest_until_s.pop(url, None)

    def fell_silent(self, url: str, waited_s: float) -> None:
        """It did not answer, which took so long to find out."""
        rest_s = min(REST_MAX_S, _RESTS_PER_WAIT * waited_s)
        with self._lock:
            self._rest_until_s[url] = self._clock.monotonic_s() + rest_s
            if url == self._first:
                at = self._all.index(url) if url in self._all else -1
                self._first = self._all[(at + 1) % len(self._all)]
            while len(self._rest_until_s) > NAMENODES_MAX:
                del self._rest_until_s[next(iter(self._rest_until_s))]


def _is_loopback(url: str) -> bool:
    return url.partition("://")[2].startswith(_LOOPBACK)
