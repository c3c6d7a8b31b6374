from typing import Any

import pytest
from msgspec.structs import replace

from dfs.base.errors import BadRequest, BlockNotFound, LimitExceeded, Overloaded, StaleEpoch
from dfs.base.events import Event
from dfs.base.ids import NodeId
from dfs.base.states import BlockState, ReplicaState, StoredState
from dfs.blocks.intake import ENTRIES_MAX, FULL_REPORT_IDLE_S, FULL_REPORTS_AT_ONCE_MAX, YOUNG_MS
from dfs.blocks.suspects import Suspects
from dfs.meta.tables import BLOCK, REPLICA
from dfs.wire.data_api import SuspectRequest
from tests.builders import a_name, a_principal
from tests.unit.blocks.stock_rig import StockRig, a_report, an_entry, gone

LIVE, SUSPECT, CORRUPT = ReplicaState.LIVE, ReplicaState.SUSPECT, ReplicaState.CORRUPT


@pytest.fixture
def node(stock: StockRig) -> NodeId:
    return stock.join()


# ---- what is refused


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": a_name(0)},
        {"name": a_name(-1)},
        {"name": a_name(1, generation=0)},
        {"name": a_name(1, file=0)},
        {"name": a_name(1, number=-1)},
        {"length_bytes": -1},
        {"hash": b""},
        {"hash": b"h" * 17},
    ],
)
@pytest.mark.parametrize("full", [True, False])
def test_intake_takes_nothing_of_a_report_with_an_entry_that_cannot_be(
    stock: StockRig, node: NodeId, *, wrong: dict[str, Any], full: bool
) -> None:
    stock.put_block(1)
    stock.put_block(2)
    stock.full(node, an_entry(2))
    bad = replace(an_entry(3), **wrong)
    reports = [a_report(an_entry(1), bad, sequence=2, full=full)]
    if not full:
        reports.append(a_report(an_entry(1), gone=[bad], sequence=2))
    for report in reports:
        with pytest.raises(BadRequest, match="stock report"):
            stock.intake.take(node, report)
    assert stock.locations(node) == {2: LIVE}
    assert stock.presence.fresh() == {node}
    assert stock.intake.take(node, a_report(an_entry(1), sequence=2)).accepted == 1


# ---- sequences


def test_intake_wants_a_full_report_before_it_hears_of_changes(
    stock: StockRig, node: NodeId
) -> None:
    stock.put_block(1)
    reply = stock.intake.take(node, a_report(an_entry(1)))
    assert (reply.accepted, reply.full_wanted) == (0, True)
    assert stock.locations(node) == {}
    assert not stock.full(node, an_entry(1)).full_wanted
    assert stock.locations(node) == {1: LIVE}


def test_intake_knows_the_stock_only_after_the_last_page(stock: StockRig, node: NodeId) -> None:
    first = a_report(an_entry(1), full=True, page=0, last_page=False)
    stock.intake.take(node, first)
    assert stock.presence.fresh() == frozenset()
    stock.intake.take(node, a_report(full=True, page=1))
    assert stock.presence.fresh() == {node}


def test_intake_takes_changes_in_their_order(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1)
    stock.full(node)
    reply = stock.intake.take(node, a_report(an_entry(1), sequence=2))
    assert (reply.accepted, reply.full_wanted) == (1, False)
    assert stock.locations(node) == {1: LIVE}


def test_intake_asks_for_a_full_report_after_a_gap(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1)
    stock.full(node)
    assert stock.intake.take(node, a_report(an_entry(1), sequence=3)).full_wanted
    assert stock.presence.fresh() == frozenset(), "what it holds is not known now"
    assert stock.locations(node) == {1: LIVE}, "what came is believed"
    stock.full(node, an_entry(1), sequence=4)
    assert stock.presence.fresh() == {node}


def test_intake_takes_a_repeated_report_once(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1)
    stock.full(node, an_entry(1))
    stock.intake.take(node, a_report(gone=[gone(1)], sequence=2))
    stock.intake.take(node, a_report(an_entry(1), sequence=3))
    late = stock.intake.take(node, a_report(gone=[gone(1)], sequence=2))
    assert (late.accepted, late.full_wanted) == (1, False)
    assert stock.locations(node) == {1: LIVE}


