"""Explanations of paths: what is found, who is asked, what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfs.base.errors import BadRequest, IsADirectory, PathNotFound, SafeMode, UserNotFound
from dfs.base.ids import BlockId, NodeId
from dfs.base.states import NodeState
from dfs.blocks.explanation import RepairState
from dfs.meta.tables import REPLICA
from dfs.wire.check_api import ExplainReply, ExplainRequest
from tests.builders import a_node
from tests.namespace_rig import ADMIN, NamespaceRig, user


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[NamespaceRig]:
    made = NamespaceRig(tmp_path)
    yield made
    made.close()


def explain(rig: NamespaceRig, what: str, path: str, **more: Any) -> ExplainReply:
    who = more.pop("who", ADMIN)
    body = ExplainRequest(what=what, path=path, **more)
    return rig.look(lambda c: rig.space.explaining.explain(c, who, body))


def lose_copies(rig: NamespaceRig) -> None:
    rows = rig.look(lambda c: c.execute(REPLICA.select()).all())
    rig.change(lambda txn: txn.drop_soft(REPLICA, *((row.block, row.node) for row in rows)))


def test_write_says_where_a_new_block_would_go(rig: NamespaceRig) -> None:
    rig.nodes.append(a_node(4, state=NodeState.DEAD, silent_s=900.0))
    reply = explain(rig, "write", "/new")
    (block,) = reply.explained
    assert reply.refusal == ""
    assert len(block.chosen) == rig.config.replication.default
    assert {refusal.node for refusal in block.refused} >= {4}


def test_write_of_a_file_that_is_there_has_its_own_number_of_copies(rig: NamespaceRig) -> None:
    rig.put("/f", b"x", replication=3)
    (block,) = explain(rig, "write", "/f").explained
    assert len(block.chosen) == 3


def test_write_says_what_it_would_be_refused_with(rig: NamespaceRig) -> None:
    rig.mkdir("/closed", mode=0o700)
    reply = explain(rig, "write", "/", who=user(7))
    assert "write permission for /" in reply.refusal
    assert "would be refused" in reply.summary
    assert "DFS's own" in explain(rig, "write", "/.dfs").refusal
    rig.space.explaining.refusal_of_changes = lambda: SafeMode("9 of 10 blocks are here")
    assert "9 of 10" in explain(rig, "write", "/new").refusal


def test_write_before_the_nodes_are_heard_is_refused_with_the_reason(rig: NamespaceRig) -> None:
    rig.nodes = [a_node(1, state=NodeState.JOINED, silent_s=1.0)]
    reply = explain(rig, "write", "/new")
    assert "dn-1" in reply.refusal
    assert reply.explained == []


def test_read_explains_each_block_of_the_page(rig: NamespaceRig) -> None:
    size = 64 * 1024
    opened = rig.create("/f", size_bytes=3 * size, block_size_bytes=size)
    rig.complete(opened, [b"x" * size] * 3)
    reply = explain(rig, "read", "/f")
    assert (reply.blocks, len(reply.explained)) == (3, 3)
    assert reply.summary == "3 blocks, a good copy answers for each"
    assert all(len(each.chosen) == 2 for each in reply.explained)
    page = explain(rig, "read", "/f", first_block=1, limit=1)
    assert [each.title for each in page.explained] == [reply.explained[1].title]


def test_read_says_when_a_user_may_not_or_nobody_can(rig: NamespaceRig) -> None:
    rig.put("/f", b"x", mode=0o600)
    assert "no read permission" in explain(rig, "read", "/f", who=user(7)).refusal
    lose_copies(rig)
    reply = explain(rig, "read", "/f")
    assert "cannot be read" in reply.explained[0].verdict
    assert reply.summary == "1 block, 1 of them not read as usual"


def test_repair_of_a_healthy_file_is_one_line(rig: NamespaceRig) -> None:
    rig.put("/f", b"x")
    reply = explain(rig, "repair", "/f")
    assert reply.summary == "1 block, nothing to repair"
    assert [each.is_well for each in reply.explained] == [True]
    assert "empty" in explain(rig, "repair", rig.put("/e").path).summary


def test_repair_hands_on_what_repair_says_of_the_block(rig: NamespaceRig) -> None:
    rig.put("/f", b"x")
    lose_copies(rig)
    rig.space.explaining.repairs = lambda kept: {
        BlockId(each.truth.block): RepairState(((NodeId(1), NodeId(2)),), "the budget is spent")
        for each in kept
    }
    (block,) = explain(rig, "repair", "/f").explained
    assert block.chosen[0].reason == "pulls a copy from dn-1 now"
    assert "it waits: the budget is spent" in block.notes
    assert block.verdict.startswith("missing")


def test_rights_of_another_user_can_be_asked_for(rig: NamespaceRig) -> None:
    rig.put("/f", b"x")
    assert explain(rig, "read", "/f", user="admin").refusal == ""
    with pytest.raises(UserNotFound):
        explain(rig, "read", "/f", user="nobody")


def test_what_cannot_be_explained_is_refused(rig: NamespaceRig) -> None:
    with pytest.raises(BadRequest):
        explain(rig, "dream", "/")
    with pytest.raises(IsADirectory):
        explain(rig, "read", "/")
    with pytest.raises(PathNotFound):
        explain(rig, "repair", "/nothing")
