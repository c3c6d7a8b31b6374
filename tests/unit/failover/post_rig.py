"""Post offices with real HTTP on loopback, and what a test waits for."""

import threading
from collections.abc import Callable
from time import monotonic, sleep

from flask import Flask

from dfs.base.clock import SystemClock
from dfs.failover.envelope import LETTERS_PATH, Seal
from dfs.failover.post_office import PostOffice
from dfs.ha.messages import Letter
from dfs.web.front import Front
from dfs.web.http_server import HttpLimits, HttpServer
from dfs.web.letters import letters_address

SECRET = b"s" * 32
PATIENCE_S = 5.0  # of tests that wait for nobody to lose it
WAIT_S = 20.0


def eventually(holds: Callable[[], object]) -> None:
    """Wait until it does."""
    until_s = monotonic() + WAIT_S
    while not holds():
        assert monotonic() < until_s, "it did not come about"
        sleep(0.002)


class Daemon:
    """A post office and the port that it is asked at."""

    def __init__(self, *, secret: bytes = SECRET, port: int = 0, patience_s: float = PATIENCE_S):
        clock = SystemClock()
        self.post = PostOffice(seal=Seal(secret), clock=clock, patience_s=patience_s)
        self.bugs: list[Exception] = []
        front = Front(
            {LETTERS_PATH: letters_address(self.post.receive)},
            Flask("rest"),
            lambda _path, exc: self.bugs.append(exc),
        )
        limits = HttpLimits(threads=1)
        self.server = HttpServer(front, host="127.0.0.1", port=port, limits=limits, clock=clock)
        self.server.start()
        self.url = f"http://127.0.0.1:{self.server.port}"

    def close(self) -> None:
        self.post.stop()
        self.server.stop(drain_s=1)
        assert self.bugs == []


class Reader:
    """Somebody who lives at a post office and keeps what he gets."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        self.letters: list[Letter] = []
        daemon.post.house(name, self._take)

    def _take(self, letter: Letter) -> bool:
        self.letters.append(letter)
        return True


def threads_of(prefix: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith(prefix)]
