"""HTTP/1.1 from the asking side, as much of it as a question and its whole answer need.

The standard library's client takes longer to load than a listing takes to be answered (it brings
the mail package, and TLS).  Everything is bounded; what is no HTTP, or ends early, is an `OSError`.
"""

import contextlib
import re
import select
import socket
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, Final, NamedTuple, cast
from urllib.parse import urlsplit

ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
LINE_BYTES_MAX: Final = 64 * 1024
HEADERS_MAX: Final = 100
LABEL_END: Final = 64  # bytes between the dots of a name
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: |\r?\n)")
_UNSAID: Final = re.compile(r"[\x00-\x1f\x7f]")  # in no header, and no address
_WITHOUT_BODY: Final = frozenset({204, 304})


class HttpAnswer(NamedTuple):
    """A whole answer; `stays` when the connection is good for another question."""

    status: int
    body: bytes
    stays: bool
    headers: Mapping[bytes, bytes]  # their names in small letters


class HttpConversation:
    """One connection to a daemon, for one thread at a time.

    Args:
        daemon: `http://host:port` or `https://...`, with nothing behind it.
        connect_s: the longest wait for the connection.
        answer_s: the longest wait for each piece of an answer.

    Raises:
        OSError: there is no connection.
    """

    def __init__(self, daemon: str, *, connect_s: float, answer_s: float) -> None:
        parts = urlsplit(daemon)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        try:
            self._netloc = _encoded(parts.netloc).decode()
            address: Any = _encoded(host), port  # bytes are taken as they are
            self._socket = socket.create_connection(address, timeout=connect_s)
        except UnicodeError:
            raise ConnectionError(f"no host can have the name {host!r}") from None
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure:
                import ssl  # noqa: PLC0415 - start-up time of the commands

                context = ssl.create_default_context()
                self._socket = context.wrap_socket(self._socket, server_hostname=host)
            self._socket.settimeout(answer_s)
            self._answer_s = answer_s
            self._stream = cast("BinaryIO", self._socket.makefile("rb", LINE_BYTES_MAX))
        except BaseException:
            self._socket.close()
            raise

    def ask(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        waits: Iterable[float] | None = None,
    ) -> HttpAnswer:
        """Ask one thing.  After an error the conversation is over: close it.

        Args:
            waits: how long to wait for the answer to begin, at a time, in seconds: what is done
                before the next is named is done while waiting, and may raise to give it up.  None
                named any more: it is too late.

        Raises:
            OSError: no whole answer came in time.
            ValueError: the question has characters that would end its line.
        """
        said = {"Host": self._netloc, "Accept-Encoding": "identity", **headers}
        if body is not None:
            said["Content-Length"] = str(len(body))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {said[name]}" for name in said)]
        if any(_UNSAID.search(line) for line in lines):
            raise ValueError("a line of the request has control characters")
        head = "\r\n".join([*lines, "\r\n"]).encode("latin-1")
        self._socket.sendall(head + (body or b""))
        if waits is not None:
            self._await(waits)
        return self._answer()

    def has_ended(self) -> bool:
        """Whether the daemon closed it, or said something that nobody asked for."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(0))

    def cut(self) -> None:
        """End what is under way, from another thread: it fails at once.  `close` is still due."""
        with contextlib.suppress(OSError):  # it has ended
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it."""
        self._stream.close()
        self._socket.close()

    def _await(self, waits: Iterable[float]) -> None:
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        left_s = self._answer_s
        for wait_s in waits:
            if waiting.poll(1000 * min(wait_s, left_s)):
                return
            left_s -= wait_s
            if left_s <= 0:
                break
        raise TimeoutError

    def _answer(self) -> HttpAnswer:
        status, newer = self._status()
        headers = self._headers()
        while status < 200:  # a word in between
            status, newer = self._status()
            headers = self._headers()
        length = headers.get(b"content-length")
        ends = b"close" in headers.get(b"connection", b"" if newer else b"close").lower()
        if status in _WITHOUT_BODY:
            return HttpAnswer(status, b"", not ends, headers)
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            return HttpAnswer(status, self._pieces(), not ends, headers)
        if length is None:
            rest = self._stream.read(ANSWER_BYTES_MAX + 1)
            return HttpAnswer(status, _bounded(rest), stays=False, headers=headers)
        return HttpAnswer(status, self._exactly(_number(length, 10)), not ends, headers)

    def _status(self) -> tuple[int, bool]:
        line = self._line()
        found = _STATUS.match(line)
        if found is None:
            raise ConnectionError("no answer in HTTP" if line else "the connection was closed")
        return int(found[2]), found[1] == b"1"

    def _headers(self) -> dict[bytes, bytes]:
        headers: dict[bytes, bytes] = {}
        for _ in range(HEADERS_MAX):
            line = self._line()
            if line in (b"\r\n", b"\n"):
                return headers
            name, colon, value = line.partition(b":")
            if not colon:
                raise ConnectionError("an answer's head that is cut, or no HTTP")
            headers[name.lower()] = value.strip()
        raise ConnectionError("an answer with too many headers")

    def _pieces(self) -> bytes:
        pieces: list[bytes] = []
        room = ANSWER_BYTES_MAX
        while size := _number(self._line().partition(b";")[0].strip(), 16):
            room -= size
            if room < 0:
                raise ConnectionError("an answer too large to be one of ours")
            pieces.append(self._exactly(size))
            self._line()
        self._headers()  # what may follow the last piece
        return b"".join(pieces)

    def _line(self) -> bytes:
        line = self._stream.readline(LINE_BYTES_MAX)
        if len(line) == LINE_BYTES_MAX:
            raise ConnectionError("an answer with a line too long")
        return line

    def _exactly(self, size: int) -> bytes:
        if size > ANSWER_BYTES_MAX:
            raise ConnectionError("an answer too large to be one of ours")
        found = self._stream.read(size)
        if len(found) < size:
            raise ConnectionError("the connection ended in the middle of an answer")
        return found


def _encoded(host: str) -> bytes:
    """As host names travel.

    The codec is asked only where it would change or refuse something: it takes time to load.

    Raises:
        UnicodeError: there is no such form.
    """
    if host.isascii() and host.isprintable():
        labels = host.removesuffix(".").split(".")
        if all(0 < len(label) < LABEL_END for label in labels):
            return host.encode()
    return host.encode("idna")


def _number(digits: bytes, base: int) -> int:
    try:
        return int(digits, base) if digits.isalnum() else int("no number")
    except ValueError:
        raise ConnectionError("an answer of no length") from None


def _bounded(found: bytes) -> bytes:
    if len(found) > ANSWER_BYTES_MAX:
        raise ConnectionError("an answer too large to be one of ours")
    return found
