"""Judging health again and again: now when asked, and in the background, with a memory.

Puts the facts together from those who know them (each a callable, so that nobody is waited for
here), judges them, says each check that changed its status, and keeps reports in the table
`health_run`: one whenever a status changed, and one an hour.  Reading facts changes nothing.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, func, select

from dfs import __version__
from dfs.base.clock import Clock
from dfs.base.decoding import json_reader
from dfs.base.events import Emitter, Event
from dfs.base.ids import BlockId
from dfs.base.records import NodeView
from dfs.blocks.stray_rows import count_strays
from dfs.blocks.strays import StrayKind
from dfs.meta.cluster_tables import HEALTH_RUN, SETTING
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.settings.sections import Config
from dfs.upkeep.failover_facts import FailoverFacts
from dfs.upkeep.health import judge
from dfs.upkeep.health_facts import (
    HealthFacts,
    JobFacts,
    RepairFacts,
    SafetyFacts,
    StrayFacts,
)
from dfs.upkeep.health_survey import block_facts, worth_naming
from dfs.upkeep.survey import Survey
from dfs.wire.health_api import (
    Check,
    HealthReport,
    HealthRequest,
    HealthRun,
    HealthRunsReply,
    HealthRunsRequest,
    HealthStatus,
)
from dfs.wire.scrub_api import CanaryStatus

STORE_EVERY_S: Final = 3600.0
RUNS_READ_MAX: Final = 1_000
RUNS_TRIMMED_MAX: Final = 1_000
LAST_BACKUP_KEY: Final = "last_backup_ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Who knows what; each answers at once, from memory."""

    nodes: Callable[[], Sequence[NodeView]]
    survey: Callable[[], Survey] = Survey
    repair: Callable[[], RepairFacts] = RepairFacts
    safety: Callable[[], SafetyFacts] = SafetyFacts
    canaries: Callable[[], Sequence[CanaryStatus]] = tuple
    compaction: Callable[[], str] = str  # how its last round ended, where it ended badly
    failover: Callable[[], FailoverFacts] = FailoverFacts


@dataclass(slots=True)
class LateKnown:
    """What is built after upkeep; the composition root fills it in.

    Attributes:
        block_paths: what people call blocks.
        failed_jobs: background jobs whose last pass failed.
        probe: asks every DataNode's `/health` and marks who answered.
    """

    block_paths: Callable[[Connection, Sequence[BlockId]], Mapping[BlockId, str]] = (
        lambda _connection, _blocks: {}
    )
    failed_jobs: Callable[[], Sequence[JobFacts]] = tuple
    probe: Callable[[], object] = field(default=lambda: None)


