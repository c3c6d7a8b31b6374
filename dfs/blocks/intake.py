"""Stock reports into what the NameNode knows of locations.

A full report begins with sums: the node's and ours are held against each other bucket by bucket,
and only buckets that differ are told block by block.  When none does, the report is done: after a
restart of the NameNode a hundred nodes cost it little more than a hundred comparisons.  What a
report says is written down by `stock_book.py`.

A node's reports are numbered.  A gap, or a change before the first full report, makes us ask for a
full one.  Only a complete full report can say that a copy is missing, only within its buckets, and
only of copies older than the report: one written while the pages were on their way may have missed
its page.  A node whose report lacked such a young copy is asked again shortly.
"""

import threading
from array import array
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Protocol

from dfs.base import crashpoint
from dfs.base.checksum import BLOCK_HASH_BYTES
from dfs.base.clock import Clock
from dfs.base.errors import BadRequest, LimitExceeded, Overloaded, StaleEpoch
from dfs.base.events import Emitter, Event
from dfs.base.ids import NodeId, node_name
from dfs.base.records import StockEntry
from dfs.blocks.judging import Orderer
from dfs.blocks.replica_rows import sums_of_node
from dfs.blocks.stock_book import StockBook
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from dfs.nodes.orders import Order
from dfs.wire.nodes_api import StockBuckets, StockDigests, StockReply, StockReport
from dfs.wire.stock_sums import BUCKETS

ENTRIES_MAX: Final = 50_000
FULL_REPORTS_AT_ONCE_MAX: Final = 4  # so that a restart of all DataNodes does not swamp us
FULL_REPORT_IDLE_S: Final = 120.0  # a sender that pauses longer has lost its slot
# A page may be this old when it arrives: a DataNode waits 60 s for the answer to a report.
YOUNG_MS: Final = 60_000
_LOOK: Final = "look at the DataNode that says so: its memory, disk or code is broken"
EVERY_BUCKET: Final = frozenset[int]()  # none named


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


@dataclass(frozen=True, slots=True)
class _Compared:
    """Sums that were held against ours, and the buckets that differed."""

    sequence: int
    began_ms: int
    buckets: frozenset[int]


@dataclass(slots=True)
class _FullReport:
    """A full report under way."""

    sequence: int
    began_ms: int
    touched_s: float
    buckets: frozenset[int] = EVERY_BUCKET
    next_page: int = 0
    reported: "array[int]" = field(default_factory=lambda: array("Q"))


