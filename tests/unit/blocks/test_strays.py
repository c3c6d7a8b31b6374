"""Block files that nobody knows: written down, kept, and sent away by rule alone."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dfs.base.events import Event
from dfs.base.ids import BlockId, Generation, NodeId
from dfs.base.records import StockEntry
from dfs.base.states import BlockState
from dfs.blocks.lost_ids import skip_lost_ids
from dfs.blocks.reconcile import Expected
from dfs.blocks.stray_rows import count_strays
from dfs.blocks.strays import Frontier, Stray, StrayKind, may_leave
from dfs.nodes.orders import Order
from tests.builders import a_name
from tests.unit.blocks.stock_rig import KEEP_S, NUMBERS_TAKEN, StockRig, a_report, an_entry, gone

FULL_S = 6 * 3600.0


@pytest.fixture
def node(stock: StockRig) -> NodeId:
    return stock.join()


def tell_full(stock: StockRig, node: NodeId, *entries: StockEntry, first: int, times: int) -> None:
    """So many full reports, six hours apart; the clock stands at the last one afterwards."""
    for number in range(times):
        if number:
            stock.clock.advance(FULL_S)
        stock.report(node, *entries, sequence=first + number)


def the_stray(stock: StockRig) -> tuple[int, int, int]:
    """When it was first and last in a full report (seconds ago), and in how many."""
    with stock.reader.view() as connection:
        row = connection.exec_driver_sql("SELECT first_ms, last_ms, sightings FROM stray").one()
    now_ms = stock.clock.now_ms()
    return (now_ms - row[0]) // 1000, (now_ms - row[1]) // 1000, row[2]


# ---- what is written down


def test_stray_is_counted_by_full_reports_alone(stock: StockRig, node: NodeId) -> None:
    stock.report(node)
    stock.intake.take(node, a_report(an_entry(9), sequence=2))
    assert the_stray(stock) == (0, 0, 0)
    stock.clock.advance(100)
    stock.report(node, an_entry(9), sequence=3)
    assert the_stray(stock) == (0, 0, 1), "the first full report begins the count"
    stock.clock.advance(100)
    stock.intake.take(node, a_report(an_entry(9, verified_ms=7), sequence=4))
    assert the_stray(stock) == (100, 100, 1)
    stock.report(node, an_entry(9), sequence=5)
    assert the_stray(stock) == (100, 0, 2)
    assert len(stock.said(Event.REPLICA_UNKNOWN)) == 1, "told once"


def test_stray_is_forgotten_when_a_report_lacks_it(stock: StockRig, node: NodeId) -> None:
    other = stock.join()
    stock.report(node, an_entry(9), an_entry(10))
    stock.report(other, an_entry(9))
    stock.clock.advance(1)
    stock.report(node, an_entry(10), sequence=2)
    assert (stock.kinds(node), stock.kinds(other)) == ({10: "orphan"}, {9: "orphan"})
    stock.intake.take(node, a_report(gone=[gone(10)], sequence=3))
    assert stock.kinds(node) == {}


def test_stray_is_forgotten_when_it_turns_out_to_be_wanted(stock: StockRig, node: NodeId) -> None:
    stock.report(node, an_entry(9))
    stock.put_block(9)
    stock.intake.take(node, a_report(an_entry(9), sequence=2))
    assert stock.kinds(node) == {}
    assert stock.locations(node) == {9: "live"}


def test_stray_of_a_number_never_given_is_from_a_future(stock: StockRig, node: NodeId) -> None:
    stock.put_block(5)
    stock.report(
        node,
        an_entry(NUMBERS_TAKEN + 1),
        an_entry(8, generation=NUMBERS_TAKEN + 1),
        an_entry(5, generation=6),
        an_entry(7),
    )
    kinds = stock.kinds(node)
    assert kinds == {NUMBERS_TAKEN + 1: "future", 8: "future", 5: "future", 7: "orphan"}
    with stock.reader.view() as connection:
        totals = count_strays(connection)
        assert totals[StrayKind.FUTURE].count == 3
        assert totals[StrayKind.ORPHAN].count == 1


# ---- what leaves


def test_orphan_leaves_after_two_full_reports_a_day_apart(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1, holders=[node])
    entries = an_entry(1), an_entry(9)
    for number in range(4):
        stock.report(node, *entries, sequence=number + 1)
        assert not stock.strays.run_once()
        stock.clock.advance(FULL_S)
    assert not stock.strays.run_once(), "a day has passed, but no report has it a day later"
    stock.report(node, *entries, sequence=9)
    assert stock.strays.run_once().ordered == 1
    assert stock.strays.run_once().ordered == 0, "ordered once"
    (command,) = stock.obey(node)
    assert (command.verb, command.block) == (Order.DELETE, a_name(9, generation=9))
    assert stock.kinds(node) == {}
    assert stock.locations(node) == {1: "live"}
    (said,) = stock.said(Event.STRAY_DELETED)
    assert said["first_blocks"] == [9]
    assert stock.history(9) == ["stray_deleted"]


def test_orphan_stays_while_there_is_reason_for_caution(stock: StockRig, node: NodeId) -> None:
    tell_full(stock, node, an_entry(9), first=1, times=5)
    stock.why_no_deletes = "safe mode"
    assert stock.strays.run_once().why_not == "safe mode"
    stock.why_no_deletes = ""
    stock.register(node)  # anew: its full report is still to come
    assert not stock.strays.run_once(), "what the node holds is not known now"
    assert stock.beat(node) == []


def test_orphan_survives_a_restart_of_the_namenode_with_its_count(
    stock: StockRig, node: NodeId
) -> None:
    stock.report(node, an_entry(9))
    stock.restart()
    stock.register(node)
    stock.clock.advance(KEEP_S)
    assert not stock.strays.run_once()
    stock.report(node, an_entry(9))
    assert stock.strays.run_once().ordered == 1


def test_future_never_leaves(stock: StockRig, node: NodeId) -> None:
    stock.put_block(5, holders=[node])
    entries = an_entry(5), an_entry(5, generation=6), an_entry(NUMBERS_TAKEN + 1)
    tell_full(stock, node, *entries, first=1, times=20)
    assert not stock.strays.run_once()
    assert set(stock.kinds(node).values()) == {"future"}


def test_numbers_of_a_lost_history_never_leave(stock: StockRig, node: NodeId) -> None:
    tell_full(stock, node, an_entry(NUMBERS_TAKEN + 1), first=1, times=2)
    stock.do(skip_lost_ids)
    tell_full(stock, node, an_entry(NUMBERS_TAKEN + 1), first=3, times=9)
    assert not stock.strays.run_once()
    assert stock.kinds(node) == {NUMBERS_TAKEN + 1: "future"}


def test_older_generation_leaves_when_the_newer_is_well_kept(stock: StockRig, node: NodeId) -> None:
    other, third = stock.join(), stock.join()
    stock.put_block(5, holders=[other])
    old = an_entry(5, generation=4)
    stock.report(other, an_entry(5))
    tell_full(stock, node, old, first=1, times=3)
    assert not stock.strays.run_once(), "one sure copy of the two wanted"
    stock.report(third, an_entry(5))
    assert stock.strays.run_once().ordered == 1
    (command,) = stock.obey(node)
    assert command.block == old.name
    assert stock.locations(other) == {5: "live"}


def test_older_generation_beside_the_right_one_leaves_alone(stock: StockRig, node: NodeId) -> None:
    other = stock.join()
    stock.put_block(5, holders=[node, other])
    stock.report(other, an_entry(5))
    tell_full(stock, node, an_entry(5), an_entry(5, generation=4), first=1, times=2)
    assert stock.strays.run_once().ordered == 1
    stock.obey(node)
    assert stock.locations(node) == {5: "live"}


def test_upload_that_ended_after_its_garbage_was_forgotten_leaves_as_an_orphan(
    stock: StockRig, node: NodeId
) -> None:
    stock.put_garbage(9, committed=False)
    stock.report(node)
    assert stock.collect().forgotten == 1
    stock.intake.take(node, a_report(an_entry(9), sequence=2))
    tell_full(stock, node, an_entry(9), first=3, times=5)
    assert stock.strays.run_once().ordered == 1


def test_strays_of_a_removed_node_are_forgotten(stock: StockRig, node: NodeId) -> None:
    stock.report(node, an_entry(9))
    stock.registry.remove(f"dn-{node}", force=True)
    stock.strays.run_once()
    assert stock.kinds(node) == {}


STRAYS = st.builds(
    Stray,
    node=st.just(NodeId(1)),
    name=st.builds(a_name, st.integers(1, 4), file=st.integers(7, 8), generation=st.integers(1, 9)),
    length_bytes=st.just(1),
    kind=st.sampled_from(StrayKind),
    first_ms=st.integers(0, 50),
    last_ms=st.integers(0, 100),
    sightings=st.integers(0, 3),
)
KNOWN = st.none() | st.builds(
    Expected,
    st.builds(a_name, st.integers(1, 4), generation=st.integers(1, 9)),
    st.sampled_from(BlockState),
    st.just(1),
    st.just(b"h" * 16),
)


@given(stray=STRAYS, expected=KNOWN, sure=st.integers(0, 3), wanted=st.integers(1, 3))
def test_stray_leaves_only_when_every_condition_holds(
    stray: Stray, expected: Expected | None, sure: int, wanted: int
) -> None:
    if expected is not None:
        expected = dataclasses.replace(
            expected, name=replace(expected.name, block=stray.name.block)
        )
    frontier = Frontier(BlockId(4), Generation(8), lost_generations=(range(3, 4),))
    leave = may_leave(
        stray,
        expected,
        sure=sure,
        wanted=wanted,
        frontier=frontier,
        now_ms=100,
        keep_ms=40,
    )
    assert leave.reason
    if not leave.may:
        return
    assert stray.kind is not StrayKind.FUTURE
    assert stray.name.block < 4
    assert stray.name.generation < 8
    assert stray.name.generation != 3
    assert stray.sightings >= 2
    assert expected is None or (expected.name != stray.name and sure >= wanted)
    if stray.kind is StrayKind.ORPHAN:
        assert stray.last_ms - stray.first_ms >= 40
    else:
        assert expected is not None
        assert expected.name.generation > stray.name.generation
