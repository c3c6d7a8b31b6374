"""Packs: many small files in one block, visible in one transaction or not at all."""

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import func, select

from dfs.base.checksum import block_hash, file_checksum
from dfs.base.errors import (
    BadRequest,
    BeingWritten,
    LeaseLost,
    LimitExceeded,
    NotADirectory,
    PathExists,
    PathNotFound,
    PermissionDenied,
    PlacementRefused,
)
from dfs.meta.tables import BLOCK, EXTENT, GC_QUEUE, LEASE
from dfs.settings.sections import Config, LimitsConfig
from dfs.wire.data_api import (
    AllocateItem,
    AllocateRequest,
    CompleteItem,
    CompleteRequest,
    LeaseItem,
    LeasesRequest,
)
from dfs.wire.files_api import PathsRequest
from dfs.wire.pack_api import BeginPacksRequest, NewPack
from dfs.wire.tokens import Mode, digest_path, read_token
from tests.metadata_checks import check_metadata, check_replay
from tests.namespace_rig import ADMIN, NamespaceRig, only, user
from tests.pack_rig import (
    begin_pack,
    codes,
    commit,
    laid_out,
    locate_many,
    packing,
    put_pack,
    written_pack,
)

FILES = {"/tmp/a": b"first", "/tmp/b": b"second one", "/tmp/c": b"3"}


def states(rig: NamespaceRig) -> list[str]:
    return rig.look(lambda c: list(c.execute(select(BLOCK.c.state).order_by(BLOCK.c.id)).scalars()))


def count(rig: NamespaceRig, table) -> int:
    return rig.look(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one())


def test_files_of_a_pack_become_visible_together_with_their_own_sizes_and_checksums(
    rig: NamespaceRig,
) -> None:
    pack = begin_pack(rig, 16)
    done = written_pack(rig, pack, b"".join(FILES.values()))
    assert rig.names("/tmp") == []
    before = rig.writer.txid
    reply = commit(rig, laid_out(FILES, modified_ms=77, mode=0o640), [done])
    assert (reply.owed, reply.refused) == ([0], [])
    assert rig.writer.txid == before + 1
    for path, content in FILES.items():
        status = rig.stat(path)
        assert (status.size_bytes, status.modified_ms, status.mode) == (len(content), 77, 0o640)
        assert status.checksum == file_checksum([(len(content), block_hash(content))])
    assert states(rig) == ["committed"]
    assert count(rig, LEASE) == 0
    rig.look(check_metadata)


def test_packing_does_not_change_what_a_file_is(rig: NamespaceRig) -> None:
    put_pack(rig, FILES)
    alone = rig.put("/tmp/alone", b"second one")
    packed = rig.stat("/tmp/b")
    same = ("checksum", "size_bytes", "owner", "group", "mode", "replication", "block_size_bytes")
    assert [getattr(packed, each) for each in same] == [getattr(alone, each) for each in same]


def test_empty_files_need_no_pack(rig: NamespaceRig) -> None:
    reply = commit(rig, laid_out({"/tmp/none": b"", "/tmp/nothing": b""}))
    assert (reply.owed, reply.refused) == ([], [])
    assert rig.stat("/tmp/none").checksum == rig.put("/tmp/usual").checksum
    rig.look(check_metadata)


def test_directories_are_made_on_the_way_once_and_only_when_asked(rig: NamespaceRig) -> None:
    files = {"/tmp/x/y/1": b"1", "/tmp/x/y/2": b"2", "/tmp/x/3": b"3"}
    assert put_pack(rig, files, parents=True).refused == []
    assert rig.names("/tmp/x") == ["3", "y"]
    assert codes(put_pack(rig, {"/tmp/no/1": b"1"})) == {0: PathNotFound.code}
    rig.look(check_metadata)


