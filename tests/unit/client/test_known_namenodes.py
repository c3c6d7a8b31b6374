"""Which NameNodes are known, and whom to leave alone."""

import pytest

from dfs.base.clock import ManualClock
from dfs.base.errors import NotLeader
from dfs.client.known_namenodes import REST_MAX_S, KnownNamenodes
from dfs.wire.leading import NAMENODES_MAX, lead_of

ONE, TWO, THREE = "http://one:9870", "http://two:9870", "http://three:9870"


def _known(*configured: str, clock: ManualClock | None = None) -> KnownNamenodes:
    return KnownNamenodes(configured or (ONE,), clock=clock or ManualClock())


def test_who_led_last_is_asked_first_and_the_others_in_order() -> None:
    known = _known(ONE, TWO, THREE)
    known.led(THREE)
    assert known.order() == [THREE, ONE, TWO]
    assert known.all() == (ONE, TWO, THREE)


def test_one_that_cost_time_rests_and_is_asked_last() -> None:
    clock = ManualClock()
    known = _known(ONE, TWO, clock=clock)
    known.fell_silent(ONE, 2.0)
    assert known.order() == [TWO, ONE]
    assert known.is_resting(ONE)
    clock.advance(4.0)
    assert not known.is_resting(ONE)
    known.fell_silent(ONE, 30.0)
    clock.advance(REST_MAX_S)
    assert not known.is_resting(ONE), "it rests for seconds, however long it cost"


def test_one_that_refuses_connections_costs_nothing_and_does_not_rest() -> None:
    known = _known(ONE, TWO)
    known.fell_silent(ONE, 0.0)
    assert not known.is_resting(ONE)
    assert known.order() == [TWO, ONE], "but another is asked first"


def test_one_that_answers_rests_no_more() -> None:
    known = _known(ONE, TWO)
    known.fell_silent(ONE, 2.0)
    known.led(ONE)
    assert known.order() == [ONE, TWO]


def test_what_is_learnt_is_bounded_and_the_configured_stay() -> None:
    known = _known(ONE)
    for number in range(3 * NAMENODES_MAX):
        known.learn([f"http://nn{number}:1"])
    assert len(known) == NAMENODES_MAX
    assert known.all()[:2] == (ONE, f"http://nn{3 * NAMENODES_MAX - 1}:1")


def test_whole_list_of_the_leader_takes_the_place_of_what_was_learnt() -> None:
    known = _known(ONE)
    known.learn([TWO])
    known.led(TWO)
    known.learn([ONE + "/", THREE], these_alone=True)
    assert known.all() == (ONE, THREE)
    assert known.by_lead() == (ONE, THREE)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9870", "http://localhost:1", "http://[::1]:2"])
def test_other_computers_own_loopback_is_no_address_here(url: str) -> None:
    known = _known(ONE)
    known.learn([url])
    assert known.all() == (ONE,)
    near = _known("http://127.0.0.1:9870")
    near.learn([url])
    assert url in near.all()


@pytest.mark.parametrize(
    "leader", [None, 7, "", "nn1:9870", "http://a b", "http://a\r\nX: y", "http://" + "a" * 400]
)
def test_leader_that_is_no_address_is_none(leader: object) -> None:
    refusal = NotLeader("it follows", details={"leader": leader, "namenodes": [leader, ONE + "/"]})
    assert lead_of(refusal) == ("", (ONE,))


def test_refusal_without_details_names_nobody() -> None:
    assert lead_of(NotLeader("it follows")) == ("", ())
    assert lead_of(NotLeader("it follows", details={"namenodes": "http://a"})) == ("", ())
