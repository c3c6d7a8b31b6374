"""Writing files: leases, completion, receipts, and what happens to writes that end otherwise."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from dfs.base.clock import SystemClock
from dfs.base.errors import (
    BadRequest,
    BeingWritten,
    DfsError,
    LeaseLost,
    LimitExceeded,
    PathExists,
    PathNotFound,
    PermissionDenied,
    PlacementRefused,
    Starting,
)
from dfs.base.records import WrittenBlock
from dfs.base.states import NodeState
from dfs.wire.data_api import (
    AllocateItem,
    AllocateRequest,
    CompleteItem,
    CompleteRequest,
    CreateRequest,
    LeaseItem,
    LeasesRequest,
    NewFile,
    OpenedFile,
)
from dfs.wire.files_api import PathsRequest
from dfs.wire.tokens import Mode, read_token
from tests.builders import a_node
from tests.metadata_checks import check_metadata
from tests.namespace_rig import ADMIN, NamespaceRig, only, user

BLOCK = 64 * 1024


def test_file_is_invisible_until_complete_and_then_whole(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=5)
    assert not rig.exists("/tmp/f")
    assert rig.complete(opened, [b"12345"]).status.size_bytes == 5
    assert rig.stat("/tmp/f").size_bytes == 5


def test_empty_file_has_no_blocks(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=0)
    assert opened.blocks == []
    assert rig.complete(opened, []).status.size_bytes == 0


@pytest.mark.parametrize(
    ("size", "blocks"),
    [(1, 1), (BLOCK - 1, 1), (BLOCK, 1), (BLOCK + 1, 2), (3 * BLOCK, 3), (9 * BLOCK, 4)],
)
def test_create_allocates_the_first_blocks_to_the_byte(
    rig: NamespaceRig, size: int, blocks: int
) -> None:
    opened = rig.create("/tmp/f", size_bytes=size, block_size_bytes=BLOCK)
    assert len(opened.blocks) == blocks
    assert sum(block.length_max_bytes for block in opened.blocks) == min(size, 4 * BLOCK)


def test_second_writer_of_a_path_waits_for_the_first(rig: NamespaceRig) -> None:
    rig.create("/tmp/f")
    with pytest.raises(BeingWritten):
        rig.create("/tmp/f")


def test_silent_writer_is_replaced_after_the_soft_limit(rig: NamespaceRig) -> None:
    first = rig.create("/tmp/f", size_bytes=1)
    rig.advance(rig.config.namenode.lease_soft_s + 1)
    second = rig.create("/tmp/f", size_bytes=1)
    with pytest.raises(LeaseLost):
        rig.complete(first, [b"1"])
    rig.complete(second, [b"2"])
    rig.look(check_metadata)


def test_renewed_lease_is_not_taken_over(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=1)
    for _ in range(5):
        rig.advance(rig.config.namenode.lease_soft_s * 0.8)
        items = LeasesRequest(items=[LeaseItem(inode=opened.inode, lease=opened.lease)])
        only(rig.change(lambda txn, items=items: rig.space.completing.renew(txn, ADMIN, items)))
    with pytest.raises(BeingWritten):
        rig.create("/tmp/f")


def test_restart_gives_every_writer_a_fresh_soft_limit(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=1)
    rig.advance(rig.config.namenode.lease_hard_s + 1)
    rig.restart()
    assert rig.expire_leases() == 0
    rig.complete(opened, [b"x"])


def test_abandoned_write_leaves_nothing(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=1)
    items = LeasesRequest(items=[LeaseItem(inode=opened.inode, lease=opened.lease)])
    only(rig.change(lambda txn: rig.space.completing.abandon(txn, ADMIN, items)))
    assert not rig.exists("/tmp/f")
    rig.create("/tmp/f")
    rig.look(check_metadata)


def _in_one_batch(rig: NamespaceRig, *works: Callable[[], object]) -> list[object]:
    """Have the writer take those changes together, in that order."""
    held, go = threading.Event(), threading.Event()

    def hold(_txn: object) -> None:
        held.set()
        assert go.wait(30)

    with ThreadPoolExecutor(len(works) + 1) as pool:
        first = pool.submit(rig.change, hold)
        assert held.wait(30)
        futures = []
        for count, work in enumerate(works, 1):
            futures.append(pool.submit(work))
            while rig.writer.waiting() < count:
                SystemClock().sleep(0.001)
        go.set()
        first.result(30)
        return [future.result(30) for future in futures]


def test_write_begun_in_the_same_batch_as_the_expiry_of_leases_goes_on(rig: NamespaceRig) -> None:
    rig.create("/silent", size_bytes=1)
    rig.advance(rig.config.namenode.lease_hard_s + 1)  # this NameNode has run for longer than that
    opened, _ = _in_one_batch(rig, lambda: rig.create("/f", size_bytes=1), rig.expire_leases)
    assert isinstance(opened, OpenedFile)
    rig.complete(opened, [b"1"])


def test_write_begun_in_the_same_batch_as_a_rivals_keeps_its_path(rig: NamespaceRig) -> None:
    rig.advance(rig.config.namenode.lease_soft_s + 1)

    def rival() -> None:
        with pytest.raises(BeingWritten):
            rig.create("/f", size_bytes=1, who=ADMIN)

    opened, _ = _in_one_batch(rig, lambda: rig.create("/f", size_bytes=1), rival)
    assert isinstance(opened, OpenedFile)
    rig.complete(opened, [b"1"])


def test_write_renewed_in_the_same_batch_as_the_expiry_of_leases_goes_on(rig: NamespaceRig) -> None:
    opened = rig.create("/f", size_bytes=1)
    rig.advance(rig.config.namenode.lease_hard_s + 1)
    body = LeasesRequest(items=[LeaseItem(inode=opened.inode, lease=opened.lease)])
    _in_one_batch(
        rig,
        lambda: only(rig.change(lambda txn: rig.space.completing.renew(txn, ADMIN, body))),
        rig.expire_leases,
    )
    rig.complete(opened, [b"1"])


def test_expired_write_is_given_up_and_its_blocks_are_garbage(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=1)
    rig.advance(rig.config.namenode.lease_hard_s + 1)
    assert rig.expire_leases() == 1
    with pytest.raises(LeaseLost):
        rig.complete(opened, [b"1"])
    rig.look(check_metadata)


def test_lease_of_another_user_is_worth_nothing(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=1, who=user(7))
    with pytest.raises(LeaseLost):
        rig.complete(opened, [b"1"], who=user(8))


def test_asking_for_blocks_of_anothers_write_does_not_keep_it_alive(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=1, who=user(7))
    rig.advance(rig.config.namenode.lease_hard_s + 1)
    item = AllocateItem(inode=opened.inode, lease="guessed", number=1, count=1)
    body = AllocateRequest(items=[item])
    with pytest.raises(LeaseLost):
        only(rig.change(lambda txn: rig.space.writing.allocate(txn, user(8), body)))
    assert rig.expire_leases() == 1


def test_file_named_twice_in_one_completion_appears_once(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=1)
    block = rig.written(opened.blocks[0], b"1")
    item = CompleteItem(inode=opened.inode, lease=opened.lease, blocks=[block])
    body = CompleteRequest(items=[item, item])
    first, second = rig.change(lambda txn: rig.space.completing.complete(txn, ADMIN, body)).outcomes
    assert first.value is not None
    assert second.error is not None
    assert second.error.code == LeaseLost.code
    rig.look(check_metadata)


def test_two_creators_of_one_path_have_one_winner(rig: NamespaceRig) -> None:
    def put(content: bytes) -> str:
        try:
            rig.put("/tmp/f", content)
        except DfsError as exc:
            return exc.code
        return "done"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(put, [bytes([65 + n]) for n in range(8)]))
    assert outcomes.count("done") == 1
    assert set(outcomes) <= {"done", "being_written", "path_exists"}


def test_path_taken_while_writing_is_seen_at_completion(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=1)
    rig.mkdir("/tmp/f")
    with pytest.raises(PathExists):
        rig.complete(opened, [b"1"])


def test_overwrite_does_not_replace_what_another_put_there_meanwhile_in_a_sticky_directory(
    rig: NamespaceRig,
) -> None:
    ada, bob = user(7), user(8)
    opened = rig.create("/tmp/f", who=ada, overwrite=True, size_bytes=0)
    rig.put("/tmp/g", who=bob)
    rig.move("/tmp/g", "/tmp/f", who=bob)
    with pytest.raises(PermissionDenied, match="/tmp/f"):
        rig.complete(opened, [], who=ada)
    rig.remove("/tmp/f", who=bob)


def test_write_completed_twice_in_one_request_becomes_one_file(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=0)
    item = CompleteItem(inode=opened.inode, lease=opened.lease, blocks=[])
    body = CompleteRequest(items=[item, item])
    first, second = rig.change(lambda txn: rig.space.completing.complete(txn, ADMIN, body)).outcomes
    assert first.value is not None
    assert second.error is not None
    assert second.error.code == "lease_lost"


def test_overwrite_shows_the_old_file_until_the_new_one_is_whole(rig: NamespaceRig) -> None:
    rig.put("/tmp/f", b"old")
    opened = rig.create("/tmp/f", size_bytes=5, overwrite=True)
    assert rig.stat("/tmp/f").size_bytes == 3
    rig.complete(opened, [b"newer"])
    assert rig.stat("/tmp/f").size_bytes == 5
    assert rig.undelete("/tmp/f", target="/tmp/old").size_bytes == 3


def test_directory_moved_while_writing_takes_the_file_along(rig: NamespaceRig) -> None:
    rig.mkdir("/d")
    opened = rig.create("/d/f", size_bytes=1)
    rig.move("/d", "/e")
    assert rig.complete(opened, [b"1"]).status.path == "/e/f"


def test_directory_removed_while_writing_refuses_the_file(rig: NamespaceRig) -> None:
    rig.mkdir("/d/e", parents=True)
    opened = rig.create("/d/e/f", size_bytes=1)
    rig.remove("/d", recursive=True)
    with pytest.raises(PathNotFound):
        rig.complete(opened, [b"1"])
    rig.look(check_metadata)


def test_receipt_nobody_signed_is_no_copy(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=1)
    true = rig.written(opened.blocks[0], b"1")
    forged = tuple(replace(each, signature=b"x" * 32) for each in true.receipts)
    item = CompleteItem(
        inode=opened.inode, lease=opened.lease, blocks=[WrittenBlock(true.truth, forged)]
    )
    body = CompleteRequest(items=[item])
    with pytest.raises(PlacementRefused):
        only(rig.change(lambda txn: rig.space.completing.complete(txn, ADMIN, body)))
    assert not rig.exists("/tmp/f")


def test_missing_copies_are_shown_as_debt(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=1, replication=3)
    block = rig.written(opened.blocks[0], b"1", holders=1)
    item = CompleteItem(inode=opened.inode, lease=opened.lease, blocks=[block])
    body = CompleteRequest(items=[item])
    assert only(rig.change(lambda txn: rig.space.completing.complete(txn, ADMIN, body))).owed == 2


def test_blocks_out_of_order_or_of_other_files_are_refused(rig: NamespaceRig) -> None:
    mine = rig.create("/tmp/f", size_bytes=2 * BLOCK, block_size_bytes=BLOCK)
    other = rig.create("/tmp/g", size_bytes=1)
    first, second = (rig.written(block, b"x" * BLOCK) for block in mine.blocks)
    foreign = rig.written(other.blocks[0], b"x")
    for blocks in ([second, first], [first, foreign], [first, first]):
        item = CompleteItem(inode=mine.inode, lease=mine.lease, blocks=blocks)
        body = CompleteRequest(items=[item])
        with pytest.raises(BadRequest):
            only(rig.change(lambda txn, b=body: rig.space.completing.complete(txn, ADMIN, b)))


def test_replaced_attempt_becomes_garbage_at_completion(rig: NamespaceRig) -> None:
    opened = rig.create("/tmp/f", size_bytes=1)
    failed = opened.blocks[0].targets[0].node
    ask = AllocateItem(inode=opened.inode, lease=opened.lease, number=0, exclude=[failed])
    (again,) = only(
        rig.change(lambda txn: rig.space.writing.allocate(txn, ADMIN, AllocateRequest(items=[ask])))
    )
    assert failed not in {target.node for target in again.targets}
    assert again.name.block != opened.blocks[0].name.block
    item = CompleteItem(inode=opened.inode, lease=opened.lease, blocks=[rig.written(again, b"1")])
    body = CompleteRequest(items=[item])
    only(rig.change(lambda txn: rig.space.completing.complete(txn, ADMIN, body)))
    rig.look(check_metadata)


def test_no_datanode_refuses_with_a_reason_for_each(rig: NamespaceRig) -> None:
    rig.nodes = [a_node(1, state=NodeState.DEAD), a_node(2, state=NodeState.STALE)]
    with pytest.raises(PlacementRefused) as refused:
        rig.create("/tmp/f", size_bytes=1)
    assert re.search(r"dn-1.*dn-2", str(refused.value) + str(refused.value.details), re.S)
    rig.put("/tmp/empty", b"")


def test_write_is_asked_to_wait_while_datanodes_may_not_have_been_heard_yet(
    rig: NamespaceRig,
) -> None:
    opened = rig.create("/f", size_bytes=2 * BLOCK, block_size_bytes=BLOCK)
    limit_s = rig.config.liveness.stale_after_s
    item = AllocateItem(inode=opened.inode, lease=opened.lease, number=1, count=1)

    def allocate():
        body = AllocateRequest(items=[item])
        return only(rig.change(lambda txn: rig.space.writing.allocate(txn, ADMIN, body)))

    unheard = [a_node(n, state=NodeState.JOINED, silent_s=limit_s - 1) for n in (1, 2)]
    for nodes in (unheard, [a_node(3), *unheard]):  # one copy now would be a debt for no reason
        rig.nodes = nodes
        with pytest.raises(Starting, match="dn-1, dn-2"):
            rig.create("/g", size_bytes=5)
        with pytest.raises(Starting):
            allocate()
    rig.nodes = [a_node(3), a_node(4), *unheard]
    assert len(allocate()[0].targets) == 2
    silent = [a_node(n, state=NodeState.JOINED, silent_s=limit_s + 1) for n in (1, 2)]
    rig.nodes = [a_node(3), *silent]
    assert len(rig.create("/g", size_bytes=5).blocks[0].targets) == 1
    rig.nodes = silent
    with pytest.raises(PlacementRefused):
        allocate()


def test_file_of_too_many_blocks_is_refused_before_it_begins(rig: NamespaceRig) -> None:
    with pytest.raises(LimitExceeded):
        rig.create("/tmp/f", size_bytes=10_001 * BLOCK, block_size_bytes=BLOCK)


def test_thousand_files_are_created_and_completed_in_two_transactions(rig: NamespaceRig) -> None:
    before = rig.writer.txid
    body = CreateRequest(
        files=[NewFile(path=f"/t/d{n % 10}/f{n}", size_bytes=3, parents=True) for n in range(1000)]
    )
    created = rig.change(lambda txn: rig.space.writing.create(txn, ADMIN, body)).outcomes
    items = [
        CompleteItem(
            inode=each.value.inode,
            lease=each.value.lease,
            blocks=[rig.written(each.value.blocks[0], b"abc")],
        )
        for each in created
        if each.value
    ]
    done = rig.change(
        lambda txn: rig.space.completing.complete(txn, ADMIN, CompleteRequest(items=items))
    )
    assert sum(each.value is not None for each in done.outcomes) == 1000
    assert rig.writer.txid == before + 2
    rig.look(check_metadata)


def test_locate_names_holders_and_gives_tokens_that_read(rig: NamespaceRig) -> None:
    rig.put("/tmp/f", b"content")
    body = PathsRequest(paths=["/tmp/f", "/tmp/nope", "/tmp"])
    found = rig.look(lambda c: rig.space.locating.locate(c, ADMIN, body)).outcomes
    assert [each.error and each.error.code for each in found] == [
        None,
        "path_not_found",
        "is_a_directory",
    ]
    assert found[0].value is not None
    (extent,) = found[0].value.extents
    token = read_token(extent.token, rig.keys.ring(), now_ms=rig.clock.now_ms())
    assert (token.mode, token.block) == (Mode.READ, extent.name.block)
    assert len(extent.holders) == 2
