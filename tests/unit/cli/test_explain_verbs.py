"""`dfs-admin explain`: one line where all is well, every node's reason where it is not."""

from typing import Any

from dfs.base.ids import NodeId
from dfs.base.records import Refusal
from dfs.wire import routes
from dfs.wire.check_api import Explained, ExplainReply
from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import FakeNamenode

WELL = Explained("block 1 (part 0, 1 KiB)", "healthy: 2 of 2 copies", [], [], is_well=True)
ILL = Explained(
    "block 2 (part 1, 1 KiB)",
    "under-replicated: 1 of 2 copies (class last copy)",
    [Refusal(NodeId(3), "pulls a copy from dn-1 now")],
    [Refusal(NodeId(4), "dead")],
    ["it waits: the budget is spent"],
)


def serve(
    namenode: FakeNamenode, *explained: Explained, blocks: int = 0, refusal: str = ""
) -> None:
    def answer(request: Any, _me: str) -> object:
        return ExplainReply(
            path=request.path,
            what=request.what,
            summary="2 blocks, so it is",
            refusal=refusal,
            blocks=blocks or len(explained),
            explained=list(explained),
        )

    namenode.serve(routes.EXPLAIN, answer)


def test_explain_repair_says_one_line_when_there_is_nothing_to_do(
    console: Console, namenode: FakeNamenode
) -> None:
    serve(namenode, WELL)
    ran = console.admin("explain", "repair", "/f")
    assert (ran.code, ran.out) == (0, "/f: 2 blocks, so it is\n")
    assert "healthy" in console.admin("explain", "repair", "/f", "--all").out


def test_explain_repair_gives_the_reason_of_every_node(
    console: Console, namenode: FakeNamenode
) -> None:
    serve(namenode, WELL, ILL)
    assert console.admin("explain", "repair", "/f").out.splitlines()[1:] == [
        "block 2 (part 1, 1 KiB): under-replicated: 1 of 2 copies (class last copy)",
        "    1. dn-3: pulls a copy from dn-1 now",
        "  not dn-4: dead",
        "  note: it waits: the budget is spent",
    ]


def test_explain_write_says_what_refuses_it(console: Console, namenode: FakeNamenode) -> None:
    serve(namenode, ILL, refusal="safe mode: wait")
    ran = console.admin("explain", "write", "new", "--user", "bob")
    assert "  refused: safe mode: wait" in ran.out.splitlines()
    asked = namenode.last(routes.EXPLAIN.path)
    assert (asked["what"], asked["user"]) == ("write", "bob")
    assert asked["path"] == "/user/alice/new"


def test_explain_read_shows_a_page_of_blocks_and_how_to_go_on(
    console: Console, namenode: FakeNamenode
) -> None:
    serve(namenode, WELL, ILL, blocks=50)
    ran = console.admin("explain", "read", "/f", "--first", "11", "-n", "2")
    assert "block 1 (part 0" in ran.out
    assert "38 more blocks; go on with --first 13" in ran.err
    asked = namenode.last(routes.EXPLAIN.path)
    assert (asked["first_block"], asked["limit"]) == (10, 2)
    assert len(console.admin("explain", "read", "/f", "--json").json["explained"]) == 2
