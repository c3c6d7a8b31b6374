"""The WSGI application of a NameNode: `/v1` by its route table, anything else by Flask.

A route's answer is worked out by its endpoint (`dispatch.py`) alone.  Flask would ask of every
request what only its pages need (a context, a request and a response object, a search among
address patterns), at several times the cost of a look-up in the namespace; the routes are fixed
words, so that one look into a dictionary finds them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from dfs.base.entropy import new_id
from dfs.observe.logs import request_context
from dfs.web.answers import JSON, Answer, Asking, refusal
from dfs.web.errors import bug, protocol_error
from dfs.wire.http_link import REQUEST_ID_HEADER, STALE_OK, STALE_OK_HEADER

_REQUEST_ID: Final = "HTTP_" + REQUEST_ID_HEADER.upper().replace("-", "_")
_STALE_OK: Final = "HTTP_" + STALE_OK_HEADER.upper().replace("-", "_")
STATUS_LINES: Final = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_JSON_HEADER: Final = ("Content-Type", JSON)


@dataclass(frozen=True, slots=True)
class Served:
    """A route's address: by which methods it may be asked, and who answers.

    `begin` does not wait for what takes long, and hands the answer on when it is there, in this
    thread or another.  `quick_bytes`: up to so long a request is begun sooner than it is handed to
    another thread.
    """

    methods: tuple[str, ...]
    answer: Callable[[Asking], Answer]
    begin: Callable[[Asking, Callable[[Answer], None]], None]
    quick_bytes: int = 0

    @classmethod
    def at_once(
        cls, methods: tuple[str, ...], answer: Callable[[Asking], Answer], *, quick_bytes: int = 0
    ) -> "Served":
        """One whose answer is there when it was asked for: nothing is begun that goes on."""

        def begin(asking: Asking, then: Callable[[Answer], None]) -> None:
            then(answer(asking))

        return cls(methods, answer, begin, quick_bytes)


class Front:
    """See the module.

    Args:
        served: every address of the route table.
        rest: who answers all others.
        log_bug: told where, and with what, an endpoint broke.
        body_bytes_max: of what is served, where the server lets longer ones in (`always` takes
            them).
    """

    def __init__(
        self,
        served: Mapping[str, Served],
        rest: WSGIApplication,
        log_bug: Callable[[str, Exception], None],
        *,
        body_bytes_max: int | None = None,
    ) -> None:
        self.served = served
        self._body_bytes_max = body_bytes_max
        self._always: dict[str, Served] = {}
        self._rest = rest
        self._log_bug = log_bug

    def become(self, other: "Front") -> None:
        """Answer as that one does from the next request on; what is being answered, is."""
        self._rest, self._log_bug = other._rest, other._log_bug
        self.served = {**other.served, **self._always}

    def always(self, served: Mapping[str, Served]) -> None:
        """Serve these addresses, too, whatever it becomes."""
        self._always = dict(served)
        self.served = {**self.served, **self._always}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = environ["PATH_INFO"]
        if path not in self.served:
            return self._rest(environ, start_response)
        status, body, more = self.answer(path, _asking(environ))
        start_response(
            STATUS_LINES[status], [_JSON_HEADER, ("Content-Length", str(len(body))), *more]
        )
        return () if environ["REQUEST_METHOD"] == "HEAD" else (body,)

    def answer(self, path: str, asking: Asking) -> Answer:
        """The answer of an address that is served."""
        served = self.served.get(path)
        if served is None:  # it was a moment ago
            return refusal(protocol_error(HTTPStatus.NOT_FOUND, asking.method, path, ""))
        if asking.method not in served.methods:
            return _not_served(path, asking.method, served)
        if self._is_too_long(path, asking):
            return refusal(
                protocol_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "POST", path, ""), 413
            )
        try:
            return served.answer(asking)
        except Exception as exc:  # noqa: BLE001 - a bug is logged, never shown
            return self._broken(path, exc)

    def begin(self, path: str, asking: Asking, then: Callable[[Answer], None]) -> None:
        """Have a request answered whose method is served; `then` gets the answer, once."""
        if self._is_too_long(path, asking):
            then(self.answer(path, asking))
            return
        try:
            self.served[path].begin(asking, then)
        except Exception as exc:  # noqa: BLE001 - a bug is logged, never shown
            then(self._broken(path, exc))

    def is_quick(self, path: str, method: str, body_bytes: int) -> bool:
        """Whether a request of that length is begun sooner than another thread is woken."""
        served = self.served.get(path)
        return served is not None and body_bytes <= served.quick_bytes and method in served.methods

    def _is_too_long(self, path: str, asking: Asking) -> bool:
        return (
            self._body_bytes_max is not None
            and len(asking.body) > self._body_bytes_max
            and path not in self._always
        )

    def _broken(self, path: str, exc: Exception) -> Answer:
        number = new_id()
        with request_context(number):
            self._log_bug(path, exc)
        return refusal(bug(number))


def _asking(environ: WSGIEnvironment) -> Asking:
    length_bytes = environ.get("CONTENT_LENGTH")  # waitress counted them, and bounded them
    return Asking(
        environ["REQUEST_METHOD"],
        environ["QUERY_STRING"],
        environ.get("REMOTE_ADDR", ""),
        environ.get("HTTP_AUTHORIZATION", ""),
        environ.get(_REQUEST_ID, ""),
        environ["wsgi.input"].read(int(length_bytes)) if length_bytes else b"",
        environ.get(_STALE_OK, "") == STALE_OK,
    )


def _not_served(path: str, method: str, served: Served) -> Answer:
    status = HTTPStatus.METHOD_NOT_ALLOWED
    answer = refusal(protocol_error(status, method, path, status.phrase), status)
    return answer._replace(headers=(*answer.headers, ("Allow", ", ".join(served.methods))))
