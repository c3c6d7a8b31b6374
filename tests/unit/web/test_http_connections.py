"""Connections that ask nothing, or never to the end, keep nobody else out."""

import contextlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from dfs.base.clock import SystemClock
from dfs.web.http_server import HttpLimits, HttpServer

CONNECTIONS = 20
BEGUN = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"


@pytest.fixture
def port() -> Iterator[int]:
    app = Flask("answers")
    app.add_url_rule("/", view_func=lambda: "here", methods=["GET", "POST"])
    limits = HttpLimits(threads=2, connections_max=CONNECTIONS, request_s=0.0)
    server = HttpServer(app, host="127.0.0.1", port=0, limits=limits, clock=SystemClock())
    server.start()
    yield server.port
    server.stop(drain_s=1)


@pytest.mark.parametrize("sent", [b"", b"POST / HT", BEGUN], ids=["nothing", "head", "body"])
def test_request_is_answered_while_idle_connections_fill_the_server(port: int, sent: bytes) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(3 * CONNECTIONS):
            silent = held.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            with contextlib.suppress(OSError):  # it may have had to give way already
                silent.sendall(sent)
        asking = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.closing(asking):
            asking.request("GET", "/")
            assert asking.getresponse().read() == b"here"


def test_request_that_trickles_beyond_its_time_is_cut(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as slow:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for byte in BEGUN:
                slow.sendall(bytes([byte]))
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv(1) == b""


def test_connection_that_asks_again_and_again_is_kept(port: int) -> None:
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(asking):
        for _ in range(5):
            asking.request("GET", "/")
            assert asking.getresponse().read() == b"here"


@pytest.mark.parametrize("times", [150, pytest.param(500, marks=pytest.mark.faults)])
def test_server_that_is_stopped_as_it_starts_ends_and_leaves_nothing_open(times: int) -> None:
    """The loop may be doing the first thing it was told while it is told the second."""
    limits = HttpLimits(threads=1)
    before = set(Path("/proc/self/fd").iterdir())
    for _ in range(times):
        server = HttpServer(
            Flask("nothing"), host="127.0.0.1", port=0, limits=limits, clock=SystemClock()
        )
        server.start()
        server.stop(drain_s=0)
    assert len(set(Path("/proc/self/fd").iterdir()) - before) <= 2


LARGE_BYTES = 8 * 1024 * 1024  # more than the buffers of both ends hold


@pytest.fixture
def large() -> Iterator[int]:
    app = Flask("large")
    app.add_url_rule("/", "large", lambda: b"x" * LARGE_BYTES)
    app.add_url_rule("/small", "small", lambda: "here")
    app.add_url_rule("/pieces", "pieces", lambda: iter([b"he", b"re"]))
    server = HttpServer(
        app, host="127.0.0.1", port=0, limits=HttpLimits(threads=2), clock=SystemClock()
    )
    server.start()
    yield server.port
    server.stop(drain_s=1)


def test_answer_larger_than_every_buffer_comes_whole_and_the_connection_goes_on(large: int) -> None:
    asking = http.client.HTTPConnection("127.0.0.1", large, timeout=60)
    with contextlib.closing(asking):
        for _ in range(2):
            asking.request("GET", "/")
            assert len(asking.getresponse().read()) == LARGE_BYTES
            asking.request("GET", "/small")
            assert asking.getresponse().read() == b"here"


def test_requests_sent_ahead_are_answered_in_order(large: int) -> None:
    asked = [b"/small", b"/", b"/small", b"/pieces"]
    with socket.create_connection(("127.0.0.1", large), 60) as connection:
        for path in asked:
            connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        got = b"".join(iter(lambda: connection.recv(1 << 20), b""))
    assert got.count(b"HTTP/1.1 200 OK") == len(asked)
    assert got.count(b"x" * LARGE_BYTES) == 1
    assert got.endswith(b"2\r\nhe\r\n2\r\nre\r\n0\r\n\r\n"), "in pieces, and closed behind them"


def test_connection_is_closed_after_an_answer_that_says_so(large: int) -> None:
    with socket.create_connection(("127.0.0.1", large), 60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = b"".join(iter(lambda: connection.recv(1 << 20), b""))
    assert got.endswith(b"x" * 1024)
    assert len(got) > LARGE_BYTES
