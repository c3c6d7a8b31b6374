"""What is ordered about doubted, untrue and bad copies, and what becomes of the answers."""

import pytest

from dfs.base.events import Event
from dfs.base.ids import NodeId
from dfs.base.records import CommandFailure, StockEntry
from dfs.base.states import BlockState, ReplicaState, StoredState
from dfs.blocks import second_looks
from dfs.blocks.history import BlockEvent, What, note
from dfs.blocks.replica_rows import copies_in_state
from dfs.nodes.orders import Order
from dfs.wire.nodes_api import Beat
from tests.builders import a_name, a_usage
from tests.unit.blocks.stock_rig import StockRig, a_report, an_entry, gone

LIVE, SUSPECT, CORRUPT = ReplicaState.LIVE, ReplicaState.SUSPECT, ReplicaState.CORRUPT
RETIRING, DISPUTED = ReplicaState.RETIRING, ReplicaState.DISPUTED
BLOCK = a_name(1)


def bad(block: int = 1) -> StockEntry:
    return an_entry(block, state=StoredState.CORRUPT)


@pytest.fixture
def nodes(stock: StockRig) -> tuple[NodeId, NodeId, NodeId]:
    """Three nodes that hold block 1, which wants two copies."""
    joined = stock.join(), stock.join(), stock.join()
    stock.put_block(1, holders=joined)
    for node in joined:
        stock.report(node, an_entry(1))
    return joined


Three = tuple[NodeId, NodeId, NodeId]


def orders(stock: StockRig, node: NodeId) -> list[tuple[str, object]]:
    return [(command.verb, command.block) for command in stock.beat(node)]


# ---- doubt


def test_doubted_copy_is_verified_by_its_node(stock: StockRig, nodes: Three) -> None:
    stock.set_state(1, nodes[0], SUSPECT)
    assert stock.looks.run_once().verify == 1
    assert orders(stock, nodes[0]) == [(Order.VERIFY, BLOCK)]
    assert orders(stock, nodes[1]) == []
    stock.obey(nodes[0])
    stock.intake.take(nodes[0], a_report(an_entry(1, verified_ms=9), sequence=2))
    assert stock.locations(nodes[0]) == {1: LIVE}
    assert stock.looks.run_once().verify == 0


def test_doubted_copy_is_not_verified_over_and_over(stock: StockRig, nodes: Three) -> None:
    stock.set_state(1, nodes[0], SUSPECT)
    stock.looks.run_once()
    stock.obey(nodes[0])
    assert stock.looks.run_once().verify == 0, "its word may be on its way"
    stock.clock.advance(second_looks.AGAIN_S)
    assert stock.looks.run_once().verify == 1


def test_copy_that_is_being_written_is_not_verified(stock: StockRig, nodes: Three) -> None:
    stock.put_block(2, state=BlockState.ALLOCATED)
    stock.intake.take(nodes[0], a_report(an_entry(2), sequence=2))
    assert stock.locations(nodes[0])[2] == SUSPECT
    assert stock.looks.run_once().verify == 0


def test_doubted_copies_are_found_by_their_own_index(stock: StockRig, nodes: Three) -> None:
    stock.set_state(1, nodes[2], SUSPECT)
    with stock.reader.view() as connection:
        (copy,) = copies_in_state(connection, SUSPECT, after=(0, 0), limit=10)
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM replica WHERE state != 'live' AND state = 'suspect'"
            " AND (block, node) > (0, 0) ORDER BY block, node LIMIT 10"
        ).all()
    assert copy.node == nodes[2]
    assert "ix_replica_unusual" in str(plan)


# ---- disputes


def test_untrue_copy_is_put_aside_when_the_truth_is_elsewhere(
    stock: StockRig, nodes: Three
) -> None:
    stock.intake.take(nodes[0], a_report(an_entry(1, content=b"other"), sequence=2))
    assert stock.locations(nodes[0]) == {1: DISPUTED}
    assert len(stock.said(Event.REPLICA_DISPUTED)) == 1
    assert stock.looks.run_once().quarantine == 1
    assert orders(stock, nodes[0]) == [(Order.QUARANTINE, BLOCK)]
    assert stock.history(1) == ["disputed", "quarantined"]
    stock.intake.take(nodes[0], a_report(bad(), sequence=3))
    assert stock.locations(nodes[0]) == {1: CORRUPT}


