"""What a NameNode says of failover: of its own lag only while it hears who leads."""

import pytest

from dfs.base.entropy import Random
from dfs.failover.roll import Roll
from dfs.failover.status_page import NOBODY_KNOWS, Seen, status_of
from dfs.ha.ground import Conduct, Ground
from dfs.ha.rows import Position, joining_row
from dfs.ha.timers import Timers

HEAD = Position(epoch=3, txid=17, hash=b"h")


def _own_lag(*, leader: str, silent_s: float) -> int:
    """What `nn-2` says it lacks, whose leader told it of 21 records then."""
    row = joining_row(cluster="c" * 32, member="nn-2")
    timers = Timers()
    ground = Ground(
        row, head=HEAD, timers=timers, conduct=Conduct(peers=()), rng=Random(1), now_s=100.0
    )
    seen = Seen(
        ground=ground,
        role="standby",
        leader=leader,
        why_no_service="",
        heard_s=100.0 - silent_s,
        lead_txid=21,
        now_s=100.0,
        view=None,
    )
    page = status_of(seen, Roll(), "nn-2", preferred="", notes=(), refused_letters=0, digests="")
    (line,) = page.members
    return line.lag_records


def test_a_standby_in_contact_says_how_many_records_it_lacks() -> None:
    assert _own_lag(leader="nn-1", silent_s=0.2) == 4


@pytest.mark.parametrize(("leader", "silent_s"), [("nn-1", 60.0), ("", 0.2)])
def test_a_standby_out_of_contact_does_not_say_that_it_lacks_nothing(
    leader: str, silent_s: float
) -> None:
    assert _own_lag(leader=leader, silent_s=silent_s) == NOBODY_KNOWS
