"""What is remembered of failover between two looks, and what other NameNodes say they run."""

import msgspec
import pytest
from msgspec.structs import replace

from dfs.base.clock import ManualClock
from dfs.base.errors import NamenodeUnreachable
from dfs.failover.outbox import Correspondence
from dfs.failover.post_office import PostState
from dfs.upkeep.failover_watch import LETTERS_S, FailoverWatch
from dfs.wire.ha_api import HaStatus, MemberLine, VoterLine

LEADER = MemberLine("nn-1", "http://nn-1", "m1", "leader", True, 0, 0.0)  # noqa: FBT003 - in_sync
STANDBY = MemberLine("nn-2", "http://nn-2", "m2", "standby", True, 0, 0.1)  # noqa: FBT003
LEASE_S = 4.0


class Seen:
    """Failover as the watch is shown it."""

    def __init__(self) -> None:
        self.page = HaStatus(
            name="nn-1",
            role="leader",
            leader="nn-1",
            leader_url="http://nn-1",
            epoch=3,
            txid=9,
            mode="automatic",
            why="3 voters",
            lossy=False,
            preferred="",
            lease_left_s=3.9,
            why_not_serving="",
            members=[LEADER, STANDBY],
            voters=[VoterLine("v1", "nn-1", "m1", 0.1), VoterLine("v2", "dn-1", "m3", 0.2)],
            outlook=[],
            last_notes=[],
            refused_letters=0,
            digests="",
        )
        self.post = PostState(0, 0, 0, 0, ())

    def status(self) -> HaStatus:
        return self.page

    def post_state(self) -> PostState:
        return self.post

    def change(self, **more: object) -> None:
        self.page = replace(self.page, **more)  # type: ignore[arg-type]


class Answers:
    """What is said at each `/health`; no answer where nothing is."""

    def __init__(self, **said: bytes) -> None:
        self.said = {f"http://{name.replace('_', '-')}/health": raw for name, raw in said.items()}
        self.asked: list[str] = []

    def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.said:
            raise NamenodeUnreachable("no answer")
        return self.said[url]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def watch(seen: Seen, clock: ManualClock) -> FailoverWatch:
    return FailoverWatch(seen, node_machines=lambda: {"m3", "m4"}, lease_s=LEASE_S, clock=clock)


def test_time_out_of_sync_counts_without_a_break(
    watch: FailoverWatch, seen: Seen, clock: ManualClock
) -> None:
    behind = replace(STANDBY, in_sync=False, lag_records=7)
    seen.change(members=[LEADER, behind])
    watch.look_once()
    clock.advance(50)
    assert watch.facts().standbys[0].behind_s == 50
    seen.change(members=[LEADER, STANDBY])
    watch.look_once()
    seen.change(members=[LEADER, behind])
    watch.look_once()
    clock.advance(5)
    assert watch.facts().standbys[0].behind_s == 5


def test_who_was_never_heard_is_silent_since_it_is_looked_for(
    watch: FailoverWatch, seen: Seen, clock: ManualClock
) -> None:
    never = replace(STANDBY, role="unknown", silent_s=-1.0)
    mute = VoterLine("v9", "?", "?", -1.0)
    seen.change(members=[LEADER, never], voters=[mute])
    assert not watch.facts().standbys[0].heard
    clock.advance(30)
    facts = watch.facts()
    assert (facts.standbys[0].silent_s, facts.voters[0].silent_s) == (30, 30)
    assert facts.voters_since_s == 30


def test_machines_are_those_where_something_lives(watch: FailoverWatch, seen: Seen) -> None:
    assert watch.facts().machines == 4
    seen.change(members=[LEADER, replace(STANDBY, role="unknown")])
    assert watch.facts().machines == 3


def test_letters_refused_are_news_for_ten_minutes(
    watch: FailoverWatch, seen: Seen, clock: ManualClock
) -> None:
    seen.post = PostState(9, 0, 2, 0, ())
    watch.look_once()
    assert watch.facts().letters.refused == 0, "of before this reign"
    seen.post = PostState(9, 0, 5, 0, ())
    assert watch.facts().letters.refused == 3
    clock.advance(LETTERS_S)
    watch.look_once()
    clock.advance(LETTERS_S)
    watch.look_once()
    assert watch.facts().letters.refused == 0


def test_machine_that_refuses_our_letters_is_named_and_one_that_is_down_is_not(
    watch: FailoverWatch, seen: Seen
) -> None:
    seen.post = PostState(
        0,
        0,
        0,
        0,
        (
            Correspondence("http://m2", 0, 3, "http://m2 answered 403: the seal", 403),
            Correspondence("http://m3", 0, 3, "no answer from http://m3", 0),
            Correspondence("http://m4", 0, 3, "http://m4 answered 503: starting", 503),
        ),
    )
    assert list(watch.facts().letters.errors) == ["http://m2 answered 403: the seal"]


def test_lease_counts_as_low_below_its_half(watch: FailoverWatch, seen: Seen) -> None:
    for left_s in (3.9, 1.9, 0.1):
        seen.change(lease_left_s=left_s)
        watch.look_once()
    seen.change(lease_left_s=-1.0)  # none is needed
    watch.look_once()
    lease = watch.facts().lease
    assert (lease.looks, lease.low) == (3, 2)


def test_others_are_asked_what_they_run_and_who_says_nothing_runs_nothing_known(
    watch: FailoverWatch, seen: Seen
) -> None:
    third = replace(STANDBY, name="nn-3", url="http://nn-3")
    fourth = replace(STANDBY, name="nn-4", url="http://nn-4")
    seen.change(members=[LEADER, STANDBY, third, fourth])
    answers = Answers(nn_2=msgspec.json.encode({"version": "0.9", "status": "ok"}), nn_3=b"<html>")
    watch.ask_once(answers)
    assert "http://nn-1/health" not in answers.asked
    assert [each.version for each in watch.facts().standbys] == ["0.9", "", ""]
