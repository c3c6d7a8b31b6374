"""Stock reports into what the NameNode knows of locations.

Each report is judged by `reconcile.py`; what changes is written in one unit of work, outside the
journal, because every NameNode learns it for itself.  Most of a report says what is known already:
it is compared on a snapshot, and the writer's thread sees only what differs, and judges it again.

A node's reports are numbered.  A gap, or a change before the first full report, makes us ask for a
full one.  Only a complete full report can say that a copy is missing, and only of copies older
than the report: one written while the pages were on their way may have missed its page.
"""

import threading
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from sqlalchemy import Connection

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.errors import BadRequest, LimitExceeded, Overloaded, StaleEpoch
from dfs.base.events import Emitter, Event
from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.records import StockEntry
from dfs.base.states import ReplicaState
from dfs.blocks.reconcile import (
    PRESENT,
    Finding,
    Location,
    Verdict,
    absent,
    judge,
    location_after,
    location_without,
)
from dfs.blocks.replica_rows import (
    page_of_node,
    put_locations,
    read_expected,
    read_locations,
)
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.wire.nodes_api import StockReply, StockReport

ENTRIES_MAX: Final = 50_000
PAGE_ROWS: Final = 5_000
FULL_REPORTS_AT_ONCE_MAX: Final = 4  # so that a restart of all DataNodes does not swamp us
FULL_REPORT_IDLE_S: Final = 120.0  # a sender that pauses longer has lost its slot
# A page may be this old when it arrives: a DataNode waits 60 s for the answer to a report.
YOUNG_MS: Final = 60_000
NAMED_MAX: Final = 10  # blocks named in one log line
_STRANGE: Final = (Verdict.STALE, Verdict.FUTURE, Verdict.ORPHAN)


class Registrations(Protocol):
    """What the intake needs of the register of nodes."""

    def registration(self, node: NodeId) -> int:
        """Which registration of this run the node is on; 0 when it must register first."""
        ...

    def note_full_report(self, node: NodeId, registration: int) -> None:
        """All that the node held since that registration is taken in."""
        ...

    def doubt_stock(self, node: NodeId) -> None:
        """A report of the node got lost: what it holds is not known until a full one."""
        ...


@dataclass(slots=True)
class _FullReport:
    """A full report under way."""

    sequence: int
    began_ms: int
    touched_s: float
    next_page: int = 0
    reported: "array[int]" = field(default_factory=lambda: array("Q"))


