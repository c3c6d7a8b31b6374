"""`dfs-admin fsck`: exit codes, what is named, and what programs get."""

from typing import Any

import pytest

from dfs.base.errors import PathNotFound
from dfs.blocks.redundancy import BlockHealth
from dfs.cli import admin
from dfs.cli.admin_fsck import ORDER
from dfs.wire import routes
from dfs.wire.check_api import (
    BlockCheck,
    CopyCheck,
    FileCheck,
    FsckReply,
    FsckRequest,
    FsckTotals,
    InvariantInfo,
    InvariantReply,
    InvariantRequest,
)
from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import NOW_MS, FakeNamenode


def a_file(path: str, health: str, *, reserved: bool = False) -> FileCheck:
    copies = [
        CopyCheck(1, "live", "live", NOW_MS, "good"),
        CopyCheck(2, "corrupt", "", 0, "bad"),
    ]
    block = BlockCheck(9, 4, 0, 0, 2048, 2, health, "1 of 2 copies", copies)
    return FileCheck(path, 2048, 2, health, [block], reserved)


def totals(*healths: str) -> FsckTotals:
    counts = {health: healths.count(health) for health in healths}
    return FsckTotals(
        files=len(healths),
        directories=1,
        size_bytes=2048,
        blocks=len(healths),
        files_by_health=counts,
        blocks_by_health=counts,
    )


def serve(namenode: FakeNamenode, *pages: FsckReply) -> None:
    """Pages are asked for by the number of the one before."""

    def answer(request: FsckRequest, _me: str) -> object:
        return pages[int(request.cursor or 0)]

    namenode.serve(routes.FSCK, answer)


def page(*files: FileCheck, of: FsckTotals, to: str = "", kept: FsckTotals | None = None) -> Any:
    return FsckReply(
        files=list(files),
        totals=of,
        reserved=kept or FsckTotals(),
        next=to,
        under_construction=1,
        strays=2,
    )


def test_fsck_says_every_health_there_is() -> None:
    assert set(ORDER) == {health.value for health in BlockHealth}


@pytest.mark.parametrize(
    ("healths", "code"),
    [
        ((), 0),
        (("healthy", "excess"), 0),
        (("healthy", "under_replicated"), 1),
        (("away",), 1),
        (("misplaced",), 1),
        (("under_replicated", "missing"), 7),
        (("corrupt",), 7),
        (("disputed",), 7),
    ],
)
def test_fsck_exits_by_the_worst_it_found(
    console: Console, namenode: FakeNamenode, healths: tuple[str, ...], code: int
) -> None:
    serve(namenode, page(of=totals(*healths)))
    assert console.admin("fsck").code == code
    assert console.admin("fsck", "--json").code == code
    ran = console.admin("fsck", "--quiet")
    assert (ran.code, ran.out) == (code, "")


def test_fsck_names_what_is_not_well_with_nodes_states_and_reason(
    console: Console, namenode: FakeNamenode
) -> None:
    bad = a_file("/data/f", "under_replicated")
    serve(
        namenode,
        page(bad, of=totals("under_replicated"), to="1"),
        page(of=totals("healthy", "healthy")),
    )
    lines = console.admin("fsck", "/data").out.splitlines()
    assert lines[:4] == [
        "/data/f: under-replicated",
        "    block 9 generation 4 at 0, 2 KiB: under-replicated: 1 of 2 copies",
        "        dn-1 (live): live, good",
        "        dn-2 (removed): corrupt, bad",
    ]
    assert "/data: 3 files, 2 directories, 3 blocks, 4 KiB" in lines
    assert "  under-replicated: 1 block, 1 file" in lines
    assert "  being written: 1 file (no name yet)" in lines
    assert "  strays: 2 block files that are copies of nothing" in lines
    assert lines[-1].startswith("/data is whole, but less safe")
    assert namenode.last(routes.FSCK.path)["path"] == "/data"


def test_fsck_says_when_copies_were_verified_if_asked(
    console: Console, namenode: FakeNamenode
) -> None:
    serve(namenode, page(a_file("/f", "away"), of=totals("away")))
    assert "live, good; verified 2023-" in console.admin("fsck", "--locations").out
    console.admin("fsck", "--files", "--blocks")
    asked = namenode.last(routes.FSCK.path)
    assert (asked["healthy"], asked["blocks"]) == (True, True)


