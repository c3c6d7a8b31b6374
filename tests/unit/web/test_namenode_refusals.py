"""What a NameNode refuses, how it says so, and what it leaves behind."""

import http.client
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from dfs.base.entropy import new_id
from dfs.settings.sections import LimitsConfig
from dfs.wire import routes
from dfs.wire.files_api import MkdirRequest, PathsRequest, RemoveRequest
from dfs.wire.http_link import REQUEST_ID_HEADER
from dfs.wire.routes import ROUTES, Caller, Route
from tests.namenode_rig import ONE_TIME, NamenodeRig

WANT_A_CREDENTIAL = [route for route in ROUTES if route.caller is not Caller.ANYONE]
FOR_ADMINS = [route for route in ROUTES if route.caller is Caller.ADMIN]
FOR_SESSIONS = [r for r in ROUTES if r.caller in (Caller.SESSION, Caller.ADMIN)]


def _path(route: Route) -> str:
    return route.path


@pytest.mark.parametrize("route", WANT_A_CREDENTIAL, ids=_path)
def test_route_answers_401_without_a_credential(namenode: NamenodeRig, route: Route) -> None:
    answer = namenode.post(route, {})
    assert answer.status == 401
    assert answer.error["code"] in ("not_logged_in", "node_not_joined")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["dfs_forged", "dfsn_forged", "", "x", "dfs_~"])
@pytest.mark.parametrize("route", [routes.STAT, routes.BEAT], ids=_path)
def test_route_answers_401_to_a_forged_credential(
    namenode: NamenodeRig, route: Route, token: str
) -> None:
    answer = namenode.send(
        "POST", route.path, body=b"{}", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status == 401


def test_route_answers_401_to_another_scheme(namenode: NamenodeRig) -> None:
    answer = namenode.send(
        "POST", routes.STAT.path, body=b"{}", headers={"Authorization": "Basic YTpi"}
    )
    assert answer.status == 401


def test_session_of_a_user_is_no_credential_of_a_node(namenode: NamenodeRig, ada: str) -> None:
    assert namenode.post(routes.BEAT, {}, token=ada).status == 401


@pytest.mark.parametrize("route", FOR_ADMINS, ids=_path)
def test_route_of_administrators_answers_403_to_a_user(
    namenode: NamenodeRig, ada: str, route: Route
) -> None:
    answer = namenode.post(route, {}, token=ada)
    assert (answer.status, answer.error["code"]) == (403, "permission_denied")


@pytest.mark.parametrize("route", FOR_SESSIONS, ids=_path)
def test_unknown_field_is_refused_by_name(namenode: NamenodeRig, admin: str, route: Route) -> None:
    answer = namenode.post(route, {"surprise": 1}, token=admin)
    assert (answer.status, answer.error["code"]) == (400, "bad_request")
    assert "surprise" in str(answer.error["message"]) or "missing" in str(answer.error["message"])


@pytest.mark.parametrize("field", ["user", "user.name", "owner", "as_user"])
def test_user_who_is_named_in_a_request_is_refused(
    namenode: NamenodeRig, ada: str, field: str
) -> None:
    made = namenode.post(routes.MKDIR, {"paths": ["/user/ada/x"], field: "admin"}, token=ada)
    assert (made.status, made.error["code"]) == (400, "bad_request")
    assert f"`{field}`" in str(made.error["message"])
    asked = namenode.send("GET", f"{routes.STAT.path}?paths=/&{field}=admin", token=ada)
    assert asked.status == 400
    assert f"`{field}`" in str(asked.error["message"])


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"paths": ["/"], "surprise": 1}', "`surprise`"),
        (b"{}", "`paths`"),
        (b'{"paths": []}', "length >= 1"),
        (b'{"paths": "/"}', "$.paths"),
        (b'{"paths": ["/", 7]}', "$.paths[1]"),
        (b'{"paths": ["/"], "as_of": "1"}', "$.as_of"),
        (b"[]", "object"),
        (b"{", "not understood"),
        (b'{"paths": ["\xff"]}', "utf-8"),
        (b"[" * 100_000, "not understood"),
    ],
)
def test_body_that_cannot_be_read_is_refused_by_what_is_wrong(
    namenode: NamenodeRig, ada: str, body: bytes, named: str
) -> None:
    answer = namenode.post(routes.STAT, body, token=ada)
    assert (answer.status, answer.error["code"]) == (400, "bad_request")
    assert named in str(answer.error["message"])


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**40])
@pytest.mark.parametrize(
    ("route", "body", "where"),
    [
        (routes.STAT, {"paths": ["/"], "as_of": None}, "$.as_of"),
        (routes.TRASH, {"before_entry": None}, "$.before_entry"),
        (routes.RENEW, {"items": [{"inode": None, "lease": "x"}]}, "$.items[0].inode"),
    ],
    ids=lambda given: given.path if isinstance(given, Route) else "",
)
def test_number_beyond_64_bits_is_refused_by_the_name_of_its_field(
    namenode: NamenodeRig, ada: str, route: Route, body: dict, where: str, number: int
) -> None:
    raw = msgspec.json.encode(body).replace(b"null", str(number).encode())
    answer = namenode.post(route, raw, token=ada)
    assert (answer.status, answer.error["code"]) == (400, "bad_request")
    assert where in str(answer.error["message"])