@dataclass(frozen=True, slots=True)
class HealthPass:
    """What a pass in the background found; empty when nothing changed."""

    status: HealthStatus
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether there is any news."""
        return bool(self.changed)


class HealthRuns:
    """See the module.  Safe to share between threads."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        *,
        known: Known,
        clock: Clock,
        emit: Emitter,
        config: Config,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._known = known
        self._clock = clock
        self._emit = emit
        self._config = config
        self._lock = threading.Lock()
        self._probing = threading.Lock()
        self._last: dict[str, HealthStatus] | None = None
        self._stored_ms = 0
        self.late = LateKnown()

    # ---- judging

    def run_once(self) -> HealthPass:
        """Judge, and say and keep what changed since the last time."""
        report = self.report()
        return HealthPass(report.status, self._note(report))

    def health(self, body: HealthRequest) -> HealthReport:
        """Health as of now, for a person."""
        if body.probe:
            with self._probing:  # one round at a time, however many ask
                self.late.probe()
        report = self.report(probed=body.probe)
        self._note(report)
        return report

    def report(self, *, probed: bool = False) -> HealthReport:
        """Health as of now; nothing is said or kept."""
        return judge(self._facts(probed=probed))

    def _facts(self, *, probed: bool) -> HealthFacts:
        known = self._known
        survey = known.survey()
        with self._reader.view() as connection:
            strays, last_backup_ms = _read_strays(connection), _read_last_backup(connection)
            names = self.late.block_paths(connection, worth_naming(survey))
        return HealthFacts(
            at_ms=self._clock.now_ms(),
            version=__version__,
            config=self._config,
            nodes=known.nodes(),
            blocks=block_facts(survey, names),
            repair=known.repair(),
            safety=known.safety(),
            canaries=known.canaries(),
            compaction=known.compaction(),
            failover=known.failover(),
            strays=strays,
            failed_jobs=self.late.failed_jobs(),
            last_backup_ms=last_backup_ms,
            probed=probed,
        )

    # ---- remembering

    def _note(self, report: HealthReport) -> tuple[str, ...]:
        """Say and keep what is new; the ids of the checks that changed."""
        now = {check.id: check.status for check in report.checks}
        with self._lock:
            before = self._last if self._last is not None else self._last_stored()
            changed = tuple(
                check for check in now if before.get(check, HealthStatus.OK) is not now[check]
            )
            self._last = now
            is_due = report.at_ms - self._stored_ms >= STORE_EVERY_S * 1000
            if changed or is_due:
                self._stored_ms = report.at_ms
        for check in report.checks:
            if check.id in changed:
                self._say(check, before.get(check.id, HealthStatus.OK))
        if changed or is_due:
            self._writer.submit(lambda txn: self._store(txn, report))
        return changed

    def _say(self, check: Check, was: HealthStatus) -> None:
        self._emit.emit(
            Event.HEALTH_CHANGED,
            check=check.id,
            was=was.value,
            status=check.status.value,
            count=check.count,
            cause=check.cause,
        )

    def _last_stored(self) -> Mapping[str, HealthStatus]:
        """How things stood when the process before this one ended."""
        with self._reader.view() as connection:
            found = _read_runs(connection, before_ms=0, limit=1)
        self._stored_ms = found[0].at_ms if found else 0
        return {check.id: check.status for run in found for check in run.bad}

    def _store(self, txn: Txn, report: HealthReport) -> None:
        newest = txn.connection.execute(select(func.max(HEALTH_RUN.c.id))).scalar() or 0
        bad = [check for check in report.checks if check.status is not HealthStatus.OK]
        txn.put_soft(
            HEALTH_RUN,
            {
                "id": newest + 1,
                "at_ms": report.at_ms,
                "status": report.status.value,
                "report": msgspec.json.encode(bad),
            },
        )
        keep_ms = int(self._config.health.keep_s * 1000)
        old = select(HEALTH_RUN.c.id).where(HEALTH_RUN.c.at_ms < report.at_ms - keep_ms)
        found = txn.connection.execute(old.limit(RUNS_TRIMMED_MAX)).scalars().all()
        txn.drop_soft(HEALTH_RUN, *((run,) for run in found))

    def runs(self, body: HealthRunsRequest) -> HealthRunsReply:
        """Stored reports, newest first."""
        limit = max(1, min(body.limit, RUNS_READ_MAX))
        with self._reader.view() as connection:
            return HealthRunsReply(
                runs=_read_runs(connection, before_ms=body.before_ms, limit=limit)
            )


def _read_runs(connection: Connection, *, before_ms: int, limit: int) -> list[HealthRun]:
    wanted = select(HEALTH_RUN).order_by(HEALTH_RUN.c.id.desc()).limit(limit)
    if before_ms:
        wanted = wanted.where(HEALTH_RUN.c.at_ms < before_ms)
    return [_run(row) for row in connection.execute(wanted)]


def _run(row: Row[Any]) -> HealthRun:
    bad = json_reader(list[Check])(row.report)
    return HealthRun(row.id, row.at_ms, HealthStatus(row.status), bad)


def _read_strays(connection: Connection) -> StrayFacts:
    totals = count_strays(connection)
    return StrayFacts(
        count=sum(total.count for total in totals.values()),
        size_bytes=sum(total.size_bytes for total in totals.values()),
        future=totals[StrayKind.FUTURE].count,
    )


def _read_last_backup(connection: Connection) -> int:
    found = connection.execute(select(SETTING.c.value).where(SETTING.c.key == LAST_BACKUP_KEY))
    value = found.scalar() or ""
    return int(value) if value.isdigit() else 0
