"""The job that keeps blocks as they should be: survey if due, plan, execute, again and again.

No pass waits: copies run in the executor's threads and are seen in the next one, which follows as
soon as one of them is over while blocks wait for room: many small blocks are copied as fast as they
go, not so many an interval.  What must not be done now is said by `Caution`; what an operator set
(a pause, budgets) by `RepairSettings`.
A node that is being decommissioned is let go when no block needs what it has.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection

from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.errors import JobConflict
from dfs.base.events import Emitter, Event
from dfs.base.ids import NodeId
from dfs.base.records import NodeView
from dfs.base.states import NodeDuty, NodeState
from dfs.base.units import format_duration
from dfs.blocks.history import trim
from dfs.blocks.redundancy import NodeWorth, RepairClass
from dfs.meta.writer import Writer
from dfs.upkeep.budget import Budget, budget_of
from dfs.upkeep.cluster_view import ClusterView, Watch
from dfs.upkeep.copy_rates import CopyRates
from dfs.upkeep.executor import Executor
from dfs.upkeep.lost_blocks import LostBlocks
from dfs.upkeep.pending import PendingTable
from dfs.upkeep.release import why_stay
from dfs.upkeep.repair_plan import RepairLimits, RepairPlan, plan_repair
from dfs.upkeep.repair_settings import RepairSettings
from dfs.upkeep.reprieve import Reprieve
from dfs.upkeep.steps import DropReplica
from dfs.upkeep.survey import Survey
from dfs.upkeep.surveyor import COPIED_CLASSES, Surveyor

TRIM_EVERY_S: Final = 600.0
DROPPING_S: Final = 2.0
ROOM_WITHIN_S: Final = 1.0  # waited for a copy to be over; then the next pass comes at its time
RESTS_PER_PASS: Final = 2.0  # so that planning again and again takes a third of the time at most
_HERE: Final = frozenset({NodeWorth.FULL, NodeWorth.SPARE, NodeWorth.DOUBTFUL})


class Registry(Protocol):
    """What repair tells the register of nodes."""

    def set_duty(
        self, node: NodeId | str, duty: NodeDuty, *, why_not: Callable[[Connection], str]
    ) -> object:
        """Write down what is wanted of a node, unless `why_not` gives a reason (JobConflict)."""
        ...


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What one pass did; false when it found nothing to do."""

    surveyed: bool = False
    copies: int = 0
    drops: int = 0
    restored: int = 0
    lost: int = 0
    healed: int = 0
    released: int = 0  # nodes whose decommissioning is complete
    paused: bool = False
    crowded: int = 0  # blocks that wait for nothing but the copies under way

    def __bool__(self) -> bool:
        """Whether anything was done; a survey alone is no news."""
        return any((self.copies, self.drops, self.restored, self.lost, self.healed, self.released))


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairParts:
    """What the job works with."""

    surveyor: Surveyor
    watch: Watch
    executor: Executor
    pending: PendingTable
    settings: RepairSettings
    rates: CopyRates
    reprieve: Reprieve
    lost: LostBlocks
    registry: Registry
    writer: Writer
    clock: Clock
    rng: Random
    emit: Emitter


