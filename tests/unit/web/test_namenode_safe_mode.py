"""What a NameNode refuses in safe mode, and what goes on."""

from collections.abc import Iterator

import pytest

from dfs.base.decoding import json_reader
from dfs.base.entropy import new_id
from dfs.base.states import NodeDuty
from dfs.web.handlers import Change, Handlers
from dfs.web.namenode_app import bind_names
from dfs.wire import routes
from dfs.wire.accounts_api import RegisterRequest
from dfs.wire.files_api import MkdirRequest, PathsRequest, RemoveRequest, SetrepRequest
from dfs.wire.routes import Route
from dfs.wire.safety_api import DutyRequest, LeaveSafeModeRequest, SafetyReply
from dfs.wire.shapes import NameRequest, Nothing
from tests.namenode_rig import PASSWORD, NamenodeRig


@pytest.fixture
def held(namenode: NamenodeRig, admin: str) -> Iterator[NamenodeRig]:
    answer = namenode.post(routes.ENTER_SAFE_MODE, Nothing(), token=admin)
    assert answer.status == 200, answer.raw
    yield namenode
    namenode.post(routes.LEAVE_SAFE_MODE, LeaveSafeModeRequest(), token=admin)


def home_of(namenode: NamenodeRig, token: str, name: str, *, request: str = ""):  # type: ignore[no-untyped-def]
    body = MkdirRequest(paths=[f"/user/ada/{name}"])
    return namenode.post(routes.MKDIR, body, token=token, request=request)


def test_every_change_of_names_is_guarded_but_keeping_a_write_alive(namenode: NamenodeRig) -> None:
    handlers = Handlers()
    bind_names(handlers, namenode.process.reign.names)
    unguarded = {
        route.path
        for route, handler in handlers.table.values()
        if isinstance(handler, Change) and not handler.guarded
    }
    assert unguarded == {routes.RENEW.path}


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (routes.MKDIR, MkdirRequest(paths=["/user/ada/x"])),
        (routes.REMOVE, RemoveRequest(paths=["/user/ada/x"])),
        (routes.SETREP, SetrepRequest(paths=["/user/ada/x"], replication=2)),
    ],
)
def test_change_is_refused_with_when_to_try_again(
    held: NamenodeRig, ada: str, route: Route[object, object], body: object
) -> None:
    answer = held.post(route, body, token=ada)
    assert answer.status == 503, answer.raw
    assert answer.error["code"] == "safe_mode"
    assert "dfs-admin safemode leave" in str(answer.error["hint"])
    assert int(answer.headers["Retry-After"]) >= 1


def test_reads_logins_and_administration_go_on(held: NamenodeRig, ada: str, admin: str) -> None:
    assert held.post(routes.STAT, PathsRequest(paths=["/"]), token=ada).status == 200
    assert held.login("ada", PASSWORD) is not None
    grace = RegisterRequest(name=f"u{new_id()[:8]}", password=PASSWORD)
    assert held.post(routes.REGISTER, grace).status == 200
    assert held.post(routes.NODES, Nothing(), token=ada).status == 200
    answer = held.post(routes.SAFETY, Nothing(), token=admin)
    status = json_reader(SafetyReply)(answer.raw)
    assert (status.by_hand, status.safe_mode) == ("admin", "admin said so")
    assert held.send("GET", "/health").json["safe_mode"] is True
    assert b"dfs_safe_mode 1" in held.send("GET", "/metrics").raw


def test_change_that_was_done_before_is_answered_as_it_was(
    namenode: NamenodeRig, ada: str, admin: str
) -> None:
    request = new_id()
    first = home_of(namenode, ada, "done-before", request=request)
    assert first.status == 200, first.raw
    namenode.post(routes.ENTER_SAFE_MODE, Nothing(), token=admin)
    assert home_of(namenode, ada, "done-before", request=request).raw == first.raw
    assert home_of(namenode, ada, "done-before").status == 503
    namenode.post(routes.LEAVE_SAFE_MODE, LeaveSafeModeRequest(), token=admin)
    assert home_of(namenode, ada, "done-after").status == 200


def test_nobody_declares_a_node_empty_by_hand(namenode: NamenodeRig, admin: str) -> None:
    body = DutyRequest(name="dn-1", duty=NodeDuty.DECOMMISSIONED)
    assert namenode.post(routes.SET_DUTY, body, token=admin).status == 400


@pytest.mark.parametrize("route", [routes.LEAVING, routes.TRUST_NODE])
def test_node_that_never_was_is_not_found(
    namenode: NamenodeRig, admin: str, route: Route[NameRequest, object]
) -> None:
    assert namenode.post(route, NameRequest(name="dn-77"), token=admin).status == 404


@pytest.mark.parametrize("route", [routes.ACCEPT_LOSS, routes.ACCEPT_REGRESSION])
def test_nothing_is_accepted_when_nothing_is_lost(
    namenode: NamenodeRig, admin: str, route: Route[Nothing, object]
) -> None:
    assert namenode.post(route, Nothing(), token=admin).status == 409
