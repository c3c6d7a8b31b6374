"""Compaction: small files are gathered into packs, and packs that are mostly holes rewritten.

A job that goes on by itself.  A *round* looks at all blocks once, a stretch a pass, and writes the
packs that are worth it (`compaction_plan.py`), one a pass (`compaction_pack.py`).  Nothing but the
wishes of operators and the sums of what was done is remembered: a round plans from what is there,
may be cut short anywhere, and is begun again after a restart.

It gives way: nothing is read or written while changes, deletes or misplaced repairs are held back,
or while repair has urgent work.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from dfs.base.clock import Clock
from dfs.base.errors import DfsError, JobConflict, Stopping
from dfs.base.events import Emitter, Event
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.observe.metrics import Metrics
from dfs.settings.sections import PACK_BYTES_MAX, CompactConfig
from dfs.upkeep.balance_moves import Allowance
from dfs.upkeep.compaction_pack import Rewritten
from dfs.upkeep.compaction_plan import PackPlan, Terms
from dfs.upkeep.compaction_round import Round, Seen
from dfs.upkeep.compaction_rows import (
    CompactionJob,
    look_on,
    newest_block,
    put_job,
    read_job,
)
from dfs.wire.compact_api import CompactReply, LeftBlock

FAILURES_MAX: Final = 10  # packs in a row that came to nothing, after which a round ends
LEFT_MAX: Final = 20
PASS_S: Final = 3.0  # at most so long after work was held back it goes on


class PackRewriter(Protocol):
    """Who writes a pack; `dfs.upkeep.compaction_pack.Rewriter`."""

    def rewrite(self, plan: PackPlan) -> Rewritten:
        """Rewrite some blocks into one; raises DfsError when files are where they were."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionParts:
    """What a `Compactor` stands on.

    Attributes:
        why_wait: says why nothing may be rewritten now, or "".
        close: ends what is under way.
    """

    writer: Writer
    reader: Reader
    rewriter: PackRewriter
    why_wait: Callable[[], str]
    clock: Clock
    emit: Emitter
    config: CompactConfig
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What one pass did.  `more`: the next may follow at once."""

    packs: int = 0
    moved_bytes: int = 0
    failed: int = 0
    ended: str = ""
    more: bool = False

    def __bool__(self) -> bool:
        """Whether anything happened; a pass without is no news."""
        return bool(self.packs or self.failed or self.ended)


class Compactor:
    """See the module.  `run_once` by one thread at a time; the rest is safe to share."""

    def __init__(self, parts: CompactionParts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._round: Round | None = None
        self._last: Round | None = None
        self._looked: tuple[int, Seen] = (0, Seen())
        self._wait = ""
        self._left: deque[LeftBlock] = deque(maxlen=LEFT_MAX)
        self._allowance = Allowance(parts.clock, keep_s=2 * PASS_S)
        self._started_ms = parts.clock.now_ms()
        self._is_closed = False

    # ---- what an administrator asks

    def start(self, *, by: str) -> CompactReply:
        """Make a round now, and go on by itself afterwards if so configured.

        Raises:
            JobConflict: one runs already.
        """

        def work(txn: Txn) -> CompactionJob:
            job = read_job(txn.connection)
            if not job.stopped_by and (job.is_asked or self._round is not None):
                raise JobConflict(
                    "packs are being compacted already",
                    hint="watch it: dfs-admin compact status --wait",
                )
            asked_ms = max(txn.now_ms, job.ended_ms + 1)
            job = msgspec.structs.replace(job, stopped_by="", asked_by=by, asked_ms=asked_ms)
            put_job(txn, job)
            return job

        job = self._parts.writer.submit(work)
        self._say("started", job, by=by)
        return self.status()

    def stop(self, *, by: str) -> CompactReply:
        """Begin no more packs until it is started; one that is being written is finished.

        Raises:
            JobConflict: it is stopped already.
        """

        def work(txn: Txn) -> CompactionJob:
            job = read_job(txn.connection)
            if job.stopped_by:
                raise JobConflict(
                    f"compaction was stopped already, by {job.stopped_by}",
                    hint="let it go on: dfs-admin compact start",
                )
            job = msgspec.structs.replace(job, stopped_by=by)
            put_job(txn, job)
            return job

        job = self._parts.writer.submit(work)
        self._say("stopped", job, by=by)
        return self.status()

    def status(self) -> CompactReply:
        """What is known of packs, how far the round is, and what was done."""
        config, job = self._parts.config, self._job()
        with self._lock:
            running, wait, left = self._round is not None, self._wait, list(self._left)
            (looked_ms, seen), shown = self._looked, self._round or self._last
        state = self._state(job, running=running)
        reply = CompactReply(
            state=state,
            why=wait if state == "running" else job.why,
            by=job.stopped_by or job.asked_by,
            enabled=config.enabled,
            dead_percent=config.dead_percent,
            small_file_bytes_max=config.small_file_bytes_max,
            pack_bytes=config.pack_bytes,
            bandwidth_bytes=config.bandwidth_bytes,
            began_ms=job.began_ms,
            ended_ms=job.ended_ms,
            next_ms=self._due_ms(job) if state == "resting" else 0,
            looked_ms=looked_ms,
            **{name: getattr(seen, name) for name in Seen.__dataclass_fields__},
            packs_written=job.packs,
            blocks_emptied=job.blocks,
            extents_moved=job.extents,
            moved_bytes=job.moved_bytes,
            won_bytes=job.won_bytes,
            failed=job.failed,
            left_blocks=left,
        )
        return self._with_round(reply, shown) if shown else reply

    def why_failing(self) -> str:
        """How the last round ended, where it ended badly; "" where it did not."""
        return self._job().why

    def _with_round(self, reply: CompactReply, shown: Round) -> CompactReply:
        running = reply.state == "running"
        rate = shown.rate(self._parts.clock.monotonic_s()) if running else 0.0
        left_bytes = shown.plan_bytes - shown.done_bytes
        return msgspec.structs.replace(
            reply,
            round_share=round(shown.share, 4),
            round_packs=shown.packs,
            round_packs_done=shown.packs_done,
            round_bytes=shown.plan_bytes,
            round_bytes_done=shown.done_bytes,
            rate_bytes_per_s=round(rate, 1),
            eta_s=round(left_bytes / rate, 1) if rate else 0.0,
        )

    def _state(self, job: CompactionJob, *, running: bool) -> str:
        if job.stopped_by:
            return "stopped"
        if running or job.is_asked:
            return "running"
        return "resting" if self._parts.config.enabled else "off"

    def show(self, metrics: Metrics) -> None:
        """Let `/metrics` tell of it."""
        metrics.gauge("dfs_packs", "Blocks that several files share", lambda: self._looked[1].packs)
        metrics.gauge(
            "dfs_hole_bytes", "Bytes in blocks of no file, once", lambda: self._looked[1].hole_bytes
        )
        metrics.gauge(
            "dfs_packs_rewritten", "Packs that compaction wrote", lambda: self._job().packs
        )

    # ---- the job

    def run_once(self) -> CompactionReport:
        """One bounded pass: a stretch of the look, or a pack."""
        job = self._job()
        if job.stopped_by or (self._round is None and not self._is_due(job)):
            self._put_round(None)
            return CompactionReport()
        wait = self._parts.why_wait()
        with self._lock:
            self._wait = wait
        if wait:
            return CompactionReport()
        going = self._round or self._begin()
        if going.planned:
            return self._pack(going)
        if going.is_looked_through:
            return self._end(going, "")
        return self._look(going)

    def close(self) -> None:
        """End what is under way; files are where they were."""
        self._is_closed = True
        self._parts.close()

    def _job(self) -> CompactionJob:
        with self._parts.reader.view() as connection:
            return read_job(connection)

    def _is_due(self, job: CompactionJob) -> bool:
        if job.is_asked:
            return True
        return self._parts.config.enabled and self._parts.clock.now_ms() >= self._due_ms(job)

    def _due_ms(self, job: CompactionJob) -> int:
        """When the next round is due by itself: never at once after a start."""
        since_ms = max(job.ended_ms, self._started_ms)
        return since_ms + int(self._parts.config.interval_s * 1000)

    def _put_round(self, going: Round | None) -> None:
        with self._lock:
            self._last = self._round or self._last
            self._round = going

    def _begin(self) -> Round:
        parts, config = self._parts, self._parts.config
        terms = Terms(
            now_ms=parts.clock.now_ms(),
            dead_percent=config.dead_percent,
            small_bytes_max=config.small_file_bytes_max,
            pack_bytes=config.pack_bytes,
            age_s=config.age_s,
        )
        with parts.reader.view() as connection:
            upto = newest_block(connection)
        going = Round(terms, parts.clock.monotonic_s(), upto)

        def work(txn: Txn) -> None:
            job = read_job(txn.connection)
            put_job(txn, msgspec.structs.replace(job, began_ms=max(txn.now_ms, job.ended_ms)))

        parts.writer.submit(work)
        self._put_round(going)
        return going

    def _look(self, going: Round) -> CompactionReport:
        """A stretch, one a pass: so paced, it takes a twentieth of a reader's time at most."""
        began_s = self._parts.clock.monotonic_s()
        with self._parts.reader.view() as connection:
            found = look_on(
                connection,
                after=going.after,
                upto=going.upto,
                length_max=PACK_BYTES_MAX,
                limit=going.look_blocks,
            )
        now_s = self._parts.clock.monotonic_s()
        going.pace(now_s - began_s)
        going.take(found.blocks, found.upto, now_s=now_s)
        if going.is_looked_through:
            with self._lock:
                self._looked = (self._parts.clock.now_ms(), going.seen)
        return CompactionReport(more=bool(going.planned) or going.is_looked_through)

    def _pack(self, going: Round) -> CompactionReport:
        """The next pack, if the bandwidth allows."""
        if not self._allowance.allows(self._parts.config.bandwidth_bytes):
            return CompactionReport()
        pack = going.planned.popleft()
        done = self._rewrite(pack)
        self._allowance.spend(done.moved_bytes or pack.used_bytes)
        going.note(pack, done=done.done, left_out=done.left_out)
        with self._lock:
            if going.is_looked_through:
                self._looked = (self._looked[0], going.seen)
        self._account(pack, done)
        if going.failures >= FAILURES_MAX:
            return self._end(going, f"{going.failures} packs in a row came to nothing: {done.why}")
        return CompactionReport(
            packs=int(done.done), moved_bytes=done.moved_bytes, failed=int(not done.done), more=True
        )

    def _rewrite(self, pack: PackPlan) -> Rewritten:
        try:
            return self._parts.rewriter.rewrite(pack)
        except DfsError as err:
            if self._is_closed and isinstance(err, Stopping):  # we stop, not a DataNode
                raise
            return Rewritten(why=f"{err.code}: {err.message}")

    def _account(self, pack: PackPlan, done: Rewritten) -> None:
        """Write down what came of a pack."""
        with self._lock:
            self._left.extend(LeftBlock(block=b, why=why) for b, why in done.left_out.items())

        def work(txn: Txn) -> None:
            job = read_job(txn.connection)
            added = msgspec.structs.replace(
                job,
                packs=job.packs + done.done,
                blocks=job.blocks + len(done.gone),
                extents=job.extents + done.extents,
                moved_bytes=job.moved_bytes + done.moved_bytes,
                won_bytes=job.won_bytes + done.won_bytes,
                failed=job.failed + (not done.done),
            )
            put_job(txn, added)

        self._parts.writer.submit(work)
        self._tell(pack, done)

    def _tell(self, pack: PackPlan, done: Rewritten) -> None:
        emit = self._parts.emit.emit
        if not done.done:
            emit(Event.PACK_NOT_REWRITTEN, blocks=len(pack.blocks), why=done.why)
            return
        emit(
            Event.PACK_REWRITTEN,
            block=done.block,
            of=pack.reason,
            blocks=len(done.gone),
            left_out=len(done.left_out),
            extents=done.extents,
            moved_bytes=done.moved_bytes,
            won_bytes=done.won_bytes,
        )

    def _end(self, going: Round, why: str) -> CompactionReport:
        def work(txn: Txn) -> CompactionJob:
            job = read_job(txn.connection)
            ended_ms = max(txn.now_ms, job.began_ms, job.asked_ms)
            job = msgspec.structs.replace(job, ended_ms=ended_ms, why=why)
            put_job(txn, job)
            return job

        job = self._parts.writer.submit(work)
        self._put_round(None)
        if going.packs:
            self._say("ended", job, why=why, packs=going.packs_done)
        return CompactionReport(ended=why or ("done" if going.packs else ""))

    def _say(self, what: str, job: CompactionJob, **more: object) -> None:
        self._parts.emit.emit(
            Event.COMPACTION_CHANGED,
            what=what,
            packs_written=job.packs,
            won_bytes=job.won_bytes,
            **more,
        )
