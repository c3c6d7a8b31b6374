"""What a NameNode that does not lead says to orders for the leader, and how names are read."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dfs.base.clock import SystemClock
from dfs.base.errors import BadRequest, JobConflict
from dfs.base.events import SilentEmitter
from dfs.failover.desk import FailoverDesk, Lead
from dfs.failover.notes import Notes
from dfs.failover.place import Place
from dfs.failover.roll import MemberRecord, Roll, VoterRecord
from dfs.failover.verifier import Verified
from dfs.ha.effects import Promote
from dfs.wire.ha_api import HaOrderReply, HaOrderRequest

ROLL = Roll(
    7,
    b"s" * 32,
    {
        "nn-1": MemberRecord("u" * 32, "http://a:1", "a", "abcd1"),
        "nn-2": MemberRecord("w" * 32, "http://b:1", "b", "abcd2"),
    },
    {
        "abcd1": VoterRecord("nn-1", "http://a:1", "a"),
        "abcd2": VoterRecord("nn-2", "http://b:1", "b"),
    },
)
PLACE = Place(
    name="nn-2",
    cluster="c",
    url="http://b:1",
    machine="b",
    voter="abcd2",
    preferred="",
    times_s={},
)


class Following:
    """A member that follows, and is told nothing that is not for it."""

    is_leader = False
    known_leader = "nn-1"

    def look(self, _see: object) -> tuple[str, ...]:
        return ("abcd1", "abcd2")

    def tell(self, command: object) -> None:
        raise AssertionError(command)


def a_desk(member: Following | None = None, *, leads: bool = False) -> FailoverDesk:
    writer = object() if leads else None
    return FailoverDesk(
        PLACE,
        member or Following(),  # type: ignore[arg-type]
        Notes(),
        roll=lambda: ROLL,
        lead=Lead(lambda: writer, lambda: None, lambda _roll: None),  # type: ignore[arg-type, return-value]
        clock=SystemClock(),
        emit=SilentEmitter(),
    )


@pytest.mark.parametrize(
    "order", ["switchover", "replace-voter", "remove", "acknowledge-loss", "verify"]
)
def test_order_for_the_leader_is_refused_by_a_standby_at_once(order: str) -> None:
    with pytest.raises(JobConflict) as refused:
        a_desk().order(HaOrderRequest(order=order, member="nn-1"), by="ada")
    assert refused.value.details == {"leader": "http://a:1"}


@pytest.mark.parametrize(
    ("named", "reason"),
    [("wxyz", "no voter is called 'wxyz'"), ("abcd", "2 voters are called 'abcd'")],
)
def test_voter_that_cannot_be_told_from_others_is_refused(named: str, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        a_desk(leads=True).order(HaOrderRequest(order="replace-voter", member=named), by="ada")


@pytest.mark.parametrize(("unproven", "done"), [((), True), (("nn-2",), False)])
def test_verify_is_done_only_where_every_standby_was_proven_equal(
    unproven: tuple[str, ...], *, done: bool
) -> None:
    desk = a_desk(leads=True)
    desk.verifier = Compared(Verified(["nn-2: a line"], unproven))  # type: ignore[assignment]
    assert desk.order(HaOrderRequest(order="verify"), by="ada") == HaOrderReply(
        done=done, said=["nn-2: a line"]
    )


class Compared:
    """Who compared the tables already."""

    line, differing = "", ()

    def __init__(self, outcome: Verified) -> None:
        self._outcome = outcome

    def verify(self) -> Verified:
        return self._outcome


class Busy(Following):
    """A member that does what it is told once the test lets it."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.begun = threading.Event()

    def tell(self, command: object) -> None:
        self.told.append(command)
        self.begun.set()


def test_order_that_comes_while_another_is_carried_out_is_refused_and_not_done() -> None:
    member = Busy()
    desk = a_desk(member)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(desk.order, HaOrderRequest(order="promote", records=5), by="ada")
        assert member.begun.wait(5)
        with pytest.raises(JobConflict, match="another order"):
            desk.order(HaOrderRequest(order="force-lead", records=0), by="bob")
        member.is_leader = True
        assert first.result(5).done
    assert member.told == [Promote("abcd2", 5)]
