"""One HTTP conversation with a daemon, by the route table: shapes in, shapes out, errors raised.

Connections are kept between calls (`http_pool.py`).  This module does not retry and knows one
address at a time; who follows the leader and tries again is the caller's business.
"""

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import msgspec

from dfs.base.decoding import json_reader
from dfs.base.errors import (
    BadRequest,
    DfsError,
    NamenodeUnreachable,
    NotLeader,
    NotLoggedIn,
    from_code,
)
from dfs.wire.http_conversation import HttpAnswer
from dfs.wire.http_pool import HttpPool
from dfs.wire.routes import Route
from dfs.wire.shapes import ErrorReply, Request

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")

REQUEST_ID_HEADER: Final = "X-Request-Id"
STALE_OK_HEADER: Final = "X-Stale-Ok"  # "1": a NameNode that follows may answer from what it has
STALE_OK: Final = "1"
STALE_HEADER: Final = "X-Stale"  # of such an answer: records behind, ms since it heard the leader
CONNECT_MAX_S: Final = 5.0
_STALE_KEY: Final = STALE_HEADER.lower().encode()

HearStale = Callable[[int, float], None]  # records behind, seconds since the leader was heard


class HttpLink:
    """A pool of connections to daemons.  Safe to share between threads.

    Args:
        timeout_s: the longest wait for a connection, and for each answer.
        connections: kept open per daemon.
        connect_max_s: a shorter longest wait for a connection.
    """

    def __init__(
        self, *, timeout_s: float, connections: int = 8, connect_max_s: float = CONNECT_MAX_S
    ) -> None:
        self._pool = HttpPool(
            connect_s=min(timeout_s, connect_max_s), answer_s=timeout_s, connections=connections
        )

    def call(
        self,
        base_url: str,
        route: Route[Q, R],
        body: Q,
        *,
        credential: str = "",
        request: str = "",
        waits: Iterable[float] | None = None,
        hear_stale: HearStale | None = None,
    ) -> R:
        """Ask one daemon one thing.

        Args:
            base_url: `http://host:port`.
            credential: session token or node secret; empty for routes that anyone may ask.
            request: id of this request; the same id asked again gets the same answer.
            waits: how long to wait for the answer at a time; see `HttpConversation.ask`.
            hear_stale: a NameNode that follows may answer, and how far it is behind is told.

        Raises:
            NotLeader: it follows; also if it answered nevertheless, and nobody allowed for that.
            NotLoggedIn: the credential is no text that could be one.
            BadRequest: text that is not UTF-8, which no name in DFS is.
            NamenodeUnreachable: no connection, no answer in time, or no answer of ours.
            DfsError: what the daemon refused, as it raised it.
        """
        headers = {"Content-Type": "application/json"}
        if credential:
            _check_credential(credential)
            headers["Authorization"] = f"Bearer {credential}"
        if request:
            headers[REQUEST_ID_HEADER] = request
        if hear_stale is not None:
            headers[STALE_OK_HEADER] = "1"
        try:
            sent = msgspec.json.encode(body)
        except UnicodeEncodeError:
            raise BadRequest(
                "what was asked for holds text that is not UTF-8",
                hint="names in DFS are UTF-8; see what your terminal or program sends",
            ) from None
        url = base_url + route.path
        answer = self._exchange("POST", url, sent, headers, waits)
        stale = answer.headers.get(_STALE_KEY)
        if stale is not None:
            _tell_stale(base_url, stale, hear_stale)
        raw = _content(url, answer)
        try:
            return json_reader(route.gives)(raw)
        except msgspec.MsgspecError as exc:
            raise NamenodeUnreachable(f"{base_url}: answer not understood: {exc}") from exc

    def fetch(self, url: str) -> bytes:
        """The body of a plain GET (`/health`, `/metrics`).

        Raises:
            NamenodeUnreachable, DfsError: as `call`.
        """
        return _content(url, self._exchange("GET", url, None, {}))

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _exchange(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: dict[str, str],
        waits: Iterable[float] | None = None,
    ) -> HttpAnswer:
        try:
            return self._pool.request(method, url, body=body, headers=headers, waits=waits)
        except OSError as exc:
            raise NamenodeUnreachable(f"no answer from {url}: {reason_of(exc)}") from exc


def _content(url: str, answer: HttpAnswer) -> bytes:
    if 200 <= answer.status < 300:
        return answer.body
    raise refusal_of(url, answer.status, answer.body)


def _tell_stale(url: str, said: bytes, hear: HearStale | None) -> None:
    if hear is None:
        raise NotLeader(f"{url} answered as a standby, which nobody allowed for")
    records, _, silent_ms = said.partition(b" ")
    try:
        behind, silent_s = int(records), int(silent_ms) / 1000
    except ValueError:
        raise NamenodeUnreachable(f"{url}: how old its answer is was not understood") from None
    hear(behind, silent_s)


def _check_credential(credential: str) -> None:
    if not (credential.isascii() and credential.isprintable() and " " not in credential):
        raise NotLoggedIn(
            "the credential has characters that none has", hint="is DFS_TOKEN what it should be?"
        )


def reason_of(exc: OSError | ValueError) -> str:
    """Why there was no answer, none in HTTP, or no address to ask (a `ValueError`): a few words."""
    if isinstance(exc, TimeoutError):
        return "timed out"
    said = exc.strerror if isinstance(exc, OSError) else None
    return (said or str(exc) or type(exc).__name__).lower()


def refusal_of(url: str, status: int, body: bytes) -> DfsError:
    """What a daemon refused, as it raised it; `NamenodeUnreachable` if that is none of ours."""
    try:
        error = json_reader(ErrorReply)(body).error
    except msgspec.MsgspecError:
        return NamenodeUnreachable(f"{url} answered {status}; is it a DFS daemon?")
    return from_code(error.code, error.message, error.hint, error.details)
