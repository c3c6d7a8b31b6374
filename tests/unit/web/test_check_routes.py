"""Health, fsck and explanations over real HTTP, with the real services behind them."""

import msgspec
import pytest

from dfs.base.decoding import json_reader
from dfs.upkeep.health import CHECKS
from dfs.wire import routes
from dfs.wire.check_api import (
    ExplainReply,
    ExplainRequest,
    FsckReply,
    FsckRequest,
    InvariantReply,
    InvariantRequest,
)
from dfs.wire.health_api import (
    HealthReport,
    HealthRequest,
    HealthRunsReply,
    HealthRunsRequest,
    HealthStatus,
)
from dfs.wire.routes import Route
from tests.namenode_rig import NamenodeRig

ADMIN_ROUTES = (routes.HEALTH, routes.HEALTH_RUNS, routes.FSCK, routes.INVARIANTS, routes.EXPLAIN)


@pytest.mark.parametrize("route", ADMIN_ROUTES, ids=lambda route: route.path)
def test_route_is_for_administrators(namenode: NamenodeRig, admin: str, route: Route) -> None:
    body = msgspec.json.encode({"what": "write", "path": "/"} if route is routes.EXPLAIN else {})
    token = namenode.user(f"u{ADMIN_ROUTES.index(route)}")
    assert namenode.post(route, body, token=token).status == 403
    assert namenode.post(route, body).status == 401
    assert namenode.post(route, body, token=admin).status == 200


def test_health_of_a_cluster_without_datanodes_says_what_to_do(
    namenode: NamenodeRig, admin: str
) -> None:
    answer = namenode.post(routes.HEALTH, HealthRequest(probe=True), token=admin)
    report = json_reader(HealthReport)(answer.raw)
    assert {check.id for check in report.checks} == set(CHECKS)
    (few,) = [check for check in report.checks if check.id == "few_nodes"]
    assert (few.status, few.next) == (HealthStatus.CRITICAL, "dfs-admin join-token")
    assert report.status is HealthStatus.CRITICAL
    kept = namenode.post(routes.HEALTH_RUNS, HealthRunsRequest(), token=admin)
    (run, *_) = json_reader(HealthRunsReply)(kept.raw).runs
    assert "few_nodes" in [check.id for check in run.bad]


def test_fsck_and_the_rules_of_a_new_namespace_hold(namenode: NamenodeRig, admin: str) -> None:
    reply = json_reader(FsckReply)(namenode.post(routes.FSCK, FsckRequest(), token=admin).raw)
    assert (reply.files, reply.next, reply.totals.files) == ([], "", 0)
    assert namenode.post(routes.FSCK, FsckRequest(path="/no"), token=admin).status == 404
    listed = namenode.post(routes.INVARIANTS, InvariantRequest(), token=admin)
    known = json_reader(InvariantReply)(listed.raw)
    for each in known.invariants:
        answer = namenode.post(routes.INVARIANTS, InvariantRequest(number=each.number), token=admin)
        assert json_reader(InvariantReply)(answer.raw).violations == []


def test_write_without_datanodes_is_explained(namenode: NamenodeRig, admin: str) -> None:
    body = ExplainRequest(what="write", path="/f")
    answer = namenode.post(routes.EXPLAIN, body, token=admin)
    reply = json_reader(ExplainReply)(answer.raw)
    assert reply.explained[0].verdict == "would be refused: no DataNode can take it"
    wrong = ExplainRequest(what="dream", path="/f")
    assert namenode.post(routes.EXPLAIN, wrong, token=admin).status == 400


@pytest.mark.parametrize("after", [-(1 << 63), -1, (1 << 63) - 1])
def test_page_of_a_check_may_begin_anywhere(namenode: NamenodeRig, admin: str, after: int) -> None:
    body = InvariantRequest(number="I3", after=after)
    assert namenode.post(routes.INVARIANTS, body, token=admin).status == 200


@pytest.mark.parametrize("digits", [str(1 << 64), "9" * 5000])
def test_node_that_no_database_can_hold_is_refused(
    namenode: NamenodeRig, admin: str, digits: str
) -> None:
    body = msgspec.json.encode({"name": f"dn-{digits}", "duty": "in_service"})
    answer = namenode.post(routes.SET_DUTY, body, token=admin)
    assert answer.status == 400
    assert len(answer.raw) < 500
