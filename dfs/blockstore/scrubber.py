"""The scrubbers of all volumes of a DataNode, as orders and reports see them: as one.

Owns the orders (a pass now, a pause, a suspect, trust), the flag that stops all slices, and the
status; the work is `scrub` and `quick_scrub`, one of each for a volume.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import DfsError
from dfs.base.events import Emitter, Event
from dfs.base.records import BlockName, ScrubStatus
from dfs.blockstore.quick_scrub import QuickScrubber
from dfs.blockstore.scrub import VolumeScrubber, Wait
from dfs.blockstore.store import BlockStore
from dfs.settings.sections import ScrubConfig

RATE_WINDOW_S: Final = 60.0


class Scrubber:
    """See the module.  Safe for many threads.

    Args:
        wait: how a slice waits; tells whether it must stop.  Left out: for real.
    """

    def __init__(
        self,
        store: BlockStore,
        *,
        config: ScrubConfig,
        clock: Clock,
        emit: Emitter,
        wait: Wait | None = None,
    ) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._emit = emit
        self._stopped = threading.Event()
        self._rate = _Rate(clock)
        self.on_work: Callable[[], None] = _nobody
        wait = wait or self._stopped.wait
        self.volumes = [
            VolumeScrubber(store, volume, config=config, clock=clock, emit=emit, wait=wait)
            for volume in store.folders
        ]
        self.quick = [
            QuickScrubber(store, volume, config=config, clock=clock, emit=emit, wait=wait)
            for volume in store.folders
        ]

    def stop(self) -> None:
        """End every slice at its next MiB."""
        self._stopped.set()

    # Orders.

    def suspect(self, name: BlockName) -> bool:
        """Verify a block before any other; False when it is not here."""
        if not self._store.suspect(name):
            return False
        self.on_work()
        return True

    def begin(self, run: int) -> None:
        """Verify everything that is held now; a known run changes nothing.

        Raises:
            DfsError: no disk would remember it.
        """
        if run <= self._run:
            return
        self._each(lambda volume: volume.begin(run))
        self._emit.emit(Event.SCRUB_CHANGED, state="started", run=run)
        self.on_work()

    def pause(self, until_ms: int) -> None:
        """Rest until then, suspects apart, or for the longest pause that is allowed.

        Raises:
            DfsError: no disk would remember it.
        """
        self._each(lambda volume: volume.pause(until_ms))
        self._emit.emit(Event.SCRUB_CHANGED, state="paused", until_ms=self._paused_until_ms)

    def resume(self) -> None:
        """Go on.

        Raises:
            DfsError: no disk would remember it.
        """
        self._each(lambda volume: volume.pause(0))
        self._emit.emit(Event.SCRUB_CHANGED, state="resumed")
        self.on_work()

    def trust(self) -> None:
        """An operator looked: close the circuit breaker and go on."""
        if self._store.trust():
            self._emit.emit(Event.SCRUB_CHANGED, state="trusted")
            self.on_work()

    def _each(self, order: Callable[[VolumeScrubber], None]) -> None:
        """Give an order to every volume; one disk that fails does not spare the others."""
        failed: list[DfsError] = []
        for volume in self._working():
            try:
                order(volume)
            except DfsError as err:
                failed.append(err)
        if failed and len(failed) == len(self._working()):
            raise failed[0]

    # Status.

    def status(self) -> ScrubStatus:
        """How far all are together; cheap enough for every beat."""
        working = self._working()
        figures = [volume.figures for volume in working]
        counts = [each.counts for each in figures]
        total_bytes = sum(each.volume.used_bytes for each in working)
        pass_bytes = sum(each.counts.pass_bytes + each.passed_bytes for each in figures)
        verified = sum(each.figures.verified_bytes for each in self.volumes)
        rate = self._rate.of(verified)
        return ScrubStatus(
            state=self._state(working),
            paused_until_ms=self._paused_until_ms,
            run=self._run,
            run_done=not any(each.state.run_pass for each in working),
            total_blocks=sum(each.volume.blocks for each in working),
            total_bytes=total_bytes,
            pass_blocks=sum(each.counts.pass_blocks + each.passed_blocks for each in figures),
            pass_bytes=pass_bytes,
            covered_blocks=sum(each.covered_blocks for each in counts),
            covered_bytes=sum(each.covered_bytes for each in counts),
            unverified_blocks=sum(each.unread_blocks for each in counts),
            oldest_ms=min((each.oldest_ms for each in counts if each.blocks), default=0),
            rate_bytes_per_s=rate,
            eta_s=self._eta_s(working, max(0, total_bytes - pass_bytes), rate),
            verified_bytes=verified,
            last_verified_ms=max((each.last_verified_ms for each in figures), default=0),
            found=self._store.found,
            transients=self._store.transients,
            suspects=sum(len(each.volume.suspects) for each in working),
            last_pass_ms=min((each.state.ended_ms for each in working), default=0),
            last_quick_ms=min((each.last_ms for each in self.quick), default=0),
        )

    def _working(self) -> list[VolumeScrubber]:
        return [volume for volume in self.volumes if not volume.is_halted]

    @property
    def _run(self) -> int:
        return max((volume.state.run for volume in self.volumes), default=0)

    @property
    def _paused_until_ms(self) -> int:
        return max((each.paused_until_ms for each in self.volumes if each.is_paused), default=0)

    def _state(self, working: Sequence[VolumeScrubber]) -> str:
        if self._store.is_doubtful:
            return "doubtful"
        if self._paused_until_ms:
            return "paused"
        busy = any(each.figures.is_working or not each.state.is_done for each in working)
        return "running" if busy else "idle"

    def _eta_s(self, working: Sequence[VolumeScrubber], left_bytes: int, rate: float) -> float:
        if any(not each.state.is_done for each in working):
            return left_bytes / max(rate, self._config.rate_min_bytes)
        now_ms, slo_ms = self._clock.now_ms(), self._config.slo_s * 1000
        ends_ms = min((each.state.begun_ms + slo_ms for each in working), default=now_ms)
        return max(0.0, (ends_ms - now_ms) / 1000)


class _Rate:
    """Bytes a second over the last minute, from a total that only grows."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, int]] = deque([(clock.monotonic_s(), 0)])

    def of(self, total: int) -> float:
        """As of now."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            if now_s - self._seen[-1][0] >= 1:
                self._seen.append((now_s, total))
            while len(self._seen) > 1 and now_s - self._seen[1][0] >= RATE_WINDOW_S:
                self._seen.popleft()
            since_s, before = self._seen[0]
        return (total - before) / max(1.0, now_s - since_s)


def _nobody() -> None:
    """Nobody runs the slices yet."""
