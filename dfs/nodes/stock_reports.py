"""Telling one NameNode what this DataNode holds: changes as they come, everything now and then.

Changes are taken from the disk once and handed to every NameNode's own list, where they wait until
that NameNode accepted them.  A list that grows past its bound is dropped for a full report, so
nothing is ever lost and nothing grows without end.

A full report begins with sums over everything held (`dfs.wire.stock_sums`); the NameNode answers
which buckets it knows otherwise, and only those are listed.  It is read from the disk page by page
while changes go on: what changes meanwhile follows as a change, later in the sequence.

It says throughout which epoch was known when it began, and is given up when another begins: a new
leader counts on what was read after nobody obeyed its predecessor any more.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec.structs import replace

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.errors import StaleEpoch
from dfs.base.records import BlockName, StockEntry
from dfs.nodes.standing import Standing
from dfs.wire.nodes_api import StockBuckets, StockDigests, StockReply, StockReport
from dfs.wire.stock_sums import StockSums

PENDING_MAX: Final = 50_000
TAKE_MAX: Final = 10_000
SUMMED_MAX: Final = 5_000  # blocks in memory at once while sums are made
EVERY_BUCKET: Final = frozenset[int]()
FULL_JITTER_SHARE: Final = 0.1


class StockSource(Protocol):
    """What a report needs of the disk."""

    def stock(
        self, *, after: BlockName | None, limit: int, buckets: frozenset[int] = EVERY_BUCKET
    ) -> Sequence[StockEntry]:
        """A page of what is held in those buckets (none named: in all), ordered by name."""
        ...

    def take_changes(self, limit: int) -> tuple[list[StockEntry], list[StockEntry]]:
        """What was stored or changed, and what is gone, since the last call."""
        ...

    @property
    def changes_lost(self) -> bool:
        """Whether more changed than the disk remembered; reading it resets it."""
        ...


class SendReport(Protocol):
    """How a report reaches its NameNode."""

    def __call__(self, report: StockReport) -> StockReply:
        """Send it; raises a DfsError when it was not accepted."""
        ...


class SendSums(Protocol):
    """How the sums of a full report reach its NameNode."""

    def __call__(self, digests: StockDigests) -> StockBuckets:
        """Send them; raises a DfsError when they were not accepted."""
        ...


@dataclass(frozen=True, slots=True)
class StockLink:
    """The way to one NameNode."""

    report: SendReport
    sums: SendSums


class PendingStock:
    """The changes one NameNode has not accepted yet, the newest word for each block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: dict[BlockName, tuple[bool, StockEntry]] = {}
        self.full_wanted = False

    def add(self, changed: Sequence[StockEntry], gone: Sequence[StockEntry]) -> None:
        """Later words replace earlier ones; past the bound everything will be told instead."""
        with self._lock:
            for held, entries in ((True, changed), (False, gone)):
                for entry in entries:
                    self._changes[entry.name] = (held, entry)
            if len(self._changes) > PENDING_MAX:
                self._changes.clear()
                self.full_wanted = True

    def peek(self, limit: int) -> list[tuple[bool, StockEntry]]:
        """The oldest changes, `(still held, entry)`; they stay until `drop`."""
        with self._lock:
            return [change for change, _ in zip(self._changes.values(), range(limit), strict=False)]

    def drop(self, told: Sequence[tuple[bool, StockEntry]]) -> None:
        """These were accepted; one that changed again meanwhile stays."""
        with self._lock:
            for change in told:
                if self._changes.get(change[1].name) is change:
                    del self._changes[change[1].name]

    def begin_full(self) -> None:
        """A full report starts: it will say all that waits here."""
        with self._lock:
            self._changes.clear()
            self.full_wanted = False

    def want_full(self) -> None:
        """Have everything told."""
        self.full_wanted = True