def test_untrue_copies_stay_when_nobody_has_the_truth(stock: StockRig, nodes: Three) -> None:
    for node in nodes:
        stock.intake.take(node, a_report(an_entry(1, content=b"other"), sequence=2))
    report = stock.looks.run_once()
    assert (report.quarantine, report.held) == (0, 3)
    assert all(orders(stock, node) == [] for node in nodes)


def test_untrue_copy_stays_under_caution(stock: StockRig, nodes: Three) -> None:
    stock.intake.take(nodes[0], a_report(an_entry(1, content=b"other"), sequence=2))
    stock.why_no_deletes = "metadata went back"
    assert not stock.looks.run_once()
    assert orders(stock, nodes[0]) == []


# ---- files in quarantine


def test_bad_file_goes_when_enough_others_are_good(stock: StockRig, nodes: Three) -> None:
    stock.intake.take(nodes[0], a_report(bad(), sequence=2))
    stock.bad.note(nodes[0], [BLOCK])
    assert stock.bad.run_once().ordered == 1
    (command,) = stock.obey(nodes[0])
    assert (command.verb, command.block) == (Order.PURGE_BAD, BLOCK)
    assert stock.locations(nodes[0]) == {}
    assert stock.history(1) == ["corrupt", "purged"]
    assert stock.locations(nodes[1]) == {1: LIVE}


def test_bad_file_stays_while_too_few_are_good(stock: StockRig, nodes: Three) -> None:
    for node in nodes[:2]:
        stock.intake.take(node, a_report(bad(), sequence=2))
        stock.bad.note(node, [BLOCK])
    report = stock.bad.run_once()
    assert (report.ordered, report.kept) == (0, 2)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (a_name(99, generation=99), "unknown"),
        (a_name(1, generation=2), "of a newer generation"),
        (a_name(1, file=8), "of another place"),
    ],
)
def test_bad_file_of_no_known_copy_stays(
    stock: StockRig, nodes: Three, name: object, why: str
) -> None:
    assert why
    stock.bad.note(nodes[0], [name])  # type: ignore[list-item]
    report = stock.bad.run_once()
    assert (report.ordered, report.kept) == (0, 1)


def test_bad_file_stays_when_others_are_disputed_or_caution_is_due(
    stock: StockRig, nodes: Three
) -> None:
    fourth = stock.join()
    stock.report(fourth, an_entry(1, content=b"other"))
    stock.intake.take(nodes[0], a_report(bad(), sequence=2))
    stock.bad.note(nodes[0], [BLOCK])
    assert stock.bad.run_once().kept == 1
    stock.intake.take(fourth, a_report(gone=[gone(1)], sequence=2))
    stock.bad.note(nodes[0], [BLOCK])
    stock.why_no_deletes = "safe mode"
    assert stock.bad.run_once().why_not == "safe mode"
    stock.why_no_deletes = ""
    assert stock.bad.run_once().ordered == 1, "what was asked before is not forgotten"


def test_bad_file_goes_only_from_a_node_whose_stock_is_known(stock: StockRig, nodes: Three) -> None:
    stock.intake.take(nodes[0], a_report(bad(), sequence=2))
    stock.register(nodes[0])
    stock.bad.note(nodes[0], [BLOCK])
    assert stock.bad.run_once().ordered == 0


# ---- answers


def test_retired_copy_is_gone_when_its_node_says_so(stock: StockRig, nodes: Three) -> None:
    stock.set_state(1, nodes[0], RETIRING)
    stock.report(nodes[0], an_entry(1), sequence=2)
    assert stock.locations(nodes[0]) == {1: RETIRING}, "a report does not bring it back"
    stock.registry.enqueue(nodes[0], Order.DELETE, BLOCK, reason="one too many")
    stock.obey(nodes[0])
    assert stock.locations(nodes[0]) == {}
    (said,) = stock.said(Event.REPLICA_RETIRED)
    assert said["why"] == "one too many"
    assert stock.history(1) == ["retired"]


