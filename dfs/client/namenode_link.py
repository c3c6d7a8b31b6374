"""Typed calls to the NameNodes: when they are asked again, and how long before giving up.

Who is asked is the business of `following.py`: rounds, in each of which every NameNode is asked
once, beginning with the one that led last.

A call is repeated under the same request id, so a change that was made but whose answer was lost,
or whose leader lost its lead, is not made twice: the NameNode answers from its retry cache, which
those that follow have as well.  Repeated is only what another NameNode or a later moment can answer
better; a refusal is a refusal.  While none leads (an election takes seconds, a switchover less than
one), rounds follow each other after a tenth of a second, then up to half a second; where nobody
speaks at all, the configured waits hold.

How long it is repeated depends on what would be lost by giving up.  Somebody waits for a listing
and can ask again; a transfer that has begun insists, because what it moved would be lost.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from dfs.base.clock import Clock
from dfs.base.entropy import Random, new_id
from dfs.base.errors import (
    DfsError,
    ErrorKind,
    NamenodeUnreachable,
    NotLoggedIn,
    Throttled,
    from_code,
)
from dfs.base.retry import backoff_delays
from dfs.base.units import format_duration
from dfs.client.following import CONNECT_MAX_S, Following, HearStale, is_passing
from dfs.client.known_namenodes import KnownNamenodes
from dfs.settings.sections import ClientConfig, check_namenodes
from dfs.wire.http_link import HttpLink
from dfs.wire.nodes_api import ClusterReply
from dfs.wire.routes import CLUSTER, Caller, Route
from dfs.wire.shapes import Nothing, Outcome, Request

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")
T = TypeVar("T")

CONNECTIONS: Final = 32
ELECTION_FIRST_S: Final = 0.1
ELECTION_CAP_S: Final = 0.5


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
        self._http = HttpLink(
            timeout_s=config.timeout_s, connections=CONNECTIONS, connect_max_s=CONNECT_MAX_S
        )
        self._config = config
        self._clock = clock
        self._rng = rng
        self._notice = notice or (lambda _text: None)
        self._lock = threading.Lock()
        self._known = KnownNamenodes(namenodes, clock=clock)
        self._following = Following(self._http, self._known, clock=clock, token=token)
        self._silent = False  # it was said that nobody answers
        self._cluster: ClusterReply | None = None

    @property
    def token(self) -> str:
        """The session's; empty when not logged in."""
        return self._following.token

    @token.setter
    def token(self, token: str) -> None:
        self._following.token = token

    def welcome_stale(self, hear: HearStale | None) -> None:
        """Questions may be answered by a NameNode that follows, and `hear` is told of each answer.

        None: only who leads is believed, as at first.
        """
        self._following.hear_stale = hear

    @property
    def configured(self) -> tuple[str, ...]:
        """The NameNodes this link was told of."""
        return self._known.configured

    @property
    def namenodes(self) -> tuple[str, ...]:
        """The NameNodes it knows by now."""
        return self._known.all()

    @property
    def by_lead(self) -> tuple[str, ...]:
        """The same, but who led last comes first."""
        return self._known.by_lead()

    def remember(self, by_lead: Sequence[str]) -> None:
        """Know those too, from an earlier run; who led last comes first."""
        self._known.learn(by_lead)
        if by_lead and by_lead[0] in self._known.all():
            self._known.led(by_lead[0])

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
            NotLeader: none leads, as long as it was tried.
            DfsError: what the NameNode refused.
        """
        self._check_session(route)
        request = request or new_id()
        patience_s = self._config.transfer_give_up_s if insist else self._config.give_up_s
        patience_s = min(patience_s, patience_max_s)
        began_s = self._clock.monotonic_s()
        delays = self._delays(self._config.retry_first_s, self._config.retry_cap_s)
        electing = self._delays(ELECTION_FIRST_S, ELECTION_CAP_S)
        throttled = False
        while True:
            try:
                reply = self._following.ask(route, body, request)
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
                delay_s = next(electing if exc.kind is ErrorKind.FENCED else delays)
                self._clock.sleep(min(delay_s, patience_s - waited_s))
            else:
                self._say_answered()
                return reply

    def try_once(self, route: Route[Q, R], body: Q) -> R | None:
        """Ask each NameNode at most once, and make nothing of it if none does it."""
        try:
            return self._following.ask(route, body, new_id())
        except DfsError:
            return None

    def ask_one(self, url: str, route: Route[Q, R], body: Q, *, patience_s: float = math.inf) -> R:
        """Ask that NameNode, whether it leads or not, once.

        For the routes of failover, which each answers for itself.

        Args:
            patience_s: the longest wait for its answer, if shorter than configured.

        Raises:
            NotLoggedIn: as `call`.
            NamenodeUnreachable: it did not answer in time.
            DfsError: what it refused.
        """
        self._check_session(route)
        return self._http.call(
            url, route, body, credential=self.token, request=new_id(), waits=(patience_s,)
        )

    def cluster(self) -> ClusterReply:
        """What a client needs to know of the cluster; asked once, and its NameNodes remembered.

        Raises:
            DfsError: as `call`.
        """
        if self._cluster is None:
            self._learn(self.call(CLUSTER, Nothing()))
        assert self._cluster is not None
        return self._cluster

    def learn(self, *, afresh: bool = False) -> None:
        """Ask for the other NameNodes, once and without insisting: before a long transfer.

        Args:
            afresh: what was asked before may be of another time, or another cluster.
        """
        if (afresh or self._cluster is None) and self.token:
            reply = self.try_once(CLUSTER, Nothing())
            if reply is not None:
                self._learn(reply)

    def _check_session(self, route: Route[Q, R]) -> None:
        if route.caller is not Caller.ANYONE and not self.token:
            raise NotLoggedIn("not logged in")

    def _learn(self, reply: ClusterReply) -> None:
        self._cluster = reply
        self._known.learn([reply.leader, *reply.namenodes], these_alone=True)

    def close(self) -> None:
        """Close every connection."""
        self._http.close()
        self._following.close()

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

    def _delays(self, first_s: float, cap_s: float) -> Iterator[float]:
        return backoff_delays(first_s=first_s, cap_s=cap_s, retries_max=None, rng=self._rng)


def _retry_after_s(exc: Throttled) -> float:
    value = exc.details.get("retry_after_s", 1.0)
    return float(value) if isinstance(value, int | float) else 1.0
