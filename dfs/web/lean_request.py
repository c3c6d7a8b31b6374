"""A request as nearly all come: read at once, where waitress reads it piece by piece.

A request whose head and body came together, with nothing in its head that asks for care, is taken
apart here by one pattern that is stricter than HTTP; anything else is left to waitress's own
parser, which refuses what is to be refused.  Both ways give the same result (a test compares).
"""

import re
from io import BytesIO
from typing import Any, Final

from waitress.parser import HTTPRequestParser

_HEAD: Final = re.compile(
    rb"(GET|HEAD|POST) (/[A-Za-z0-9][A-Za-z0-9/_.-]*) HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]+:[ -~]*\r\n)+)\r\n"
)
_DIGITS: Final = re.compile(r"[0-9]{1,15}")
# What changes how a request is to be read, or how it is answered.
_WITH_CARE: Final = frozenset({"TRANSFER_ENCODING", "EXPECT", "CONNECTION", "UPGRADE"})


class LeanRequest(HTTPRequestParser):
    """See the module."""

    body: bytes | None = None  # where it was read at once

    def received(self, data: bytes) -> int:
        """Take some bytes; how many of them were this request's."""
        if self.body_rcv is None and not self.header_plus and not self.completed:
            taken = self._at_once(data)
            if taken:
                return taken
        return int(super().received(data))

    def get_body_stream(self) -> Any:
        """The body as a file."""
        return super().get_body_stream() if self.body is None else BytesIO(self.body)

    def _at_once(self, data: bytes) -> int:
        """How long the request is that begins there; 0 where it is not for this way."""
        found = _HEAD.match(data)
        if found is None or found.end() >= self.adj.max_request_header_size:
            return 0
        headers = _headers(found[3])
        length = "0" if headers is None else headers.get("CONTENT_LENGTH", "0")
        if headers is None or not _DIGITS.fullmatch(length):
            return 0
        end = found.end() + int(length)
        if len(data) < end or int(length) >= self.adj.max_request_body_size:
            return 0
        self.headers = headers
        head: Any = self  # to the stubs, words are bytes
        head.command, head.path = found[1].decode(), found[2].decode()
        head.version, head.request_uri = "1.1", head.path
        head.query = head.fragment = head.proxy_scheme = head.proxy_netloc = ""
        self.url_scheme = self.adj.url_scheme
        self.content_length = self.body_bytes_received = int(length)
        self.header_bytes_received = found.end()
        self.body = data[found.end() : end]
        self.headers_finished = self.completed = True
        return end


def _headers(raw: bytes) -> dict[str, str] | None:
    """By names as waitress writes them; None where one is there twice or wants care."""
    headers: dict[str, str] = {}
    lines = raw.decode("ascii").split("\r\n")
    lines.pop()  # what follows the last end of a line: nothing
    for line in lines:
        name, _, value = line.partition(":")
        name = name.upper().replace("-", "_")
        if name in headers:
            return None
        headers[name] = value.strip(" ")
    return None if _WITH_CARE & headers.keys() else headers
