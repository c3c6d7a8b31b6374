"""Who is on the roll of a cluster: few enough that every daemon can be told of all of them."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from dfs.base.errors import BadRequest, LimitExceeded
from dfs.failover.post_office import check_book
from dfs.failover.roll import (
    MEMBERS_MAX,
    NODES_MAX,
    MemberRecord,
    Roll,
    VoterRecord,
    member_name,
    voters_to_forget,
    voters_to_keep,
)
from dfs.ha.rows import VoterSet
from dfs.nodes.node_rows import TokenRecord, put_token, secret_hash
from dfs.wire.ha_api import JoinMemberRequest
from tests.namenode_rig import NamenodeRig
from tests.unit.failover.post_rig import eventually

MANY = 200


def node(number: int, machine: str = "") -> VoterRecord:
    return VoterRecord(f"dn-{number}", f"http://n{number}:9866", machine or f"m{number}")


def members(count: int) -> dict[str, MemberRecord]:
    return {
        member_name(n): MemberRecord(f"{n}", f"http://nn{n}:9870", f"m{n}", f"v{n}")
        for n in range(1, count + 1)
    }


def voters_of(roll: Roll) -> Roll:
    of_members = {m.voter: VoterRecord(n, m.url, m.machine) for n, m in roll.members.items()}
    return replace(roll, voters=roll.voters | of_members)


def kept(roll: Roll, voters: VoterSet, alive: dict[str, VoterRecord]) -> Roll:
    """As it is after one look of the steward."""
    there = voters_to_keep(roll, voters, alive)
    gone = voters_to_forget(roll, voters, set(there))
    stay = {voter: record for voter, record in roll.voters.items() if voter not in gone}
    return replace(roll, voters=stay | there)


def test_everybody_can_be_told_of_the_largest_cluster() -> None:
    roll = voters_of(Roll(members=members(MEMBERS_MAX)))
    alive = {f"{n:032}": node(n) for n in range(MANY)}
    roll = kept(roll, VoterSet(1, 1, (f"{MANY - 1:032}",)), alive)
    check_book(roll.correspondents({}).urls)
    assert f"{MANY - 1:032}" in roll.voters, "it votes"


def test_who_is_on_the_roll_stays_and_machines_without_a_voter_come_first() -> None:
    roll = voters_of(Roll(members=members(1), voters={"z": node(0, "m9")}))
    alive = {f"{n:032}": node(n, "m1") for n in range(MANY)}
    alive |= {"y": node(300, "m3"), "z": node(0, "m9")}
    found = voters_to_keep(roll, VoterSet(1, 1, ()), alive)
    assert list(found)[:2] == ["z", "y"]
    assert len(found) == NODES_MAX


def test_voter_that_nobody_could_write_to_is_not_on_the_roll() -> None:
    alive = {"a": VoterRecord("dn-1", "no address", "m1"), "b": node(2, "m" * 300)}
    assert voters_to_keep(Roll(), VoterSet(1, 1, ()), alive) == {}


@pytest.fixture
def rig(tmp_path: Path) -> NamenodeRig:
    return NamenodeRig(tmp_path / "data")


def test_newcomer_that_nobody_could_write_to_is_not_let_in(rig: NamenodeRig) -> None:
    process = rig.process
    eventually(lambda: process.helm.reign is not None)
    writer, desk = process.reign.database.writer, process.desk
    token = TokenRecord(9, secret_hash("t"), MANY, 1 << 50)
    writer.submit(lambda txn: put_token(txn, token))

    def join(number: int, url: str = "", machine: str = "m") -> str:
        request = JoinMemberRequest(
            token="t",
            uuid=f"{number:032}",
            url=url or f"http://n{number}:1",
            machine=machine,
            voter=f"{number:032}",
            times_s=process.place.times_s,
        )
        return desk.admit(writer, request).name

    try:
        for url, machine in (("http://" + "x" * 2_000_000, "m"), ("n1:80", "m"), ("", "m" * 999)):
            with pytest.raises(BadRequest, match="nobody could write"):
                join(1, url, machine)
        names = [join(number) for number in range(2, MEMBERS_MAX + 1)]
        with pytest.raises(LimitExceeded):
            join(MANY)
        assert join(2) == names[0], "asked again"
    finally:
        rig.stop()
