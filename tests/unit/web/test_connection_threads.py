"""Who begins a request: the thread of the loop what is quick, a worker the rest; in order."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from flask import Flask

from dfs.base.clock import SystemClock
from dfs.web.answers import Answer, Asking
from dfs.web.front import Front, Served
from dfs.web.http_server import HttpLimits, HttpServer

QUICK_BYTES = 10


@dataclass
class Rig:
    server: HttpServer
    may_go_on: threading.Event

    @property
    def port(self) -> int:
        return self.server.port


@pytest.fixture
def rig() -> Iterator[Rig]:
    may_go_on = threading.Event()

    def who(asking: Asking) -> Answer:
        return Answer(200, threading.current_thread().name.encode() + b" " + asking.body)

    def slow(asking: Asking) -> Answer:
        may_go_on.wait(10)
        return who(asking)

    def at_once(asking: Asking, then: Callable[[Answer], None]) -> None:
        then(who(asking))

    def later(asking: Asking, then: Callable[[Answer], None]) -> None:
        def hand_on() -> None:
            then(slow(asking))
            then(Answer(500, b"said twice"))

        threading.Thread(target=hand_on, name="another").start()

    served = {
        "/quick": Served(("GET", "HEAD", "POST"), who, at_once, QUICK_BYTES),
        "/later": Served(("POST",), who, later, QUICK_BYTES),
        "/slow": Served(("POST",), slow, at_once),
    }
    front = Front(served, Flask("rest"), lambda _path, _exc: None)
    limits = HttpLimits(threads=2)
    server = HttpServer(front, host="127.0.0.1", port=0, limits=limits, clock=SystemClock())
    server.start()
    yield Rig(server, may_go_on)
    may_go_on.set()
    server.stop(drain_s=1)


def _request(path: str, body: bytes, more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _ask(port: int, raw: bytes, *, ends_with: bytes) -> bytes:
    got = b""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(raw)
        while not got.endswith(ends_with) and (more := connection.recv(4096)):
            got += more
    return got


def test_quick_request_is_answered_by_the_loop_while_every_worker_is_busy(rig: Rig) -> None:
    busy = [socket.create_connection(("127.0.0.1", rig.port), 10) for _ in range(3)]
    for each in busy:
        each.sendall(_request("/slow", b"s"))
    assert b"\r\n\r\nhttp now" in _ask(rig.port, _request("/quick", b"now"), ends_with=b"now")
    rig.may_go_on.set()
    for each in busy:
        assert each.recv(4096).endswith(b" s")
        each.close()


def test_answer_that_comes_later_keeps_nobody_waiting_and_comes_once(rig: Rig) -> None:
    with socket.create_connection(("127.0.0.1", rig.port), 10) as early:
        early.sendall(_request("/later", b"a") + _request("/quick", b"b"))
        assert b"http now" in _ask(rig.port, _request("/quick", b"now"), ends_with=b"now")
        rig.may_go_on.set()
        got = b""
        while not got.endswith(b" b") and (more := early.recv(4096)):
            got += more
    assert b"another a" in got
    assert b"twice" not in got


def test_answer_to_a_client_that_left_is_dropped(rig: Rig) -> None:
    with socket.create_connection(("127.0.0.1", rig.port), 10) as early:
        early.sendall(_request("/later", b"a"))
    rig.may_go_on.set()
    assert b"http now" in _ask(rig.port, _request("/quick", b"now"), ends_with=b"now")


def test_server_that_stops_waits_for_what_was_begun(rig: Rig) -> None:
    with socket.create_connection(("127.0.0.1", rig.port), 10) as early:
        early.sendall(_request("/later", b"a"))
        assert b"http now" in _ask(rig.port, _request("/quick", b"now"), ends_with=b"now")
        stopping = threading.Thread(target=rig.server.stop, args=(10,))
        stopping.start()
        rig.may_go_on.set()
        assert early.recv(4096).endswith(b"another a")
        stopping.join()


def test_long_request_is_answered_by_a_worker(rig: Rig) -> None:
    body = b"b" * (QUICK_BYTES + 1)
    assert b"\r\n\r\nhttp-" in _ask(rig.port, _request("/quick", body), ends_with=body)


def test_requests_sent_ahead_are_answered_in_their_order(rig: Rig) -> None:
    rig.may_go_on.set()
    raw = b"".join(
        _request("/quick", b"1") + _request("/slow", b"2") + _request("/quick", b"3")
        for _ in range(20)
    )
    got = _ask(rig.port, raw + _request("/quick", b"end"), ends_with=b"end")
    assert [part.split(b"HTTP/1.1")[0][-1:] for part in got.split(b"\r\n\r\n")[1:-1]] == [
        b"1",
        b"2",
        b"3",
    ] * 20


def test_both_ways_answer_alike(rig: Rig) -> None:
    lean = _ask(rig.port, _request("/quick", b"x"), ends_with=b" x")
    cared_for = _ask(rig.port, _request("/quick", b"x", "Connection: close\r\n"), ends_with=b" x")
    assert _shape(cared_for) == sorted([*_shape(lean), b"Connection"])


def test_head_has_the_length_and_no_body(rig: Rig) -> None:
    raw = b"HEAD /quick HTTP/1.1\r\nHost: x\r\n\r\n"
    assert b"Content-Length: 5\r\n" in _ask(rig.port, raw, ends_with=b"\r\n\r\n")


def test_method_that_is_not_served_is_refused(rig: Rig) -> None:
    raw = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
    got = _ask(rig.port, raw, ends_with=b"}")
    assert got.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert b"\r\nAllow: POST\r\n" in got


def _shape(answer: bytes) -> list[bytes]:
    return sorted(line.split(b":")[0] for line in answer.split(b"\r\n\r\n")[0].split(b"\r\n"))