class RepairJob:
    """See the module.  `run_once` is for one thread; the rest may be shared."""

    def __init__(self, parts: RepairParts, *, limits: RepairLimits, history_keep_s: float) -> None:
        self._parts = parts
        self._limits = limits
        self._history_keep_ms = int(history_keep_s * 1000)
        self._budget: Budget = budget_of(parts.settings.rates(), parts.clock.monotonic_s())
        self._trimmed_s = parts.clock.monotonic_s()
        self._over = threading.Event()  # a copy ended since the last pass began
        self._took_s = 0.0
        self.plan: RepairPlan | None = None
        parts.executor.listen(lambda _outcome: self._over.set())

    # ---- the pass

    def run_once(self) -> RepairReport:
        """One bounded pass."""
        began_s = self._parts.clock.monotonic_s()
        self._over.clear()  # before the plan looks at what is under way
        report = self._pass()
        self._took_s = self._parts.clock.monotonic_s() - began_s
        return report

    def goes_on(self, report: RepairReport) -> bool:
        """Whether the next pass may follow at once: there was no room for all, and there is now.

        Waits a little for a copy to be over.
        """
        if not report.crowded:
            return False
        self._parts.clock.sleep(min(ROOM_WITHIN_S, RESTS_PER_PASS * self._took_s))
        return self._over.wait(ROOM_WITHIN_S)

    def _pass(self) -> RepairReport:
        parts = self._parts
        survey = parts.surveyor.run_once()
        done = RepairReport()
        if survey is not None:
            done = self._after_survey(survey)
        self._trim_history()
        if self.is_paused():
            self.plan = None
            return RepairReport(surveyed=done.surveyed, lost=done.lost, paused=True)
        view = parts.watch.view()
        parts.pending.welcome({node.node: node.registered_ms for node in view.nodes})
        budget = self._budget_now()
        plan = plan_repair(view, limits=self._limits, budget=budget, rng=parts.rng)
        for step in plan.needless:
            parts.pending.cancel(step)
        copies = [step for step in plan.copies if parts.executor.submit(step)]
        for step in copies:
            budget = budget.spend(step.urgency, step.truth.length_bytes)
        self._budget = budget
        drops = self._drop(plan.drops)
        self.plan = plan
        if drops or _is_used_up(view):
            parts.surveyor.soon()
        return RepairReport(
            surveyed=done.surveyed,
            copies=len(copies),
            drops=drops,
            restored=done.restored,
            lost=done.lost,
            healed=done.healed,
            released=self._release(view) if survey is not None else 0,
            crowded=plan.crowded,
        )

    def _drop(self, steps: Sequence[DropReplica]) -> int:
        """Retire copies, for so long: one that leaves a single copy waits until that is read."""
        until_s = self._parts.clock.monotonic_s() + DROPPING_S
        done = 0
        for step in steps:
            done += bool(self._parts.executor.drop(step))
            if self._parts.clock.monotonic_s() >= until_s:
                break  # what is urgent has its turn; the next plan goes on
        return done

    def _after_survey(self, survey: Survey) -> RepairReport:
        parts = self._parts
        parts.pending.surveyed(survey.began_s)
        assert survey.at is not None
        news = parts.lost.take(survey, survey.at)
        restored = 0
        if not self.is_paused():
            cautions = parts.watch.view().cautions
            followed = parts.reprieve.follow(
                survey.retiring, at=survey.at, why_no_deletes=cautions.deletes
            )
            restored = followed.restored
            if survey.lost and not cautions.why_no_repair(RepairClass.LAST_COPY):
                here = frozenset(n for n, worth in survey.at.worth.items() if worth in _HERE)
                lost = [judged.block for judged in survey.lost]
                restored += parts.reprieve.search(lost, here=here)
        return RepairReport(
            surveyed=True, restored=restored, lost=len(news.lost), healed=len(news.healed)
        )

    def _budget_now(self) -> Budget:
        """The budget as it is now, with rates that were changed meanwhile."""
        now_s, wanted = self._parts.clock.monotonic_s(), self._parts.settings.rates()
        budget = self._budget.at(now_s)
        for urgency, rate in budget.rates().items():
            if wanted[urgency] != rate:
                budget = budget.with_rate(urgency, wanted[urgency], now_s)
        return budget

    def _release(self, view: ClusterView) -> int:
        """Let go of decommissioned nodes that nothing is needed of any more."""
        released = 0
        for node in view.nodes:
            if node.duty is NodeDuty.DECOMMISSIONING and _may_go(node, view):
                released += self._let_go(node.node)
        return released

    def _let_go(self, node: NodeId) -> bool:
        """Unless a block needs it by the rows of now: a write onto it may have ended meanwhile."""
        parts = self._parts
        try:
            parts.registry.set_duty(
                node,
                NodeDuty.DECOMMISSIONED,
                why_not=lambda connection: why_stay(connection, node, parts.watch.view().standings),
            )
        except JobConflict:  # or it was recommissioned; the next survey sees it
            parts.surveyor.soon()
            return False
        return True

    def _trim_history(self) -> None:
        parts = self._parts
        now_s = parts.clock.monotonic_s()
        if now_s - self._trimmed_s >= TRIM_EVERY_S:
            self._trimmed_s = now_s
            older_than_ms = parts.clock.now_ms() - self._history_keep_ms
            trim(parts.writer, older_than_ms=older_than_ms)

    # ---- what operators ask and set

    def is_paused(self) -> bool:
        """Whether an operator let it rest."""
        return self._parts.clock.now_ms() < self._parts.settings.paused_until_ms

    def why_paused(self) -> str:
        """The same as a sentence; "" when it is not."""
        until_ms = self._parts.settings.paused_until_ms
        left_s = (until_ms - self._parts.clock.now_ms()) / 1000
        return f"paused by an operator for {format_duration(left_s)} more" if left_s > 0 else ""

    def pause(self, for_s: float, *, actor: str) -> int:
        """Begin nothing more for so long; until when, in ms since 1970."""
        until_ms = self._parts.clock.now_ms() + int(for_s * 1000)
        self._parts.settings.pause(until_ms)
        self._say("paused", actor=actor, until_ms=until_ms)
        return until_ms

    def resume(self, *, actor: str) -> None:
        """Go on."""
        self._parts.settings.pause(0)
        self._parts.surveyor.soon()
        self._say("resumed", actor=actor)

    def set_rate(self, urgency: RepairClass, rate_bytes: int, *, actor: str) -> None:
        """Let a class move so many bytes a second from the next pass on; 0 is no limit."""
        self._parts.settings.set_rate(urgency, rate_bytes)
        self._say("budget", actor=actor, urgency=urgency.name.lower(), rate_bytes=rate_bytes)

    def _say(self, change: str, **facts: object) -> None:
        self._parts.emit.emit(Event.REPAIR_CHANGED, change=change, **facts)


def _is_used_up(view: ClusterView) -> bool:
    """Whether much of what the last survey listed is done, and there is more than it listed."""
    listed, known = len(view.survey.urgent), view.survey.totals.by_class
    more = sum(known[each].blocks for each in COPIED_CLASSES if each in known) > listed
    return more and len(view.pending.landed) * 2 >= listed


def _may_go(node: NodeView, view: ClusterView) -> bool:
    """Whether the last survey knew that the node leaves, and found nothing that needs it."""
    at = view.survey.at
    if at is None or at.worth.get(node.node) not in (NodeWorth.SPARE, NodeWorth.NONE):
        return False
    if node.state is not NodeState.DEAD and node.node not in at.fresh:
        return False
    return not view.survey.leaving.get(node.node)
