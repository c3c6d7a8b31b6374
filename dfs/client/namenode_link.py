"""Typed calls to the NameNodes: who is asked, when again, and how long before giving up.

The NameNodes are asked in order, beginning with the one that answered last.  A call is repeated
under the same request id, so a change that was made but whose answer was lost is not made twice
(the NameNode answers from its retry cache).  Repeated is only what another NameNode or a later
moment can answer better; a refusal is a refusal.

How long it is repeated depends on what would be lost by giving up.  Somebody waits for a listing
and can ask again; a transfer that has begun insists, because what it moved would be lost.
"""

import math
import threading
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.entropy import Random, new_id
from dfs.base.errors import (
    DfsError,
    ErrorKind,
    NamenodeUnreachable,
    NotLoggedIn,
    Overloaded,
    PeerUnreachable,
    SafeMode,
    Starting,
    Stopping,
    Throttled,
    from_code,
)
from dfs.base.retry import backoff_delays
from dfs.base.units import format_duration
from dfs.settings.sections import ClientConfig, check_namenodes
from dfs.wire.http_link import HttpLink
from dfs.wire.nodes_api import ClusterReply
from dfs.wire.routes import CLUSTER, Caller, Route
from dfs.wire.shapes import Nothing, Outcome, Request

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")
T = TypeVar("T")

NAMENODES_MAX: Final = 16
CONNECTIONS: Final = 32

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


def value_of(outcome: Outcome[T]) -> T:
    """What one item of a batch came to.

    Raises:
        DfsError: what the NameNode refused it with.
    """
    if outcome.error is not None:
        raise error_of(outcome)
    if outcome.value is None:
        raise NamenodeUnreachable("the NameNode answered an item with neither value nor error")
    return outcome.value


def error_of(outcome: Outcome[T]) -> DfsError:
    """The refusal in an outcome that has one."""
    assert outcome.error is not None
    body = outcome.error
    return from_code(body.code, body.message, body.hint, body.details)


