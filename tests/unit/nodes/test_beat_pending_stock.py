from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName, StockEntry
from dfs.base.states import StoredState
from dfs.nodes import stock_reports
from dfs.nodes.stock_reports import PendingStock


def entry(number: int, *, verified_ms: int = 0) -> StockEntry:
    name = BlockName(InodeId(5), number, BlockId(100 + number), Generation(1))
    return StockEntry(name, 10, b"h" * 16, StoredState.FINAL, verified_ms)


def test_pending_tells_the_newest_word_about_a_block() -> None:
    pending = PendingStock()
    pending.add([entry(1)], [])
    pending.add([], [entry(1)])
    assert pending.peek(10) == [(False, entry(1))]


def test_pending_keeps_what_changed_again_while_it_was_told() -> None:
    pending = PendingStock()
    pending.add([entry(1), entry(2)], [])
    told = pending.peek(10)
    pending.add([entry(1, verified_ms=5)], [])
    pending.drop(told)
    assert pending.peek(10) == [(True, entry(1, verified_ms=5))]


def test_pending_falls_back_to_a_full_report_at_its_bound() -> None:
    pending = PendingStock()
    pending.add([entry(n) for n in range(stock_reports.PENDING_MAX)], [])
    assert not pending.full_wanted
    pending.add([entry(-1)], [])
    assert pending.full_wanted
    assert pending.peek(10) == []