@dataclass(slots=True)
class _Reports:
    """How far one node's reports have come; used by one thread at a time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    registration: int = 0
    sequence: int | None = None  # of the last report taken in; None before the first full one
    full: _FullReport | None = None


@dataclass(frozen=True, slots=True)
class _Judged:
    """The entries of one report, judged against one snapshot."""

    findings: tuple[tuple[StockEntry, Finding], ...]
    before: dict[BlockId, Location]
    changes: dict[BlockId, Location | None]


class StockIntake:
    """See the module.  Safe to share between threads."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        *,
        registrations: Registrations,
        clock: Clock,
        emit: Emitter,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._registrations = registrations
        self._clock = clock
        self._emit = emit
        self._lock = threading.Lock()
        self._nodes: dict[NodeId, _Reports] = {}

    def take(self, node: NodeId, report: StockReport) -> StockReply:
        """Take a report in.

        Raises:
            BadRequest: a page of a full report that does not follow the last one; begin again.
            LimitExceeded: more entries than a report may have.
            Overloaded: too many nodes are sending full reports; try again shortly.
            StaleEpoch: the node has not heard yet that another epoch began.
        """
        if len(report.entries) + len(report.gone) > ENTRIES_MAX:
            raise LimitExceeded(f"a stock report has at most {ENTRIES_MAX} entries")
        if report.epoch < self._writer.epoch:
            raise StaleEpoch(f"a report of epoch {report.epoch}, now is {self._writer.epoch}")
        registration = self._registrations.registration(node)
        if not registration:
            return StockReply(accepted=0, full_wanted=True)
        with self._lock:
            reports = self._nodes.setdefault(node, _Reports())
        with reports.lock:
            if reports.registration != registration:
                reports.registration, reports.sequence, reports.full = registration, None, None
            if report.full:
                return self._take_page(node, reports, report)
            return self._take_changes(node, reports, report)

    # ---- changes

    def _take_changes(self, node: NodeId, reports: _Reports, report: StockReport) -> StockReply:
        said = len(report.entries) + len(report.gone)
        if reports.sequence is None:
            return StockReply(accepted=0, full_wanted=True)
        if report.sequence <= reports.sequence:  # its answer got lost; it was taken in
            return StockReply(accepted=said)
        gap = report.sequence != reports.sequence + 1
        if gap:
            self._registrations.doubt_stock(node)
        self._take_entries(node, report.entries, report.gone)
        reports.sequence = None if gap else report.sequence
        return StockReply(accepted=said, full_wanted=gap)

    # ---- full reports

    def _take_page(self, node: NodeId, reports: _Reports, report: StockReport) -> StockReply:
        if report.page == 0:
            if not report.last_page:
                self._admit(node)
            reports.full = _FullReport(
                report.sequence, self._clock.now_ms(), self._clock.monotonic_s()
            )
        full = reports.full
        if full is None or (report.sequence, report.page) != (full.sequence, full.next_page):
            reports.full = None
            raise BadRequest(
                f"page {report.page} of full report {report.sequence} does not follow",
                hint="begin the full report again",
            )
        full.reported.extend(self._take_entries(node, report.entries, ()))
        full.next_page += 1
        full.touched_s = self._clock.monotonic_s()
        if report.last_page:
            self._finish(node, reports, full)
        return StockReply(accepted=len(report.entries))

    def _admit(self, node: NodeId) -> None:
        now_s = self._clock.monotonic_s()
        with self._lock:
            under_way = sum(
                1
                for other, reports in self._nodes.items()
                if other != node
                and (full := reports.full)
                and now_s - full.touched_s < FULL_REPORT_IDLE_S
            )
        if under_way >= FULL_REPORTS_AT_ONCE_MAX:
            raise Overloaded(
                f"{under_way} DataNodes are sending full stock reports already",
                details={"retry_after_s": 5},
            )

    def _finish(self, node: NodeId, reports: _Reports, full: _FullReport) -> None:
        """Every page is in: what was not in them is missing; from here on the stock is known."""
        missing = self._drop_missing(node, full)
        reports.sequence, reports.full = full.sequence, None
        self._registrations.note_full_report(node, reports.registration)
        crashpoint.reach("nn.stock.full")
        self._emit.emit(
            Event.STOCK_RECEIVED,
            node=node_name(node),
            pages=full.next_page,
            blocks=len(full.reported),
            missing=missing,
        )

    def _drop_missing(self, node: NodeId, full: _FullReport) -> int:
        reported = sorted(full.reported)
        after, count = 0, 0
        named: list[BlockId] = []
        while True:
            with self._reader.view() as connection:
                page = page_of_node(connection, node, after=after, limit=PAGE_ROWS)
            if not page:
                break
            after = max(page)
            lost = {
                block: page[block]
                for block in absent(page, reported)
                if page[block].verified_ms < full.began_ms - YOUNG_MS
            }
            count += self._write_missing(node, lost)
            named += list(lost)[: NAMED_MAX - len(named)]
        if count:
            self._emit.emit(
                Event.REPLICA_MISSING, node=node_name(node), count=count, first_blocks=named
            )
        return count

    def _write_missing(self, node: NodeId, lost: dict[BlockId, Location]) -> int:
        if not lost:
            return 0

        def write(txn: Txn) -> int:
            now = read_locations(txn.connection, node, lost)
            same = {block: None for block, location in now.items() if location == lost[block]}
            put_locations(txn, node, same)
            return len(same)

        return self._writer.submit(write)

    # ---- entries

    def _take_entries(
        self, node: NodeId, entries: Sequence[StockEntry], gone: Sequence[StockEntry]
    ) -> list[BlockId]:
        """Write down what entries change; the blocks whose copy is on the node after all."""
        now_ms = self._clock.now_ms()
        with self._reader.view() as connection:
            judged = _judge_all(connection, node, entries, gone, now_ms=now_ms)
        if judged.changes:
            touched = [entry for entry in entries if entry.name.block in judged.changes]
            went = [entry for entry in gone if entry.name.block in judged.changes]

            def write(txn: Txn) -> _Judged:
                again = _judge_all(txn.connection, node, touched, went, now_ms=now_ms)
                put_locations(txn, node, again.changes)
                return again

            self._say_corrupt(node, self._writer.submit(write))
            crashpoint.reach("nn.stock.taken")
        self._say_strange(node, judged)
        return [entry.name.block for entry, found in judged.findings if found.verdict in PRESENT]

    def _say_corrupt(self, node: NodeId, judged: _Judged) -> None:
        """Once for each copy that turned bad; a copy that was bad before is no news."""
        for entry, finding in judged.findings:
            after = judged.changes.get(entry.name.block)
            before = judged.before.get(entry.name.block)
            news = before is None or before.state is not ReplicaState.CORRUPT
            if after and after.state is ReplicaState.CORRUPT and news:
                self._emit.emit(
                    Event.REPLICA_CORRUPT,
                    node=node_name(node),
                    block=entry.name.block,
                    generation=entry.name.generation,
                    why=finding.reason,
                )

    def _say_strange(self, node: NodeId, judged: _Judged) -> None:
        strange = [(e, f) for e, f in judged.findings if f.verdict in _STRANGE]
        if strange:
            counts = Counter(finding.verdict.value for _, finding in strange)
            self._emit.emit(
                Event.REPLICA_UNKNOWN,
                node=node_name(node),
                **counts,
                first_blocks=[entry.name.block for entry, _ in strange[:NAMED_MAX]],
                why=strange[0][1].reason,
            )


def _judge_all(
    connection: Connection,
    node: NodeId,
    entries: Sequence[StockEntry],
    gone: Sequence[StockEntry],
    *,
    now_ms: int,
) -> _Judged:
    """Judge entries one after the other, so that a later word on a block follows the earlier."""
    blocks = {entry.name.block for entry in (*entries, *gone)}
    expected = read_expected(connection, blocks)
    before = read_locations(connection, node, blocks)
    now: dict[BlockId, Location | None] = dict(before)
    findings = []
    for entry in gone:
        block = entry.name.block
        now[block] = location_without(entry, now.get(block))
    for entry in entries:
        block = entry.name.block
        finding = judge(entry, expected.get(block))
        now[block] = location_after(finding.verdict, entry, now.get(block), now_ms=now_ms)
        findings.append((entry, finding))
    changes = {block: after for block, after in now.items() if after != before.get(block)}
    return _Judged(tuple(findings), before, changes)
