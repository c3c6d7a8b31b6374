"""What a NameNode answers: reads by POST and GET, changes once however often they are asked."""

from concurrent.futures import ThreadPoolExecutor

import msgspec

from dfs import __version__
from dfs.base.decoding import json_reader
from dfs.base.entropy import new_id
from dfs.wire import routes
from dfs.wire.accounts_api import PasswordRequest, RegisterRequest
from dfs.wire.files_api import MkdirRequest, MoveRequest, PairRequest, PathsRequest, RemoveRequest
from dfs.wire.nodes_api import ClusterReply
from tests.namenode_rig import PASSWORD, NamenodeRig


def test_same_change_asked_twice_happens_once_and_answers_the_same(
    namenode: NamenodeRig, ada: str
) -> None:
    request, body = new_id(), MkdirRequest(paths=["/user/ada/twice"])
    first = namenode.post(routes.MKDIR, body, token=ada, request=request)
    txid, lines = namenode.process.reign.database.writer.txid, len(namenode.audit_lines())
    second = namenode.post(routes.MKDIR, body, token=ada, request=request)
    assert first.status == second.status == 200
    assert first.raw == second.raw
    assert namenode.process.reign.database.writer.txid == txid
    assert len(namenode.audit_lines()) == lines


def test_change_asked_again_under_a_new_id_is_another_request(
    namenode: NamenodeRig, ada: str
) -> None:
    body = MkdirRequest(paths=["/user/ada/again"])
    namenode.post(routes.MKDIR, body, token=ada, request=new_id())
    second = namenode.post(routes.MKDIR, body, token=ada, request=new_id())
    assert b"path_exists" in second.raw


def test_request_id_of_one_user_says_nothing_to_another(namenode: NamenodeRig, ada: str) -> None:
    request = new_id()
    namenode.post(routes.MKDIR, MkdirRequest(paths=["/user/ada/mine"]), token=ada, request=request)
    bob = namenode.user("bob")
    other = namenode.post(
        routes.MKDIR, MkdirRequest(paths=["/user/bob/mine"]), token=bob, request=request
    )
    assert b"/user/bob/mine" in other.raw


def test_request_id_on_another_body_is_another_request(namenode: NamenodeRig, ada: str) -> None:
    request = new_id()
    for name in ("/user/ada/one", "/user/ada/two"):
        body = MkdirRequest(paths=[name])
        answer = namenode.post(routes.MKDIR, body, token=ada, request=request)
        assert name.encode() in answer.raw


def test_request_id_on_another_route_is_another_request(namenode: NamenodeRig, ada: str) -> None:
    request, paths = new_id(), ["/user/ada/brief"]
    namenode.post(routes.MKDIR, MkdirRequest(paths=paths), token=ada, request=request)
    gone = namenode.post(
        routes.REMOVE, RemoveRequest(paths=paths, recursive=True), token=ada, request=request
    )
    assert b"purge_ms" in gone.raw


def test_refused_change_is_not_remembered(namenode: NamenodeRig, ada: str) -> None:
    request = new_id()
    body = MoveRequest(
        moves=[PairRequest(source="/user/ada/later", target="/user/ada/moved")], atomic=True
    )
    refused = namenode.post(routes.MOVE, body, token=ada, request=request)
    assert refused.status == 404
    namenode.post(routes.MKDIR, MkdirRequest(paths=["/user/ada/later"]), token=ada)
    assert namenode.post(routes.MOVE, body, token=ada, request=request).status == 200


def test_same_change_asked_at_once_by_many_happens_once(namenode: NamenodeRig, ada: str) -> None:
    namenode.post(routes.MKDIR, MkdirRequest(paths=["/user/ada/crowd"]), token=ada)
    request, body = new_id(), RemoveRequest(paths=["/user/ada/crowd"], recursive=True)
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(
                lambda _n: namenode.post(routes.REMOVE, body, token=ada, request=request), range(8)
            )
        )
    assert {answer.raw for answer in answers} == {answers[0].raw}
    assert b'"entry"' in answers[0].raw


def test_registration_whose_answer_was_lost_is_answered_again(namenode: NamenodeRig) -> None:
    request, body = new_id(), RegisterRequest(name="carol", password=PASSWORD)
    first = namenode.post(routes.REGISTER, body, request=request)
    second = namenode.post(routes.REGISTER, body, request=request)
    assert (first.status, second.status) == (200, 200)
    assert namenode.post(routes.REGISTER, body, request=new_id()).status == 409


def test_registration_asked_at_once_by_many_happens_once(namenode: NamenodeRig) -> None:
    request, body = new_id(), RegisterRequest(name="crowded", password=PASSWORD)
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(lambda _n: namenode.post(routes.REGISTER, body, request=request), range(8))
        )
    done = {answer.raw for answer in answers if answer.status == 200}
    refused = [answer.error["code"] for answer in answers if answer.status != 200]
    assert set(refused) <= {"overloaded"}, "which a client tries again"
    again = namenode.post(routes.REGISTER, body, request=request)
    assert again.status == 200
    assert done <= {again.raw}


