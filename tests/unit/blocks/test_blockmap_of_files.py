from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dfs.base.clock import ManualClock
from dfs.base.entropy import Random
from dfs.base.errors import BadRequest, PlacementRefused
from dfs.base.ids import BlockId, Generation, InodeId, NodeId
from dfs.base.records import BlockKey, BlockTruth, NodeView, Receipt, WrittenBlock
from dfs.base.states import BlockState, NodeState, ReplicaState
from dfs.base.units import GiB, MiB
from dfs.blocks.blockmap import (
    AllocatedRow,
    BlockWish,
    Commit,
    NewBlock,
    allocate,
    allocated,
    apply_commits,
    check_commit,
    discard,
    locate,
    raise_replication,
    unreferenced,
)
from dfs.blocks.promises import Promises
from dfs.meta.session import Reader
from dfs.meta.tables import BLOCK, EXTENT, GC_QUEUE, REPLICA
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.wire.tokens import KeyRing, sign_receipt
from tests.builders import a_name, a_node, a_truth, a_usage

KEY = BlockKey(key_id=1, secret=b"s" * 32, created_ms=0, expires_ms=2**62)
FOREIGN_KEY = BlockKey(key_id=1, secret=b"x" * 32, created_ms=0, expires_ms=2**62)
RING = KeyRing([KEY])
FILE = InodeId(7)
THREE = tuple(a_node(n, rack=f"/r{n}") for n in (1, 2, 3))

T = TypeVar("T")


def wish(number: int = 0, *, file: int = FILE, copies: int = 2) -> BlockWish:
    return BlockWish(InodeId(file), number, MiB, copies)


def written(
    truth: BlockTruth, *nodes: int, key: BlockKey = KEY, said: BlockTruth | None = None
) -> WrittenBlock:
    receipts = [sign_receipt(said or truth, node=NodeId(n), epoch=1, key=key) for n in nodes]
    return WrittenBlock(truth, tuple(receipts))


def rows_of(*truths: BlockTruth) -> dict[BlockId, AllocatedRow]:
    return {
        truth.block: AllocatedRow(
            a_name(truth.block, number=i, generation=truth.generation), MiB, 2, 5
        )
        for i, truth in enumerate(truths)
    }


def check(
    rows: dict[BlockId, AllocatedRow],
    *items: WrittenBlock,
    min_acks: int = 1,
    replication: int = 2,
    check_signatures: bool = True,
) -> Commit:
    return check_commit(
        rows,
        items,
        ring=RING,
        min_acks=min_acks,
        replication=replication,
        check_signatures=check_signatures,
    )


