import pytest

from dfs.base.ids import NodeId
from dfs.base.states import BlockState
from dfs.blocks import gc as collector
from dfs.meta.tables import BLOCK, EXTENT, GC_QUEUE
from tests.builders import a_name
from tests.unit.blocks.stock_rig import StockRig, a_report, an_entry, gone


@pytest.fixture
def nodes(stock: StockRig) -> tuple[NodeId, NodeId]:
    return stock.join(), stock.join()


def report_all(stock: StockRig, *nodes: NodeId, blocks: tuple[int, ...] = (1,)) -> None:
    for node in nodes:
        stock.full(node, *(an_entry(block) for block in blocks))


def obey(stock: StockRig, node: NodeId) -> list[int]:
    """The node does what it is told; which blocks it deleted."""
    commands = stock.beat(node)
    stock.beat(node, [command.command for command in commands])
    return [command.block.block for command in commands if command.block]


def test_gc_deletes_holder_by_holder_and_forgets_the_block_last(
    stock: StockRig, nodes: tuple[NodeId, NodeId]
) -> None:
    stock.put_garbage(1, holders=nodes)
    report_all(stock, *nodes)
    assert stock.collect().ordered == 2
    (command,) = stock.beat(nodes[0])
    assert (command.verb, command.block, command.epoch) == ("delete", a_name(1), 1)
    assert obey(stock, nodes[0]) == [1]
    stock.collect()
    assert (stock.locations(nodes[0]), set(stock.locations(nodes[1]))) == ({}, {1})
    assert stock.blocks() == {1}, "not before every holder has deleted it"
    obey(stock, nodes[1])
    assert stock.collect().forgotten == 1
    assert (stock.blocks(), stock.queued()) == (set(), set())
    assert stock.collect() == collector.GcReport(0, 0, 0)


def test_gc_waits_for_its_time(stock: StockRig, nodes: tuple[NodeId, NodeId]) -> None:
    stock.put_garbage(1, holders=nodes, not_before_ms=stock.clock.now_ms() + 1000)
    report_all(stock, *nodes)
    assert stock.collect().ordered == 0
    stock.clock.advance(1)
    assert stock.collect().ordered == 2


def test_gc_deletes_from_the_holder_that_is_there_and_waits_for_the_other(
    stock: StockRig, nodes: tuple[NodeId, NodeId]
) -> None:
    stock.put_garbage(1, holders=nodes)
    report_all(stock, nodes[0])
    report = stock.collect()
    assert (report.ordered, report.waiting) == (1, 1)
    assert obey(stock, nodes[0]) == [1]
    assert stock.collect().forgotten == 0
    assert stock.blocks() == {1}, "the one that is away is told when it comes back"
    report_all(stock, nodes[1])
    assert stock.collect().ordered == 1
    assert obey(stock, nodes[1]) == [1]
    assert stock.collect().forgotten == 1


def test_gc_deletes_and_forgets_nothing_under_caution(
    stock: StockRig, nodes: tuple[NodeId, NodeId]
) -> None:
    stock.put_garbage(1, holders=nodes)
    stock.put_garbage(2)
    report_all(stock, *nodes)
    stock.why_no_deletes = "safe mode"
    assert stock.collect().why_not == "safe mode"
    assert stock.beat(nodes[0]) == []
    assert stock.blocks() == {1, 2}
    stock.why_no_deletes = ""
    report = stock.collect()
    assert (report.ordered, report.forgotten) == (2, 1)


def test_gc_is_not_held_up_by_rows_that_are_no_garbage(
    stock: StockRig, nodes: tuple[NodeId, NodeId], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "BLOCKS_PER_PASS", 2)
    for block in (1, 2, 3):
        stock.put_garbage(block, holders=[nodes[0]])
    for block in (1, 2):  # still queued
        stock.put_block(block, state=BlockState.COMMITTED, holders=[nodes[0]])
    report_all(stock, *nodes, blocks=(1, 2, 3))
    stock.collect()
    assert obey(stock, nodes[0]) == [3]


def test_gc_waits_again_after_a_restart_of_the_namenode(
    stock: StockRig, nodes: tuple[NodeId, NodeId]
) -> None:
    stock.put_garbage(1, holders=nodes)
    report_all(stock, *nodes)
    stock.collect()
    stock.restart()
    assert stock.collect().waiting == 1
    for node in nodes:
        stock.register(node)
    report = stock.collect()
    assert (report.ordered, report.waiting) == (0, 1), "registered, but not reported"
    report_all(stock, *nodes)
    assert stock.collect().ordered == 2


