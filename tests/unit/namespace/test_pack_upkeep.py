"""What keeps packs as they should be: copies wanted, names of blocks, rewriting into another."""

import pytest
from sqlalchemy import select

from dfs.base.ids import BlockId
from dfs.blocks.extent_moves import Move, Repointed, repoint, used_stretches
from dfs.meta.tables import BLOCK, EXTENT, GC_QUEUE
from dfs.namespace.block_paths import paths_of_blocks
from dfs.wire.check_api import ExplainRequest, FsckRequest
from dfs.wire.files_api import PathsRequest, SetrepRequest
from dfs.wire.pack_api import OpenedPack
from dfs.wire.repair_api import HistoryRequest
from tests.metadata_checks import check_metadata, check_replay
from tests.namespace_rig import ADMIN, NamespaceRig, only
from tests.pack_rig import locate_many, put_pack

FILES = {"/tmp/a": b"first", "/tmp/b": b"second one", "/tmp/c": b"3"}
KEEP_MS = 60_000


def wanted(rig: NamespaceRig) -> dict[int, int]:
    rows = select(BLOCK.c.id, BLOCK.c.replication)
    return rig.look(lambda c: {block: copies for block, copies in c.execute(rows)})  # noqa: C416


def setrep(rig: NamespaceRig, replication: int, *paths: str, recursive: bool = False) -> None:
    body = SetrepRequest(paths=list(paths), replication=replication, recursive=recursive)
    only(rig.change(lambda txn: rig.space.changes.setrep(txn, ADMIN, body)))


def test_setrep_of_one_file_raises_its_pack_and_only_the_last_lowers_it(rig: NamespaceRig) -> None:
    put_pack(rig, FILES, replication=2)
    (block,) = wanted(rig)
    for path, copies in (("/tmp/b", 3), ("/tmp/a", 1), ("/tmp/c", 1)):
        setrep(rig, copies, path)
        assert wanted(rig) == {block: 3}
    setrep(rig, 1, "/tmp/b")
    assert wanted(rig) == {block: 1}
    setrep(rig, 3, "/tmp", recursive=True)
    assert wanted(rig) == {block: 3}
    rig.look(check_metadata)


def test_a_block_is_called_by_a_file_that_lives_and_how_many_more(rig: NamespaceRig) -> None:
    put_pack(rig, FILES)
    (block,) = (BlockId(each) for each in wanted(rig))
    name = lambda: rig.look(lambda c: paths_of_blocks(c, [block]))  # noqa: E731
    assert name() == {block: "/tmp/a and 2 others"}
    rig.remove("/tmp/a")
    assert name() == {block: "/tmp/b and 2 others"}
    for path in ("/tmp/b", "/tmp/c"):
        rig.remove(path)
    assert name() == {block: "/tmp/a (removed) and 2 others"}


def test_fsck_explain_copies_and_history_tell_of_a_packed_file_by_its_pack(
    rig: NamespaceRig,
) -> None:
    put_pack(rig, FILES, replication=2)
    (block,) = wanted(rig)
    fsck = FsckRequest(path="/tmp", healthy=True, blocks=True)
    page = rig.look(lambda c: rig.space.checking.fsck(c, ADMIN, fsck))
    assert [(f.path, [b.block for b in f.blocks]) for f in page.files] == [
        (path, [block]) for path in FILES
    ]
    copies = PathsRequest(paths=["/tmp/b"])
    assert only(rig.look(lambda c: rig.space.keeping.copies(c, ADMIN, copies))).blocks == 1
    ask = HistoryRequest(path="/tmp/b")
    (story,) = rig.look(lambda c: rig.space.keeping.history(c, ADMIN, ask)).stories
    assert (story.block, story.length_bytes, story.path) == (block, 16, "/tmp/a")
    assert (story.paths, story.paths_total, story.removed) == (list(FILES), 3, False)
    for what in ("read", "repair"):
        body = ExplainRequest(path="/tmp/b", what=what)
        told = rig.look(lambda c, body=body: rig.space.explaining.explain(c, ADMIN, body))
        assert told.blocks == 1


# ---- rewriting


def own_pack(rig: NamespaceRig, content: bytes) -> tuple[OpenedPack, object]:
    pack = rig.change(
        lambda txn: rig.space.packing.begin_own(txn, size_bytes=len(content), copies=2)
    )
    return pack, rig.written(pack.block, content)


def rewrite(rig: NamespaceRig, content: bytes, moves: list[tuple[int, int, int, int]]) -> Repointed:
    """Close a pack of DFS's own and point `(block, offset, length, to_offset)` at it."""
    pack, written = own_pack(rig, content)

    def work(txn):
        commit = rig.space.packing.close_own(txn, pack, written)
        to = commit.blocks[0].truth.block
        return repoint(
            txn,
            [Move(BlockId(b), at, length, to, to_at) for b, at, length, to_at in moves],
            keep_ms=KEEP_MS,
        )

    return rig.change(work)