def test_a_file_cannot_be_below_another_file_of_the_same_request(rig: NamespaceRig) -> None:
    reply = put_pack(rig, {"/tmp/x": b"a", "/tmp/x/y": b"b"}, parents=True)
    assert codes(reply) == {0: PathExists.code}
    assert rig.stat("/tmp/x/y").size_bytes == 1
    assert codes(put_pack(rig, {"/tmp/x/y/z": b"c"}, parents=True)) == {0: NotADirectory.code}
    rig.look(check_metadata)


def test_what_cannot_be_is_refused_one_by_one_and_leaves_a_hole(rig: NamespaceRig) -> None:
    rig.put("/tmp/there", b"x")
    rig.mkdir("/tmp/folder")
    rig.create("/tmp/busy", size_bytes=1)
    paths = ["/tmp/a", "/tmp/there", "/tmp/folder", "/tmp/busy", "/", "relative", "/tmp/z"]
    files = [*laid_out(dict.fromkeys(paths, b"12345")), *laid_out({"/tmp/a": b"12345"})]
    pack = begin_pack(rig, 35)
    reply = commit(rig, files, [written_pack(rig, pack, b"12345" * 7)])
    assert codes(reply) == {
        1: PathExists.code,
        2: PathExists.code,
        3: BeingWritten.code,
        4: PathExists.code,
        5: "bad_path",
        7: PathExists.code,
    }
    assert rig.names("/tmp") == ["a", "folder", "there", "z"]
    rig.look(check_metadata)


def test_overwriting_puts_the_old_file_into_the_trash(rig: NamespaceRig) -> None:
    rig.put("/tmp/a", b"old content")
    before = rig.writer.txid
    assert put_pack(rig, FILES, overwrite=True).refused == []
    assert rig.stat("/tmp/a").size_bytes == 5
    assert rig.stat("/tmp/a", as_of=before).size_bytes == 11
    rig.remove("/tmp/a")
    assert rig.undelete("/tmp/a").size_bytes == 5
    rig.look(check_metadata)


def test_a_silent_rival_is_ended_and_one_that_is_heard_is_not(rig: NamespaceRig) -> None:
    rig.create("/tmp/a", size_bytes=5)
    assert codes(put_pack(rig, FILES)) == {0: BeingWritten.code}
    rig.advance(rig.config.namenode.lease_soft_s + 1)
    assert put_pack(rig, {"/tmp/a": b"now"}).refused == []
    rig.look(check_metadata)


def test_permissions_are_those_of_single_files(rig: NamespaceRig) -> None:
    anna, eve = user(5), user(6)
    rig.mkdir("/houses", mode=0o1777)
    rig.mkdir("/houses/anna", who=anna, mode=0o700)
    rig.put("/houses/annas", b"x", who=anna)
    rig.mkdir("/closed", mode=0o755)
    files = {"/houses/anna/f": b"1", "/houses/annas": b"2", "/closed/f": b"3", "/houses/eves": b"4"}
    reply = put_pack(rig, files, who=eve, overwrite=True)
    assert codes(reply) == dict.fromkeys((0, 1, 2), PermissionDenied.code)
    assert rig.stat("/houses/eves").owner == rig.stat("/houses/eves", who=eve).owner
    assert rig.stat("/houses/annas").size_bytes == 1
    denied = put_pack(rig, {"/.dfs/f": b"1", "/.dfs/x/f": b"2", "/.dfs": b"3"}, parents=True)
    assert codes(denied) == dict.fromkeys((0, 1, 2), PermissionDenied.code)
    rig.look(check_metadata)


