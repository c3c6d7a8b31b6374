"""What a NameNode shows of failover: to anybody, to Prometheus, to administrators, in the trail."""

import math

import pytest

from dfs.base.decoding import json_reader
from dfs.failover.gauges import add_failover_gauges
from dfs.failover.outbox import Correspondence
from dfs.failover.post_office import PostState
from dfs.observe.metrics import Metrics
from dfs.web.status import failover_line
from dfs.wire import routes
from dfs.wire.ha_api import HaOrderReply, HaOrderRequest, HaStatus, MemberLine, VoterLine
from dfs.wire.health_api import HealthReport, HealthStatus
from tests.namenode_rig import NamenodeRig

LEADER = MemberLine("nn-1", "http://nn-1", "m1", "leader", in_sync=True, lag_records=0, silent_s=0)
NEAR = MemberLine("nn-2", "http://nn-2", "m2", "standby", in_sync=True, lag_records=3, silent_s=0.1)
FAR = MemberLine("nn-3", "http://nn-3", "m3", "standby", in_sync=False, lag_records=70, silent_s=1)


def a_page(**more: object) -> HaStatus:
    """As the leader of three sees it."""
    usual = {
        "name": "nn-1",
        "role": "leader",
        "leader": "nn-1",
        "leader_url": "http://nn-1",
        "epoch": 7,
        "txid": 99,
        "mode": "automatic",
        "why": "3 voters",
        "lossy": False,
        "preferred": "",
        "lease_left_s": 3.5,
        "why_not_serving": "",
        "members": [LEADER, NEAR, FAR],
        "voters": [
            VoterLine("v1", "nn-1", "m1", 0.1, answers=True),
            VoterLine("v2", "nn-2", "m2", 0.1, answers=True),
            VoterLine("v3", "nn-3", "m3", 70.0, answers=False),
        ],
        "outlook": [],
        "last_notes": [],
        "refused_letters": 0,
        "digests": "",
    }
    return HaStatus(**(usual | more))  # type: ignore[arg-type]


STANDBY_PAGE = a_page(
    name="nn-3",
    role="standby",
    lease_left_s=-1.0,
    why_not_serving="it follows",
    voters=[VoterLine("v1", "nn-1", "m1", -1.0)] * 3,
)


class Shown:
    """A desk that says this."""

    def __init__(self, page: HaStatus, post: PostState | None = None) -> None:
        self.page, self.post = page, post

    def status(self) -> HaStatus:
        return self.page

    def post_state(self) -> PostState | None:
        return self.post


def numbers(text: str, prefix: str) -> dict[str, float]:
    lines = [line.split() for line in text.splitlines() if line.startswith(prefix)]
    return {name: float(value) for name, value in lines}


def gauges(shown: Shown, prefix: str) -> dict[str, float]:
    metrics = Metrics()
    add_failover_gauges(metrics, shown)
    return numbers(metrics.exposition().decode(), prefix)


def test_leader_shows_how_failover_stands() -> None:
    assert gauges(Shown(a_page(lossy=True)), "dfs_ha_") == {
        "dfs_ha_leads": 1,
        "dfs_ha_epoch": 7,
        "dfs_ha_members": 3,
        "dfs_ha_members_in_sync": 2,
        "dfs_ha_lag_records": 70,
        "dfs_ha_voters": 3,
        "dfs_ha_voters_answering": 2,
        "dfs_ha_lease_left_seconds": 3.5,
        "dfs_ha_lossy": 1,
    }


def test_standby_shows_the_same_names_and_nothing_that_it_does_not_know() -> None:
    shown = gauges(Shown(STANDBY_PAGE), "dfs_ha_")
    assert set(shown) == set(gauges(Shown(a_page()), "dfs_ha_"))
    assert (shown["dfs_ha_leads"], shown["dfs_ha_lag_records"]) == (0, 70)
    unknown = {name for name, value in shown.items() if math.isnan(value)}
    assert unknown == {"dfs_ha_voters_answering", "dfs_ha_lease_left_seconds"}