@dataclass(slots=True)
class _Reports:
    """How far one node's reports have come; used by one thread at a time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    registration: int = 0
    sequence: int | None = None  # of the last report taken in; None before the first full one
    compared: _Compared | None = None
    full: _FullReport | None = None
    again_s: float | None = None  # when to ask for another full report


class StockIntake:
    """See the module.  Safe to share between threads."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        *,
        registrations: Registrations,
        orders: Orderer,
        clock: Clock,
        emit: Emitter,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._book = StockBook(writer, reader, clock=clock, emit=emit)
        self._registrations = registrations
        self._orders = orders
        self._clock = clock
        self._emit = emit
        self._lock = threading.Lock()
        self._nodes: dict[NodeId, _Reports] = {}

    def take(self, node: NodeId, report: StockReport) -> StockReply:
        """Take a report in.

        Raises:
            BadRequest: a page of a full report that does not follow the last one; begin again.  Or
                an entry that no block can have; nothing of the report is taken in.
            LimitExceeded: more entries than a report may have.
            Overloaded: too many nodes are sending full reports; try again shortly.
            StaleEpoch: the node has not heard yet that another epoch began.
        """
        if len(report.entries) + len(report.gone) > ENTRIES_MAX:
            raise LimitExceeded(f"a stock report has at most {ENTRIES_MAX} entries")
        self._check_epoch(report.epoch)
        for entry in chain(report.entries, report.gone):
            _check_entry(entry)
        reports = self._reports_of(node)
        if reports is None:
            return StockReply(accepted=0, full_wanted=True)
        with reports.lock:
            if report.full:
                return self._take_page(node, reports, report)
            return self._take_changes(node, reports, report)

    def compare(self, node: NodeId, digests: StockDigests) -> StockBuckets:
        """Begin a full report with the sums over it; one without a difference ends here, too.

        Raises:
            BadRequest: not one sum for each bucket.
            Overloaded: too many nodes are sending full reports; try again shortly.
            StaleEpoch: the node has not heard yet that another epoch began.
        """
        if len(digests.counts) != BUCKETS or len(digests.sums) != BUCKETS:
            raise BadRequest(f"the sums of a stock are {BUCKETS} counts and {BUCKETS} sums")
        self._check_epoch(digests.epoch)
        reports = self._reports_of(node)
        if reports is None:
            return StockBuckets(buckets=[], full_wanted=True)
        with reports.lock:
            self._admit(node)
            began_ms = self._clock.now_ms()
            with self._reader.view() as connection:
                ours = sums_of_node(connection, node)
            differing = ours.differing(digests.counts, digests.sums)
            reports.full = None
            reports.compared = _Compared(digests.sequence, began_ms, frozenset(differing))
            if not differing:
                full = _FullReport(digests.sequence, began_ms, self._clock.monotonic_s())
                self._note_done(node, reports, full, blocks=sum(digests.counts), missing=0)
            return StockBuckets(buckets=differing)

    def _check_epoch(self, epoch: int) -> None:
        if epoch < self._writer.epoch:
            raise StaleEpoch(f"a report of epoch {epoch}, now is {self._writer.epoch}")

    def _reports_of(self, node: NodeId) -> _Reports | None:
        """How far the node's reports have come in its registration; None: it must register."""
        registration = self._registrations.registration(node)
        if not registration:
            return None
        with self._lock:
            reports = self._nodes.get(node)
            if reports is None or reports.registration != registration:
                reports = self._nodes[node] = _Reports(registration=registration)
            return reports

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
        self._book.take(node, report.entries, report.gone, in_full=False)
        reports.sequence = None if gap else report.sequence
        return StockReply(accepted=said, full_wanted=gap)

    # ---- full reports

    def _take_page(self, node: NodeId, reports: _Reports, report: StockReport) -> StockReply:
        if report.page == 0:
            if not report.last_page:
                self._admit(node)
            reports.full = self._begin(reports, report)
        full = reports.full
        if full is None or (report.sequence, report.page) != (full.sequence, full.next_page):
            reports.full = None
            raise BadRequest(
                f"page {report.page} of full report {report.sequence} does not follow",
                hint="begin the full report again",
            )
        full.reported.extend(self._book.take(node, report.entries, in_full=True))
        full.next_page += 1
        full.touched_s = self._clock.monotonic_s()
        if report.last_page:
            self._finish(node, reports, full)
        return StockReply(accepted=len(report.entries))

    def _begin(self, reports: _Reports, report: StockReport) -> _FullReport:
        now_s = self._clock.monotonic_s()
        if not report.buckets:
            return _FullReport(report.sequence, self._clock.now_ms(), now_s)
        compared, buckets = reports.compared, frozenset(report.buckets)
        if (
            compared is None
            or compared.sequence != report.sequence
            or not compared.buckets <= buckets
        ):
            raise BadRequest(
                f"full report {report.sequence} does not have every bucket that differed",
                hint="begin the full report again, with its sums",
            )
        return _FullReport(report.sequence, compared.began_ms, now_s, buckets)

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
        missing = self._book.drop_missing(
            node,
            full.reported,
            buckets=full.buckets,
            before_ms=full.began_ms - YOUNG_MS,
        )
        if missing.some_young:
            reports.again_s = self._clock.monotonic_s() + YOUNG_MS / 1000 + 1
        self._note_done(node, reports, full, blocks=len(full.reported), missing=missing.count)

    def _note_done(
        self,
        node: NodeId,
        reports: _Reports,
        full: _FullReport,
        *,
        blocks: int,
        missing: int,
    ) -> None:
        self._book.close_strays(node, began_ms=full.began_ms)
        reports.sequence, reports.full, reports.compared = full.sequence, None, None
        self._registrations.note_full_report(node, reports.registration)
        crashpoint.reach("nn.stock.full")
        self._emit.emit(
            Event.STOCK_RECEIVED,
            node=node_name(node),
            pages=full.next_page,
            buckets=len(full.buckets),
            blocks=blocks,
            missing=missing,
        )

    # ---- asking again

    def ask_again_once(self) -> int:
        """Ask those nodes for another full report whose last one lacked a young copy; how many."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            due = [
                (node, reports)
                for node, reports in self._nodes.items()
                if reports.again_s is not None and reports.again_s <= now_s
            ]
        asked = 0
        for node, reports in due:
            reports.again_s = None  # a report that lacks it again asks again
            asked += self._orders.enqueue(
                node, Order.REPORT, reason="its last report lacked a new copy"
            )
        return asked


def _check_entry(entry: StockEntry) -> None:
    """Refuse what no block can be; one such entry makes the whole report doubtful."""
    name = entry.name
    if name.block < 1 or name.generation < 1 or name.file < 1 or name.number < 0:
        what = f"block {name.block}, generation {name.generation}, file {name.file}"
        raise BadRequest(f"a stock report names {what}, part {name.number}", hint=_LOOK)
    if entry.length_bytes < 0 or len(entry.hash) != BLOCK_HASH_BYTES:
        raise BadRequest(
            f"a stock report gives block {name.block} {entry.length_bytes} bytes"
            f" and a hash of {len(entry.hash)}",
            hint=_LOOK,
        )