def test_copy_that_is_wanted_again_outlives_a_late_answer(stock: StockRig, nodes: Three) -> None:
    for verb in (Order.DELETE, Order.PURGE_BAD):
        stock.registry.enqueue(nodes[0], verb, BLOCK)
    stock.obey(nodes[0])
    assert stock.locations(nodes[0]) == {1: LIVE}
    assert stock.said(Event.REPLICA_RETIRED) == []


def test_answers_reach_those_who_listen(stock: StockRig, nodes: Three) -> None:
    heard = []
    stock.acknowledged.listen(Order.RESTORE, lambda node, command: heard.append((node, command)))
    stock.registry.enqueue(nodes[0], Order.RESTORE, BLOCK)
    stock.registry.enqueue(nodes[0], Order.TRUST)
    stock.obey(nodes[0])
    assert [(node, command.block) for node, command in heard] == [(nodes[0], BLOCK)]


def test_order_that_failed_is_a_line_in_the_log(stock: StockRig, nodes: Three) -> None:
    stock.registry.enqueue(nodes[0], Order.DELETE, BLOCK)
    (command,) = stock.beat(nodes[0])
    failure = CommandFailure(command.command, "VOLUME_READ_ONLY", "the disk takes no writes")
    beat = Beat(usage=a_usage(), volumes=[], epoch=1, keys=[], failed=[failure])
    stock.registry.beat(nodes[0], beat)
    assert stock.acknowledged.run_once().failed == 1
    (said,) = stock.said(Event.COMMAND_FAILED)
    assert (said["verb"], said["code"], said["block"]) == ("delete", "VOLUME_READ_ONLY", 1)


# ---- what the history tells


def test_retired_copy_is_told_once_whichever_word_comes_first(
    stock: StockRig, nodes: Three
) -> None:
    stock.set_state(1, nodes[0], RETIRING)
    stock.registry.enqueue(nodes[0], Order.DELETE, BLOCK, reason="one copy too many")
    stock.intake.take(nodes[0], a_report(gone=[gone(1)], sequence=2))
    assert stock.locations(nodes[0]) == {}
    stock.obey(nodes[0])
    assert stock.history(1) == ["retired"]
    assert len(stock.said(Event.REPLICA_RETIRED)) == 1
    assert stock.said(Event.REPLICA_MISSING) == []


def test_retiring_copy_that_a_full_report_lacks_was_retired(stock: StockRig, nodes: Three) -> None:
    stock.set_state(1, nodes[0], RETIRING)
    stock.clock.advance(1_000_000)
    stock.full(nodes[0], sequence=2)
    assert stock.locations(nodes[0]) == {}
    assert stock.history(1) == ["retired"]


def test_bad_copy_that_left_is_purged_and_a_good_one_missing(stock: StockRig, nodes: Three) -> None:
    stock.intake.take(nodes[0], a_report(bad(), sequence=2))
    stock.intake.take(nodes[0], a_report(gone=[gone(1)], sequence=3))
    stock.intake.take(nodes[1], a_report(gone=[gone(1)], sequence=2))
    assert stock.history(1) == ["corrupt", "purged", "missing"]
    (said,) = stock.said(Event.REPLICA_MISSING)
    assert said["count"] == 1


def test_copy_is_restored_when_its_node_says_so(stock: StockRig, nodes: Three) -> None:
    why = BlockEvent(
        BLOCK.block, BLOCK.generation, What.RESTORING, nodes[0], "admin ada", "by hand"
    )
    stock.do(lambda txn: note(txn, [why]))
    stock.registry.enqueue(nodes[0], Order.RESTORE, BLOCK, reason="by hand")
    assert stock.history(1) == ["restoring"]
    stock.obey(nodes[0])
    assert stock.history(1) == ["restoring", "restored"]
    (said,) = stock.said(Event.REPLICA_RESTORED)
    assert said["actor"] == "admin ada"