def test_a_directory_takes_what_it_has_room_for(tmp_path) -> None:
    config = replace(Config(), limits=LimitsConfig(directory_entries_max=3))
    rig = NamespaceRig(tmp_path, config=config)
    rig.mkdir("/tmp/d")
    files = {f"/tmp/d/{n}": b"x" for n in range(5)}
    assert codes(put_pack(rig, files)) == dict.fromkeys((3, 4), LimitExceeded.code)
    assert len(rig.names("/tmp/d")) == 3
    assert codes(put_pack(rig, {"/tmp/d/0": b"y"}, overwrite=True)) == {}
    rig.look(check_metadata)
    rig.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"pack": 1},
        {"pack": -2},
        {"pack": -1},
        {"offset": -1},
        {"offset": 1},
        {"length_bytes": 6},
        {"length_bytes": 0},
        {"length_bytes": -5},
        {"hash": b""},
        {"hash": b"x" * 15},
        {"mode": 0o2000},
        {"replication": 0},
        {"replication": 4},
    ],
    ids=str,
)
def test_a_file_that_cannot_lie_in_its_pack_is_refused(
    rig: NamespaceRig, wrong: dict[str, object]
) -> None:
    (file,) = laid_out({"/tmp/f": b"12345"})
    pack = begin_pack(rig, 5, replication=3)
    done = written_pack(rig, pack, b"12345")
    reply = commit(rig, [msgspec.structs.replace(file, **wrong)], [done])
    assert codes(reply) == {0: BadRequest.code}
    assert states(rig) == ["garbage"]
    rig.look(check_metadata)


def test_a_pack_none_of_whose_files_stand_is_garbage_and_its_write_is_over(
    rig: NamespaceRig,
) -> None:
    rig.put("/tmp/a", b"x")
    reply = put_pack(rig, {"/tmp/a": b"12345"})
    assert codes(reply) == {0: PathExists.code}
    assert (states(rig), count(rig, GC_QUEUE), count(rig, LEASE)) == (
        ["committed", "garbage"],
        1,
        0,
    )
    rig.look(check_metadata)


def test_receipts_decide_whether_a_pack_is_believed(rig: NamespaceRig) -> None:
    good, bad = begin_pack(rig, 5), begin_pack(rig, 5)
    forged = written_pack(rig, bad, b"12345", holders=0)
    files = [*laid_out({"/tmp/a": b"12345"}), *laid_out({"/tmp/b": b"54321"}, pack=1)]
    reply = commit(rig, files, [written_pack(rig, good, b"12345"), forged])
    assert codes(reply) == {1: PlacementRefused.code}
    assert rig.names("/tmp") == ["a"]
    again = commit(rig, laid_out({"/tmp/b": b"54321"}), [written_pack(rig, bad, b"54321")])
    assert again.refused == []
    rig.look(check_metadata)


def test_copies_that_are_missing_are_owed(rig: NamespaceRig) -> None:
    assert put_pack(rig, FILES, holders=1).owed == [1]


def test_a_block_is_kept_as_well_as_its_most_demanding_file_wants(rig: NamespaceRig) -> None:
    pack = begin_pack(rig, 10, replication=3)
    one, two = laid_out({"/tmp/one": b"12345", "/tmp/two": b"67890"})
    files = [
        msgspec.structs.replace(one, replication=1),
        msgspec.structs.replace(two, replication=2),
    ]
    reply = commit(rig, files, [written_pack(rig, pack, b"1234567890", holders=1)])
    assert reply.owed == [1]
    wanted = select(BLOCK.c.replication)
    assert rig.look(lambda c: c.execute(wanted).scalar_one()) == 2
    assert (rig.stat("/tmp/one").replication, rig.stat("/tmp/two").replication) == (1, 2)


def test_a_pack_is_its_writers_and_used_once(rig: NamespaceRig) -> None:
    rig.mkdir("/open", mode=0o777)
    pack = begin_pack(rig, 5)
    done = written_pack(rig, pack, b"12345")
    files = laid_out({"/open/f": b"12345"})
    assert codes(commit(rig, files, [done], who=user(5))) == {0: LeaseLost.code}
    with pytest.raises(BadRequest):
        commit(rig, files, [done, done])
    assert commit(rig, files, [done]).refused == []
    assert codes(commit(rig, laid_out({"/open/g": b"12345"}), [done])) == {0: LeaseLost.code}
    rig.look(check_metadata)


