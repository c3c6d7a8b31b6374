"""The background jobs of a daemon, on APScheduler: each a bounded pass, never two of one at once.

A job is a `run_once` that returns its report; this module knows intervals, keeps the last result
of each for `/health`, and is one of the few places that catch every exception: a job that fails
is logged and runs again at its next time.  One whose pass leaves work behind goes on at once, so
that no backlog grows for want of passes.

APScheduler reckons in wall-clock time.  A clock that is set must neither stop a job until it is
again what it was, nor have a year of missed times gone through one by one: the next time is always
reckoned from now, and when the clock was set back everything is due.
"""

import dataclasses
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from dfs.base.clock import Clock
from dfs.base.errors import DfsError
from dfs.base.events import Event

R = TypeVar("R")

CLOCK_LOOK_S: Final = 1.0
CLOCK_STEP_S: Final = 1.0  # set back by more than this in one look; a clock that is slewed is not
JITTER_SHARE: Final = 0.1  # so that a hundred nodes started together do not work together
PASSES_MAX: Final = 1_000  # of a job in a row; what is left then waits for its next time


class JobLog(Protocol):
    """What a schedule writes to."""

    def emit(self, event: Event, **fields: object) -> None:
        """See `dfs.base.events.Emitter`."""
        ...

    def exception(self, where: str, exc: BaseException) -> None:
        """Record a bug with its stack."""
        ...


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job's last pass went."""

    job: str
    started_ms: int
    took_s: float
    ok: bool
    report: object  # what `run_once` returned, or the error's words


# APScheduler has no types.
class _FromNow(IntervalTrigger):  # type: ignore[misc]
    """So long from now, whenever the last time was."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """See APScheduler."""
        previous = None if previous_fire_time is None else now
        following: datetime = super().get_next_fire_time(previous, now)
        return following


class Schedule:
    """Runs jobs at intervals in a few threads of its own.

    Args:
        threads_max: how many jobs may run at the same time.
    """

    def __init__(self, *, clock: Clock, log: JobLog, threads_max: int = 4) -> None:
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._results: dict[str, JobResult] = {}
        self._jobs: dict[str, Callable[[], object]] = {}
        self._has_more: dict[str, Callable[[Any], bool]] = {}
        self._stopped = threading.Event()
        self._clock_watch = threading.Thread(
            target=self._watch_clock, name="clock-watch", daemon=True
        )
        quiet = logging.Logger("apscheduler", logging.CRITICAL)  # we write our own lines
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            logger=quiet,
            executors={"default": ThreadPoolExecutor(threads_max, {"thread_name_prefix": "job"})},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )

    def every(
        self,
        job: str,
        interval_s: float,
        run_once: Callable[[], R],
        *,
        has_more: Callable[[R], bool] | None = None,
    ) -> None:
        """Run `run_once` every so many seconds, first after one interval.

        Args:
            has_more: whether a pass with that report left work behind; the next follows at once.
        """
        assert interval_s > 0
        assert job not in self._jobs
        self._jobs[job] = run_once
        if has_more is not None:
            self._has_more[job] = has_more
        trigger = _FromNow(seconds=interval_s, timezone=UTC, jitter=interval_s * JITTER_SHARE)
        self._scheduler.add_job(self._passes, trigger, args=[job], id=job)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()
        self._clock_watch.start()

    def soon(self, job: str) -> None:
        """Run a job now, unless it is running; its interval goes on from here."""
        assert job in self._jobs
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        self._scheduler.modify_job(job, next_run_time=now + timedelta(milliseconds=1))

    def run_now(self, job: str) -> JobResult:
        """Run one pass of a job in the caller's thread: for commands and tests."""
        self._pass(job)
        return self._results[job]

    def results(self) -> list[JobResult]:
        """The last result of each job that ran, by name."""
        with self._lock:
            return [self._results[job] for job in sorted(self._results)]

    def hold(self) -> None:
        """Start nothing more, and do not wait: what passes work with may be closed under them."""
        self._stopped.set()
        if self._scheduler.running:
            self._scheduler.pause()

    def stop(self) -> None:
        """Start nothing more and wait for the passes under way; they are bounded."""
        self._stopped.set()
        if self._scheduler.running:
            self._clock_watch.join()
            self._scheduler.shutdown(wait=True)

    def _watch_clock(self) -> None:
        ahead_s = self._ahead_s()
        while not self._stopped.wait(CLOCK_LOOK_S):
            before_s, ahead_s = ahead_s, self._ahead_s()
            if before_s - ahead_s > CLOCK_STEP_S:
                for job in self._jobs:
                    self.soon(job)

    def _ahead_s(self) -> float:
        """How far the wall clock is ahead of the one that nobody sets."""
        return self._clock.now_ms() / 1000 - self._clock.monotonic_s()

    def _passes(self, job: str) -> None:
        has_more = self._has_more.get(job)
        for _ in range(PASSES_MAX):
            self._pass(job)
            result = self._results[job]
            if (
                has_more is None
                or not result.ok
                or not has_more(result.report)
                or self._stopped.is_set()
            ):
                return

    def _pass(self, job: str) -> None:
        started_ms, began_s = self._clock.now_ms(), self._clock.monotonic_s()
        ok, report = self._outcome(job)
        result = JobResult(job, started_ms, self._clock.monotonic_s() - began_s, ok, report)
        with self._lock:
            self._results[job] = result
        if report or not ok:  # a pass that found nothing to do is no news
            event = Event.JOB_FINISHED if ok else Event.JOB_FAILED
            self._log.emit(event, **dataclasses.asdict(result))

    def _outcome(self, job: str) -> tuple[bool, object]:
        try:
            return True, self._jobs[job]()
        except DfsError as err:
            return False, f"{err.code}: {err.message}"
        except Exception as exc:  # noqa: BLE001 - a job's bug must not end the daemon
            self._log.exception(f"job {job}", exc)
            return False, f"{type(exc).__name__}: {exc}"