def stretches(rig: NamespaceRig) -> dict[int, list[tuple[int, int, int]]]:
    columns = EXTENT.c.inode, EXTENT.c.block, EXTENT.c.block_offset, EXTENT.c.length_bytes
    found: dict[int, list[tuple[int, int, int]]] = {}
    for inode, *where in rig.look(lambda c: c.execute(select(*columns).order_by(*columns)).all()):
        found.setdefault(inode, []).append(tuple(where))
    return found


def test_a_rewritten_pack_reads_as_before_now_and_in_the_past(rig: NamespaceRig, tmp_path) -> None:
    put_pack(rig, FILES, replication=2)
    before = rig.writer.txid
    rig.copy("/tmp/c", "/tmp/copy")
    rig.remove("/tmp/a", skip_trash=True)
    rig.remove("/tmp/b")
    rig.purge()
    (old,) = wanted(rig)
    statuses = [rig.stat("/tmp/c"), rig.stat("/tmp/copy"), rig.stat("/tmp/b", as_of=before)]
    done = rewrite(rig, b"3second one", [(old, 5, 10, 1), (old, 15, 1, 0)])
    assert (done.extents, done.garbage) == (3, (old,))
    assert statuses == [
        rig.stat("/tmp/c"),
        rig.stat("/tmp/copy"),
        rig.stat("/tmp/b", as_of=before),
    ]
    (file,) = locate_many(rig, "/tmp/b", as_of=before).files
    assert file.value is not None
    assert [(e.block_offset, e.length_bytes) for e in file.value.extents] == [(1, 10)]
    due = rig.look(lambda c: c.execute(select(GC_QUEUE.c.not_before_ms)).scalar_one())
    assert due == rig.clock.now_ms() + KEEP_MS
    assert rig.undelete("/tmp/b").size_bytes == 10
    rig.look(check_metadata)
    rig.look(lambda c: check_replay(c, tmp_path))


def test_what_came_to_be_since_the_plan_stays_where_it_is(rig: NamespaceRig) -> None:
    put_pack(rig, FILES, replication=2)
    (old,) = wanted(rig)
    done = rewrite(rig, b"first", [(old, 0, 5, 0)])
    assert (done.extents, done.garbage) == (1, ())
    left = rig.look(lambda c: used_stretches(c, [BlockId(old)]))
    assert [(each.offset, each.length_bytes) for each in left] == [(5, 10), (15, 1)]
    rig.look(check_metadata)


def test_a_stretch_that_is_moved_only_in_part_is_not_moved(rig: NamespaceRig) -> None:
    put_pack(rig, FILES, replication=2)
    (old,) = wanted(rig)
    before = stretches(rig)
    with pytest.raises(AssertionError):
        rewrite(rig, b"x", [(old, 0, 5, 0)])  # longer than the block it is to stand in
    assert stretches(rig) == before
    done = rewrite(rig, b"first", [(old, 0, 5, 0), (old, 5, 4, 0)])
    assert done.extents == 1
    rig.look(check_metadata)


def test_files_that_want_more_copies_take_their_wish_along(rig: NamespaceRig) -> None:
    put_pack(rig, FILES, replication=2)
    setrep(rig, 3, "/tmp/a")
    (old,) = wanted(rig)
    rewrite(rig, b"first", [(old, 0, 5, 0)])
    new = max(wanted(rig))
    assert wanted(rig) == {old: 2, new: 3}
    rig.look(check_metadata)


def test_two_blocks_can_be_gathered_into_one(rig: NamespaceRig) -> None:
    rig.put("/tmp/lone", b"alone", replication=2)
    put_pack(rig, FILES, replication=2)
    lone, packed = sorted(wanted(rig))
    everything = b"alone" + b"".join(FILES.values())
    done = rewrite(rig, everything, [(lone, 0, 5, 0), (packed, 0, 16, 5)])
    assert (done.extents, done.garbage) == (4, (lone, packed))
    moves = [Move(BlockId(lone), 0, 5, BlockId(max(wanted(rig))), 0)]
    assert rig.change(lambda txn: repoint(txn, moves, keep_ms=0)) == Repointed(0, (lone,))
    rig.look(check_metadata)


def test_a_pack_of_dfs_itself_that_is_given_up_leaves_nothing(rig: NamespaceRig) -> None:
    pack, _ = own_pack(rig, b"12345")
    for _ in range(2):
        rig.change(lambda txn: rig.space.packing.abandon_own(txn, pack))
    assert rig.look(lambda c: c.execute(select(BLOCK.c.state)).scalars().all()) == ["garbage"]
    rig.look(check_metadata)