def test_a_file_being_written_is_no_pack_and_a_pack_no_file(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=5)
    block = rig.written(opened.blocks[0], b"12345")
    from_file = msgspec.structs.replace(
        written_pack(rig, begin_pack(rig, 5), b"12345"),
        inode=opened.inode,
        lease=opened.lease,
        block=block,
    )
    assert codes(commit(rig, laid_out({"/tmp/g": b"12345"}), [from_file])) == {0: BadRequest.code}
    pack = begin_pack(rig, 5)
    item = CompleteItem(
        inode=pack.inode, lease=pack.lease, blocks=[rig.written(pack.block, b"12345")]
    )
    body = CompleteRequest(items=[item])
    with pytest.raises(PathNotFound):
        only(rig.change(lambda txn: rig.space.completing.complete(txn, ADMIN, body)))
    rig.look(check_metadata)


def test_packs_are_kept_alive_abandoned_and_expire_like_files(rig: NamespaceRig) -> None:
    kept, given_up, silent = (begin_pack(rig, 5) for _ in range(3))

    def leases(*packs) -> LeasesRequest:
        return LeasesRequest(items=[LeaseItem(inode=p.inode, lease=p.lease) for p in packs])

    rig.change(lambda txn: rig.space.completing.abandon(txn, ADMIN, leases(given_up)))
    rig.advance(rig.config.namenode.lease_hard_s - 1)
    rig.change(lambda txn: rig.space.completing.renew(txn, ADMIN, leases(kept)))
    rig.advance(2)
    assert rig.expire_leases() == 1
    assert states(rig) == ["allocated", "garbage", "garbage"]
    late = commit(rig, laid_out({"/tmp/f": b"12345"}), [written_pack(rig, silent, b"12345")])
    assert codes(late) == {0: LeaseLost.code}
    rig.look(check_metadata)


def test_another_block_can_take_the_place_of_one_that_no_target_took(rig: NamespaceRig) -> None:
    pack = begin_pack(rig, 5)
    item = AllocateItem(inode=pack.inode, lease=pack.lease, number=0, exclude=[1])
    body = AllocateRequest(items=[item])
    (other,) = only(rig.change(lambda txn: rig.space.writing.allocate(txn, ADMIN, body)))
    assert other.length_max_bytes == 5
    instead = msgspec.structs.replace(pack, block=other)
    done = written_pack(rig, instead, b"12345")
    assert commit(rig, laid_out({"/tmp/f": b"12345"}), [done]).refused == []
    assert states(rig) == ["garbage", "committed"]
    rig.look(check_metadata)


def test_the_right_to_write_a_pack_binds_no_path_and_its_size(rig: NamespaceRig) -> None:
    pack = begin_pack(rig, 5, replication=2)
    token = read_token(pack.block.token, rig.keys.ring(), now_ms=rig.clock.now_ms())
    assert (token.mode, token.length_max_bytes, token.path_digest) == (
        Mode.WRITE,
        5,
        digest_path(""),
    )
    assert (pack.replication, len(pack.block.targets)) == (2, 2)


def test_packs_of_impossible_size_or_number_are_refused(rig: NamespaceRig) -> None:
    for size_bytes in (0, -1, 1 << 60):
        with pytest.raises(BadRequest):
            begin_pack(rig, size_bytes)
    with pytest.raises(BadRequest):
        begin_pack(rig, 5, replication=99)
    body = BeginPacksRequest(packs=[NewPack(size_bytes=1)] * 1_000)
    with pytest.raises(LimitExceeded):
        rig.change(lambda txn: packing(rig).begin(txn, ADMIN, body))
    rig.nodes = []
    with pytest.raises(PlacementRefused):
        begin_pack(rig, 5)
    assert count(rig, LEASE) == 0


def test_thousands_of_files_come_to_be_in_one_transaction_and_the_journal_has_them(
    rig: NamespaceRig, tmp_path
) -> None:
    files = {f"/tmp/d{n % 7}/f{n}": b"%04d" % n for n in range(3_000)}
    before = rig.writer.txid
    assert put_pack(rig, files, parents=True).refused == []
    assert rig.writer.txid == before + 2
    assert count(rig, EXTENT) == 3_000
    rig.look(check_metadata)
    rig.look(lambda c: check_replay(c, tmp_path))