class NamenodeLink:
    """The one way from a client to its NameNodes.  Safe to share between threads.

    Args:
        namenodes: base URLs, in order of preference.
        token: session token; empty when not logged in.
        notice: told, in words for a person, when a call has to wait and be repeated.

    Raises:
        BadConfig: one is no base URL.
    """

    def __init__(
        self,
        namenodes: tuple[str, ...],
        *,
        config: ClientConfig,
        clock: Clock,
        rng: Random,
        token: str = "",
        notice: Callable[[str], None] | None = None,
    ) -> None:
        check_namenodes(namenodes)
        self._http = HttpLink(timeout_s=config.timeout_s, connections=CONNECTIONS)
        self._config = config
        self._clock = clock
        self._rng = rng
        self._notice = notice or (lambda _text: None)
        self._lock = threading.Lock()
        self._urls = [url.rstrip("/") for url in namenodes][:NAMENODES_MAX]
        self._configured = tuple(self._urls)
        self._first = 0  # index of the one that answered last
        self._silent = False  # and it was said that nobody answers
        self._cluster: ClusterReply | None = None
        self.token = token

    @property
    def configured(self) -> tuple[str, ...]:
        """The NameNodes this link was told of."""
        return self._configured

    @property
    def namenodes(self) -> tuple[str, ...]:
        """The NameNodes it knows by now."""
        with self._lock:
            return tuple(self._urls)

    def call(
        self,
        route: Route[Q, R],
        body: Q,
        *,
        request: str = "",
        insist: bool = False,
        patience_max_s: float = math.inf,
    ) -> R:
        """Ask the cluster one thing.

        Args:
            request: id of this request, made here when empty; give one to repeat an earlier call.
            insist: it belongs to a transfer under way: try for `transfer_give_up_s`.
            patience_max_s: give up sooner than configured.

        Raises:
            NotLoggedIn: the route wants a session and there is no token.
            NamenodeUnreachable: no NameNode answered, as long as it was tried.
            DfsError: what the NameNode refused.
        """
        if route.caller is not Caller.ANYONE and not self.token:
            raise NotLoggedIn("not logged in")
        request = request or new_id()
        patience_s = self._config.transfer_give_up_s if insist else self._config.give_up_s
        patience_s = min(patience_s, patience_max_s)
        began_s = self._clock.monotonic_s()
        delays = self._delays()
        throttled = False
        while True:
            try:
                reply = self._round(route, body, request)
            except Throttled as exc:
                wait_s = _retry_after_s(exc)
                if throttled or wait_s > patience_s:
                    raise
                throttled = True
                self._clock.sleep(wait_s)
            except DfsError as exc:
                waited_s = self._clock.monotonic_s() - began_s
                if not is_passing(exc) or waited_s >= patience_s:
                    raise
                self._say_silent(exc, patience_s - waited_s)
                self._clock.sleep(min(next(delays), patience_s - waited_s))
            else:
                self._say_answered()
                return reply

    def try_once(self, route: Route[Q, R], body: Q) -> R | None:
        """Ask each NameNode at most once, and make nothing of it if none does it."""
        try:
            return self._round(route, body, new_id())
        except DfsError:
            return None

    def cluster(self) -> ClusterReply:
        """What a client needs to know of the cluster; asked once, and its NameNodes remembered.

        Raises:
            DfsError: as `call`.
        """
        if self._cluster is None:
            self._learn(self.call(CLUSTER, Nothing()))
        assert self._cluster is not None
        return self._cluster

    def learn(self) -> None:
        """Ask for the other NameNodes, once and without insisting: before a long transfer."""
        if self._cluster is None and self.token:
            reply = self.try_once(CLUSTER, Nothing())
            if reply is not None:
                self._learn(reply)

    def _learn(self, reply: ClusterReply) -> None:
        with self._lock:
            self._cluster = reply
            for url in (each.rstrip("/") for each in reply.namenodes):
                if url not in self._urls and len(self._urls) < NAMENODES_MAX:
                    self._urls.append(url)

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def _say_silent(self, exc: DfsError, left_s: float) -> None:
        """Once an outage, however many calls wait in it."""
        with self._lock:
            known, self._silent = self._silent, True
        if not known:
            self._notice(f"{exc.message}; trying again for {format_duration(left_s)}")

    def _say_answered(self) -> None:
        with self._lock:
            known, self._silent = self._silent, False
        if known:
            self._notice("the NameNode answers again")

    def _delays(self) -> Iterator[float]:
        return backoff_delays(
            first_s=self._config.retry_first_s,
            cap_s=self._config.retry_cap_s,
            retries_max=None,
            rng=self._rng,
        )

    def _round(self, route: Route[Q, R], body: Q, request: str) -> R:
        """Ask each NameNode once, in order; raise what the most telling of them said."""
        with self._lock:
            order = [*range(self._first, len(self._urls)), *range(self._first)]
            urls = list(self._urls)
        failures: list[DfsError] = []
        for index in order:
            try:
                reply = self._ask(urls[index], route, body, request)
            except DfsError as exc:
                if not is_passing(exc):
                    raise
                failures.append(exc)
                continue
            with self._lock:
                self._first = index
            return reply
        raise _most_telling(failures)

    def _ask(self, url: str, route: Route[Q, R], body: Q, request: str) -> R:
        credential = "" if route.caller is Caller.ANYONE else self.token
        crashpoint.reach("client.request.before")
        reply = self._http.call(url, route, body, credential=credential, request=request)
        crashpoint.reach("client.request.answered")
        return reply


def _most_telling(failures: list[DfsError]) -> DfsError:
    """An answer says more than silence; else name every silent NameNode."""
    spoken = [exc for exc in failures if not isinstance(exc, NamenodeUnreachable)]
    if spoken:
        return spoken[0]
    if len(failures) == 1:
        return failures[0]
    return NamenodeUnreachable("; ".join(exc.message for exc in failures))


def _retry_after_s(exc: Throttled) -> float:
    value = exc.details.get("retry_after_s", 1.0)
    return float(value) if isinstance(value, int | float) else 1.0
