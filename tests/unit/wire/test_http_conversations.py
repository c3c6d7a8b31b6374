"""Asking a daemon over HTTP: whole answers or an error, connections kept while they stand."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from dfs.base.errors import NamenodeUnreachable
from dfs.wire import http_conversation, http_pool
from dfs.wire.http_conversation import HttpConversation
from dfs.wire.http_link import HttpLink
from dfs.wire.http_pool import HttpPool

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere"
HEADLESS = b"\r\n\r\n"


class Scripted:
    """A daemon that answers the n-th connection with the n-th script: bytes a question, in order.

    A script that ends closes its connection; None in it says nothing more and keeps it open.
    """

    def __init__(self, *scripts: list[bytes | None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[bytes] = []
        self.ended = [threading.Event() for _ in scripts]
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, args=(scripts,), daemon=True)
        self._thread.start()

    def _serve(self, scripts: tuple[list[bytes | None], ...]) -> None:
        with contextlib.suppress(OSError):
            for script, ended in zip(scripts, self.ended, strict=True):
                connection, _ = self._listener.accept()
                self._held.append(connection)
                if self._play(connection, script):
                    connection.close()
                ended.set()

    def _play(self, connection: socket.socket, script: list[bytes | None]) -> bool:
        for answer in script:
            if answer is None:
                return False
            asked = b""
            while HEADLESS not in asked:
                asked += connection.recv(65536)
            self.asked.append(asked)
            connection.sendall(answer)
        return True

    def close(self) -> None:
        self._listener.close()
        for each in self._held:
            each.close()


@pytest.fixture
def pool() -> Iterator[HttpPool]:
    made = HttpPool(connect_s=5, answer_s=5, connections=2)
    yield made
    made.close()


def _ask(pool: HttpPool, daemon: Scripted) -> bytes:
    return pool.request("GET", f"{daemon.url}/health?a=b", body=None, headers={}).body


def test_question_names_the_daemon_and_what_is_asked(pool: HttpPool) -> None:
    daemon = Scripted([OK])
    answer = pool.request("POST", f"{daemon.url}/v1/x", body=b"{}", headers={"X-One": "1"})
    assert (answer.status, answer.body) == (200, b"here")
    head, _, body = daemon.asked[0].partition(HEADLESS)
    assert head.startswith(b"POST /v1/x HTTP/1.1\r\n")
    assert set(head.split(b"\r\n")[1:]) == {
        b"Host: " + daemon.url.removeprefix("http://").encode(),
        b"Accept-Encoding: identity",
        b"X-One: 1",
        b"Content-Length: 2",
    }
    assert body == b"{}"
    daemon.close()


def test_connection_is_used_again(pool: HttpPool) -> None:
    daemon = Scripted([OK, OK, OK])
    assert [_ask(pool, daemon) for _ in range(3)] == [b"here"] * 3
    assert len(daemon._held) == 1
    daemon.close()


def test_connection_that_the_daemon_closed_is_not_used_again(pool: HttpPool) -> None:
    daemon = Scripted([OK], [OK])
    assert _ask(pool, daemon) == b"here"
    assert daemon.ended[0].wait(5)
    assert _ask(pool, daemon) == b"here"
    assert len(daemon.asked) == 2
    daemon.close()


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"
        b"2\r\nhe\r\n2;x=1\r\nre\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhere",
        b"HTTP/1.0 200\r\nContent-Length:4\r\n\r\nhere",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nhere",
    ],
    ids=["length", "continue", "chunked", "to the end", "old", "close"],
)
def test_body_is_read_however_its_length_is_said(pool: HttpPool, answer: bytes) -> None:
    daemon = Scripted([answer], [OK])
    assert _ask(pool, daemon) == b"here"
    assert daemon.ended[0].wait(5)
    assert _ask(pool, daemon) == b"here", "and the next question is answered"
    daemon.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhere",
        b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nhere",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nhere",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhe",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhere",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\nhere",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\nhere",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 101 + b"\r\nhere",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000,
    ],
)
def test_answer_that_is_none_or_not_whole_is_an_error(pool: HttpPool, answer: bytes) -> None:
    daemon = Scripted([answer], [OK])
    with pytest.raises(OSError, match=r"\w"):
        _ask(pool, daemon)
    assert _ask(pool, daemon) == b"here", "over a new connection"
    daemon.close()


def test_daemon_that_says_nothing_is_given_up() -> None:
    daemon = Scripted([None])
    link = HttpLink(timeout_s=0.1)
    with pytest.raises(NamenodeUnreachable, match="timed out"):
        link.fetch(f"{daemon.url}/health")
    daemon.close()


def test_daemon_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(NamenodeUnreachable, match=f"{url}/health: connection refused"):
        HttpLink(timeout_s=5).fetch(f"{url}/health")


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "h\u00f6..st"])
def test_name_that_no_host_can_have_is_said(host: str) -> None:
    with pytest.raises(NamenodeUnreachable, match="no host can have the name"):
        HttpLink(timeout_s=5).fetch(f"http://{host}:1/health")


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\x00"])
def test_header_cannot_end_its_line(value: str) -> None:
    daemon = Scripted([OK])
    asking = HttpConversation(daemon.url, connect_s=5, answer_s=5)
    with contextlib.closing(asking), pytest.raises(ValueError, match="control"):
        asking.ask("GET", "/", body=None, headers={"X": value})
    daemon.close()


def test_connections_are_kept_to_a_bounded_number_of_daemons(
    pool: HttpPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_pool, "DAEMONS_MAX", 2)
    daemons = [Scripted([OK, OK], [OK]) for _ in range(3)]
    assert [_ask(pool, each) for each in daemons] == [b"here"] * 3
    assert len(pool._kept) == 2
    assert _ask(pool, daemons[2]) == b"here"
    for each in daemons:
        each.close()


def test_answer_beyond_all_bounds_is_not_read_to_its_end(
    pool: HttpPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_conversation, "ANSWER_BYTES_MAX", 1000)
    daemon = Scripted([b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000])
    with pytest.raises(OSError, match="too large"):
        _ask(pool, daemon)
    daemon.close()


def test_question_under_way_is_cut_from_another_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        conversation = HttpConversation(url, connect_s=10, answer_s=60)
        failures: list[OSError] = []

        def ask() -> None:
            try:
                conversation.ask("GET", "/", body=None, headers={})
            except OSError as exc:
                failures.append(exc)

        asking = threading.Thread(target=ask)
        asking.start()
        peer, _ = mute.accept()
        assert peer.recv(4096)  # the question is there, and its answer is waited for
        conversation.cut()
        asking.join(10)
        assert len(failures) == 1
        conversation.close()
        conversation.cut()  # of no consequence
        peer.close()
