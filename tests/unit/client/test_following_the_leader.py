"""Several NameNodes, one of which leads: who is asked, how often, and for how long."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dfs.base.clock import Clock, ManualClock, SystemClock
from dfs.base.entropy import Random
from dfs.base.errors import (
    NamenodeUnreachable,
    NotLeader,
    Overloaded,
    Starting,
    Stopping,
    UserNotFound,
)
from dfs.client import following, namenode_link
from dfs.client.namenode_link import ELECTION_CAP_S, NamenodeLink
from dfs.settings.sections import ClientConfig
from dfs.wire import routes
from dfs.wire.shapes import NameRequest, Nothing
from tests.unit.client.led_namenodes import LedNamenode

MakeLink = Callable[..., NamenodeLink]
NOWHERE = "http://127.0.0.1:1"
CHANGE = NameRequest(name="bob")


@pytest.fixture
def pair() -> Iterator[tuple[LedNamenode, LedNamenode]]:
    """Two that know of each other; the first leads."""
    first, second = LedNamenode(), LedNamenode()
    first.others, second.others = [second.url], [first.url]
    first.leads, second.leader = True, first.url
    yield first, second
    first.close()
    second.close()


@pytest.fixture
def link_to() -> Iterator[MakeLink]:
    made: list[NamenodeLink] = []

    def link(*namenodes: LedNamenode | str, clock: Clock | None = None, **settings) -> NamenodeLink:
        urls = tuple(each if isinstance(each, str) else each.url for each in namenodes)
        config = ClientConfig(**({"give_up_s": 5.0, "timeout_s": 20.0} | settings))
        made.append(
            NamenodeLink(
                urls,
                config=config,
                clock=clock or ManualClock(),
                rng=Random(3),
                token="dfs_session",
            )
        )
        return made[-1]

    yield link
    for each in made:
        each.close()


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else is asked who leads after a tenth of a second, not two."""
    monkeypatch.setattr(following, "LOOK_AFTER_S", 0.1)
    monkeypatch.setattr(following, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(following, "LOOK_TIMEOUT_S", 0.2)


def test_one_that_follows_leads_on_to_the_leader_at_once(pair, link_to) -> None:
    leader, follower = pair
    clock = ManualClock()
    link = link_to(follower, clock=clock)
    assert link.call(routes.WHOAMI, Nothing()).user == "ada"
    assert clock.monotonic_s() == 0
    link.call(routes.WHOAMI, Nothing())
    assert follower.requests["whoami"] == 1, "the leader is asked first from then on"
    assert link.namenodes == (follower.url, leader.url)
    assert link.by_lead == (leader.url, follower.url)


def test_two_that_point_at_each_other_are_asked_once_a_round(pair, link_to) -> None:
    first, second = pair
    first.leads, first.leader = False, second.url
    link = link_to(first, give_up_s=0.0)
    with pytest.raises(NotLeader, match="no NameNode leads") as caught:
        link.call(routes.WHOAMI, Nothing())
    assert (first.requests["whoami"], second.requests["whoami"]) == (1, 1)
    assert "dfs-admin ha status" in caught.value.hint
    assert len(caught.value.details["refusals"]) == 2


def test_one_that_names_ever_new_leaders_is_not_followed_for_ever(link_to) -> None:
    liars = [LedNamenode() for _ in range(8)]
    for one, following_one in zip(liars, liars[1:], strict=False):
        one.leader = following_one.url
    link = link_to(liars[0], give_up_s=0.0)
    with pytest.raises(NotLeader):
        link.call(routes.WHOAMI, Nothing())
    assert sum(each.requests["whoami"] for each in liars) == 1 + following.HOPS_MAX
    for each in liars:
        each.close()


def test_election_is_waited_for_in_short_steps(pair, link_to) -> None:
    first, second = pair
    first.fails = [NotLeader("I stood down")] * 6
    second.leader = ""
    clock = ManualClock()
    link_to(first, second, clock=clock).call(routes.WHOAMI, Nothing())
    assert first.requests["whoami"] == 7
    assert clock.monotonic_s() < 6 * ELECTION_CAP_S


def test_waiting_for_a_leader_is_said_once_and_its_end_too(pair) -> None:
    first, second = pair
    second.leader = ""
    first.fails = [NotLeader("I stood down")] * 2
    said: list[str] = []
    link = NamenodeLink(
        (first.url, second.url),
        config=ClientConfig(),
        clock=ManualClock(),
        rng=Random(1),
        token="dfs_session",
        notice=said.append,
    )
    link.call(routes.WHOAMI, Nothing())
    assert said == ["no NameNode leads; trying again for 30s", "the NameNode answers again"]
    link.close()


def test_leader_that_others_name_but_that_does_not_answer_is_named(link_to) -> None:
    follower = LedNamenode()
    follower.leader = NOWHERE
    with pytest.raises(NotLeader, match=f"{NOWHERE} leads, but does not answer"):
        link_to(follower, give_up_s=0.0).call(routes.WHOAMI, Nothing())
    follower.close()


def test_judgement_of_the_leader_says_more_than_who_follows(pair, link_to) -> None:
    leader, follower = pair
    leader.fails = [Starting("three of nine DataNodes are back")]
    with pytest.raises(Starting):
        link_to(follower, give_up_s=0.0).call(routes.WHOAMI, Nothing())


def test_leader_that_stops_is_followed_by_the_next_within_a_second(pair, link_to) -> None:
    first, second = pair
    clock = ManualClock()
    first.fails = [Stopping("draining"), NotLeader("gone")]
    first.leader = second.url
    second.fails = [NotLeader("not yet")] * 2
    second.leads = True
    link = link_to(first, second, clock=clock)
    link.call(routes.REMOVE_USER, CHANGE)
    assert clock.monotonic_s() < 1
    assert len(set(first.ids + second.ids)) == 1, "all the same request"


def test_refusal_of_the_leader_is_a_refusal(pair, link_to) -> None:
    leader, follower = pair
    leader.fails = [UserNotFound("no such user: bob")]
    link = link_to(follower)
    with pytest.raises(UserNotFound):
        link.call(routes.REMOVE_USER, CHANGE)
    assert link.by_lead[0] == leader.url


def test_change_whose_leader_dies_in_mid_answer_is_asked_again_under_its_id(pair, link_to) -> None:
    first, second = pair
    first.dies, second.leads = True, True
    link_to(first, second).call(routes.REMOVE_USER, CHANGE)
    assert first.ids == second.ids
    assert len(first.ids[0]) == 32


def test_change_that_a_deposed_leader_refuses_is_asked_of_the_new_one(pair, link_to) -> None:
    first, second = pair
    first.leads, first.leader, second.leads = False, second.url, True
    link_to(first).call(routes.REMOVE_USER, CHANGE)
    assert first.ids == second.ids


# --- hanging ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick_looks")
def test_leader_that_hangs_is_left_for_its_successor_in_no_time(pair, link_to) -> None:
    first, second = pair
    first.freeze()
    clock = SystemClock()
    link = link_to(first, second, clock=clock)
    began_s = clock.monotonic_s()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(link.call, routes.REMOVE_USER, CHANGE)
        _until(lambda: second.requests["cluster"] >= 2)
        assert not answer.done(), "nobody leads yet: the answer is waited for"
        second.leads = True
        answer.result(10)
    assert clock.monotonic_s() - began_s < 3
    assert first.ids == second.ids
    link.call(routes.WHOAMI, Nothing())
    assert first.requests["whoami"] == 0


@pytest.mark.usefixtures("quick_looks")
def test_leader_that_is_slow_is_waited_for_and_asked_once(pair, link_to) -> None:
    leader, follower = pair
    leader.freeze()
    link = link_to(follower, clock=SystemClock())
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(link.call, routes.REMOVE_USER, CHANGE)
        _until(lambda: follower.requests["cluster"] >= 3)
        leader.thaw()
        answer.result(10)
    assert len(leader.ids) == 1


@pytest.mark.usefixtures("quick_looks")
def test_standby_that_hangs_is_passed_over(pair, link_to) -> None:
    leader, follower = pair
    follower.freeze()
    clock = SystemClock()
    began_s = clock.monotonic_s()
    link_to(follower, leader, clock=clock).call(routes.WHOAMI, Nothing())
    assert clock.monotonic_s() - began_s < 2


@pytest.mark.usefixtures("quick_looks")
def test_old_story_of_who_leads_makes_nobody_leave_the_leader(pair, link_to) -> None:
    leader, follower = pair
    deposed = LedNamenode()
    follower.leader, deposed.leader = deposed.url, leader.url
    leader.freeze()
    link = link_to(leader, follower, clock=SystemClock())
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(link.call, routes.REMOVE_USER, CHANGE)
        _until(lambda: deposed.requests["cluster"] >= 2)
        leader.thaw()
        answer.result(10)
    assert len(leader.ids) == 1
    deposed.close()


@pytest.mark.usefixtures("quick_looks")
def test_all_that_hang_are_given_up_in_the_end(pair, link_to) -> None:
    first, second = pair
    first.freeze()
    second.freeze()
    link = link_to(first, second, clock=SystemClock(), give_up_s=0.0, timeout_s=0.5)
    with pytest.raises(NamenodeUnreachable, match="timed out"):
        link.call(routes.WHOAMI, Nothing())


def test_dead_machine_costs_the_wait_for_one_connection_and_then_rests(
    pair, link_to, monkeypatch
) -> None:
    leader, follower = pair
    monkeypatch.setattr(namenode_link, "CONNECT_MAX_S", 0.3)
    leader.leads, leader.leader = False, ""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as dead:
        address = dead.getsockname()
        url = f"http://127.0.0.1:{address[1]}"
        held = [socket.socket() for _ in range(3)]
        for each in held:  # what it would queue is queued: no more connections are answered
            each.setblocking(False)  # noqa: FBT003 - its only argument
            each.connect_ex(address)
        link = link_to(url, leader, follower, clock=SystemClock())
        follower.leader = url
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(link.call, routes.REMOVE_USER, CHANGE)
            _until(lambda: follower.requests["remove"] >= 4)
            leader.leads = True
            answer.result(10)
        assert link.by_lead[0] == leader.url
        for each in held:
            each.close()


def test_request_that_is_still_worked_on_is_asked_for_again(pair, link_to) -> None:
    leader, follower = pair
    leader.fails = [Overloaded("this very request is being worked on")] * 2
    link_to(leader, follower).call(routes.REMOVE_USER, CHANGE)
    assert len(leader.ids) == 3
    assert len(set(leader.ids)) == 1


def test_one_that_is_asked_by_name_is_not_followed(pair, link_to) -> None:
    _leader, follower = pair
    with pytest.raises(NotLeader, match="it follows"):
        link_to(follower).ask_one(follower.url, routes.WHOAMI, Nothing())


def test_one_that_is_asked_by_name_is_waited_for_as_long_as_said(pair, link_to) -> None:
    leader, _follower = pair
    leader.freeze()
    with pytest.raises(NamenodeUnreachable, match="timed out"):
        link_to(leader).ask_one(leader.url, routes.WHOAMI, Nothing(), patience_s=0.1)


def _until(holds: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(500):
        if holds():
            return
        waiting.wait(0.02)
    pytest.fail("did not come to pass")
