"""Compaction with real DataNodes: what files read before they read after, and now takes less."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from dfs.base.entropy import Random
from dfs.base.errors import JobConflict, PeerUnreachable, Stopping
from dfs.base.events import Event
from dfs.base.ids import BlockId, NodeId
from dfs.base.states import BlockState, NodeState
from dfs.blocks.history import read
from dfs.blocks.kept_rows import read_kept
from dfs.transfer.block_channel import BlockAccess
from dfs.wire.files_api import SetrepRequest
from dfs.wire.packs import decode_table
from dfs.wire.tokens import Mode
from tests.metadata_checks import check_replay
from tests.namespace_rig import ADMIN, only
from tests.pack_rig import locate_many
from tests.unit.upkeep.compaction_rig import CONFIG, CompactionRig, block_of

FILES = {f"/tmp/f{n}": Random(n).randbytes(300 + n) for n in range(20)}
LONE = {f"/tmp/lone{n}": Random(100 + n).randbytes(1000 + n) for n in range(9)}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[CompactionRig]:
    made = CompactionRig(tmp_path)
    yield made
    made.close()


def remove_most(rig: CompactionRig, *, keep: int = 5) -> list[str]:
    """All but so many files of the pack are gone for good; who is left."""
    for path in list(FILES)[keep:]:
        rig.remove(path, skip_trash=True)
    rig.purge()
    return list(FILES)[:keep]


def setrep(rig: CompactionRig, path: str, replication: int) -> None:
    body = SetrepRequest(paths=[path], replication=replication)
    only(rig.change(lambda txn: rig.space.changes.setrep(txn, ADMIN, body)))


# ---- what it does


def test_a_pack_of_which_most_was_removed_is_rewritten_and_files_read_as_before(
    rig: CompactionRig, tmp_path: Path
) -> None:
    rig.put_packed(FILES)
    old = block_of(rig, "/tmp/f0")
    left = remove_most(rig)
    statuses = [rig.stat(path) for path in left]
    done = rig.round()
    new = block_of(rig, "/tmp/f0")
    assert (done.packs_written, done.blocks_emptied, done.extents_moved) == (1, 1, 5)
    assert done.moved_bytes == sum(len(FILES[path]) for path in left)
    assert done.won_bytes == sum(map(len, FILES.values())) - done.moved_bytes
    assert (done.packs, done.packed_files, done.hole_bytes, done.win_bytes) == (1, 5, 0, 0)
    assert done.pack_total_bytes == done.moved_bytes
    assert [rig.read(path) for path in left] == [FILES[path] for path in left]
    assert [rig.stat(path) for path in left] == statuses
    assert (rig.blocks(), rig.blocks(BlockState.GARBAGE)) == ([new], [old])
    assert rig.leases() == 0
    told = [rig.look(lambda c, b=b: read(c, BlockId(b))) for b in (old, new)]
    assert [(e.what, e.detail) for events in told for e in events] == [
        ("rewritten", f"into block {new}"),
        ("rewritten", "from 1 blocks, 5 stretches"),
    ]
    (event,) = rig.told(Event.PACK_REWRITTEN)
    assert (event["of"], event["extents"]) == ("1 mostly empty block", 5)
    rig.look(lambda c: check_replay(c, tmp_path))


def test_the_new_pack_explains_itself_on_every_disk(rig: CompactionRig) -> None:
    rig.put_packed(FILES)
    left = remove_most(rig)
    rig.move(left[0], "/tmp/renamed")
    rig.round()
    (found,) = locate_many(rig, "/tmp/renamed").blocks
    token = rig.keys.mint(user="x", mode=Mode.COPY, name=found.name, length_max=0, path="")
    for node in (1, 2):
        with rig.channels.to(rig.address(NodeId(node))) as channel:
            raw = channel.label(BlockAccess(found.name, "", token)).pack
        table = decode_table(raw, length_bytes=found.truth.length_bytes)
        assert [entry.path for entry in table] == ["/tmp/renamed", *left[1:]]
        assert [entry.length_bytes for entry in table] == [len(FILES[path]) for path in left]


def test_lone_small_files_are_gathered_and_the_pack_is_left_alone_afterwards(
    rig: CompactionRig,
) -> None:
    for path, content in LONE.items():
        rig.put_lone(path, content)
    done = rig.round()
    assert (done.packs_written, done.blocks_emptied) == (1, 9)
    assert len(rig.blocks()) == 1
    assert [rig.read(path) for path in LONE] == list(LONE.values())
    again = rig.round()
    assert (again.packs_written, again.small_blocks, again.packs) == (1, 1, 1)


def test_a_few_lone_files_are_left_until_there_are_more(rig: CompactionRig) -> None:
    for path, content in list(LONE.items())[:7]:
        rig.put_lone(path, content)
    done = rig.round()
    assert (done.packs_written, done.small_blocks, len(rig.blocks())) == (0, 7, 7)


def test_young_blocks_are_left_alone(rig: CompactionRig) -> None:
    rig.advance(61)
    for path, content in LONE.items():
        rig.put_lone(path, content)
    rig.compactor.start(by="ada")
    assert rig.finish().packs_written == 0


def test_files_in_the_trash_and_in_the_past_are_moved_along(rig: CompactionRig) -> None:
    rig.put_packed(FILES)
    before = rig.writer.txid
    rig.remove("/tmp/f0")
    rig.copy("/tmp/f1", "/tmp/copy")
    for path in list(FILES)[3:]:
        rig.remove(path, skip_trash=True)
    rig.purge()
    done = rig.round()
    assert (done.packs_written, done.extents_moved) == (1, 4)
    assert rig.read("/tmp/f0", as_of=before) == FILES["/tmp/f0"]
    assert rig.read("/tmp/copy") == rig.read("/tmp/f1") == FILES["/tmp/f1"]
    rig.undelete("/tmp/f0")
    assert rig.read("/tmp/f0") == FILES["/tmp/f0"]


def test_files_that_want_different_numbers_of_copies_do_not_share_a_pack(tmp_path: Path) -> None:
    rig = CompactionRig(tmp_path, nodes=3)
    for n, (path, content) in enumerate(LONE.items()):
        rig.put_lone(path, content, replication=1 + n % 2)
    for n, (path, content) in enumerate(FILES.items()):
        rig.put_lone(path, content, replication=1 + n % 2)
    rig.round()
    kept = rig.look(lambda c: read_kept(c, rig.blocks()))
    assert sorted((each.wanted, len(each.copies)) for each in kept.values()) == [(1, 1), (2, 2)]
    rig.close()


def test_large_packs_are_cut_and_never_longer_than_they_may_be(tmp_path: Path) -> None:
    config = replace(CONFIG, pack_bytes=4000, small_file_bytes_max=2000)
    rig = CompactionRig(tmp_path, config=config)
    for n in range(40):
        rig.put_lone(f"/tmp/{n}", Random(n).randbytes(400))
    rig.round()
    kept = rig.look(lambda c: read_kept(c, rig.blocks()))
    assert sorted(each.truth.length_bytes for each in kept.values()) == [4000] * 4
    assert all(rig.read(f"/tmp/{n}") == Random(n).randbytes(400) for n in range(40))
    rig.close()


# ---- what it does not touch


@pytest.mark.parametrize("state", ["corrupt", "disputed", "suspect", "missing"])
def test_a_block_with_a_copy_that_is_not_good_is_left_to_repair(
    rig: CompactionRig, state: str
) -> None:
    rig.put_packed(FILES)
    remove_most(rig)
    (block,) = rig.blocks()
    rig.spoil_row(block, 2, state)
    done = rig.round()
    assert (done.packs_written, done.failed) == (0, 1)
    assert [each.block for each in done.left_blocks] == [block]
    assert rig.blocks() == [block]
    assert rig.read("/tmp/f0") == FILES["/tmp/f0"]


def test_a_copy_with_other_bytes_is_doubted_and_the_other_one_is_read(rig: CompactionRig) -> None:
    rig.put_packed(FILES)
    left = remove_most(rig)
    (block,) = rig.blocks()
    original = rig.channels.to

    def lying(address):
        channel = original(address)
        return _Lying(channel) if address.node == 1 else channel

    rig.channels.to = lying  # type: ignore[method-assign]
    done = rig.round()
    rig.channels.to = original  # type: ignore[method-assign]
    assert done.packs_written == 1
    assert rig.doubted == [(block, 1)]
    assert [rig.read(path) for path in left] == [FILES[path] for path in left]


def test_a_datanode_that_stops_is_no_end_of_the_round(rig: CompactionRig) -> None:
    rig.put_packed(FILES)
    left = remove_most(rig)
    original = rig.channels.to

    def stopping(address):
        channel = original(address)
        return _Stopping(channel) if address.node == 1 else channel

    rig.channels.to = stopping  # type: ignore[method-assign]
    done = rig.round()
    rig.channels.to = original  # type: ignore[method-assign]
    assert done.packs_written == 1
    assert rig.doubted == []
    assert [rig.read(path) for path in left] == [FILES[path] for path in left]


class _Lying:
    """A DataNode whose memory flips a bit after its disk was verified."""

    def __init__(self, inner) -> None:
        self._inner = inner

    def __enter__(self):
        self._channel = self._inner.__enter__()
        return self

    def __exit__(self, *exc):
        return self._inner.__exit__(*exc)

    def download_ranges(self, access, ranges):
        for offset, piece in self._channel.download_ranges(access, ranges):
            yield offset, bytes([piece[0] ^ 1]) + piece[1:]

    def __getattr__(self, name):
        return getattr(self._channel, name)


class _Stopping(_Lying):
    """A DataNode whose store is being closed."""

    def download_ranges(self, access, ranges):
        raise Stopping("the block store is closed")


def test_nothing_is_done_while_it_is_held_back_and_it_goes_on_afterwards(
    rig: CompactionRig,
) -> None:
    rig.put_packed(FILES)
    remove_most(rig)
    rig.advance(61)
    rig.wait = "safe mode is on"
    rig.compactor.start(by="ada")
    for _ in range(5):
        assert not rig.pass_once()
    status = rig.compactor.status()
    assert (status.state, status.why, status.packs_written) == ("running", "safe mode is on", 0)
    rig.wait = ""
    assert rig.finish().packs_written == 1


def test_what_is_held_back_in_the_middle_is_given_up_with_nothing_left(rig: CompactionRig) -> None:
    rig.put_packed(FILES)
    remove_most(rig)
    (block,) = rig.blocks()
    rig.after_write = lambda: setattr(rig, "wait", "a storm")  # type: ignore[method-assign]
    rig.advance(61)
    rig.compactor.start(by="ada")
    for _ in range(5):
        rig.pass_once()
    assert (rig.blocks(), rig.leases()) == ([block], 0)
    assert len(rig.blocks(BlockState.GARBAGE)) == 1


# ---- races: between the reading and the change


def racing(rig: CompactionRig, act: Callable[[], object]) -> None:
    done: list[int] = []

    def once() -> None:
        if not done:
            done.append(1)
            act()

    rig.after_write = once  # type: ignore[method-assign]


def test_files_removed_meanwhile_stay_removed_and_are_a_hole(rig: CompactionRig) -> None:
    rig.put_packed(FILES)
    left = remove_most(rig)
    racing(rig, lambda: (rig.remove(left[0], skip_trash=True), rig.purge()))
    done = rig.round()
    assert (done.packs_written, done.extents_moved) == (1, 4)
    assert not rig.exists(left[0])
    assert [rig.read(path) for path in left[1:]] == [FILES[path] for path in left[1:]]


def test_when_most_went_meanwhile_the_pack_is_given_up(rig: CompactionRig) -> None:
    rig.put_packed(FILES)
    left = remove_most(rig)

    def remove() -> None:
        for path in left[:4]:
            rig.remove(path, skip_trash=True)
        rig.purge()

    racing(rig, remove)
    done = rig.round()
    assert (done.packs_written, done.failed) == (0, 1)
    assert rig.read(left[4]) == FILES[left[4]]
    assert (rig.leases(), len(rig.blocks())) == (0, 1)
    assert rig.round().packs_written == 1


@pytest.mark.parametrize("what", ["overwritten", "moved", "copied", "trashed", "undeleted"])
def test_a_file_that_changes_meanwhile_is_what_it_was_changed_to(
    rig: CompactionRig, what: str
) -> None:
    rig.put_packed(FILES)
    left = remove_most(rig)
    path, content = left[0], FILES[left[0]]
    if what == "undeleted":
        rig.remove(path)
    acts = {
        "overwritten": lambda: rig.put_lone(path, b"other", overwrite=True),
        "moved": lambda: rig.move(path, "/tmp/moved"),
        "copied": lambda: rig.copy(path, "/tmp/copied"),
        "trashed": lambda: rig.remove(path),
        "undeleted": lambda: rig.undelete(path),
    }
    racing(rig, acts[what])
    assert rig.round().packs_written == 1
    match what:
        case "overwritten":
            assert rig.read(path) == b"other"
        case "moved":
            assert rig.read("/tmp/moved") == content
        case "copied":
            assert rig.read("/tmp/copied") == rig.read(path) == content
        case "trashed":
            assert not rig.exists(path)
            rig.undelete(path)
            assert rig.read(path) == content
        case "undeleted":
            assert rig.read(path) == content
    assert [rig.read(each) for each in left[1:]] == [FILES[each] for each in left[1:]]


def test_more_copies_wanted_meanwhile_are_another_rounds_matter(tmp_path: Path) -> None:
    rig = CompactionRig(tmp_path, nodes=3)
    rig.put_packed(FILES)
    left = remove_most(rig)
    (block,) = rig.blocks()
    racing(rig, lambda: setrep(rig, left[0], 3))
    done = rig.round()
    assert (done.packs_written, done.failed, rig.blocks()) == (0, 1, [block])
    rig.close()


def test_a_reader_with_the_old_place_reads_on(rig: CompactionRig) -> None:
    rig.put_packed(FILES)
    remove_most(rig)
    old = locate_many(rig, "/tmp/f0")
    rig.round()
    (file,) = old.files
    assert file.value is not None
    (extent,) = file.value.extents
    window, (block,) = old.windows[extent.window], old.blocks
    for holder in block.holders:
        node = old.nodes[holder.node]
        assert rig.fetch(block.name, window.token, node, extent) == FILES["/tmp/f0"]
    assert block_of(rig, "/tmp/f0") != block.truth.block


def test_a_datanode_that_dies_while_it_takes_the_pack_costs_nothing(tmp_path: Path) -> None:
    rig = CompactionRig(tmp_path, nodes=3)
    rig.put_packed(FILES)
    left = remove_most(rig)
    (block,) = rig.blocks()
    kept = rig.look(lambda c: read_kept(c, [BlockId(block)]))[BlockId(block)]
    (empty,) = {1, 2, 3} - {copy.node for copy in kept.copies}
    lost: list[NodeId] = []

    def one_dies() -> None:
        if not lost:
            lost.append(NodeId(empty))
            rig.real[NodeId(empty)].server.stop(0)

    rig.before_write = one_dies  # type: ignore[method-assign]
    tries = 0
    while not (done := rig.round()).packs_written:
        tries += 1
        assert tries < 20
        assert (rig.blocks(), rig.leases()) == ([block], 0)
        if done.failed:
            rig.nodes = [
                replace(view, state=NodeState.DEAD) if view.node in lost else view
                for view in rig.nodes
            ]
    assert [rig.read(path) for path in left] == [FILES[path] for path in left]
    rig.close()


def test_it_gives_up_after_many_failures_and_says_why(rig: CompactionRig) -> None:
    rig.compact = replace(CONFIG, pack_bytes=3200, small_file_bytes_max=1600)
    rig.compactor = rig.a_compactor()
    for n in range(88):
        rig.put_lone(f"/tmp/{n}", Random(n).randbytes(400))

    def refuse() -> None:
        raise PeerUnreachable("nobody is there")

    rig.before_write = refuse  # type: ignore[method-assign]
    done = rig.round()
    assert (done.state, done.failed, done.packs_written) == ("resting", 10, 0)
    assert done.why == "10 packs in a row came to nothing: peer_unreachable: nobody is there"
    assert (rig.leases(), len(rig.blocks())) == (0, 88)


# ---- when it runs


def test_it_runs_by_itself_once_an_interval_and_not_at_once_after_a_start(
    rig: CompactionRig,
) -> None:
    rig.put_packed(FILES)
    remove_most(rig)
    rig.advance(3000)
    assert not rig.pass_once()
    assert rig.compactor.status().state == "resting"
    rig.advance(600)
    rig.pass_once()
    assert rig.compactor.status().state == "running"
    done = rig.finish()
    assert (done.state, done.packs_written) == ("resting", 1)
    assert done.next_ms > rig.clock.now_ms()


def test_one_that_is_stopped_stays_so_over_a_restart_until_it_is_started(
    rig: CompactionRig,
) -> None:
    rig.put_packed(FILES)
    remove_most(rig)
    rig.compactor.stop(by="ada")
    with pytest.raises(JobConflict, match="by ada"):
        rig.compactor.stop(by="bob")
    rig.compactor = rig.a_compactor()
    rig.advance(10_000)
    assert not rig.pass_once()
    status = rig.compactor.status()
    assert (status.state, status.by, status.packs_written) == ("stopped", "ada", 0)
    assert rig.compactor.start(by="bob").state == "running"
    with pytest.raises(JobConflict, match="already"):
        rig.compactor.start(by="bob")
    assert rig.finish().packs_written == 1


def test_a_round_that_ended_with_the_process_is_made_anew(rig: CompactionRig) -> None:
    rig.put_packed(FILES)
    remove_most(rig)
    rig.advance(61)
    rig.compactor.start(by="ada")
    rig.pass_once()
    rig.compactor = rig.a_compactor()
    assert rig.compactor.status().state == "running"
    assert rig.finish().packs_written == 1


def test_switched_off_it_makes_a_round_only_when_asked(tmp_path: Path) -> None:
    rig = CompactionRig(tmp_path, config=replace(CONFIG, enabled=False))
    rig.put_packed(FILES)
    remove_most(rig)
    rig.advance(30_000)
    assert not rig.pass_once()
    assert rig.compactor.status().state == "off"
    done = rig.round()
    assert (done.state, done.packs_written) == ("off", 1)
    rig.close()


def test_bandwidth_is_kept_to(tmp_path: Path) -> None:
    config = replace(CONFIG, pack_bytes=4000, small_file_bytes_max=2000, bandwidth_bytes=1000)
    rig = CompactionRig(tmp_path, config=config)
    for n in range(60):
        rig.put_lone(f"/tmp/{n}", Random(n).randbytes(400))
    rig.advance(61)
    began_s = rig.clock.monotonic_s()
    rig.compactor.start(by="ada")
    done = rig.finish()
    took_s = rig.clock.monotonic_s() - began_s
    assert done.moved_bytes == 24_000
    assert took_s >= (24_000 - 4000) / 1000 - 6
    rig.close()