def test_unknown_query_parameter_is_refused_by_name(namenode: NamenodeRig, ada: str) -> None:
    answer = namenode.send("GET", "/v1/fs/stat?paths=/&surprise=1", token=ada)
    assert answer.status == 400
    assert "`surprise`" in str(answer.error["message"])


def test_address_that_is_none_answers_404(namenode: NamenodeRig) -> None:
    answer = namenode.send("POST", "/v1/fs/nothing", body=b"{}")
    assert answer.status == 404
    assert "/v1/fs/nothing" in str(answer.error["message"])


def test_method_that_is_not_served_answers_405_and_says_which_is(namenode: NamenodeRig) -> None:
    answer = namenode.send("DELETE", routes.STAT.path)
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_missing_path_is_an_outcome_and_not_a_refusal(namenode: NamenodeRig, ada: str) -> None:
    answer = namenode.post(routes.STAT, PathsRequest(paths=["/", "/missing"]), token=ada)
    assert answer.status == 200
    first, second = msgspec.json.decode(answer.raw)["outcomes"]
    assert first["value"]["path"] == "/"
    assert second["error"]["code"] == "path_not_found"


def test_list_of_a_missing_path_answers_404(namenode: NamenodeRig, ada: str) -> None:
    answer = namenode.post(routes.LIST, {"path": "/missing"}, token=ada)
    assert (answer.status, answer.error["code"]) == (404, "path_not_found")


def test_registering_a_taken_name_answers_409(namenode: NamenodeRig, ada: str) -> None:
    body = {"name": "ada", "password": "another twelve letters"}
    answer = namenode.post(routes.REGISTER, body)
    assert (answer.status, answer.error["code"]) == (409, "user_exists")


def test_atomic_batch_that_conflicts_answers_409_and_does_nothing(
    namenode: NamenodeRig, ada: str
) -> None:
    body = MkdirRequest(paths=["/user/ada/one", "/user/ada"], atomic=True)
    answer = namenode.post(routes.MKDIR, body, token=ada)
    assert (answer.status, answer.error["code"]) == (409, "path_exists")
    stat = namenode.post(routes.STAT, PathsRequest(paths=["/user/ada/one"]), token=ada)
    assert b"path_not_found" in stat.raw


def test_directory_of_another_is_denied_and_the_trail_says_so(
    namenode: NamenodeRig, ada: str
) -> None:
    body = RemoveRequest(paths=["/user/admin"], recursive=True, atomic=True)
    answer = namenode.post(routes.REMOVE, body, token=ada)
    assert (answer.status, answer.error["code"]) == (403, "permission_denied")
    line = namenode.audit_lines()[-1]
    assert (line["user"], line["action"], line["path"], line["outcome"]) == (
        "ada",
        "fs.remove",
        "/user/admin",
        "permission_denied",
    )


def test_denied_read_in_a_batch_leaves_a_line(namenode: NamenodeRig, ada: str) -> None:
    answer = namenode.post(routes.STAT, PathsRequest(paths=["/user/admin/x"]), token=ada)
    assert b"permission_denied" in answer.raw
    line = namenode.audit_lines()[-1]
    assert (line["action"], line["outcome"]) == ("fs.stat", "permission_denied")
    assert line["refused"] == {"permission_denied": 1}


def test_request_without_a_right_is_audited_with_its_address(namenode: NamenodeRig) -> None:
    answer = namenode.post(routes.DU, {"paths": ["/"]})
    line = namenode.audit_lines()[-1]
    assert line["request"] == answer.headers[REQUEST_ID_HEADER]
    assert (line["action"], line["address"], line["outcome"]) == (
        "fs.du",
        "127.0.0.1",
        "not_logged_in",
    )


