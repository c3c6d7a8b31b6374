"""A DataNode that joins is led on to the NameNode that leads."""

from collections.abc import Callable, Iterator, Mapping

import pytest

from dfs.base.clock import ManualClock
from dfs.base.errors import NodeNotJoined, NotLeader
from dfs.nodes.joining import join
from dfs.wire.http_link import HttpLink
from dfs.wire.nodes_api import JoinReply, JoinRequest
from tests.route_server import RouteServer

JOINED = JoinReply(node=3, secret="dfsn_secret", cluster="c" * 32)
Say = Callable[[], object]


class Told:
    """An emitter that remembers."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def emit(self, event: str, **_fields: object) -> None:
        self.events.append(str(event))


@pytest.fixture
def serve() -> Iterator[Callable[[Say], RouteServer]]:
    made: list[RouteServer] = []

    def start(say: Say) -> RouteServer:
        made.append(RouteServer(lambda _path, _raw, _headers: say()))
        return made[-1]

    yield start
    for server in made:
        server.close()


@pytest.fixture
def link() -> Iterator[HttpLink]:
    made = HttpLink(timeout_s=5)
    yield made
    made.close()


def _join(link: HttpLink, *urls: str, told: Told | None = None, clock: ManualClock | None = None):
    request = JoinRequest(token="dfsj_token", uuid="u" * 32)
    return join(
        urls,
        request,
        link=link,
        clock=clock or ManualClock(),
        emit=told or Told(),
        stopped=lambda: False,
    )


def _follows(leader: str, *others: str) -> Say:
    def say() -> object:
        raise NotLeader("it follows", details={"leader": leader, "namenodes": list(others)})

    return say


def test_node_joins_the_leader_that_another_names_in_the_same_round(serve, link) -> None:
    leader = serve(lambda: JOINED)
    follower = serve(_follows(leader.url))
    clock, told = ManualClock(), Told()
    assert _join(link, follower.url, told=told, clock=clock) == JOINED
    assert clock.monotonic_s() == 0
    assert told.events == [], "nobody was out of reach"


def test_node_waits_while_nobody_leads_and_asks_all_it_heard_of(serve, link) -> None:
    answers: list[Say] = [_follows(""), _follows(""), lambda: JOINED]
    second = serve(lambda: answers.pop(0)())
    first = serve(_follows("", second.url))
    assert _join(link, first.url) == JOINED
    assert answers == []


def test_two_that_name_each_other_are_asked_in_rounds(serve, link) -> None:
    asked: list[str] = []
    urls: dict[str, str] = {}

    def say(name: str, other: str) -> object:
        asked.append(name)
        if len(asked) > 6:
            return JOINED
        raise NotLeader("it follows", details={"leader": urls[other]})

    urls["a"] = serve(lambda: say("a", "b")).url
    urls["b"] = serve(lambda: say("b", "a")).url
    clock = ManualClock()
    assert _join(link, urls["a"], clock=clock) == JOINED
    assert asked[:4] == ["a", "b", "a", "b"]
    assert clock.monotonic_s() > 0


def test_refusal_of_the_leader_ends_it(serve, link) -> None:
    def refuse() -> Mapping[str, object]:
        raise NodeNotJoined("the join token is used up")

    follower = serve(_follows(serve(refuse).url))
    with pytest.raises(NodeNotJoined):
        _join(link, follower.url)
