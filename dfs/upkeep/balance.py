"""Levelling the DataNodes: a job that an administrator starts, and that ends by itself.

Each pass looks where the nodes stand, plans a few moves (`balance_plan.py`) and has them made
(`balance_moves.py`).  Nothing but the job itself is remembered: a pass plans from what is there, so
the job goes on after a restart, and may be stopped at any moment.

It gives way: nothing moves while deletes or misplaced repairs are held back, while repair has
urgent work, or while a node in service has not been heard or has not said what it holds.  It ends
when every node is within the threshold of the mean (done), or when a look at all blocks of every
node that is too full found none that may move (stuck; `why` says which and why).
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from sqlalchemy import Connection

from dfs.base.clock import Clock
from dfs.base.errors import BadRequest, JobConflict
from dfs.base.events import Emitter, Event
from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.records import NodeView
from dfs.base.units import format_size
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import Standings, standings
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.settings.sections import BalanceConfig, RepairConfig
from dfs.upkeep.balance_moves import Allowance, Moved, Mover, Moves
from dfs.upkeep.balance_plan import (
    MOVES_MAX,
    Balance,
    BalancePlan,
    first_few,
    plan_moves,
    weigh,
)
from dfs.upkeep.balance_rows import BalanceJob, JobState, blocks_of_node, put_job, read_job
from dfs.upkeep.balance_search import Search, why_unsure
from dfs.wire.balance_api import (
    BalancePlanReply,
    BalanceReply,
    BalanceRequest,
    NodeShare,
    PlannedMove,
)

PASS_S: Final = 2.0  # of moving, until it is looked anew where the nodes stand
DRY_RUN_BLOCKS: Final = 20_000
DRY_RUN_MOVES_MAX: Final = 1_000
FAILURES_MAX: Final = 100  # in a row, after which the job gives up
RATE_OVER_S: Final = 60.0


class Stock(Protocol):
    """Whose stock is known."""

    def fresh(self) -> frozenset[NodeId]:
        """The nodes whose stock is known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceParts:
    """What a `Balancer` stands on.

    Attributes:
        holds: each says why no block may be moved now, or "".
    """

    writer: Writer
    reader: Reader
    views: Callable[[], Sequence[NodeView]]
    stock: Stock
    mover: Mover
    holds: Sequence[Callable[[], str]]
    clock: Clock
    emit: Emitter
    config: BalanceConfig
    repair: RepairConfig


@dataclass(frozen=True, slots=True)
class BalanceReport:
    """What one pass did.  `more`: the next may follow at once."""

    moved: int = 0
    moved_bytes: int = 0
    failed: int = 0
    ended: str = ""
    more: bool = False

    def __bool__(self) -> bool:
        """Whether anything happened; a pass without is no news."""
        return bool(self.moved or self.failed or self.ended)


BlockPaths = Callable[[Connection, Sequence[BlockId]], Mapping[BlockId, str]]