def test_fsck_of_one_file_speaks_of_a_file(console: Console, namenode: FakeNamenode) -> None:
    counts = {"healthy": 1}
    of = FsckTotals(
        files=1, size_bytes=2048, blocks=1, files_by_health=counts, blocks_by_health=counts
    )
    serve(
        namenode,
        FsckReply(
            files=[],
            totals=of,
            reserved=FsckTotals(),
            next="",
            under_construction=0,
            strays=0,
        ),
    )
    lines = console.admin("fsck", "/data/f").out.splitlines()
    assert lines == [
        "/data/f: 1 file, 1 block, 2 KiB",
        "  healthy:          1 block, 1 file",
        "/data/f is healthy",
    ]


def test_fsck_for_programs_stays_a_document_when_a_page_cannot_be_had(
    console: Console, namenode: FakeNamenode
) -> None:
    def answer(request: FsckRequest, _me: str) -> object:
        if request.cursor:
            raise PathNotFound("/data is gone")
        return page(a_file("/data/f", "missing"), of=totals("missing"), to="1")

    namenode.serve(routes.FSCK, answer)
    ran = console.admin("fsck", "/data", "--json")
    assert ran.code == 3
    assert [file["path"] for file in ran.json["files"]] == ["/data/f"]
    assert ran.json["complete"] is False
    assert "is gone" in ran.err


@pytest.mark.parametrize("extra", ["/data", "--files", "--blocks", "--locations"])
def test_fsck_of_the_metadata_refuses_what_it_would_ignore(
    console: Console, namenode: FakeNamenode, extra: str
) -> None:
    ran = console.admin("fsck", "--metadata", extra)
    assert ran.code == 2
    assert f"{extra} does not go with it" in ran.err
    assert routes.INVARIANTS.path not in [path for path, _ in namenode.asked]


def test_fsck_for_programs_is_one_document_however_many_pages(
    console: Console, namenode: FakeNamenode
) -> None:
    serve(
        namenode,
        page(a_file("/f", "missing"), of=totals("missing"), to="1"),
        page(a_file("/g", "away"), of=totals("away", "healthy")),
    )
    made = console.admin("fsck", "--json").json
    assert [file["path"] for file in made["files"]] == ["/f", "/g"]
    assert made["files"][0]["blocks"][0]["copies"][1]["state"] == "corrupt"
    assert made["totals"]["blocks_by_health"]["missing"] == 1
    assert made["totals"]["files_by_health"]["corrupt"] == 0
    assert made["totals"]["files"] == 3
    assert made["strays"] == 2


def test_fsck_leaves_canaries_out_of_its_verdict(console: Console, namenode: FakeNamenode) -> None:
    canary = a_file("/.dfs/canary/1", "corrupt", reserved=True)
    serve(namenode, page(canary, of=totals("healthy"), kept=totals("corrupt")))
    ran = console.admin("fsck")
    assert ran.code == 0
    assert "/.dfs/canary/1: reserved, corrupt" in ran.out
    assert "reserved (canaries, broken on purpose): corrupt 1" in ran.out


def test_fsck_of_a_path_that_is_not_there_exits_with_3(
    console: Console, namenode: FakeNamenode
) -> None:
    def refuse(_q: Any, _me: str) -> object:
        raise PathNotFound("/nowhere")

    namenode.serve(routes.FSCK, refuse)
    assert console.admin("fsck", "/nowhere").code == 3
    ran = console.admin("fsck", "/nowhere", "--json")
    assert (ran.code, ran.out) == (3, "")  # no half of a document


def test_fsck_shows_how_far_it_is_on_a_terminal(console: Console, namenode: FakeNamenode) -> None:
    serve(namenode, page(of=totals("healthy"), to="1"), page(of=totals("healthy")))
    ran = console.run(admin.PROGRAM, "fsck", terminal=True)
    assert "fsck: 2 files, 2 blocks, 0 not well" in ran.err
    assert console.admin("fsck").err == ""


def test_fsck_of_the_metadata_tells_each_rule(console: Console, namenode: FakeNamenode) -> None:
    rules = [InvariantInfo("E2", "no gap"), InvariantInfo("I4", "sizes")]

    def answer(request: InvariantRequest, _me: str) -> object:
        if not request.number:
            return InvariantReply(invariants=rules, violations=[], next=0)
        broken = request.number == "I4" and request.after == 10
        return InvariantReply(
            invariants=rules,
            violations=["inode 7: 5 bytes"] if broken else [],
            next=0 if request.after else 10,
        )

    namenode.serve(routes.INVARIANTS, answer)
    ran = console.admin("fsck", "--metadata")
    assert ran.code == 7
    assert [line.split()[:2] for line in ran.out.splitlines()[1:3]] == [
        ["E2", "holds"],
        ["I4", "BROKEN"],
    ]
    assert "inode 7: 5 bytes" in ran.out
    assert console.admin("fsck", "--metadata", "--json").json[1]["violations"]
    rules.pop()
    assert console.admin("fsck", "--metadata").code == 0