class StockFeed:
    """Takes changes from the disk and hands each to every NameNode's list."""

    def __init__(self, source: StockSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._lists: list[PendingStock] = []

    def subscribe(self) -> PendingStock:
        """A list for one more NameNode."""
        pending = PendingStock()
        with self._lock:
            self._lists.append(pending)
        return pending

    def unsubscribe(self, pending: PendingStock) -> None:
        """That NameNode is not told any more."""
        with self._lock:
            self._lists = [each for each in self._lists if each is not pending]

    def page(
        self, after: BlockName | None, limit: int, buckets: frozenset[int] = EVERY_BUCKET
    ) -> Sequence[StockEntry]:
        """A page of what is held in those buckets; none named: of everything."""
        return self._source.stock(after=after, limit=limit, buckets=buckets)

    def sums(self) -> StockSums:
        """Sums over everything that is held."""
        found = StockSums()
        after: BlockName | None = None
        while entries := self.page(after, SUMMED_MAX):
            found.add_entries(entries)
            after = entries[-1].name
        return found

    def pump(self) -> None:
        """Move everything that changed since the last time."""
        with self._lock:  # so that two words about one block stay in order
            while True:
                changed, gone = self._source.take_changes(TAKE_MAX)
                for pending in self._lists:
                    pending.add(changed, gone)
                if len(changed) + len(gone) < TAKE_MAX:
                    break
            if self._source.changes_lost:
                for pending in self._lists:
                    pending.want_full()


class StockReporter:
    """Reports to one NameNode; `run_once` is one bounded step, called in one thread.

    Args:
        full_interval_s: from one full report to the next, give or take a tenth.
        page_max: entries in one message.
    """

    def __init__(
        self,
        *,
        feed: StockFeed,
        link: StockLink,
        standing: Standing,
        clock: Clock,
        rng: Random,
        full_interval_s: float,
        page_max: int,
    ) -> None:
        self._feed = feed
        self._pending = feed.subscribe()
        self._link = link
        self._standing = standing
        self._clock = clock
        self._rng = rng
        self._full_interval_s = full_interval_s
        self._page_max = page_max
        self._sequence = 1
        self._full_due_s = 0.0  # the first report is a full one

    def want_full(self) -> None:
        """Send everything with the next step: registered again, or asked to."""
        self._pending.want_full()

    def close(self) -> None:
        """Nothing is to be told any more."""
        self._feed.unsubscribe(self._pending)

    def run_once(self) -> int:
        """Tell what there is to tell; how many entries were accepted.

        Raises:
            DfsError: not accepted; nothing is lost, call again.
        """
        self._feed.pump()
        if self._pending.full_wanted or self._clock.monotonic_s() >= self._full_due_s:
            return self._tell_all()
        return self._tell_changes()

    def _tell_all(self) -> int:
        epoch = self._standing.epoch
        self._pending.begin_full()
        try:
            buckets = self._compare(epoch)
            told = self._send_pages(buckets, epoch) if buckets else 0
        except BaseException:
            self._pending.want_full()
            raise
        if buckets is None:  # the beats will register, which makes for another try
            self._pending.want_full()
            return 0
        spread = 1 + FULL_JITTER_SHARE * (2 * self._rng.random() - 1)
        self._full_due_s = self._clock.monotonic_s() + self._full_interval_s * spread
        self._sequence += 1
        return told

    def _compare(self, epoch: int) -> frozenset[int] | None:
        """The buckets to tell block by block; None when we must register first."""
        held = self._feed.sums()
        digests = StockDigests(
            epoch=epoch,
            sequence=self._sequence,
            counts=held.counts,
            sums=held.sums,
        )
        reply = self._link.sums(digests)
        crashpoint.reach("dn.stock.compared")
        return None if reply.full_wanted else frozenset(reply.buckets)

    def _send_pages(self, buckets: frozenset[int], epoch: int) -> int:
        after: BlockName | None = None
        told, page = 0, 0
        while True:
            entries = self._feed.page(after, self._page_max, buckets)
            last = len(entries) < self._page_max
            if self._standing.epoch != epoch:
                raise StaleEpoch(f"epoch {epoch} ended while its full report was under way")
            reply = self._report(entries, (), epoch, buckets=buckets, page=page, last_page=last)
            told, page = told + reply.accepted, page + 1
            if last:
                return told
            after = entries[-1].name

    def _tell_changes(self) -> int:
        told = 0
        while changes := self._pending.peek(self._page_max):
            held = [entry for still_held, entry in changes if still_held]
            gone = [entry for still_held, entry in changes if not still_held]
            reply = self._report(held, gone, self._standing.epoch)
            self._pending.drop(changes)
            self._sequence += 1
            told += reply.accepted
            if reply.full_wanted:
                self._pending.want_full()
                break
        return told

    def _report(
        self,
        entries: Sequence[StockEntry],
        gone: Sequence[StockEntry],
        epoch: int,
        *,
        buckets: frozenset[int] = EVERY_BUCKET,
        page: int = 0,
        last_page: bool = True,
    ) -> StockReply:
        report = StockReport(
            epoch=epoch,
            sequence=self._sequence,
            full=bool(buckets),
            page=page,
            last_page=last_page,
            entries=[_without_path(entry) for entry in entries],
            gone=[_without_path(entry) for entry in gone],
            buckets=sorted(buckets),
        )
        crashpoint.reach("dn.stock.reporting")
        reply = self._link.report(report)
        crashpoint.reach("dn.stock.reported")
        return reply


def _without_path(entry: StockEntry) -> StockEntry:
    """The NameNode knows the path; 4 KiB of it for each block would fill the message."""
    return replace(entry, path="") if entry.path else entry
