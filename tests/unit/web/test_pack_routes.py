"""Packs over REST: thousands of files in a request, answered once, and written in the trail."""

import threading
from concurrent.futures import ThreadPoolExecutor

from dfs.base.decoding import json_reader
from dfs.base.entropy import new_id
from dfs.base.errors import PermissionDenied
from dfs.meta.txn import Txn
from dfs.wire import routes
from dfs.wire.pack_api import (
    BeginPacksRequest,
    CommitFilesReply,
    CommitFilesRequest,
    LocateManyReply,
    LocateManyRequest,
    NewPack,
    OpenedPack,
    PackedFile,
)
from dfs.wire.shapes import Outcomes
from tests.cluster_rig import wait_until
from tests.namenode_rig import NamenodeRig


def empty_files(folder: str, count: int) -> CommitFilesRequest:
    files = [PackedFile(path=f"{folder}/f{n}", parents=True) for n in range(count)]
    return CommitFilesRequest(files=files)


def test_files_committed_twice_under_one_id_come_to_be_once_and_answer_briefly(
    namenode: NamenodeRig, ada: str
) -> None:
    request, body = new_id(), empty_files("/user/ada/packed", 2_000)
    first = namenode.post(routes.COMMIT_FILES, body, token=ada, request=request)
    txid = namenode.process.reign.database.writer.txid
    second = namenode.post(routes.COMMIT_FILES, body, token=ada, request=request)
    assert first.status == second.status == 200
    assert first.raw == second.raw
    assert len(first.raw) < 100
    assert namenode.process.reign.database.writer.txid == txid
    assert json_reader(CommitFilesReply)(first.raw).refused == []
    (line,) = [each for each in namenode.audit_lines() if each["action"] == "packs.commit"]
    assert line["items"] == 2_000
    again = namenode.post(routes.COMMIT_FILES, body, token=ada, request=new_id())
    assert len(json_reader(CommitFilesReply)(again.raw).refused) == 2_000
    assert namenode.audit_lines()[-1]["refused"] == {"path_exists": 2_000}


def test_more_files_than_a_request_may_hold_are_refused(namenode: NamenodeRig, ada: str) -> None:
    answer = namenode.post(routes.COMMIT_FILES, empty_files("/user/ada/x", 10_001), token=ada)
    assert answer.error["code"] == "limit_exceeded"


def test_a_pack_finds_no_place_where_no_datanode_joined(namenode: NamenodeRig, ada: str) -> None:
    body = BeginPacksRequest(packs=[NewPack(size_bytes=10)])
    answer = namenode.post(routes.BEGIN_PACKS, body, token=ada)
    (outcome,) = json_reader(Outcomes[OpenedPack])(answer.raw).outcomes
    assert outcome.error is not None
    assert outcome.error.code == "placement_refused"


def test_who_may_not_read_some_of_many_files_leaves_a_line(namenode: NamenodeRig, ada: str) -> None:
    files = [
        PackedFile(path="/user/ada/secret", mode=0o600),
        PackedFile(path="/user/ada/known", mode=0o644),
    ]
    namenode.post(routes.COMMIT_FILES, CommitFilesRequest(files=files), token=ada)
    bob = namenode.user("bob")
    asked = LocateManyRequest(paths=[file.path for file in files])
    answer = namenode.post(routes.LOCATE_MANY, asked, token=bob)
    reply = json_reader(LocateManyReply)(answer.raw)
    assert [each.error.code if each.error else "" for each in reply.files] == [
        PermissionDenied.code,
        "",
    ]
    line = namenode.audit_lines()[-1]
    assert (line["user"], line["refused"]) == ("bob", {PermissionDenied.code: 1})


def test_commits_that_wait_together_are_each_done_once_and_answered_the_same_when_repeated(
    namenode: NamenodeRig, ada: str
) -> None:
    writer = namenode.process.reign.database.writer
    lines = len(namenode.audit_lines())
    go, begun = threading.Event(), threading.Event()

    def hold(_txn: Txn) -> None:
        begun.set()
        go.wait(10)

    requests = [new_id() for _ in range(4)]
    bodies = [empty_files(f"/user/ada/{n}", 2) for n in range(3)]
    bodies.append(CommitFilesRequest(files=[PackedFile(path="/user/ada/none/f")]))
    with ThreadPoolExecutor(9) as pool:
        pool.submit(writer.submit, hold)
        begun.wait(10)
        before = writer.txid
        asked = [
            pool.submit(namenode.post, routes.COMMIT_FILES, body, token=ada, request=request)
            for body, request in [*zip(bodies, requests, strict=True), (bodies[0], requests[0])]
        ]
        wait_until(lambda: writer.waiting() == 5, "all of them wait")
        go.set()
        first = [each.result(10) for each in asked]
    assert writer.txid == before + 1
    assert first[0].raw == first[4].raw
    refused = [json_reader(CommitFilesReply)(each.raw).refused for each in first]
    assert [len(each) for each in refused] == [0, 0, 0, 1, 0]
    for body, request, answer in zip(bodies, requests, first, strict=False):
        again = namenode.post(routes.COMMIT_FILES, body, token=ada, request=request)
        assert again.raw == answer.raw
    assert writer.txid == before + 1
    assert len(namenode.audit_lines()) == lines + 4
