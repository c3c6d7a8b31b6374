"""Pure: the HTTP status of each kind of error, and the one code that has its own."""

from collections.abc import Mapping
from typing import Final

from dfs.base.errors import DfsError, ErrorKind, Throttled
from dfs.wire.shapes import ErrorBody

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
TOO_MANY_REQUESTS: Final = 429


def http_status(err: DfsError) -> int:
    """What to answer with this error."""
    return TOO_MANY_REQUESTS if isinstance(err, Throttled) else HTTP_STATUS[err.kind]


def error_body(err: DfsError) -> ErrorBody:
    """The error as REST carries it."""
    return ErrorBody(err.code, err.message, err.hint, err.details)
