"""The DataNode's side of its conversations with NameNodes, on a disk in memory."""

import threading
from collections.abc import Callable, Sequence

from dfs.base.clock import SystemClock
from dfs.base.entropy import Random
from dfs.base.errors import BlockNotFound, DfsError
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
from dfs.nodes.beat import BeatSettings, Outside, Shared
from dfs.nodes.commands import CommandRunner
from dfs.nodes.namenode_beats import NamenodeBeats
from dfs.nodes.orders import Order
from dfs.nodes.standing import Standing
from dfs.nodes.stock_reports import StockFeed
from dfs.wire.ha_api import Correspondents
from dfs.wire.nodes_api import NodeRegistration, StockReport
from tests.fake_namenode import SECRET

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
        self.namenodes: tuple[str, ...] = ()
        self.epoch_refusal: DfsError | None = None
        self.before_delete: Callable[[], object] = lambda: None

    def remember_epoch(self, epoch: int) -> None:
        if self.epoch_refusal is not None:
            raise self.epoch_refusal
        self.epoch, self.txid = epoch, 0

    def remember_txid(self, epoch: int, txid: int) -> None:
        if (epoch, txid) > (self.epoch, self.txid):
            self.txid = txid

    def remember_namenodes(self, urls: Sequence[str]) -> None:
        self.namenodes = tuple(urls)

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
        self.before_delete()
        self.delete(command.block)


class Mailbox:
    """What is learnt of letters; `refusal` is raised instead."""

    def __init__(self) -> None:
        self.version = 0
        self.refusal: DfsError | None = None

    def learn(self, told: Correspondents) -> bool:
        if self.refusal is not None:
            raise self.refusal
        newer = told.version > self.version
        self.version = max(self.version, told.version)
        return newer


class Side:
    """The DataNode's side of the conversations.

    Args:
        disk: of an earlier one, which was stopped.
    """

    def __init__(
        self,
        *urls: str,
        interval_s: float = TICK_S,
        page_max: int = 3,
        disk: Disk | None = None,
        begin: bool = True,
    ) -> None:
        self.disk = disk or Disk()
        self.post = Mailbox()
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
        shared = Shared(
            settings=settings,
            facts=self.disk,
            standing=self.standing,
            feed=feed,
            commands=self.commands,
            post=self.post,
            outside=Outside(clock, Random(1), self.log),
        )
        self.beats = NamenodeBeats(urls, shared, self.disk)
        if begin:
            self.beats.start()

    def told(self, event: Event) -> int:
        return sum(1 for each, _facts in self.log.events if each is event)

    def urls(self) -> list[str]:
        return [each.url for each in self.beats.reachability()]


def known(reports: Sequence[StockReport]) -> set[int]:
    """What a NameNode knows after those reports: numbers of the blocks held."""
    held: set[int] = set()
    for report in reports:
        if report.full and report.page == 0:
            held = set()
        held |= {e.name.number for e in report.entries}
        held -= {e.name.number for e in report.gone}
    return held


def command(number: int, verb: str, epoch: int = 1, block: BlockName | None = None) -> NodeCommand:
    return NodeCommand(command=number, verb=verb, epoch=epoch, block=block)
