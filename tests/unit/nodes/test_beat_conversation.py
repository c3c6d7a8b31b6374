"""A DataNode's beats, commands and stock reports, against a NameNode that speaks the routes."""

import threading
from collections.abc import Iterator

import pytest

from dfs.base.errors import StaleEpoch
from dfs.base.events import Event
from dfs.wire.nodes_api import KeyItem
from tests.fake_namenode import FakeNamenode
from tests.unit.nodes.beat_rig import Side, command, entry, known


@pytest.fixture
def namenode() -> Iterator[FakeNamenode]:
    fake = FakeNamenode()
    yield fake
    fake.close()


def test_node_registers_then_beats_and_learns(namenode: FakeNamenode, new_side) -> None:
    namenode.epoch = 4
    side = new_side(namenode.url)
    namenode.wait(lambda: len(namenode.beats) >= 2)
    assert len(namenode.registrations) == 1
    assert namenode.beats[-1].keys == [1]
    assert side.standing.epoch == 4
    assert abs(side.standing.now_ms() - 1_800_000_000_000) < 60_000


def test_node_registers_again_when_told(namenode: FakeNamenode, new_side) -> None:
    new_side(namenode.url)
    namenode.wait(lambda: len(namenode.beats) >= 1)
    namenode.registered = False
    namenode.wait(lambda: len(namenode.registrations) == 2)
    namenode.wait(lambda: sum(r.full and r.last_page for r in namenode.reports) >= 2)


def test_full_report_comes_in_pages_with_the_last_marked(namenode, new_side) -> None:
    side = new_side("http://127.0.0.1:9")  # nobody there: only its disk is wanted
    side.beats.stop()
    side = Side(namenode.url, page_max=3)
    side.disk.store(*(entry(n) for n in range(7)))
    namenode.wait(lambda: known(namenode.reports) == set(range(7)))
    side.beats.stop()
    full = [r for r in namenode.reports if r.full]
    assert full[-1].last_page
    assert not any(e.path for r in namenode.reports for e in r.entries)


def test_full_report_lists_only_the_buckets_that_differ(namenode, new_side) -> None:
    namenode.buckets = [103, 104]  # of the blocks 103, 104 and 359
    side = new_side(namenode.url)
    side.disk.store(*map(entry, [3, 4, 5, 259]))
    namenode.wait(lambda: any(report.full and report.last_page for report in namenode.reports))
    (digests,) = namenode.digests
    assert (sum(digests.counts), digests.counts[103]) in ((4, 2), (0, 0)), "all, or none yet"
    page = next(report for report in namenode.reports if report.full)
    assert page.buckets == [103, 104]
    assert {each.name.number for each in page.entries} <= {3, 4, 259}


def test_full_report_without_a_difference_is_done_with_its_sums(namenode, new_side) -> None:
    namenode.buckets = []
    side = new_side(namenode.url)
    namenode.wait(lambda: namenode.digests)
    side.disk.store(entry(1))
    namenode.wait(lambda: namenode.reports)
    (report,) = namenode.reports
    assert (report.full, report.sequence) == (False, namenode.digests[-1].sequence + 1)


def test_changes_follow_as_they_come_numbered_without_gaps(namenode, new_side) -> None:
    side = new_side(namenode.url)
    namenode.wait(lambda: any(r.full and r.last_page for r in namenode.reports))
    side.disk.store(entry(1), entry(2))
    namenode.wait(lambda: known(namenode.reports) == {1, 2})
    side.disk.delete(entry(1).name)
    namenode.wait(lambda: known(namenode.reports) == {2})
    numbers = [r.sequence for r in namenode.reports if r.last_page]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_no_change_is_lost_when_reports_are_refused(namenode, new_side) -> None:
    side = new_side(namenode.url)
    namenode.wait(lambda: any(r.full and r.last_page for r in namenode.reports))
    namenode.stock_refusals = 3
    side.disk.store(*(entry(n) for n in range(10)))
    namenode.wait(lambda: known(namenode.reports) == set(range(10)))


def test_no_change_is_lost_while_the_namenode_is_down(new_side) -> None:
    first = FakeNamenode()
    side = new_side(first.url)
    first.wait(lambda: any(r.full and r.last_page for r in first.reports))
    first.close()
    side.disk.store(entry(1), entry(2))
    second = FakeNamenode(port=first.port)
    try:
        second.wait(lambda: known(second.reports) == {1, 2})
    finally:
        second.close()


def test_full_report_is_sent_when_a_gap_was_seen(namenode, new_side) -> None:
    side = new_side(namenode.url)
    namenode.wait(lambda: any(r.full and r.last_page for r in namenode.reports))
    namenode.full_wanted = True
    side.disk.store(entry(1))
    namenode.wait(lambda: sum(r.full and r.last_page for r in namenode.reports) == 2)


