"""Who leads, of what several NameNodes say of themselves."""

from msgspec.structs import replace

from dfs.local.failover import leader_of
from dfs.wire.ha_api import HaStatus

STANDBY = HaStatus(
    name="nn-1",
    role="standby",
    leader="nn-2",
    leader_url="",
    epoch=4,
    txid=10,
    mode="automatic",
    why="",
    lossy=False,
    preferred="",
    lease_left_s=-1,
    why_not_serving="",
    members=[],
    voters=[],
    outlook=[],
    last_notes=[],
    refused_letters=0,
    digests="",
)


def test_nobody_leads_where_all_follow_or_say_nothing() -> None:
    assert leader_of((STANDBY, None, replace(STANDBY, role="candidate"))) is None
    assert leader_of(()) is None


def test_who_leads_in_the_highest_epoch_is_believed() -> None:
    old = replace(STANDBY, name="nn-1", role="leader", epoch=3)
    new = replace(STANDBY, name="nn-2", role="leader", epoch=4)
    assert leader_of((old, None, new, STANDBY)) is new
