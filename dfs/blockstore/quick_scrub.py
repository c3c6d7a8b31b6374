"""The quick pass over one volume: is each file there, as long as it was, its tail intact?

It begins with a walk over the folders (`disk_walk`) that takes in what came and what went.  It
reads no content, so it finds in hours what the scrubber finds in days: files that vanished, were
cut, extended, swapped, or lost their trailer.  `run_once` is one bounded slice.  What is wrong goes
the way of every bad block (`holdings`).  A restart in the middle of a pass begins it anew.
"""

import contextlib
from dataclasses import dataclass
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import BlockCorrupt, BlockNotFound
from dfs.base.events import Emitter
from dfs.base.records import BlockName
from dfs.blockstore import scrub_pace
from dfs.blockstore.catalog_table import CatalogRow
from dfs.blockstore.disk_walk import SETTLE_S, DiskWalk
from dfs.blockstore.holdings import READABLE
from dfs.blockstore.scrub import SLICE_S, Wait
from dfs.blockstore.scrub_rows import Mark
from dfs.blockstore.store import BlockStore
from dfs.blockstore.volume import Volume
from dfs.settings.sections import ScrubConfig

PAGE_MAX: Final = 1_000


@dataclass(slots=True)
class QuickReport:
    """What one slice did."""

    volume: str
    looked_at: int = 0
    bad: int = 0
    has_more: bool = False

    def __bool__(self) -> bool:
        """Whether it is worth a line in the log."""
        return bool(self.looked_at)


class QuickScrubber:
    """See the module.  `run_once` is called in one thread at a time."""

    def __init__(
        self,
        store: BlockStore,
        volume: Volume,
        *,
        config: ScrubConfig,
        clock: Clock,
        emit: Emitter,
        wait: Wait,
    ) -> None:
        self._store = store
        self._volume = volume
        self._config = config
        self._clock = clock
        self._wait = wait
        self._after: BlockName | None = None  # the last one looked at in the pass under way
        self._is_under_way = False
        self._is_walked = False  # in the pass under way
        self._walk = DiskWalk(
            store.holdings,
            volume,
            clock=clock,
            emit=emit,
            settle_s=min(SETTLE_S, config.quick_interval_s),
        )
        self._pace = scrub_pace.PaceState()
        self.last_ms = volume.scrub_rows.marks()[Mark.QUICK_MS]

    def run_once(self) -> QuickReport:
        """Look at files until the pass is done, a minute is over, or somebody says stop."""
        report = QuickReport(self._volume.uuid)
        ends_s = self._clock.monotonic_s() + SLICE_S
        if not self._is_due():
            return report
        self._is_under_way = True
        self._is_walked = self._is_walked or self._walk.go_on(self._must_stop, ends_s=ends_s)
        if not self._is_walked:
            report.has_more = self._clock.monotonic_s() >= ends_s
            return report
        while page := self._volume.catalog.page(after=self._after, limit=PAGE_MAX):
            for row in page:
                if self._must_stop():
                    return report
                self._look(row, report)
                self._after = row.name
                if self._clock.monotonic_s() >= ends_s:
                    report.has_more = True
                    return report
        self._end()
        return report

    def _is_due(self) -> bool:
        since_ms = self._clock.now_ms() - self.last_ms
        is_time = not 0 <= since_ms < self._config.quick_interval_s * 1000
        return self._is_under_way or is_time

    def _end(self) -> None:
        self._after, self._is_under_way, self._is_walked = None, False, False
        self.last_ms = self._clock.now_ms()
        with self._volume.writing("the end of a quick pass"):
            self._volume.scrub_rows.keep({Mark.QUICK_MS: self.last_ms})

    def _must_stop(self) -> bool:
        """Wait for the turn of the next file; whether the slice is over."""
        return self._wait(self._pay()) or self._store.is_doubtful

    def _pay(self) -> float:
        share = scrub_pace.YIELD_SHARE if self._store.in_flight else 1.0
        pace = scrub_pace.Pace(
            self._config.rate_max_bytes, self._config.files_per_second_max * share
        )
        now_s = self._clock.monotonic_s()
        self._pace, wait_s = scrub_pace.take(self._pace, pace, now_s=now_s, files=1)
        return wait_s

    def _look(self, row: CatalogRow, report: QuickReport) -> None:
        report.looked_at += 1
        if row.state not in READABLE or self._store.holdings.is_refused(row.name):
            return
        try:
            with contextlib.suppress(BlockNotFound):
                self._store.holdings.open_file(self._volume, row).close()
        except BlockCorrupt:
            report.bad += 1
