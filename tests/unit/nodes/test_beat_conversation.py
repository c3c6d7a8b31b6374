"""A DataNode's beats, commands and stock reports, against a NameNode that speaks the routes."""

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from dfs.base.clock import SystemClock
from dfs.base.entropy import Random
from dfs.base.errors import BlockNotFound, StaleEpoch
from dfs.base.events import Event, RecordingEmitter
from dfs.base.ids import BlockId, Generation, InodeId, NodeId
from dfs.base.records import (
    BlockName,
    NodeCommand,
    NodeCondition,
    NodeUsage,
    StockEntry,
    VolumeStatus,
)
from dfs.base.states import StoredState
from dfs.nodes.beat import BeatSettings, NamenodeBeat, NamenodeBeats, Outside
from dfs.nodes.commands import CommandRunner
from dfs.nodes.orders import Order
from dfs.nodes.standing import Standing
from dfs.nodes.stock_reports import StockFeed
from dfs.wire.nodes_api import KeyItem, NodeRegistration, StockReport
from tests.fake_namenode import SECRET, FakeNamenode

TICK_S = 0.02
USAGE = NodeUsage(100, 60, 40, 1.0, 0)


def entry(number: int) -> StockEntry:
    name = BlockName(InodeId(5), number, BlockId(100 + number), Generation(1))
    return StockEntry(name, 10, b"h" * 16, StoredState.FINAL, 0, path="/a")


class Disk:
    """Blocks in memory, as the disk tells of them."""

    def __init__(self) -> None:
        self.epoch, self.txid = 1, 0
        self.lock = threading.Lock()
        self.held: dict[BlockName, StockEntry] = {}
        self.changed: list[StockEntry] = []
        self.left: list[StockEntry] = []
        self.changes_lost = False
        self.unwritable = False

    def remember_epoch(self, epoch: int) -> None:
        self.epoch, self.txid = epoch, 0

    def remember_txid(self, epoch: int, txid: int) -> None:
        if (epoch, txid) > (self.epoch, self.txid):
            self.txid = txid

    def store(self, *entries: StockEntry) -> None:
        with self.lock:
            self.held |= {each.name: each for each in entries}
            self.changed += entries

    def delete(self, name: BlockName) -> bool:
        if self.unwritable:
            raise BlockNotFound("the disk refuses")
        with self.lock:
            gone = self.held.pop(name, None)
            self.left += [gone] if gone else []
            return gone is not None

    def stock(
        self, *, after: BlockName | None, limit: int, buckets: frozenset[int] = frozenset()
    ) -> Sequence[StockEntry]:
        with self.lock:
            numbers = sorted(self.held.values(), key=lambda e: e.name.number)
        numbers = [e for e in numbers if not buckets or e.name.block & 255 in buckets]
        return [e for e in numbers if after is None or e.name.number > after.number][:limit]

    def take_changes(self, limit: int) -> tuple[list[StockEntry], list[StockEntry]]:
        with self.lock:
            changed, self.changed = self.changed[:limit], self.changed[limit:]
            left, self.left = self.left, []
            return changed, left

    def usage(self) -> NodeUsage:
        return USAGE

    def volumes(self) -> list[VolumeStatus]:
        return []

    def condition(self) -> NodeCondition:
        return NodeCondition()

    def quarantine_due(self, limit: int) -> list[BlockName]:
        return []

    def obey_delete(self, command: NodeCommand) -> None:
        assert command.block is not None
        self.delete(command.block)


class Side:
    """The DataNode's side of the conversation."""

    def __init__(self, *urls: str, interval_s: float = TICK_S, page_max: int = 3) -> None:
        self.disk = Disk()
        self.log = RecordingEmitter()
        clock = SystemClock()
        self.standing = Standing(memory=self.disk, clock=clock)
        self.standing.settle("c" * 32, NodeId(3))
        self.commands = CommandRunner(
            handlers={Order.DELETE: self.disk.obey_delete},
            standing=self.standing,
            emit=self.log,
        )
        feed = StockFeed(self.disk)
        settings = BeatSettings(
            interval_s=interval_s,
            stock_delta_s=TICK_S,
            stock_full_s=3600,
            stock_page_max=page_max,
            secret=SECRET,
            registration=NodeRegistration(
                cluster="c" * 32,
                host="127.0.0.1",
                grpc_port=1,
                http_port=2,
                rack="/default",
                version="0",
                restarts=0,
                clean_stop=True,
                usage=USAGE,
                volumes=[],
            ),
        )
        beats = [
            NamenodeBeat(
                url,
                settings=settings,
                facts=self.disk,
                standing=self.standing,
                feed=feed,
                commands=self.commands,
                outside=Outside(clock, Random(1), self.log),
            )
            for url in urls
        ]
        self.beats = NamenodeBeats(beats, self.commands)
        self.beats.start()

    def told(self, event: Event) -> int:
        return sum(1 for each, _facts in self.log.events if each is event)


@pytest.fixture
def namenode() -> Iterator[FakeNamenode]:
    fake = FakeNamenode()
    yield fake
    fake.close()


@pytest.fixture
def new_side() -> Iterator[Callable[..., Side]]:
    made: list[Side] = []

    def make(*urls: str, **settings: object) -> Side:
        made.append(Side(*urls, **settings))
        return made[-1]

    yield make
    for side in made:
        side.beats.stop()


def known(reports: Sequence[StockReport]) -> set[int]:
    """What a NameNode knows after those reports: numbers of the blocks held."""
    held: set[int] = set()
    for report in reports:
        if report.full and report.page == 0:
            held = set()
        held |= {e.name.number for e in report.entries}
        held -= {e.name.number for e in report.gone}
    return held


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


def command(number: int, verb: str, epoch: int = 1, block: BlockName | None = None) -> NodeCommand:
    return NodeCommand(command=number, verb=verb, epoch=epoch, block=block)


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
