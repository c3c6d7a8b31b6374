"""One HTTP conversation with a daemon, by the route table: shapes in, shapes out, errors raised.

Connections are kept between calls (`http_pool.py`).  This module does not retry and knows one
address at a time; who follows the leader and tries again is the caller's business.
"""

from typing import Final, TypeVar

import msgspec

from dfs.base.errors import BadRequest, DfsError, NamenodeUnreachable, NotLoggedIn, from_code
from dfs.wire.http_pool import HttpPool
from dfs.wire.routes import Route
from dfs.wire.shapes import ErrorReply, Request

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")

REQUEST_ID_HEADER: Final = "X-Request-Id"


class HttpLink:
    """A pool of connections to daemons.  Safe to share between threads.

    Args:
        timeout_s: the longest wait for a connection, and for each answer.
        connections: kept open per daemon.
    """

    def __init__(self, *, timeout_s: float, connections: int = 8) -> None:
        self._pool = HttpPool(
            connect_s=min(timeout_s, 5.0), answer_s=timeout_s, connections=connections
        )

    def call(
        self, base_url: str, route: Route[Q, R], body: Q, *, credential: str = "", request: str = ""
    ) -> R:
        """Ask one daemon one thing.

        Args:
            base_url: `http://host:port`.
            credential: session token or node secret; empty for routes that anyone may ask.
            request: id of this request; the same id asked again gets the same answer.

        Raises:
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
        try:
            sent = msgspec.json.encode(body)
        except UnicodeEncodeError:
            raise BadRequest(
                "what was asked for holds text that is not UTF-8",
                hint="names in DFS are UTF-8; see what your terminal or program sends",
            ) from None
        raw = self._exchange("POST", base_url + route.path, sent, headers)
        try:
            return msgspec.json.decode(raw, type=route.gives)
        except msgspec.MsgspecError as exc:
            raise NamenodeUnreachable(f"{base_url}: answer not understood: {exc}") from exc

    def fetch(self, url: str) -> bytes:
        """The body of a plain GET (`/health`, `/metrics`).

        Raises:
            NamenodeUnreachable, DfsError: as `call`.
        """
        return self._exchange("GET", url, None, {})

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _exchange(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str]
    ) -> bytes:
        try:
            answer = self._pool.request(method, url, body=body, headers=headers)
        except OSError as exc:
            raise NamenodeUnreachable(f"no answer from {url}: {_reason(exc)}") from exc
        if 200 <= answer.status < 300:
            return answer.body
        raise _refusal(url, answer.status, answer.body)


def _check_credential(credential: str) -> None:
    if not (credential.isascii() and credential.isprintable() and " " not in credential):
        raise NotLoggedIn(
            "the credential has characters that none has", hint="is DFS_TOKEN what it should be?"
        )


def _reason(exc: OSError) -> str:
    if isinstance(exc, TimeoutError):
        return "timed out"
    return (exc.strerror or str(exc) or type(exc).__name__).lower()


def _refusal(url: str, status: int, body: bytes) -> DfsError:
    try:
        error = msgspec.json.decode(body, type=ErrorReply).error
    except msgspec.MsgspecError:
        return NamenodeUnreachable(f"{url} answered {status}; is it a DFS daemon?")
    return from_code(error.code, error.message, error.hint, error.details)
