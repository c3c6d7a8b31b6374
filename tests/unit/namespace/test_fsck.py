"""fsck over a real namespace: what is counted, what is named, in how many pages."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfs.base.errors import BadRequest, PathNotFound
from dfs.base.states import NodeState, ReplicaState
from dfs.blocks.redundancy import standings
from dfs.meta.tables import BLOCK, DIRENT, EXTENT, INODE, LEASE, REPLICA
from dfs.namespace import checking
from dfs.namespace.checking import Checking
from dfs.namespace.invariants import INVARIANTS, invariants_of
from dfs.wire.check_api import FileCheck, FsckReply, FsckRequest, InvariantRequest
from tests.builders import a_node
from tests.namespace_rig import ADMIN, NamespaceRig
from tests.pack_rig import put_pack


class FsckRig(NamespaceRig):
    """A namespace whose copies can be put into any state."""

    def open(self) -> None:
        super().open()
        self.checking = Checking(nodes=lambda: self.nodes, standings=self.worth)

    def worth(self) -> Any:
        fresh = frozenset(view.node for view in self.nodes)
        return standings(self.nodes, fresh=fresh, urgent_after_s=60)

    def fsck(self, path: str = "/", **more: Any) -> FsckReply:
        return self.look(lambda c: self.checking.fsck(c, ADMIN, FsckRequest(path=path, **more)))

    def blocks_of(self, path: str) -> list[int]:
        inode = self.stat(path).inode
        wanted = EXTENT.select().where(EXTENT.c.inode == inode).order_by(EXTENT.c.file_offset)
        return [row.block for row in self.look(lambda c: c.execute(wanted).all())]

    def spoil(self, path: str, *states: ReplicaState) -> None:
        """The copies of the file's first block are in those states; the others are gone."""
        (block, *_) = self.blocks_of(path)
        rows = self.look(
            lambda c: c.execute(REPLICA.select().where(REPLICA.c.block == block)).all()
        )
        kept = [row._asdict() | {"state": state} for row, state in zip(rows, states, strict=False)]
        gone = [(row.block, row.node) for row in rows[len(states) :]]
        self.change(lambda txn: txn.put_soft(REPLICA, *kept))
        self.change(lambda txn: txn.drop_soft(REPLICA, *gone))

    def broken(self, number: str) -> list[str]:
        found, after = [], 0
        while True:
            body = InvariantRequest(number=number, after=after)
            reply = self.look(lambda c, body=body: invariants_of(c, ADMIN, body))  # type: ignore[misc]
            found += reply.violations
            after = reply.next
            if not after:
                return found


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[FsckRig]:
    made = FsckRig(tmp_path)
    yield made
    made.close()


def only_file(reply: FsckReply) -> FileCheck:
    (file,) = reply.files
    return file


def test_healthy_tree_is_counted_and_nothing_of_it_named(rig: FsckRig) -> None:
    rig.mkdir("/a")
    rig.put("/a/one", b"x" * 10)
    rig.put("/a/empty")
    reply = rig.fsck("/a")
    assert reply.files == []
    assert (reply.totals.files, reply.totals.directories, reply.totals.blocks) == (2, 1, 1)
    assert reply.totals.size_bytes == 10
    assert reply.totals.files_by_health == {"healthy": 2}
    assert reply.next == ""


@pytest.mark.parametrize(
    ("states", "health"),
    [
        ((ReplicaState.LIVE,), "under_replicated"),
        ((ReplicaState.LIVE, ReplicaState.CORRUPT), "under_replicated"),
        ((ReplicaState.CORRUPT, ReplicaState.CORRUPT), "corrupt"),
        ((ReplicaState.DISPUTED, ReplicaState.CORRUPT), "disputed"),
        ((), "missing"),
        ((ReplicaState.MISSING, ReplicaState.MISSING), "missing"),
    ],
)
def test_file_that_is_not_well_is_named_with_nodes_and_states(
    rig: FsckRig, states: tuple[ReplicaState, ...], health: str
) -> None:
    rig.put("/good", b"y")
    rig.put("/bad", b"x")
    rig.spoil("/bad", *states)
    reply = rig.fsck()
    file = only_file(reply)
    assert (file.path, file.health) == ("/bad", health)
    (block,) = file.blocks
    assert (block.health, block.wanted, len(block.copies)) == (health, 2, len(states))
    assert block.reason
    assert {copy.state for copy in block.copies} == {state.value for state in states}
    assert reply.totals.blocks_by_health == {"healthy": 1, health: 1}
    assert reply.totals.bad_copies == states.count(ReplicaState.CORRUPT)


def test_file_of_silent_nodes_is_away(rig: FsckRig) -> None:
    rig.put("/f", b"x")
    rig.nodes = [a_node(n, state=NodeState.STALE, silent_s=40.0) for n in (1, 2, 3)]
    file = only_file(rig.fsck())
    assert file.health == "away"
    assert {copy.node_state for copy in file.blocks[0].copies} == {"stale"}


