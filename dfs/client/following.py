"""One question to whichever NameNode leads: each is asked once, and leads on to the one that does.

1  First the one that led last.  One that does not lead names the leader, which is asked next, in
   the same round; each is asked once a round, so two that point at each other end it.  What any of
   them says of the others is remembered.
2  A NameNode may hang: frozen, cut off, its machine dead.  It may as well just be slow: a check of
   everything takes its time, and so does hashing a password.  Which of the two it is, time does not
   tell.  So the question stays open there, and after two seconds, and again every second, another
   NameNode is asked who leads.  As soon as one says that it leads itself, the question goes there;
   until then the answer is waited for, `timeout_s` at most.  Nothing that is merely slow is asked
   twice, and what hangs costs no more than the election of its successor.
3  A connection is waited for two seconds, one lost packet's worth.  Who cost such a wait is left
   alone for a while (`known_namenodes.py`).
4  Where stale answers are welcome, who is asked first and answers within two seconds is believed,
   and told of.

When to ask again, the caller decides: the request id makes that safe.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.errors import (
    DfsError,
    ErrorKind,
    NamenodeUnreachable,
    NotLeader,
    NotLoggedIn,
    Overloaded,
    PeerUnreachable,
    SafeMode,
    Starting,
    Stopping,
)
from dfs.client.known_namenodes import KnownNamenodes
from dfs.client.stale_answer import StaleAnswer
from dfs.wire.http_link import HttpLink
from dfs.wire.leading import lead_of
from dfs.wire.routes import CLUSTER, Caller, Route
from dfs.wire.shapes import Nothing, Request

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")
HearStale = Callable[[StaleAnswer], None]

HOPS_MAX: Final = 3  # from one NameNode to the leader it names, in one round
CONNECT_MAX_S: Final = 2.0
LOOK_AFTER_S: Final = 2.0  # that one may hang: ask another who leads
LOOK_EVERY_S: Final = 1.0
LOOK_TIMEOUT_S: Final = 1.0
LOOK_REST: Final = 4  # times what a look took: an answer that comes meanwhile is read after it
_SEEN: Final = "seen"  # the leader that is named answered just now

# UNAVAILABLE answers that a later moment or another NameNode may turn; the rest of the kind
# (no room, no DataNodes, another schema) would only be said again.
_PASSING: Final = (
    NamenodeUnreachable,
    PeerUnreachable,
    Overloaded,
    SafeMode,
    Starting,
    Stopping,
)


def is_passing(error: DfsError) -> bool:
    """Whether asking again, or asking another NameNode, may help."""
    return error.kind is ErrorKind.FENCED or isinstance(error, _PASSING)


class Following:
    """Safe to share between threads.

    Args:
        http: asked through; who made it closes it.
        token: session token; empty when not logged in.

    Attributes:
        hear_stale: questions may be answered by a NameNode that follows, and this is told of each
            such answer.  None: only who leads is believed.
    """

    def __init__(self, http: HttpLink, known: KnownNamenodes, *, clock: Clock, token: str) -> None:
        self._http = http
        self._looks = HttpLink(timeout_s=LOOK_TIMEOUT_S, connections=1)
        self._known = known
        self._clock = clock
        self.token = token
        self.hear_stale: HearStale | None = None

    def close(self) -> None:
        """Close its own connections."""
        self._looks.close()

    def ask(self, route: Route[Q, R], body: Q, request: str) -> R:
        """Ask each NameNode once, in order, until one judges.

        Raises:
            NamenodeUnreachable: none answered.
            NotLeader: none leads.
            DfsError: what it was refused with.
        """
        waiting = deque(self._known.order())
        failures: dict[str, DfsError] = {}
        hops_left = HOPS_MAX
        spoken = False
        while waiting:
            url = waiting.popleft()
            if url in failures or (spoken and self._known.is_resting(url)):
                continue
            began_s = self._clock.monotonic_s()
            try:
                return self._ask(url, route, body, request, failures)
            except DfsError as exc:
                if not is_passing(exc):
                    raise
                failures[url] = exc
                if isinstance(exc, NamenodeUnreachable):
                    self._known.fell_silent(url, self._clock.monotonic_s() - began_s)
                    continue
                spoken = True
                lead = lead_of(exc)
                self._known.learn([lead.leader, *lead.namenodes])
                if lead.leader and hops_left:
                    hops_left -= 1
                    waiting.appendleft(lead.leader)
                    if _SEEN in exc.details:  # what it said before was before
                        failures.pop(lead.leader, None)
        raise _most_telling(failures)

    def _ask(
        self,
        url: str,
        route: Route[Q, R],
        body: Q,
        request: str,
        asked: Mapping[str, DfsError],
    ) -> R:
        """Ask that one, and take note that it leads if it answers as one that does.

        Args:
            asked: those that were asked in this round.
        """
        hear_stale = self.hear_stale if route.safe else None
        stale: list[StaleAnswer] = []
        crashpoint.reach("client.request.before")
        try:
            reply = self._http.call(
                url,
                route,
                body,
                credential="" if route.caller is Caller.ANYONE else self.token,
                request=request,
                waits=self._waits(url, asked, stale_ok=hear_stale is not None),
                hear_stale=hear_stale and (lambda *old: stale.append(StaleAnswer(url, *old))),
            )
        except DfsError as exc:
            if not is_passing(exc) and not stale:
                self._known.led(url)
            raise
        finally:
            if stale and hear_stale is not None:
                hear_stale(stale[0])
        crashpoint.reach("client.request.answered")
        if not stale:
            self._known.led(url)
        return reply

    # --- while an answer is awaited -------------------------------------------------------------

    def _waits(
        self, url: str, asked: Mapping[str, DfsError], *, stale_ok: bool
    ) -> Iterator[float] | None:
        """How long to wait for that one at a time; None: there is nobody else to ask."""
        if len(self._known) < 2:
            return None
        return self._wait_or_go(url, asked) if stale_ok else self._wait_and_look(url)

    def _wait_or_go(self, url: str, asked: Mapping[str, DfsError]) -> Iterator[float]:
        """Any other may answer as well.

        Raises:
            NotLeader: it names one that was not asked yet.
        """
        yield LOOK_AFTER_S
        for other in self._others(url):
            if other not in asked:
                self._leave(url, other, LOOK_AFTER_S)
        yield math.inf

    def _wait_and_look(self, url: str) -> Iterator[float]:
        """Ask the others in turn who leads.

        Raises:
            NotLeader: it names who leads instead.
        """
        began_s = self._clock.monotonic_s()
        yield LOOK_AFTER_S
        for other in itertools.cycle(self._others(url)):
            looked_s = self._clock.monotonic_s()
            leader = self._said_to_lead(other)
            if leader not in ("", other, url):  # it may be told an old story
                leader = leader if self._said_to_lead(leader) == leader else ""
            now_s = self._clock.monotonic_s()
            if leader not in ("", url):
                self._leave(url, leader, now_s - began_s)
            yield max(LOOK_EVERY_S, LOOK_REST * (now_s - looked_s))

    def _others(self, url: str) -> list[str]:
        return [each for each in self._known.order() if each != url]

    def _leave(self, url: str, other: str, waited_s: float) -> None:
        self._known.fell_silent(url, waited_s)
        raise NotLeader(
            f"no answer from {url} so far, but from {other}", details={"leader": other, _SEEN: True}
        )

    def _said_to_lead(self, url: str) -> str:
        """Who leads, as that one says; empty when it knows of none, or does not say."""
        try:
            self._looks.call(url, CLUSTER, Nothing(), credential=self.token)
        except NotLeader as exc:
            return lead_of(exc).leader
        except NotLoggedIn:
            return "" if self.token else url  # whoever asks for a session judges, and leads
        except DfsError:
            return ""
        return url


def _most_telling(failures: Mapping[str, DfsError]) -> DfsError:
    """A judgement says more than who leads, that more than silence; all the silent are named."""
    spoken = [exc for exc in failures.values() if not isinstance(exc, NamenodeUnreachable)]
    judged = [exc for exc in spoken if not isinstance(exc, NotLeader | Stopping)]
    if judged:
        return judged[0]
    if any(isinstance(exc, NotLeader) for exc in spoken):
        return _without_leader(failures)
    if spoken:
        return spoken[0]
    if len(failures) == 1:
        return next(iter(failures.values()))
    return NamenodeUnreachable("; ".join(exc.message for exc in failures.values()))


def _without_leader(failures: Mapping[str, DfsError]) -> NotLeader:
    """What it means that those NameNodes said who leads, and none of them does."""
    said = {
        url: lead_of(exc).leader for url, exc in failures.items() if exc.kind is ErrorKind.FENCED
    }
    away = sorted({leader for leader in said.values() if leader and leader not in said})
    message = f"{away[0]} leads, but does not answer" if away else "no NameNode leads"
    why = [
        exc.message if url in exc.message else f"{url}: {exc.message}"
        for url, exc in failures.items()
    ]
    return NotLeader(
        message,
        hint="an election takes seconds; how it stands says: dfs-admin ha status",
        details={"leader": away[0] if away else "", "namenodes": list(failures), "refusals": why},
    )