def test_intake_refuses_pages_that_do_not_follow(stock: StockRig, node: NodeId) -> None:
    with pytest.raises(BadRequest):
        stock.intake.take(node, a_report(full=True, page=1))
    stock.intake.take(node, a_report(full=True, page=0, last_page=False))
    with pytest.raises(BadRequest):
        stock.intake.take(node, a_report(full=True, page=2))
    with pytest.raises(BadRequest):
        stock.intake.take(node, a_report(full=True, page=1))
    assert stock.presence.fresh() == frozenset()


def test_intake_begins_anew_with_each_registration(stock: StockRig, node: NodeId) -> None:
    stock.full(node, sequence=7)
    stock.register(node)
    assert stock.intake.take(node, a_report(sequence=8)).full_wanted
    assert not stock.full(node, sequence=1).full_wanted
    assert stock.presence.fresh() == {node}


def test_intake_does_not_listen_before_the_node_registers(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1)
    stock.restart()
    assert stock.full(node, an_entry(1)).full_wanted
    assert stock.locations(node) == {}


def test_intake_refuses_a_report_of_an_epoch_that_is_over(stock: StockRig, node: NodeId) -> None:
    with pytest.raises(StaleEpoch):
        stock.intake.take(node, a_report(full=True, epoch=0))


def test_intake_bounds_a_report(stock: StockRig, node: NodeId) -> None:
    with pytest.raises(LimitExceeded):
        stock.full(node, *[an_entry(1)] * (ENTRIES_MAX + 1))


def test_intake_lets_few_nodes_send_full_reports_at_once(stock: StockRig) -> None:
    nodes = [stock.join() for _ in range(FULL_REPORTS_AT_ONCE_MAX + 1)]
    begin = a_report(full=True, page=0, last_page=False)
    for each in nodes[:-1]:
        stock.intake.take(each, begin)
    with pytest.raises(Overloaded):
        stock.intake.take(nodes[-1], begin)
    stock.full(nodes[-1])  # of one page: it is over at once
    stock.intake.take(nodes[0], begin)  # its own slot
    stock.clock.advance(FULL_REPORT_IDLE_S)
    stock.intake.take(nodes[-1], begin)


# ---- effects


def test_intake_says_a_bad_copy_once(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1, holders=[node])
    bad = an_entry(1, state=StoredState.CORRUPT)
    stock.full(node, bad)
    stock.intake.take(node, a_report(bad, sequence=2))
    assert stock.locations(node) == {1: CORRUPT}
    (said,) = stock.said(Event.REPLICA_CORRUPT)
    assert said["why"] == "its node found it bad"


def test_intake_believes_a_copy_again_that_was_made_anew(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1, holders=[node])
    stock.full(node, an_entry(1, content=b"other"))
    assert stock.locations(node) == {1: ReplicaState.DISPUTED}
    stock.intake.take(node, a_report(an_entry(1), sequence=2))
    assert stock.locations(node) == {1: LIVE}


def test_intake_finds_what_is_missing_from_a_complete_full_report(
    stock: StockRig, node: NodeId
) -> None:
    other = stock.join()
    for block in (1, 2, 3):
        stock.put_block(block, holders=[node, other])
    stock.intake.take(node, a_report(an_entry(1), full=True, page=0, last_page=False))
    assert set(stock.locations(node)) == {1, 2, 3}, "not before the last page"
    stock.intake.take(node, a_report(an_entry(3), full=True, page=1))
    assert set(stock.locations(node)) == {1, 3}
    assert set(stock.locations(other)) == {1, 2, 3}
    (said,) = stock.said(Event.REPLICA_MISSING)
    assert (said["count"], said["first_blocks"]) == (1, [2])


def test_intake_does_not_miss_in_a_report_of_changes(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1, holders=[node])
    stock.full(node, an_entry(1))
    stock.intake.take(node, a_report(sequence=2))
    assert stock.locations(node) == {1: LIVE}


