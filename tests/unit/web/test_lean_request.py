"""A request read at once is the one that waitress's own parser reads."""

import pytest
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser

from dfs.web.lean_request import LeanRequest

ADJUSTMENTS = Adjustments(
    port=1, max_request_body_size=1000, max_request_header_size=600, inbuf_overflow=100
)
PLAIN = b"POST /v1/fs/stat HTTP/1.1\r\nHost: here:1\r\nContent-Length: 4\r\n\r\nbody"
AT_ONCE = [
    PLAIN,
    b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n",
    b"HEAD /v1/fs/stat HTTP/1.1\r\nHost:here\r\nX-Request-Id:   ab  \r\nEmpty:\r\n\r\n",
    PLAIN + PLAIN,
]
WITH_CARE = [
    b"GET /v1/fs/stat?paths=/a HTTP/1.1\r\nHost: here\r\n\r\n",
    b"GET /v1/%66s HTTP/1.1\r\nHost: here\r\n\r\n",
    b"GET //v1/fs/stat HTTP/1.1\r\nHost: here\r\n\r\n",
    b"GET /v1/fs/stat HTTP/1.0\r\nHost: here\r\n\r\n",
    b"GET /v1/fs/stat HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
    b"POST /v1 HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
    b"POST /v1 HTTP/1.1\r\nContent-Length: +4\r\n\r\nbody",
    b"POST /v1 HTTP/1.1\r\nContent-Length: 4, 4\r\n\r\nbody",
    b"POST /v1 HTTP/1.1\r\nContent-Length : 4\r\n\r\nbody",
    b"POST /v1 HTTP/1.1\r\nContent_Length: 4\r\n\r\nbody",
    b"POST /v1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    b"POST /v1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    b"POST /v1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
    b"POST /v1 HTTP/1.1\r\nA: b\r\n c\r\nContent-Length: 4\r\n\r\nbody",
    b"POST /v1 HTTP/1.1\r\nA: b\nContent-Length: 9\r\nContent-Length: 4\r\n\r\nbody",
    b"POST /v1 HTTP/1.1\r\nA: \xe9\r\nContent-Length: 4\r\n\r\nbody",
    b"POST /v1 HTTP/1.1\r\nContent-Length: 1001\r\n\r\nbody",
    b"GET /v1 HTTP/1.1\r\nA: " + b"x" * 700 + b"\r\n\r\n",
    b"\r\n" + PLAIN,
    b"nothing of the kind\r\n\r\n",
]


def _read(parser: HTTPRequestParser, pieces: list[bytes]) -> tuple[object, ...]:
    left = 0
    for piece in pieces:
        while piece and not parser.completed:
            taken = parser.received(piece)
            piece = piece[taken:]
        left += len(piece)
    said = vars(parser)
    known = ("command", "path", "query", "fragment", "version", "request_uri", "url_scheme")
    body = parser.get_body_stream().read() if parser.completed and not parser.error else None
    return (
        parser.completed,
        parser.empty,
        parser.expect_continue,
        parser.connection_close,
        parser.headers,
        [said.get(name) for name in known],
        repr(vars(parser.error)) + type(parser.error).__name__ if parser.error else "",
        body,
        left,
    )


@pytest.mark.parametrize("raw", AT_ONCE + WITH_CARE)
def test_both_ways_read_the_same_however_it_comes_in(raw: bytes) -> None:
    half = len(raw) // 2
    for pieces in ([raw], [raw[:half], raw[half:]], [raw[i : i + 1] for i in range(len(raw))]):
        ours, theirs = LeanRequest(ADJUSTMENTS), HTTPRequestParser(ADJUSTMENTS)
        assert _read(ours, pieces) == _read(theirs, pieces)
        ours.close()


@pytest.mark.parametrize("raw", AT_ONCE)
def test_what_comes_whole_is_read_at_once(raw: bytes) -> None:
    request = LeanRequest(ADJUSTMENTS)
    request.received(raw)
    assert request.body is not None


@pytest.mark.parametrize("raw", WITH_CARE)
def test_what_asks_for_care_is_left_to_waitress(raw: bytes) -> None:
    request = LeanRequest(ADJUSTMENTS)
    request.received(raw)
    assert request.body is None
