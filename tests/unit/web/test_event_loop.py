"""What a round of the HTTP server's loop costs, and that nothing is overlooked for it."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from waitress import wasyncore

from dfs.base.clock import SystemClock
from dfs.web.event_loop import Sockets
from dfs.web.http_server import HttpLimits, HttpServer

IDLE = 50


class Silent(wasyncore.dispatcher):
    """A connection of the loop's on which nothing ever comes."""

    def __init__(self, sock: socket.socket, sockets: Sockets) -> None:
        self.requests: list[object] = []
        self.total_outbufs_len = 0
        self.will_close = self.close_when_flushed = False
        self.asked = 0
        super().__init__(sock, map=sockets)

    def readable(self) -> bool:
        self.asked += 1
        return True

    def writable(self) -> bool:
        return False


def _answer(environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
    del environ
    start_response("200 OK", [("Content-Length", "4")])
    return [b"here"]


@pytest.fixture
def server() -> Iterator[HttpServer]:
    limits = HttpLimits(threads=4, connections_max=IDLE * 3)
    served = HttpServer(_answer, host="127.0.0.1", port=0, limits=limits, clock=SystemClock())
    served.start()
    yield served
    served.stop(drain_s=1)


def test_connection_on_which_nothing_happens_is_asked_once() -> None:
    sockets = Sockets()
    ours, theirs = socket.socketpair()
    idle = Silent(ours, sockets)
    busy, far = socket.socketpair()
    talking = Silent(busy, sockets)
    rounds: list[bytes] = []

    def heard() -> None:
        rounds.append(busy.recv(1))
        if len(rounds) < 5:
            far.send(b"x")
        else:
            sockets.clear()

    talking.handle_read = heard  # type: ignore[method-assign]
    far.send(b"x")
    sockets.run()
    assert idle.asked == 1
    assert talking.asked >= 5
    for each in (ours, theirs, busy, far):
        each.close()


def test_many_clients_at_once_are_all_answered_beside_idle_ones(server: HttpServer) -> None:
    answers: list[bytes] = []

    def ask() -> None:
        asking = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        with closing(asking):
            for _ in range(20):
                asking.request("GET", "/")
                answers.append(asking.getresponse().read())

    with ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert answers == [b"here"] * 160


def test_requests_sent_together_are_answered_in_order(server: HttpServer) -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as asking:
        asking.sendall(request * 3)
        got = b""
        while got.count(b"here") < 3:
            piece = asking.recv(4096)
            assert piece
            got += piece


def test_client_that_leaves_is_let_go(server: HttpServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as asking:
        asking.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = b""
        while piece := asking.recv(4096):
            got += piece
        assert got.endswith(b"here")