def test_intake_does_not_miss_a_copy_written_while_the_report_was_on_its_way(
    stock: StockRig, node: NodeId
) -> None:
    stock.put_block(1, holders=[node], verified_ms=stock.clock.now_ms())
    stock.full(node)
    assert stock.locations(node) == {1: LIVE}
    stock.clock.advance(YOUNG_MS / 1000 + 1)
    stock.full(node, sequence=2)
    assert stock.locations(node) == {}


def test_intake_misses_a_copy_of_which_only_an_older_generation_is_there(
    stock: StockRig, node: NodeId
) -> None:
    stock.put_block(5, holders=[node])
    stock.full(node, an_entry(5, generation=4))
    assert stock.locations(node) == {}
    (said,) = stock.said(Event.REPLICA_UNKNOWN)
    assert said["stale"] == 1


def test_intake_drops_what_its_node_deleted(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1, holders=[node])
    stock.full(node, an_entry(1))
    stock.intake.take(node, a_report(gone=[gone(1)], sequence=2))
    assert stock.locations(node) == {}


def test_intake_keeps_and_counts_what_it_does_not_know(stock: StockRig, node: NodeId) -> None:
    stock.put_block(2)
    stock.full(node, an_entry(1), an_entry(9), an_entry(2, generation=3))
    assert stock.locations(node) == {}
    assert stock.beat(node) == [], "nothing is deleted on a report's word"
    (said,) = stock.said(Event.REPLICA_UNKNOWN)
    assert (said["orphan"], said["future"], said["first_blocks"]) == (2, 1, [1, 9, 2])


def test_intake_expects_a_block_that_is_being_written(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1, state=BlockState.ALLOCATED)
    stock.full(node, an_entry(1))
    assert stock.locations(node) == {1: SUSPECT}
    stock.put_block(1)  # committed, but this node's receipt never reached the client
    stock.intake.take(node, a_report(an_entry(1), sequence=2))
    assert stock.locations(node) == {1: LIVE}


def test_intake_writes_nothing_when_nothing_changed(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1)
    stock.full(node, an_entry(1))
    before = stock.do(lambda txn: txn.get(REPLICA, 1, node))
    stock.do(lambda txn: txn.drop(BLOCK, (99,)))
    txid = stock.writer.txid
    stock.full(node, an_entry(1), sequence=2)
    assert stock.writer.txid == txid
    assert stock.do(lambda txn: txn.get(REPLICA, 1, node)) == before


def test_intake_keeps_locations_out_of_the_journal(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1)
    txid = stock.writer.txid
    stock.full(node, an_entry(1))
    assert stock.locations(node) == {1: LIVE}
    assert stock.writer.txid == txid


# ---- suspects


def doubt(stock: StockRig, node: int, *, block: int = 1, generation: int = 1) -> None:
    body = SuspectRequest(block=block, generation=generation, node=node, reason="hash differs")
    suspects = Suspects(emit=stock.emit)
    stock.do(lambda txn: suspects.suspect(txn, a_principal(), body))


def test_suspect_only_doubts_a_copy(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1, holders=[node], verified_ms=100)
    doubt(stock, node)
    doubt(stock, node)
    assert stock.locations(node) == {1: SUSPECT}
    (said,) = stock.said(Event.REPLICA_SUSPECT)
    assert (said["user"], said["why"]) == ("ada", "hash differs")
    assert stock.beat(node) == []


def test_suspect_is_cleared_by_a_new_verification_alone(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1, holders=[node], verified_ms=100)
    doubt(stock, node)
    stock.full(node, an_entry(1, verified_ms=100))
    assert stock.locations(node) == {1: SUSPECT}
    stock.intake.take(node, a_report(an_entry(1, verified_ms=101), sequence=2))
    assert stock.locations(node) == {1: LIVE}


def test_suspect_does_not_absolve_a_bad_copy(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1, holders=[node])
    stock.full(node, an_entry(1, state=StoredState.CORRUPT))
    doubt(stock, node)
    assert stock.locations(node) == {1: CORRUPT}


@pytest.mark.parametrize(("block", "generation"), [(1, 2), (2, 2)])
def test_suspect_refuses_a_copy_that_is_not_known(
    stock: StockRig, node: NodeId, block: int, generation: int
) -> None:
    stock.put_block(1, holders=[node])
    with pytest.raises(BlockNotFound):
        doubt(stock, node, block=block, generation=generation)