class Rig:
    """The map on a real database, with three nodes."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self.writer = writer
        self.reader = reader

    def do(self, work: Callable[[Txn], T]) -> T:
        return self.writer.submit(work)

    def allocate(self, *wishes: BlockWish) -> list[NewBlock]:
        return self.do(lambda txn: allocate(txn, wishes, nodes=THREE, rng=Random(1)))

    def commit(self, *new: NewBlock, nodes: tuple[int, ...] = (1, 2)) -> list[BlockTruth]:
        truths = [
            replace(a_truth(block.name.block), generation=block.name.generation) for block in new
        ]
        items = [written(truth, *nodes) for truth in truths]

        def work(txn: Txn) -> None:
            rows = allocated(txn, [FILE])[FILE]
            apply_commits(txn, [check(rows, *items)])

        self.do(work)
        return truths

    def states(self) -> dict[int, str]:
        with self.reader.view() as connection:
            return {row.id: row.state for row in connection.execute(BLOCK.select())}


@pytest.fixture
def rig(writer: Writer, reader: Reader) -> Rig:
    return Rig(writer, reader)


# ---- allocate


def test_allocate_gives_fresh_ids_in_the_order_asked(rig: Rig) -> None:
    new = rig.allocate(wish(0), wish(1)) + rig.allocate(wish(2))
    assert [block.name.number for block in new] == [0, 1, 2]
    assert len({block.name.block for block in new}) == 3
    assert len({block.name.generation for block in new}) == 3
    assert all(len(block.targets) == 2 and len(block.refusals) == 1 for block in new)


def test_allocate_remembers_what_it_allocated(rig: Rig) -> None:
    new = rig.allocate(wish(0), wish(1), wish(0, file=8))
    found = rig.do(lambda txn: allocated(txn, [FILE, InodeId(8), InodeId(9)]))
    assert {file: list(rows) for file, rows in found.items()} == {
        FILE: [new[0].name.block, new[1].name.block],
        InodeId(8): [new[2].name.block],
        InodeId(9): [],
    }
    assert found[FILE][new[1].name.block].name == new[1].name
    assert found[FILE][new[1].name.block].length_max_bytes == MiB


def test_allocate_names_every_node_when_it_must_refuse(rig: Rig) -> None:
    nodes = (a_node(1, state=NodeState.STALE, silent_s=40), a_node(2, usage=a_usage(free_bytes=0)))
    with pytest.raises(PlacementRefused) as caught:
        rig.do(lambda txn: allocate(txn, [wish()], nodes=nodes, rng=Random(1)))
    assert "dn-1: stale: silent for 40s" in caught.value.message
    assert set(caught.value.details["nodes"]) == {"dn-1", "dn-2"}  # type: ignore[call-overload]
    assert rig.states() == {}


def test_allocate_without_any_node_says_so(rig: Rig) -> None:
    with pytest.raises(PlacementRefused, match="no DataNode has joined"):
        rig.do(lambda txn: allocate(txn, [wish()], nodes=(), rng=Random(1)))


def test_allocate_does_not_overfill_a_node_between_its_beats(rig: Rig) -> None:
    promises = Promises()

    def burst(nodes: tuple[NodeView, ...]) -> int:
        try:
            return len(
                rig.do(
                    lambda txn: allocate(
                        txn, [wish(copies=1)], nodes=nodes, rng=Random(1), promises=promises
                    )
                )
            )
        except PlacementRefused:
            return 0

    def with_room_for_two(at_ms: int) -> tuple[NodeView, ...]:
        return (a_node(1, usage=replace(a_usage(free_bytes=2 * MiB), at_ms=at_ms)),)

    assert [burst(with_room_for_two(1)) for _ in range(4)] == [1, 1, 0, 0]
    assert burst(with_room_for_two(2)) == 0, "they may not have reached the node by its next beat"
    assert burst(with_room_for_two(3)) == 1, "by the second beat the node's own word holds"


def test_allocate_takes_thousands_in_one_call(rig: Rig) -> None:
    nodes = tuple(a_node(n, usage=a_usage(free_bytes=9000 * GiB)) for n in range(1, 101))
    wishes = [wish(0, file=100 + n) for n in range(5_000)]
    new = rig.do(lambda txn: allocate(txn, wishes, nodes=nodes, rng=Random(1)))
    assert len({block.name.block for block in new}) == 5_000
    taken = [address.node for block in new for address in block.targets]
    assert len(taken) == 10_000
    counts = [taken.count(NodeId(n)) for n in range(1, 101)]
    assert max(counts) < 2 * min(counts), "spread evenly over equal nodes"


# ---- check_commit


def test_check_commit_takes_blocks_with_enough_receipts() -> None:
    one, two = a_truth(1), a_truth(2)
    commit = check(rows_of(one, two), written(one, 1, 2), written(two, 3))
    assert [block.holders for block in commit.blocks] == [(1, 2), (3,)]
    assert commit.owed == 1
    assert commit.leftover == ()


def test_check_commit_leaves_over_replaced_attempts() -> None:
    bad, good = a_truth(1), a_truth(2)
    rows = rows_of(good) | {BlockId(1): AllocatedRow(a_name(1), MiB, 2, 5)}
    assert check(rows, written(good, 1)).leftover == (bad.block,)


def test_check_commit_counts_a_node_once() -> None:
    truth = a_truth(1)
    with pytest.raises(PlacementRefused):
        check(rows_of(truth), written(truth, 3, 3), min_acks=2)


@pytest.mark.parametrize(
    "item",
    [
        written(a_truth(1), 1, key=FOREIGN_KEY),
        written(a_truth(1), 1, key=BlockKey(9, b"s" * 32, 0, 2**62)),
        written(a_truth(1), 1, said=a_truth(1, data=b"other")),
        written(a_truth(1), 1, said=a_truth(2)),
        written(a_truth(1)),
    ],
    ids=["forged", "unknown key", "other bytes", "other block", "none"],
)
def test_check_commit_refuses_receipts_that_do_not_hold(item: WrittenBlock) -> None:
    with pytest.raises(PlacementRefused) as caught:
        check(rows_of(a_truth(1)), item)
    assert caught.value.details["needed"] == 1


def test_check_commit_believes_unsigned_receipts_only_when_tokens_are_off() -> None:
    item = written(a_truth(1), 1, key=FOREIGN_KEY)
    assert check(rows_of(a_truth(1)), item, check_signatures=False).owed == 1
    changed = replace(item.receipts[0], length_bytes=1)
    with pytest.raises(PlacementRefused):
        check(rows_of(a_truth(1)), replace(item, receipts=(changed,)), check_signatures=False)


@pytest.mark.parametrize(
    "truth",
    [
        a_truth(99),
        a_truth(1, generation=2),
        a_truth(1, data=b""),
        replace(a_truth(1), length_bytes=MiB + 1),
        replace(a_truth(1), hash=b"short"),
    ],
    ids=["not allocated", "generation", "empty", "too long", "no hash"],
)
def test_check_commit_refuses_a_truth_that_cannot_be(truth: BlockTruth) -> None:
    with pytest.raises(BadRequest):
        check(rows_of(a_truth(1)), written(truth, 1))


@pytest.mark.parametrize("order", [(1, 0), (1,), (0, 0)])
def test_check_commit_refuses_blocks_out_of_order_or_left_out(order: tuple[int, ...]) -> None:
    truths = [a_truth(1), a_truth(2)]
    with pytest.raises(BadRequest):
        check(rows_of(*truths), *(written(truths[i], 1) for i in order))


@given(st.binary(min_size=0, max_size=40), st.integers(0, 2**63 - 1))
def test_check_commit_never_believes_an_invented_signature(signature: bytes, key_id: int) -> None:
    truth = a_truth(1)
    receipt = Receipt(
        truth.block,
        truth.generation,
        truth.length_bytes,
        truth.hash,
        NodeId(1),
        1,
        key_id,
        signature,
    )
    with pytest.raises(PlacementRefused):
        check(rows_of(truth), WrittenBlock(truth, (receipt,)))


# ---- commit, locate


def test_locate_finds_committed_blocks_and_their_holders(rig: Rig) -> None:
    (truth,) = rig.commit(*rig.allocate(wish()))
    nodes = {view.node: view for view in THREE}
    with rig.reader.view() as connection:
        found = locate(connection, [truth.block, BlockId(99)], nodes)
    assert list(found) == [truth.block]
    assert found[truth.block].truth == truth
    assert found[truth.block].name.file == FILE
    assert [holder.address.node for holder in found[truth.block].holders] == [1, 2]


def test_locate_does_not_show_blocks_that_were_never_committed(rig: Rig) -> None:
    (new,) = rig.allocate(wish())
    with rig.reader.view() as connection:
        assert locate(connection, [new.name.block], {}) == {}


def test_locate_puts_the_best_holder_first(rig: Rig) -> None:
    (truth,) = rig.commit(*rig.allocate(wish()), nodes=(1, 2, 3, 4))
    row = {"block": truth.block, "generation": truth.generation, "verified_ms": 0}
    rig.do(
        lambda txn: txn.put_soft(
            REPLICA,
            row | {"node": 1, "state": ReplicaState.CORRUPT},
            row | {"node": 2, "state": ReplicaState.SUSPECT},
            row | {"node": 5, "state": ReplicaState.LIVE, "generation": truth.generation + 1},
        )
    )
    views = [a_node(1), a_node(2), a_node(3, state=NodeState.STALE), a_node(4), a_node(5)]
    with rig.reader.view() as connection:
        found = locate(connection, [truth.block], {view.node: view for view in views})
    assert [holder.address.node for holder in found[truth.block].holders] == [4, 3, 2, 1]


def test_locate_leaves_out_nodes_that_were_removed(rig: Rig) -> None:
    (truth,) = rig.commit(*rig.allocate(wish()))
    with rig.reader.view() as connection:
        found = locate(connection, [truth.block], {NodeId(2): a_node(2)})
    assert [holder.address.node for holder in found[truth.block].holders] == [2]


# ---- discard


def extent(block: int, *, died_tx: int | None = None) -> dict[str, object]:
    return {
        "inode": FILE,
        "seq": block,
        "file_offset": 0,
        "block": block,
        "block_offset": 0,
        "length_bytes": 1,
        "born_tx": 1,
        "died_tx": died_tx,
    }


def test_discard_queues_garbage_once(rig: Rig, clock: ManualClock) -> None:
    (new,) = rig.allocate(wish())
    blocks = [new.name.block]
    at_ms = clock.now_ms() + 1000

    def work(txn: Txn) -> int:
        return discard(txn, blocks, reason="abandoned", not_before_ms=at_ms)

    assert [rig.do(work), rig.do(work)] == [1, 0]
    assert rig.states() == {new.name.block: BlockState.GARBAGE}
    with rig.reader.view() as connection:
        (row,) = connection.execute(GC_QUEUE.select()).all()
    assert (row.block, row.generation, row.not_before_ms) == (
        new.name.block,
        new.name.generation,
        at_ms,
    )


@pytest.mark.parametrize("died_tx", [None, 5], ids=["live", "retained"])
def test_discard_never_takes_a_block_that_an_extent_points_at(
    rig: Rig, died_tx: int | None
) -> None:
    (truth,) = rig.commit(*rig.allocate(wish()))
    rig.do(lambda txn: txn.put(EXTENT, extent(truth.block, died_tx=died_tx)))
    assert rig.do(lambda txn: unreferenced(txn, [truth.block, BlockId(9)])) == {9}
    with pytest.raises(AssertionError):
        rig.do(lambda txn: discard(txn, [truth.block], reason="", not_before_ms=0))
    assert rig.states() == {truth.block: BlockState.COMMITTED}


def test_raise_replication_never_lowers(rig: Rig) -> None:
    (truth,) = rig.commit(*rig.allocate(wish()))
    assert rig.do(lambda txn: raise_replication(txn, [truth.block], 3)) == 1
    assert rig.do(lambda txn: raise_replication(txn, [truth.block], 2)) == 0
    with rig.reader.view() as connection:
        assert [row.replication for row in connection.execute(BLOCK.select())] == [3]


def test_generation_and_block_ids_are_never_given_twice_after_an_undone_request(rig: Rig) -> None:
    def undone(txn: Txn) -> None:
        allocate(txn, [wish()], nodes=THREE, rng=Random(1))
        raise BadRequest("undo it")

    with pytest.raises(BadRequest):
        rig.do(undone)
    (new,) = rig.allocate(wish())
    assert (new.name.block, new.name.generation) >= (BlockId(1), Generation(1))
    assert rig.states() == {new.name.block: BlockState.ALLOCATED}