# ---- as all other files


def test_removing_files_leaves_holes_and_the_last_one_frees_the_block(rig: NamespaceRig) -> None:
    put_pack(rig, FILES)
    rig.remove("/tmp/a", skip_trash=True)
    rig.remove("/tmp/b", skip_trash=True)
    rig.purge()
    assert (states(rig), count(rig, EXTENT)) == (["committed"], 1)
    rig.remove("/tmp/c", skip_trash=True)
    rig.purge()
    assert (states(rig), count(rig, EXTENT)) == (["garbage"], 0)
    rig.look(check_metadata)


def test_copies_and_the_past_of_packed_files_read_as_ever(rig: NamespaceRig) -> None:
    put_pack(rig, FILES)
    before = rig.writer.txid
    rig.copy("/tmp/b", "/tmp/copy")
    rig.remove("/tmp/b")
    assert rig.stat("/tmp/copy").checksum == rig.stat("/tmp/b", as_of=before).checksum
    then = locate_many(rig, "/tmp/b", as_of=before)
    now = locate_many(rig, "/tmp/copy")
    assert [w[1:3] for w in map(msgspec.structs.astuple, then.windows)] == [(5, 10)]
    assert [w[1:3] for w in map(msgspec.structs.astuple, now.windows)] == [(5, 10)]
    assert rig.undelete("/tmp/b").size_bytes == 10
    rig.look(check_metadata)


# ---- where they are


def test_files_of_one_pack_share_one_block_one_window_and_one_token(rig: NamespaceRig) -> None:
    put_pack(rig, FILES)
    reply = locate_many(rig, *FILES, "/tmp/missing", "/tmp")
    assert [each.error.code if each.error else "" for each in reply.files] == [
        *("", "", ""),
        *(PathNotFound.code, "is_a_directory"),
    ]
    (block,), (window,) = reply.blocks, reply.windows
    assert (window.offset, window.length_bytes) == (0, 16)
    assert {reply.nodes[holder.node].node for holder in block.holders} <= {1, 2, 3}
    at = 0
    for found, content in zip(reply.files, FILES.values(), strict=False):
        assert found.value is not None
        (extent,) = found.value.extents
        assert (extent.block_offset, extent.length_bytes) == (at, len(content))
        at += len(content)
    token = read_token(window.token, rig.keys.ring(), now_ms=rig.clock.now_ms())
    assert token.window is None


def test_the_right_to_read_ends_where_the_allowed_files_end(rig: NamespaceRig) -> None:
    rig.mkdir("/open", mode=0o777)
    files = laid_out({f"/open/{n}": b"12345" for n in range(6)})
    files[2] = msgspec.structs.replace(files[2], mode=0o600)
    pack = begin_pack(rig, 30)
    commit(rig, files, [written_pack(rig, pack, b"12345" * 6)])
    rig.remove("/open/4")
    reply = locate_many(rig, *(f"/open/{n}" for n in range(6)), who=user(5))
    assert [w[1:3] for w in map(msgspec.structs.astuple, reply.windows)] == [
        (0, 10),
        (15, 5),
        (25, 5),
    ]
    now_ms = rig.clock.now_ms()
    bound = [read_token(w.token, rig.keys.ring(), now_ms=now_ms).window for w in reply.windows]
    assert bound == [(0, 10), (15, 5), (25, 5)]
    assert [bool(each.error) for each in reply.files] == [False, False, True, False, True, False]


def test_a_lone_look_at_a_packed_file_is_bound_to_it(rig: NamespaceRig) -> None:
    put_pack(rig, FILES)
    body = PathsRequest(paths=["/tmp/b"])
    (extent,) = only(rig.look(lambda c: rig.space.locating.locate(c, ADMIN, body))).extents
    token = read_token(extent.token, rig.keys.ring(), now_ms=rig.clock.now_ms())
    assert token.window == (5, 10)
