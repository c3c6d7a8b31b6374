"""Pure: what a request of `/v1` brings and what it is answered with, free of any web framework."""

from typing import Final, NamedTuple

from dfs.base.errors import DfsError
from dfs.web.errors import error_headers, error_json, http_status

JSON: Final = "application/json"


class Asking(NamedTuple):
    """A request as it came; nothing in it was looked at yet."""

    method: str
    query: str  # what follows the question mark
    address: str
    authorization: str
    request: str  # the id its caller gave it
    body: bytes
    stale_ok: bool = False  # a standby may answer


class Answer(NamedTuple):
    """What goes back.  Its headers are beside those that every answer has."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def refusal(err: DfsError, status: int | None = None) -> Answer:
    """The answer that carries an error."""
    return Answer(status or http_status(err), error_json(err), tuple(error_headers(err).items()))