def test_letters_are_counted_by_what_became_of_them() -> None:
    post = PostState(1, 2, 3, 4, (Correspondence("http://nn-2", 5, 0, ""),), sent=50, dropped=6)
    assert gauges(Shown(a_page(), post), "dfs_letters_") == {
        "dfs_letters_sent": 50,
        "dfs_letters_dropped": 6,
        "dfs_letters_received": 1,
        "dfs_letters_misdirected": 2,
        "dfs_letters_refused": 3,
        "dfs_letters_undeliverable": 4,
    }
    assert set(gauges(Shown(a_page()), "dfs_letters_").values()) == {0}


def test_health_of_a_standby_says_where_the_leader_is_and_how_far_it_is_behind() -> None:
    line = failover_line(STANDBY_PAGE)
    assert (line.leader, line.serves) == ("http://nn-1", False)
    assert (line.in_sync, line.lag_records) == (False, 70)
    line = failover_line(a_page())
    assert (line.serves, line.others, line.others_in_sync) == (True, 2, 1)


# ---- a NameNode alone


def test_a_namenode_alone_says_so_to_anybody(namenode: NamenodeRig) -> None:
    assert namenode.send("GET", "/health").json["failover"] == {
        "mode": "single",
        "leader": namenode.url,
        "serves": True,
        "in_sync": True,
        "lag_records": 0,
        "others": 0,
        "others_in_sync": 0,
    }
    shown = numbers(namenode.send("GET", "/metrics").raw.decode(), "dfs_ha_")
    assert (shown["dfs_ha_leads"], shown["dfs_ha_members"], shown["dfs_ha_voters"]) == (1, 1, 0)


def test_a_namenode_alone_has_no_trouble_with_failover(namenode: NamenodeRig, admin: str) -> None:
    report = namenode.post(routes.HEALTH, {}, token=admin)
    checks = {each.id: each for each in json_reader(HealthReport)(report.raw).checks}
    of_failover = (
        "lossy",
        "standby_differs",
        "standby_missing",
        "standby_lagging",
        "voters_short",
        "lease_slow",
        "letters_refused",
        "namenode_version_skew",
        "failover_mode",
    )
    assert {checks[check].status for check in of_failover} == {HealthStatus.OK}


@pytest.mark.parametrize(
    ("order", "path", "outcome"),
    [
        (HaOrderRequest(order="switchover", member="nn-9"), "switchover nn-9", "bad_request"),
        (HaOrderRequest(order="switchover"), "switchover", "job_conflict"),
        (HaOrderRequest(order="switchover", member="nn-1"), "switchover nn-1", "ok"),
        (HaOrderRequest(order="acknowledge-loss"), "acknowledge-loss", "ok"),
        (
            HaOrderRequest(order="replace-voter", member="abcd", fresh="efgh"),
            "replace-voter abcd -> efgh",
            "bad_request",
        ),
        (HaOrderRequest(order="promote", records=12), "promote 12 records", "job_conflict"),
    ],
    ids=lambda each: each.order if isinstance(each, HaOrderRequest) else "",
)
def test_trail_says_what_was_ordered_of_failover_and_what_came_of_it(
    order: HaOrderRequest, path: str, outcome: str, namenode: NamenodeRig, admin: str
) -> None:
    namenode.post(routes.HA_ORDER, order, token=admin)
    line = namenode.audit_lines()[-1]
    assert (line["user"], line["action"], line["path"]) == ("admin", "ha.order", path)
    assert line["outcome"] == outcome


def test_loss_that_there_was_none_of_needs_no_acknowledgement(
    namenode: NamenodeRig, admin: str
) -> None:
    reply = namenode.post(routes.HA_ORDER, HaOrderRequest(order="acknowledge-loss"), token=admin)
    assert json_reader(HaOrderReply)(reply.raw).said == ["no loss is known of"]