def test_password_change_whose_answer_was_lost_is_answered_again(namenode: NamenodeRig) -> None:
    token = namenode.user("dave")
    request = new_id()
    body = PasswordRequest(old=PASSWORD, new="another good password")
    assert namenode.post(routes.PASSWORD, body, token=token, request=request).status == 200
    assert namenode.post(routes.PASSWORD, body, token=token, request=request).status == 200


def test_login_is_never_remembered(namenode: NamenodeRig, ada: str) -> None:
    request, body = new_id(), {"name": "ada", "password": PASSWORD}
    first = namenode.post(routes.LOGIN, body, request=request)
    second = namenode.post(routes.LOGIN, body, request=request)
    assert first.json["token"] != second.json["token"]


def test_safe_route_answers_get_as_post(namenode: NamenodeRig, ada: str) -> None:
    asked = namenode.post(routes.STAT, PathsRequest(paths=["/", "/user"]), token=ada)
    got = namenode.send("GET", "/v1/fs/stat?paths=/&paths=/user", token=ada)
    assert got.status == 200
    assert got.raw == asked.raw


def test_get_reads_numbers_and_words_from_the_query(namenode: NamenodeRig, ada: str) -> None:
    got = namenode.send("GET", "/v1/fs/list?path=/&limit=1", token=ada)
    assert got.status == 200
    assert len(msgspec.json.decode(got.raw)["entries"]) == 1


def test_empty_body_asks_for_nothing(namenode: NamenodeRig, ada: str) -> None:
    answer = namenode.send("POST", routes.WHOAMI.path, body=b"", token=ada)
    assert answer.json["user"] == "ada"


def test_cluster_says_what_a_client_needs(namenode: NamenodeRig, ada: str) -> None:
    answer = namenode.post(routes.CLUSTER, {}, token=ada)
    reply = json_reader(ClusterReply)(answer.raw)
    assert reply.cluster == namenode.process.reign.cluster
    assert reply.version == __version__
    assert reply.txid >= 1


def test_logout_ends_the_session(namenode: NamenodeRig) -> None:
    token = namenode.user("erin")
    assert namenode.post(routes.LOGOUT, {}, token=token).status == 200
    answer = namenode.post(routes.WHOAMI, {}, token=token)
    assert (answer.status, answer.error["code"]) == (401, "session_expired")


def test_every_change_leaves_an_audit_line_and_no_read_does(
    namenode: NamenodeRig, ada: str
) -> None:
    before = len(namenode.audit_lines())
    namenode.post(routes.STAT, PathsRequest(paths=["/"]), token=ada)
    assert len(namenode.audit_lines()) == before
    paths = ["/user/ada/x\ny", "/user/ada/z", "/user"]
    namenode.post(routes.MKDIR, MkdirRequest(paths=paths), token=ada)
    (line,) = namenode.audit_lines()[before:]
    assert (line["user"], line["action"], line["outcome"]) == ("ada", "fs.mkdir", "ok")
    assert (line["path"], line["items"]) == ("/user/ada/x\ny", 3)
    assert line["refused"] == {"path_exists": 1}


def test_admin_reads_the_audit_trail(namenode: NamenodeRig, admin: str, ada: str) -> None:
    namenode.post(routes.MKDIR, MkdirRequest(paths=["/user/ada/seen"]), token=ada)
    answer = namenode.send("GET", "/v1/audit?user=ada&limit=1", token=admin)
    (line,) = msgspec.json.decode(answer.raw)["lines"]
    assert line["path"] == "/user/ada/seen"


def test_health_is_for_everybody_and_names_what_runs(namenode: NamenodeRig) -> None:
    answer = namenode.send("GET", "/health")
    assert answer.status == 200
    health = answer.json
    assert health["status"] == "ok"
    assert (health["role"], health["version"]) == ("leader", __version__)
    assert health["cluster"] == namenode.process.reign.cluster
    assert health["nodes"] == {"live": 0, "stale": 0, "dead": 0, "joined": 0}


def test_metrics_count_requests_by_route_and_outcome(namenode: NamenodeRig, ada: str) -> None:
    namenode.post(routes.STAT, PathsRequest(paths=["/"]), token=ada)
    namenode.post(routes.STAT, {}, token=ada)
    text = namenode.send("GET", "/metrics").raw.decode()
    assert 'dfs_requests_total{outcome="ok",route="/v1/fs/stat"}' in text
    assert 'dfs_requests_total{outcome="bad_request",route="/v1/fs/stat"}' in text
    assert 'dfs_request_seconds_count{route="/v1/fs/stat"}' in text
    assert "dfs_txid" in text