def test_full_report_is_sent_when_the_disk_lost_count(namenode, new_side) -> None:
    side = new_side(namenode.url)
    namenode.wait(lambda: any(r.full and r.last_page for r in namenode.reports))
    before = len(namenode.reports)
    side.disk.changes_lost = True
    namenode.wait(lambda: any(r.full for r in namenode.reports[before:]))


def test_delete_is_done_once_and_acknowledged(namenode, new_side) -> None:
    side = new_side(namenode.url)
    side.disk.store(entry(1), entry(2))
    namenode.wait(lambda: known(namenode.reports) == {1, 2})
    namenode.commands = [command(11, "delete", block=entry(1).name)]
    namenode.wait(lambda: 11 in namenode.acknowledged)
    namenode.wait(lambda: known(namenode.reports) == {2})
    assert namenode.acknowledged == [11]


def test_command_to_report_sends_everything(namenode, new_side) -> None:
    new_side(namenode.url)
    namenode.wait(lambda: any(r.full and r.last_page for r in namenode.reports))
    namenode.commands = [command(12, "report")]
    namenode.wait(lambda: sum(r.full and r.last_page for r in namenode.reports) == 2)
    namenode.wait(lambda: 12 in namenode.acknowledged)


def test_command_of_an_epoch_that_is_over_is_not_done(namenode, new_side) -> None:
    namenode.epoch = 5
    side = new_side(namenode.url)
    side.disk.store(entry(1))
    namenode.wait(lambda: known(namenode.reports) == {1})
    namenode.commands = [command(13, "delete", epoch=4, block=entry(1).name)]
    seen = len(namenode.beats)
    namenode.wait(lambda: side.told(Event.COMMAND_FENCED) > 0 and len(namenode.beats) > seen + 2)
    assert entry(1).name in side.disk.held
    assert namenode.acknowledged == []


def test_delete_that_the_disk_refuses_is_repeated_and_not_acknowledged(namenode, new_side) -> None:
    side = new_side(namenode.url)
    side.disk.store(entry(1))
    side.disk.unwritable = True
    namenode.wait(lambda: known(namenode.reports) == {1})
    namenode.commands = [command(14, "delete", block=entry(1).name)]
    namenode.wait(lambda: side.told(Event.BLOCK_REFUSED) >= 2)
    side.disk.unwritable = False
    namenode.wait(lambda: namenode.acknowledged == [14])


def test_dead_namenode_does_not_delay_the_other(namenode, new_side) -> None:
    dead = FakeNamenode()
    dead.close()
    side = new_side(dead.url, namenode.url)
    namenode.wait(lambda: len(namenode.beats) >= 5)
    seen = {each.url: each.reached for each in side.beats.reachability()}
    assert seen == {dead.url: False, namenode.url: True}


def test_reachability_is_logged_once_per_change(new_side) -> None:
    first = FakeNamenode()
    side = new_side(first.url)
    first.wait(lambda: len(first.beats) >= 3)
    first.close()
    pause = threading.Event()
    while not side.told(Event.NAMENODE_UNREACHABLE):
        pause.wait(0.01)
    second = FakeNamenode(port=first.port)
    second.wait(lambda: len(second.beats) >= 3)
    second.close()
    assert side.told(Event.NAMENODE_REACHED) == 2
    assert side.told(Event.NAMENODE_UNREACHABLE) <= 2


def test_node_that_the_namenode_forgot_goes_on_asking(namenode, new_side) -> None:
    new_side(namenode.url)
    namenode.wait(lambda: len(namenode.beats) >= 1)
    namenode.forget_nodes = True
    before = len(namenode.registrations)
    namenode.wait(lambda: True)
    namenode.forget_nodes = False
    namenode.registered = False
    namenode.wait(lambda: len(namenode.registrations) > before)


# ---- what is believed


def test_standing_ignores_a_namenode_whose_epoch_is_over(namenode, new_side) -> None:
    side = new_side(namenode.url)
    namenode.wait(lambda: len(namenode.beats) >= 1)
    side.standing.admit_epoch(9)
    namenode.block_tokens = False
    namenode.keys = [KeyItem(2, b"z" * 32, 0, 4_000_000_000_000)]
    seen = len(namenode.beats)
    namenode.wait(lambda: len(namenode.beats) >= seen + 3)
    assert side.standing.tokens_required
    assert side.standing.ring.ids() == [1]
    with pytest.raises(StaleEpoch):
        side.standing.admit_epoch(8)
