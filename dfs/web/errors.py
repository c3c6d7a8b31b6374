"""Pure: the HTTP status of each kind of error, the codes that have their own, and the JSON body."""

from collections.abc import Mapping
from typing import Final

import msgspec

from dfs.base.errors import BadRequest, DfsError, ErrorKind, LimitExceeded, ProgramFault, Throttled
from dfs.wire.shapes import ErrorReply, error_body

HTTP_STATUS: Final[Mapping[ErrorKind, int]] = {
    ErrorKind.BAD_INPUT: 400,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.DENIED: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.FENCED: 503,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.CORRUPT: 500,
}
STATUS_BY_CODE: Final[Mapping[str, int]] = {Throttled.code: 429, ProgramFault.code: 500}

_ROUTES_HINT: Final = "every address: /v1/openapi.json, docs/api.md"
_encode = msgspec.json.Encoder().encode


def http_status(err: DfsError) -> int:
    """What to answer with this error."""
    return STATUS_BY_CODE.get(err.code) or HTTP_STATUS[err.kind]


def error_json(err: DfsError) -> bytes:
    """The whole body of an answer that refuses."""
    return _encode(ErrorReply(error_body(err)))


def error_headers(err: DfsError) -> dict[str, str]:
    """What HTTP wants said beside the body."""
    if err.kind is ErrorKind.UNAUTHENTICATED:
        return {"WWW-Authenticate": "Bearer"}
    wait_s = err.details.get("retry_after_s")
    return {"Retry-After": f"{max(1.0, wait_s):.0f}"} if isinstance(wait_s, int | float) else {}


def protocol_error(status: int, method: str, path: str, reason: str) -> DfsError:
    """What HTTP itself refused, before a route was reached, in our words."""
    match status:
        case 404:
            return BadRequest(f"no such address: {path}", hint=_ROUTES_HINT)
        case 405:
            return BadRequest(f"{path} does not answer {method}", hint=_ROUTES_HINT)
        case 413:
            return LimitExceeded("the request's body is too large", hint="send smaller batches")
        case 431:
            return LimitExceeded("the request's headers are too large")
        case _:
            return BadRequest(f"{method} {path}: {reason}")


def bug(request: str) -> ProgramFault:
    """What is answered when the program failed: no stack, but where to find it."""
    return ProgramFault(
        "internal error",
        hint="the daemon's log has the stack; please report it",
        details={"request": request},
    )