class Balancer:
    """See the module.  `run_once` by one thread at a time; the rest is safe to share.

    Attributes:
        block_paths: what people call blocks; the composition root fills it in.
    """

    def __init__(self, parts: BalanceParts) -> None:
        self.block_paths: BlockPaths = lambda _connection, _blocks: {}
        self._parts = parts
        self._moves = Moves(parts.mover, clock=parts.clock, at_once=parts.config.moves_at_once)
        self._allowance = Allowance(parts.clock, keep_s=max(1.0, 2 * parts.repair.interval_s))
        self._lock = threading.Lock()
        self._lately: deque[tuple[float, int]] = deque()
        self._wait = ""
        self._whys: Mapping[NodeId, str] = {}
        self._looked: Balance | None = None  # by the last pass of a job that runs
        # Of the job that is known by when it was started:
        self._job_ms = 0
        self._search = Search(parts.clock)
        self._failures = 0

    # ---- what an administrator asks

    def start(self, body: BalanceRequest, *, by: str) -> BalanceReply:
        """Begin; a cluster that is level already is said to be so, and the job is over.

        Raises:
            JobConflict: it runs already.
            BadRequest: a threshold or a bandwidth that cannot be.
        """
        threshold, bandwidth = self._wanted(body)
        balance = weigh(self._parts.views(), threshold_percent=threshold)
        level = balance.is_level and not self._why_wait()

        def work(txn: Txn) -> BalanceJob:
            if read_job(txn.connection).state is JobState.RUNNING:
                raise JobConflict(
                    "the DataNodes are being balanced already",
                    hint="watch it: dfs-admin rebalance status; end it: dfs-admin rebalance stop",
                )
            job = BalanceJob(
                state=JobState.DONE if level else JobState.RUNNING,
                why=balance.words if level else "",
                by=by,
                threshold_percent=threshold,
                bandwidth_bytes=bandwidth,
                started_ms=txn.now_ms,
                ended_ms=txn.now_ms if level else 0,
                total_bytes=balance.to_move_bytes,
            )
            put_job(txn, job)
            return job

        self._say(self._parts.writer.submit(work))
        return self.status()

    def _wanted(self, body: BalanceRequest) -> tuple[float, int]:
        config = self._parts.config
        threshold, bandwidth = body.threshold_percent, body.bandwidth_bytes
        threshold = config.threshold_percent if threshold is None else threshold
        bandwidth = config.bandwidth_bytes if bandwidth is None else bandwidth
        if not 0 < threshold <= 100:
            raise BadRequest("a threshold is above 0 and at most 100 percent")
        if bandwidth < 1:
            raise BadRequest("a bandwidth is at least 1 byte a second")
        return threshold, bandwidth

    def stop(self, *, by: str) -> BalanceReply:
        """Begin no more moves; those under way are finished.

        Raises:
            JobConflict: none runs.
        """

        def work(txn: Txn) -> BalanceJob:
            job = read_job(txn.connection)
            if job.state is not JobState.RUNNING:
                raise JobConflict("the DataNodes are not being balanced")
            return _ended(txn, job, JobState.STOPPED, f"stopped by {by}")

        self._say(self._parts.writer.submit(work))
        return self.status()

    def status(self) -> BalanceReply:
        """The job, and how full the nodes are."""
        with self._parts.reader.view() as connection:
            job = read_job(connection)
        config = self._parts.config
        threshold = job.threshold_percent or config.threshold_percent
        with self._lock:
            looked, wait, whys = self._looked, self._wait, self._whys
            rate = self._rate()
        running = job.state is JobState.RUNNING
        # What is on its way belongs to the moment of that pass, not to this one.
        balance = looked if running and looked and looked.threshold == threshold / 100 else None
        balance = balance or weigh(self._parts.views(), threshold_percent=threshold)
        left = balance.to_move_bytes if running else 0
        return BalanceReply(
            state=job.state.value,
            why=wait if running else job.why,
            by=job.by,
            threshold_percent=threshold,
            mean_percent=round(100 * balance.mean, 6),
            bandwidth_bytes=job.bandwidth_bytes or config.bandwidth_bytes,
            started_ms=job.started_ms,
            ended_ms=job.ended_ms,
            total_bytes=job.total_bytes,
            moved_bytes=job.moved_bytes,
            moved_blocks=job.moved_blocks,
            failed_moves=job.failed_moves,
            left_bytes=left,
            in_flight=self._moves.in_flight,
            rate_bytes_per_s=round(rate, 1) if running else 0.0,
            eta_s=round(left / rate, 1) if running and rate else 0.0,
            nodes=_node_shares(balance, whys if running or job.state is JobState.STUCK else {}),
        )

    def plan(self, body: BalanceRequest) -> BalancePlanReply:
        """What a job would begin with; moves nothing.

        Raises:
            BadRequest: as `start`.
        """
        threshold, _ = self._wanted(body)
        views = self._parts.views()
        balance = weigh(views, threshold_percent=threshold)
        with self._parts.reader.view() as connection:
            each = DRY_RUN_BLOCKS // max(1, len(balance.givers))
            samples = {
                node: list(
                    read_kept(
                        connection,
                        blocks_of_node(connection, node, after=BlockId(0), limit=each),
                    ).values()
                )
                for node in balance.givers
            }
        plan = plan_moves(balance, samples, self._standings(views), moves_max=DRY_RUN_MOVES_MAX)
        with self._parts.reader.view() as connection:
            moving = [move.block.truth.block for move in plan.moves]
            paths = self.block_paths(connection, moving)
        return BalancePlanReply(
            threshold_percent=threshold,
            mean_percent=round(100 * balance.mean, 6),
            total_bytes=balance.to_move_bytes,
            planned_bytes=plan.size_bytes,
            moves=[
                PlannedMove(
                    block=move.block.name,
                    path=paths.get(move.block.truth.block, ""),
                    source=move.source,
                    target=move.target,
                    size_bytes=move.size_bytes,
                    reason=move.reason,
                )
                for move in plan.moves
            ],
            nodes=_node_shares(balance, plan.whys),
            words=balance.words,
        )

    # ---- the job

    def run_once(self) -> BalanceReport:
        """One bounded pass of the job, if it runs."""
        ended = self._moves.ended(0)
        with self._parts.reader.view() as connection:
            job = read_job(connection)
        if job.state is not JobState.RUNNING:
            return self._account(job, ended)
        if job.started_ms != self._job_ms:
            self._take_up(job)
        wait = self._why_wait()
        with self._lock:
            self._wait = wait
        if wait:
            return self._account(job, ended)
        balance, plan = self._look(job)
        if not plan.moves and not self._moves.in_flight:
            report = self._account(job, ended)
            return self._conclude(job, balance, plan) or report
        ended += self._make(job, plan)
        report = self._account(job, ended)
        more = bool(report.moved) and not report.failed
        return BalanceReport(report.moved, report.moved_bytes, report.failed, more=more)

    def _take_up(self, job: BalanceJob) -> None:
        self._moves.forget()
        self._job_ms = job.started_ms
        self._search = Search(self._parts.clock)
        self._failures = 0
        with self._lock:
            self._looked, self._whys = None, {}
            self._lately.clear()
            self._lately.append((self._parts.clock.monotonic_s(), 0))

    def _why_wait(self) -> str:
        held = next((why for hold in self._parts.holds if (why := hold())), "")
        return held or why_unsure(self._parts.views(), self._parts.stock.fresh())

    def _look(self, job: BalanceJob) -> tuple[Balance, BalancePlan]:
        """Where the nodes stand, and the next moves."""
        views = self._parts.views()
        with self._parts.reader.view() as connection:
            transit = self._moves.transit(connection, views)
            balance = weigh(views, threshold_percent=job.threshold_percent, transit=transit)
            samples = self._search.samples(connection, balance.givers)
        plan = plan_moves(
            balance,
            samples,
            self._standings(views),
            busy=self._moves.busy | self._search.resting(),
            moves_max=MOVES_MAX,
        )
        if plan.moves:
            self._search.note_moves()
        with self._lock:
            self._looked, self._whys = balance, plan.whys
        return balance, plan

    def _standings(self, views: Sequence[NodeView]) -> Standings:
        return standings(
            views,
            fresh=self._parts.stock.fresh(),
            urgent_after_s=self._parts.repair.urgent_after_s,
        )

    def _make(self, job: BalanceJob, plan: BalancePlan) -> list[Moved]:
        """Have the plan's moves made, until time or budget run out or one fails."""
        clock, moves = self._parts.clock, self._moves
        until_s = clock.monotonic_s() + PASS_S
        left = deque(plan.moves)
        ended: list[Moved] = []
        while (wait_s := until_s - clock.monotonic_s()) > 0:
            while left and moves.has_room and self._allowance.allows(job.bandwidth_bytes):
                move = left.popleft()
                if not moves.begin(move):
                    left.clear()  # repair has taken all the room
                    break
                self._allowance.spend(move.size_bytes)
            if not moves.in_flight:
                break
            ended += moves.ended(wait_s)
            if any(each.error for each in ended):
                break
        return ended

    def _account(self, job: BalanceJob, ended: Iterable[Moved]) -> BalanceReport:
        """Write down what ended."""
        ended = list(ended)
        if not ended:
            return BalanceReport()
        good = [each.move for each in ended if not each.error]
        bad = [each for each in ended if each.error]
        moved_bytes = sum(move.size_bytes for move in good)
        self._note_failures(bad, some_good=bool(good))
        with self._lock:
            self._lately.append((self._parts.clock.monotonic_s(), moved_bytes))

        def work(txn: Txn) -> None:
            now = read_job(txn.connection)
            if now.started_ms == job.started_ms:
                put_job(
                    txn,
                    msgspec.structs.replace(
                        now,
                        moved_bytes=now.moved_bytes + moved_bytes,
                        moved_blocks=now.moved_blocks + len(good),
                        failed_moves=now.failed_moves + len(bad),
                    ),
                )

        self._parts.writer.submit(work)
        report = BalanceReport(len(good), moved_bytes, len(bad))
        if self._failures >= FAILURES_MAX:
            words = f"{self._failures} moves failed in a row, the last: {bad[-1].error}"
            return self._end(job, JobState.STUCK, words)
        return report

    def _note_failures(self, bad: Sequence[Moved], *, some_good: bool) -> None:
        self._failures = 0 if some_good else self._failures + len(bad)
        self._search.let_rest(each.move.block.truth.block for each in bad)
        for each in bad:
            self._parts.emit.emit(
                Event.REPLICA_COPY_FAILED,
                block=each.move.block.truth.block,
                source=node_name(each.move.source),
                target=node_name(each.move.target),
                job="balance",
                why=each.error,
            )

    def _conclude(
        self, job: BalanceJob, balance: Balance, plan: BalancePlan
    ) -> BalanceReport | None:
        """The end, if this is it; None to go on later."""
        if not self._moves.is_settled:
            return None  # the nodes' next beats say how it came out
        if balance.is_level:
            return self._end(job, JobState.DONE, balance.words)
        if self._search.resting():
            return None
        if not self._search.is_through(balance.givers):
            return BalanceReport(more=True)
        named = [f"{node_name(node)}: {why}" for node, why in plan.whys.items()]
        whys = first_few(named, "; ")
        return self._end(job, JobState.STUCK, f"{balance.words}. Nothing more can move: {whys}")

    def _end(self, job: BalanceJob, state: JobState, why: str) -> BalanceReport:
        def work(txn: Txn) -> BalanceJob | None:
            now = read_job(txn.connection)
            if now.started_ms != job.started_ms or now.state is not JobState.RUNNING:
                return None  # an administrator was quicker
            return _ended(txn, now, state, why)

        ended = self._parts.writer.submit(work)
        if ended is not None:
            self._say(ended)
        return BalanceReport(ended=why)

    def _say(self, job: BalanceJob) -> None:
        self._parts.emit.emit(
            Event.BALANCE_CHANGED,
            state=job.state.value,
            why=job.why,
            by=job.by,
            threshold_percent=job.threshold_percent,
            bandwidth=f"{format_size(job.bandwidth_bytes)}/s",
            moved_blocks=job.moved_blocks,
            moved_bytes=job.moved_bytes,
            failed_moves=job.failed_moves,
        )

    def _rate(self) -> float:
        """Bytes a second over the last minute."""
        now_s = self._parts.clock.monotonic_s()
        while len(self._lately) > 1 and self._lately[0][0] < now_s - RATE_OVER_S:
            self._lately.popleft()
        if not self._lately:
            return 0.0
        took_s = now_s - self._lately[0][0]
        return sum(size for _, size in self._lately) / took_s if took_s > 0 else 0.0


def _ended(txn: Txn, job: BalanceJob, state: JobState, why: str) -> BalanceJob:
    ended = msgspec.structs.replace(job, state=state, why=why, ended_ms=txn.now_ms)
    put_job(txn, ended)
    return ended


def _node_shares(balance: Balance, whys: Mapping[NodeId, str]) -> list[NodeShare]:
    return [
        NodeShare(
            node=share.node,
            side=share.side.value,
            percent=round(share.percent, 6),
            used_bytes=share.used_bytes,
            total_bytes=share.total_bytes,
            excess_bytes=share.excess_bytes,
            why=share.why or whys.get(share.node, ""),
        )
        for share in sorted(balance.shares, key=lambda share: share.node)
    ]