def test_gc_orders_again_what_was_forgotten_in_a_restart_and_deleting_twice_is_no_error(
    stock: StockRig, nodes: tuple[NodeId, NodeId]
) -> None:
    stock.put_garbage(1, holders=nodes)
    report_all(stock, *nodes)
    stock.collect()
    for node in nodes:
        obey(stock, node)  # acknowledged to a process that ends before it writes that down
    stock.restart()
    for node in nodes:
        stock.register(node)
        stock.full(node)
    assert stock.collect().forgotten == 1, "the full reports said that it is gone"
    assert stock.blocks() == set()


def test_gc_does_not_order_twice_what_is_ordered(
    stock: StockRig, nodes: tuple[NodeId, NodeId]
) -> None:
    stock.put_garbage(1, holders=nodes)
    report_all(stock, *nodes)
    for _ in range(3):
        stock.collect()
    assert len(stock.beat(nodes[0])) == 1


def test_gc_deletes_a_copy_that_shows_up_late(
    stock: StockRig, nodes: tuple[NodeId, NodeId]
) -> None:
    stock.put_garbage(1, holders=[nodes[0]], not_before_ms=stock.clock.now_ms() + 1000)
    report_all(stock, *nodes)
    stock.clock.advance(1)
    stock.collect()
    assert obey(stock, nodes[1]) == [1]


def test_gc_follows_a_node_that_says_the_copy_is_gone(
    stock: StockRig, nodes: tuple[NodeId, NodeId]
) -> None:
    stock.put_garbage(1, holders=[nodes[0]])
    stock.full(nodes[0], an_entry(1))
    stock.full(nodes[1])
    stock.collect()
    stock.intake.take(nodes[0], a_report(gone=[gone(1)], sequence=2))
    assert stock.collect().forgotten == 1


def test_gc_gives_up_on_holders_that_were_removed(
    stock: StockRig, nodes: tuple[NodeId, NodeId]
) -> None:
    stock.put_garbage(1, holders=nodes)
    stock.put_block(2, holders=nodes)
    report_all(stock, nodes[0], blocks=(1, 2))
    stock.registry.remove(f"dn-{nodes[1]}", force=True)
    stock.collect()
    assert stock.locations(nodes[1]) == {}, "nor of blocks in use"
    assert set(stock.locations(nodes[0])) == {1, 2}
    obey(stock, nodes[0])
    stock.collect()
    assert stock.blocks() == {2}


def test_gc_forgets_a_block_never_committed_only_when_every_stock_is_known(
    stock: StockRig, nodes: tuple[NodeId, NodeId]
) -> None:
    stock.put_garbage(1, committed=False)
    stock.full(nodes[0])
    assert stock.collect().forgotten == 0
    stock.full(nodes[1], an_entry(1))
    assert stock.collect().ordered == 1, "it was written there, and nobody had said so"
    obey(stock, nodes[1])
    assert stock.collect().forgotten == 1


def test_gc_refuses_to_go_on_when_a_block_in_use_is_queued(
    stock: StockRig, nodes: tuple[NodeId, NodeId]
) -> None:
    stock.put_garbage(1, holders=nodes)
    report_all(stock, *nodes)
    extent = {
        "inode": 7,
        "seq": 1,
        "file_offset": 0,
        "block": 1,
        "block_offset": 0,
        "length_bytes": 1,
        "born_tx": 1,
        "died_tx": 2,
    }
    stock.do(lambda txn: txn.put(EXTENT, extent))
    with pytest.raises(AssertionError):
        stock.collect()
    assert stock.beat(nodes[0]) == []


def test_gc_never_deletes_a_block_that_is_not_garbage(
    stock: StockRig, nodes: tuple[NodeId, NodeId]
) -> None:
    stock.put_garbage(1, holders=nodes)
    stock.put_block(1, state=BlockState.COMMITTED, holders=nodes)
    report_all(stock, *nodes)
    assert stock.collect().ordered == 0
    assert stock.blocks() == {1}


def test_gc_does_a_bounded_part_of_the_queue_in_a_pass(
    stock: StockRig, nodes: tuple[NodeId, NodeId]
) -> None:
    blocks = range(1, collector.BLOCKS_PER_PASS + 3)
    for block in (blocks[0], blocks[-1]):
        stock.put_garbage(block, holders=[nodes[0]])
    rows = [
        {"id": b, "generation": b, "length_bytes": 1, "hash": b"h" * 16, "state": "garbage"}
        | {"file": 7, "number": 0, "replication": 1, "created_ms": 0, "acked": ""}
        for b in blocks[1:-1]
    ]
    queue = [
        {"block": b, "generation": b, "not_before_ms": 0, "reason": "test"} for b in blocks[1:-1]
    ]
    stock.do(lambda txn: (txn.put(BLOCK, *rows), txn.put(GC_QUEUE, *queue)))
    report_all(stock, *nodes, blocks=(blocks[0], blocks[-1]))
    assert stock.collect().forgotten < len(blocks) - 2
    assert stock.collect().forgotten >= 1