@pytest.mark.parametrize("request_id", ["short", "g" * 32, "A" * 32, "0" * 33])
def test_request_id_that_is_none_is_refused(
    namenode: NamenodeRig, ada: str, request_id: str
) -> None:
    answer = namenode.post(routes.WHOAMI, {}, token=ada, request=request_id)
    assert answer.status == 400
    assert REQUEST_ID_HEADER in str(answer.error["message"])


def test_request_id_comes_back_and_is_made_where_there_was_none(
    namenode: NamenodeRig, ada: str
) -> None:
    given = new_id()
    assert namenode.post(routes.WHOAMI, {}, token=ada, request=given).headers[
        REQUEST_ID_HEADER
    ] == (given)
    made = namenode.post(routes.WHOAMI, {}, token=ada).headers[REQUEST_ID_HEADER]
    assert len(made) == 32


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamenodeRig]:
    limits = LimitsConfig(body_bytes_max=4096, header_bytes_max=4096, batch_items_max=3)
    rig = NamenodeRig(tmp_path_factory.mktemp("small") / "data", limits=limits)
    yield rig
    rig.stop()


def test_one_time_password_must_be_replaced_first(small: NamenodeRig) -> None:
    first = small.login("admin", ONE_TIME)
    assert first is not None
    assert first.must_change_password
    answer = small.post(routes.STAT, PathsRequest(paths=["/"]), token=first.token)
    assert (answer.status, answer.error["code"]) == (403, "password_expired")
    assert small.audit_lines()[-1]["user"] == "admin"
    assert small.post(routes.WHOAMI, {}, token=first.token).status == 200


def test_batch_with_too_many_items_is_refused(small: NamenodeRig) -> None:
    token = small.admin()
    body = PathsRequest(paths=["/"] * 4)
    answer = small.post(routes.STAT, body, token=token)
    assert (answer.status, answer.error["code"]) == (400, "limit_exceeded")
    assert "paths holds 4 items" in str(answer.error["message"])
    assert small.post(routes.STAT, PathsRequest(paths=["/"] * 3), token=token).status == 200


def test_body_that_is_too_large_answers_413(small: NamenodeRig) -> None:
    answer = small.send("POST", routes.STAT.path, body=b" " * 5000)
    assert (answer.status, answer.error["code"]) == (413, "limit_exceeded")


def test_headers_that_are_too_large_answer_431(small: NamenodeRig) -> None:
    answer = small.send("GET", "/health", headers={"X-Long": "x" * 9000})
    assert (answer.status, answer.error["code"]) == (431, "limit_exceeded")


def test_request_that_is_no_http_is_answered_in_our_shape(small: NamenodeRig) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", small.process.http.port, timeout=10)
    connection.putrequest("POST", "/v1/fs/stat", skip_accept_encoding=True)
    connection.putheader("Content-Length", "many")
    connection.endheaders()
    got = connection.getresponse()
    assert got.status == 400
    assert msgspec.json.decode(got.read())["error"]["code"] == "bad_request"
    connection.close()


def test_bug_answers_500_without_a_stack_and_logs_one(tmp_path: Path) -> None:
    rig = NamenodeRig(tmp_path / "data")
    token = rig.admin()
    with closing(sqlite3.connect(rig.folder.database)) as raw:
        raw.execute('DROP TABLE "group"')  # what no statement of ours expects
    request = new_id()
    answer = rig.post(routes.USERS, {}, token=token, request=request)
    assert (answer.status, answer.error["code"]) == (500, "bug")
    assert answer.error["details"] == {"request": request}
    assert b"Traceback" not in answer.raw
    bug = next(line for line in rig.log_lines() if line["event"] == "bug.unhandled")
    assert bug["request"] == request
    assert "Traceback" in str(bug["stack"])
    rig.stop()


def test_database_that_went_away_answers_503(tmp_path: Path) -> None:
    rig = NamenodeRig(tmp_path / "data")
    token = rig.admin()
    rig.process.reign.database.reader.close()  # so that the next read opens the file anew
    rig.folder.database.rename(tmp_path / "gone")
    answer = rig.post(routes.USERS, {}, token=token)
    assert (answer.status, answer.error["code"]) == (503, "database_unavailable")
    rig.stop()
