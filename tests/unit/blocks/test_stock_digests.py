"""Full reports that begin with sums: what differs is told, and nothing else."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dfs.base.clock import ManualClock
from dfs.base.errors import BadRequest, Overloaded, StaleEpoch
from dfs.base.events import Event
from dfs.base.ids import NodeId
from dfs.base.records import StockEntry
from dfs.base.states import ReplicaState, StoredState
from dfs.blocks.intake import FULL_REPORTS_AT_ONCE_MAX, YOUNG_MS
from dfs.blocks.reconcile import Location
from dfs.blocks.replica_rows import put_locations, sums_of_node
from dfs.nodes.orders import Order
from dfs.wire.nodes_api import StockDigests
from dfs.wire.stock_sums import BUCKETS, StockSums, bucket_of
from tests.metadata_rig import MetadataRig
from tests.unit.blocks.stock_rig import StockRig, a_report, an_entry

LIVE = ReplicaState.LIVE


@pytest.fixture
def node(stock: StockRig) -> NodeId:
    return stock.join()


def digests(*entries: StockEntry, sequence: int = 1, epoch: int = 1) -> StockDigests:
    held = StockSums()
    held.add_entries(entries)
    return StockDigests(epoch=epoch, sequence=sequence, counts=held.counts, sums=held.sums)


# ---- the sums


@given(st.permutations([an_entry(block) for block in (1, 2, 257, 300)]))
def test_sums_do_not_care_for_the_order(entries: list[StockEntry]) -> None:
    assert digests(*entries) == digests(*sorted(entries, key=lambda e: e.name.block))


@pytest.mark.parametrize(
    "other",
    [
        an_entry(5, generation=6),
        an_entry(5, content=b"conTent"),
        an_entry(5, content=b"longer than it was"),
        an_entry(5, state=StoredState.CORRUPT),
        an_entry(5, state=StoredState.FAILING),
        replace(an_entry(5), name=replace(an_entry(5).name, file=8)),
        replace(an_entry(5), name=replace(an_entry(5).name, number=1)),
    ],
)
def test_sums_tell_every_difference_that_matters(other: StockEntry) -> None:
    ours = StockSums()
    ours.add_entries([an_entry(5), an_entry(6)])
    theirs = digests(other, an_entry(6))
    assert ours.differing(theirs.counts, theirs.sums) == [5]


def test_sums_leave_out_what_does_not_matter() -> None:
    assert digests(an_entry(5, verified_ms=1)) == digests(an_entry(5, verified_ms=9))
    assert digests(an_entry(5)) == digests(an_entry(5, state=StoredState.FOUND))
    bad = StoredState.CORRUPT
    assert digests(an_entry(5, state=bad)) == digests(an_entry(5, state=bad, content=b"?"))
    assert digests(an_entry(5, state=StoredState.DELETING)) == digests()


HELD = st.dictionaries(
    st.integers(1, 600),
    st.sampled_from(
        [StoredState.FINAL, StoredState.FOUND, StoredState.FAILING, StoredState.CORRUPT]
    ),
    max_size=30,
)
KNOWN = st.dictionaries(st.integers(1, 600), st.sampled_from(ReplicaState), max_size=30)
_AGREES = {
    StoredState.FINAL: {LIVE, ReplicaState.SUSPECT, ReplicaState.RETIRING},
    StoredState.FOUND: {LIVE, ReplicaState.SUSPECT, ReplicaState.RETIRING},
    StoredState.FAILING: {ReplicaState.FAILING},
    StoredState.CORRUPT: {ReplicaState.CORRUPT},
}


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(held=HELD, known=KNOWN)
def test_sums_differ_exactly_where_stock_and_rows_do(
    metadata: MetadataRig, clock: ManualClock, held: dict[int, StoredState], known: dict
) -> None:
    rig, node = StockRig(metadata.writer, metadata.reader, clock), NodeId(1)
    for block in known:
        rig.put_block(block)

    def write(txn) -> None:
        from_before = sorted(metadata_blocks(txn))
        put_locations(txn, node, dict.fromkeys(from_before))
        put_locations(txn, node, {b: Location(b, s, 0) for b, s in known.items()})

    rig.do(write)
    with metadata.reader.view() as connection:
        ours = sums_of_node(connection, node)
    said = digests(*(an_entry(block, state=state) for block, state in held.items()))
    differ = {
        bucket_of(block)
        for block in held.keys() | known.keys()
        if not _agree(held.get(block), known.get(block))
    }
    assert set(ours.differing(said.counts, said.sums)) == differ


def metadata_blocks(txn) -> list[int]:
    found = txn.connection.exec_driver_sql("SELECT block FROM replica WHERE node = 1")
    return [block for (block,) in found]


def _agree(held: StoredState | None, known: ReplicaState | None) -> bool:
    if held is None:
        return known is None
    return known in _AGREES[held]


# ---- reports


def test_report_of_what_is_known_is_done_with_its_sums(stock: StockRig, node: NodeId) -> None:
    for block in range(1, 600):
        stock.put_block(block, holders=[node])
    entries = [an_entry(block) for block in range(1, 600)]
    assert stock.report(node, *entries) == []
    assert stock.presence.fresh() == {node}
    stock.restart()
    stock.register(node)
    assert stock.presence.fresh() == frozenset()
    assert stock.report(node, *entries) == [], "the rows outlive the process"
    assert stock.presence.fresh() == {node}
    assert stock.intake.take(node, a_report(sequence=2)).full_wanted is False


def test_report_tells_the_buckets_that_differ_and_misses_only_in_them(
    stock: StockRig, node: NodeId
) -> None:
    for block in (1, 2, 257, 258):
        stock.put_block(block, holders=[node])
    stock.put_block(3)
    assert stock.report(node, an_entry(1), an_entry(2), an_entry(3), an_entry(258)) == [1, 3]
    assert stock.locations(node) == {1: LIVE, 2: LIVE, 3: LIVE, 258: LIVE}
    (said,) = stock.said(Event.REPLICA_MISSING)
    assert said["first_blocks"] == [257]
    assert stock.report(node, *map(an_entry, (1, 2, 3, 258)), sequence=2) == []


def test_report_lists_a_stray_each_time_so_that_it_is_seen_again(
    stock: StockRig, node: NodeId
) -> None:
    stock.put_block(1, holders=[node])
    for sequence in (1, 2):
        assert stock.report(node, an_entry(1), an_entry(77), sequence=sequence) == [77]


def test_report_may_not_leave_out_a_bucket_that_differs(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1, holders=[node])
    assert stock.intake.compare(node, digests(sequence=4)).buckets == [1]
    for buckets, sequence in (([2], 4), ([1], 5)):
        with pytest.raises(BadRequest):
            stock.intake.take(node, a_report(sequence=sequence, full=True, buckets=buckets))
    assert stock.presence.fresh() == frozenset()
    stock.intake.take(node, a_report(sequence=4, full=True, buckets=[1, 2]))
    assert stock.presence.fresh() == {node}


def test_report_without_sums_of_this_registration_is_refused(stock: StockRig, node: NodeId) -> None:
    stock.put_block(1, holders=[node])
    stock.intake.compare(node, digests())
    stock.register(node)
    with pytest.raises(BadRequest):
        stock.intake.take(node, a_report(full=True, buckets=[1]))
    assert stock.locations(node) == {1: LIVE}


def test_sums_keep_to_the_rules_of_reports(stock: StockRig, node: NodeId) -> None:
    with pytest.raises(StaleEpoch):
        stock.intake.compare(node, digests(epoch=0))
    with pytest.raises(BadRequest):
        stock.intake.compare(node, StockDigests(epoch=1, sequence=1, counts=[], sums=[0] * BUCKETS))
    others = [stock.join() for _ in range(FULL_REPORTS_AT_ONCE_MAX)]
    for other in others:
        stock.intake.take(other, a_report(full=True, page=0, last_page=False))
    with pytest.raises(Overloaded):
        stock.intake.compare(node, digests())
    stock.restart()
    assert stock.intake.compare(node, digests()).full_wanted
    assert stock.presence.fresh() == frozenset()


def test_node_is_asked_again_about_a_young_copy_its_report_lacked(
    stock: StockRig, node: NodeId
) -> None:
    stock.put_block(1, holders=[node], verified_ms=stock.clock.now_ms())
    assert stock.report(node) == [1]
    assert stock.locations(node) == {1: LIVE}, "it may have been written meanwhile"
    assert stock.intake.ask_again_once() == 0
    stock.clock.advance(YOUNG_MS / 1000 + 1)
    assert stock.intake.ask_again_once() == 1
    assert [command.verb for command in stock.obey(node)] == [Order.REPORT]
    assert stock.report(node, sequence=2) == [1]
    assert stock.locations(node) == {}, "not for hours"
    assert stock.intake.ask_again_once() == 0


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(held=HELD, known=st.dictionaries(st.integers(1, 600), st.sampled_from(ReplicaState)))
def test_report_by_sums_comes_to_what_a_report_of_everything_does(
    metadata: MetadataRig, clock: ManualClock, held: dict[int, StoredState], known: dict
) -> None:
    rig = StockRig(metadata.writer, metadata.reader, clock)
    one, other = rig.join(), rig.join()
    for block in held.keys() | known.keys():
        rig.put_block(block)
    rows = {block: Location(block, state, 5) for block, state in known.items()}
    for each in (one, other):
        rig.do(lambda txn, each=each: put_locations(txn, each, rows))
    entries = [an_entry(block, state=state, verified_ms=9) for block, state in held.items()]
    rig.full(one, *entries)
    rig.report(other, *entries)
    lazy = {
        block
        for block, state in rig.locations(one).items()
        if state != rig.locations(other).get(block)
    }
    # Sums leave the end of a doubt to the reports of changes.
    assert all(rig.locations(other).get(block) == "suspect" for block in lazy)
    assert rig.locations(one).keys() == rig.locations(other).keys()