def test_copy_on_a_removed_node_shows_no_state_of_it(rig: FsckRig) -> None:
    rig.put("/f", b"x")
    rig.nodes = []
    assert {copy.node_state for copy in only_file(rig.fsck()).blocks[0].copies} == {""}


def test_everything_is_named_when_asked_for(rig: FsckRig) -> None:
    rig.put("/f", b"x")
    assert only_file(rig.fsck(healthy=True)).blocks == []
    (block,) = only_file(rig.fsck(healthy=True, blocks=True)).blocks
    assert [copy.place for copy in block.copies] == ["good", "good"]


def test_one_file_may_be_named_and_what_is_not_there_is_refused(rig: FsckRig) -> None:
    rig.put("/f", b"x")
    assert rig.fsck("/f").totals.files == 1
    with pytest.raises(PathNotFound):
        rig.fsck("/g")


def test_pages_go_on_where_the_last_one_ended(
    rig: FsckRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.mkdir("/a/b", parents=True)
    for name in ("a/1", "a/2", "a/b/3", "a/b/4", "a/b/5", "z"):
        rig.put(f"/{name}", b"x")
    whole = rig.fsck().totals
    monkeypatch.setattr(checking, "FILES_AT_ONCE", 2)
    monkeypatch.setattr(checking, "PAGE_BLOCKS_MAX", 3)
    cursor, files, directories, pages = "", 0, 0, 0
    named: list[str] = []
    while True:
        reply = rig.fsck(cursor=cursor, healthy=True)
        files, directories = files + reply.totals.files, directories + reply.totals.directories
        named += [file.path for file in reply.files]
        pages += 1
        cursor = reply.next
        if not cursor:
            break
    assert (files, pages) == (6, 2)
    assert named == ["/a/1", "/a/2", "/a/b/3", "/a/b/4", "/a/b/5", "/z"]
    assert directories == whole.directories


def summed(rig: FsckRig, path: str) -> tuple[int, dict[str, int], int]:
    """Blocks, by health, and bad copies over all pages."""
    blocks, bad, cursor = 0, 0, ""
    by_health: Counter[str] = Counter()
    while True:
        totals = (reply := rig.fsck(path, cursor=cursor)).totals
        blocks, bad = blocks + totals.blocks, bad + totals.bad_copies
        by_health.update(totals.blocks_by_health)
        cursor = reply.next
        if not cursor:
            return blocks, dict(by_health), bad


@pytest.mark.parametrize("page_files", [1, 3, 500])
def test_block_that_files_share_counts_once_below_any_path(
    rig: FsckRig, monkeypatch: pytest.MonkeyPatch, page_files: int
) -> None:
    """The files of two packs lie in three directories, one has a copy, some were removed."""
    monkeypatch.setattr(checking, "FILES_AT_ONCE", page_files)
    monkeypatch.setattr(checking, "PAGE_BLOCKS_MAX", page_files)
    monkeypatch.setattr(checking, "SHARERS_AT_ONCE", 2)
    for pack in ("p", "q"):
        names = [f"/{folder}/{pack}{n}" for n in range(6) for folder in ("a/in", "b", "c/x/y")]
        assert not put_pack(rig, dict.fromkeys(names, b"x"), parents=True).refused
    rig.put("/b/alone", b"z")
    rig.mkdir("/d")
    rig.copy("/b/alone", "/d/copy")
    for folder in ("/a/in", "/b"):
        rig.remove(f"{folder}/p0")
    rig.spoil("/c/x/y/p0", ReplicaState.LIVE, ReplicaState.CORRUPT)
    ill = {"under_replicated": 1}
    assert summed(rig, "/") == (3, {"healthy": 2} | ill, 1)
    for path in ("/a", "/a/in", "/c/x"):
        assert summed(rig, path) == (2, {"healthy": 1} | ill, 1), path
    assert summed(rig, "/b") == (3, {"healthy": 2} | ill, 1)
    assert summed(rig, "/d") == summed(rig, "/d/copy") == (1, {"healthy": 1}, 0)
    assert summed(rig, "/c/x/y/p3") == (1, ill, 1)
    rig.remove("/c", recursive=True)
    rig.remove("/a", recursive=True)
    assert summed(rig, "/") == (3, {"healthy": 2} | ill, 1)


def test_looking_for_who_shares_a_block_has_an_end(
    rig: FsckRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_pack(rig, {f"/{n % 2}/{n}": b"x" for n in range(40)}, parents=True)
    monkeypatch.setattr(checking, "PAGE_SHARERS_MAX", 1)
    assert summed(rig, "/1")[0] == 1
    monkeypatch.setattr(checking, "FILES_AT_ONCE", 5)
    monkeypatch.setattr(checking, "PAGE_BLOCKS_MAX", 5)
    assert 1 <= summed(rig, "/1")[0] <= 4, "once a page at most, and never not at all"


def test_files_being_written_are_counted(rig: FsckRig) -> None:
    rig.create("/f")
    assert rig.fsck().under_construction == 1


def test_canaries_are_told_apart_and_named_only_where_they_are_asked_for(rig: FsckRig) -> None:
    rig.put("/f", b"x")
    total = rig.fsck()
    assert total.totals.files == 1
    assert total.reserved.files == 0
    inode = rig.stat("/f").inode
    number = rig.look(lambda c: c.execute(DIRENT.select().where(DIRENT.c.inode == inode)).one().id)

    def hide(txn: Any) -> None:
        folder = txn.get(INODE, 1) | {"id": 999_001}
        txn.put(INODE, folder)
        base = txn.get(DIRENT, number)
        txn.put(DIRENT, base | {"id": 999_002, "parent": 1, "name": ".dfs", "inode": 999_001})
        txn.put(DIRENT, base | {"parent": 999_001})

    rig.change(hide)
    (block,) = [row.id for row in rig.look(lambda c: c.execute(BLOCK.select()).all())]
    rig.change(lambda txn: txn.drop_soft(REPLICA, (block, 1), (block, 2), (block, 3)))
    reply = rig.fsck()
    assert (reply.totals.files, reply.reserved.files) == (0, 1)
    assert reply.reserved.files_by_health == {"missing": 1}
    assert reply.files == []
    named = rig.fsck("/.dfs")
    assert (named.totals.files, only_file(named).reserved) == (0, True)


# ---- the metadata's own rules


def test_metadata_of_a_used_namespace_keeps_every_rule(rig: FsckRig) -> None:
    rig.mkdir("/a")
    rig.put("/a/f", b"x" * 100)
    rig.copy("/a/f", "/a/g")
    rig.remove("/a/f")
    rig.create("/a/open")
    known = rig.look(lambda c: invariants_of(c, ADMIN, InvariantRequest())).invariants
    assert [each.number for each in known] == list(INVARIANTS)
    assert {each.number: rig.broken(each.number) for each in known} == dict.fromkeys(INVARIANTS, [])


def _row(rig: FsckRig, table: Any, **key: Any) -> dict[str, Any]:
    wanted = table.select().where(*(table.c[name] == value for name, value in key.items()))
    return rig.look(lambda c: c.execute(wanted).first())._asdict()


def _break(rig: FsckRig, number: str) -> None:
    inode = rig.stat("/f").inode
    extent, file = _row(rig, EXTENT, inode=inode), _row(rig, INODE, id=inode)
    block, name = _row(rig, BLOCK, id=extent["block"]), _row(rig, DIRENT, inode=inode)
    lease = {
        "inode": inode,
        "secret": "s",
        "parent": 1,
        "name": "other",
        "path": "/other",
        "user": 1,
        "overwrite": 0,
        "created_ms": 1,
    }
    damage: dict[str, tuple[Any, dict[str, Any]]] = {
        "E2": (EXTENT, extent | {"file_offset": 5}),
        "I4": (INODE, file | {"size_bytes": 7}),
        "E3": (EXTENT, extent | {"block_offset": 1}),
        "I3": (LEASE, lease),
        "D3": (DIRENT, name | {"id": 999_001, "name": "again"}),
        "D4": (DIRENT, name | {"inode": 999_002}),
        "B3": (EXTENT, extent | {"block": 999_003}),
        "B4": (BLOCK, block | {"id": 999_004}),
        "G1": (BLOCK, block | {"state": "garbage"}),
        "R2": (
            REPLICA,
            {"block": 999_005, "node": 1, "generation": 9, "state": "live", "verified_ms": 0},
        ),
    }
    table, row = damage[number]
    rig.change(lambda txn: txn.put(table, row))


@pytest.mark.parametrize("number", [number for number in INVARIANTS if number != "T1"])
def test_rule_that_is_broken_is_told_with_the_row(rig: FsckRig, number: str) -> None:
    rig.put("/f", b"x" * 100)
    _break(rig, number)
    assert rig.broken(number)


def test_check_that_does_not_exist_is_refused(rig: FsckRig) -> None:
    with pytest.raises(BadRequest):
        rig.broken("Z9")


def test_numbers_that_were_leapt_over_are_not_walked(rig: FsckRig) -> None:
    """As after a loss was accepted: the next file's number is beyond all that was given."""
    rig.put("/before", b"x")
    rig.change(lambda txn: txn.take("inode", 1 << 44))
    rig.put("/after", b"y")
    body = InvariantRequest(number="I4")
    pages = 1
    while following := rig.look(lambda c, body=body: invariants_of(c, ADMIN, body)).next:  # type: ignore[misc]
        body = InvariantRequest(number="I4", after=following)
        pages += 1
        assert pages <= 3
    assert pages >= 2
