"""What operators ask of repair and set of it, as REST carries it."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from dfs.base.errors import BadRequest, BlockNotFound, JobConflict, Overloaded
from dfs.base.ids import BlockId, NodeId, node_name, parse_node_name
from dfs.base.states import ReplicaState
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import BlockHealth, RepairClass
from dfs.meta.session import Reader
from dfs.upkeep.pending import Pending
from dfs.upkeep.repair_eta import Pace, eta_s, total_eta_s
from dfs.upkeep.repair_service import Repair
from dfs.upkeep.reprieve import name_of
from dfs.upkeep.steps import Purpose
from dfs.upkeep.survey import Survey
from dfs.upkeep.surveyor import COPIED_CLASSES
from dfs.wire.repair_api import (
    RepairBudgetReply,
    RepairBudgetRequest,
    RepairClassInfo,
    RepairPauseReply,
    RepairPauseRequest,
    RepairReply,
    RestoreRequest,
    WaitingBlocks,
)
from dfs.wire.shapes import Done

PAUSE_MAX_S: Final = 7 * 86_400.0
REASONS_MAX: Final = 5  # of each class
UNKNOWN_S: Final = -1.0


class RepairDesk:
    """See the module.  Safe to share between threads.

    Args:
        why_no_deletes: what holds every deletion back now.
    """

    def __init__(
        self, repair: Repair, reader: Reader, *, why_no_deletes: Callable[[], str]
    ) -> None:
        self._repair = repair
        self._reader = reader
        self._why_no_deletes = why_no_deletes

    def status(self) -> RepairReply:
        """How well blocks are kept, and what is done about it."""
        repair = self._repair
        survey, totals = repair.surveyor.latest, repair.rates.totals()
        health = survey.totals.by_health
        paces, pending = repair.rates.paces(), repair.pending.snapshot()
        left_s = total_eta_s(survey.totals, paces)
        whole = (BlockHealth.HEALTHY, BlockHealth.EXCESS)
        return RepairReply(
            survey=survey.number,
            survey_at_ms=survey.at_ms,
            survey_took_s=round(survey.took_s, 3),
            blocks=survey.totals.blocks,
            size_bytes=survey.totals.size_bytes,
            whole=sum(survey.totals.health(each).blocks for each in whole),
            by_health={each.value: tally.blocks for each, tally in health.items()},
            classes=[
                self._class(each, survey, pending, paces.get(each, Pace())) for each in RepairClass
            ],
            excess=survey.totals.health(BlockHealth.EXCESS).blocks,
            retiring=len(survey.retiring),
            leaving={node_name(node): blocks for node, blocks in survey.leaving.items()},
            held=repair.job.why_paused(),
            no_deletes=self._why_no_deletes(),
            paused_until_ms=repair.settings.paused_until_ms if repair.job.is_paused() else 0,
            eta_s=UNKNOWN_S if left_s is None else round(left_s, 1),
            copies=totals.copies,
            copied_bytes=totals.size_bytes,
            failed=totals.failed,
        )

    def _class(
        self, urgency: RepairClass, survey: Survey, pending: Pending, pace: Pace
    ) -> RepairClassInfo:
        repair = self._repair
        tally = survey.totals.urgency(urgency)
        left_s = eta_s(tally, pace)
        mine = [
            s
            for s in pending.copies.values()
            if s.purpose is Purpose.REPAIR and s.urgency is urgency
        ]
        return RepairClassInfo(
            name=urgency.name.lower(),
            blocks=tally.blocks,
            size_bytes=tally.size_bytes,
            owed_bytes=tally.owed_bytes,
            in_flight=len(mine),
            rate_bytes_per_s=round(pace.bytes_per_s, 1),
            rate_limit_bytes=repair.settings.rates().get(urgency, 0),
            eta_s=UNKNOWN_S if left_s is None else round(left_s, 1),
            waiting=self._waiting(urgency, survey),
        )

    def _waiting(self, urgency: RepairClass, survey: Survey) -> list[WaitingBlocks]:
        if urgency is RepairClass.DAMAGED:
            blocks = survey.totals.urgency(urgency).blocks
            words = "nothing good to copy from: see dfs-admin fsck"
            return [WaitingBlocks(words, blocks)] if blocks else []
        plan = self._repair.job.plan
        waiting = plan.waiting(leave_out=survey.canaries) if plan else {}
        reasons = waiting.get(urgency, Counter[str]())
        return [WaitingBlocks(why, count) for why, count in reasons.most_common(REASONS_MAX)]

    def pause(self, body: RepairPauseRequest, *, actor: str) -> RepairPauseReply:
        """Begin nothing for a while.

        Raises:
            BadRequest: for no time, or for too long.
        """
        if not 0 < body.for_s <= PAUSE_MAX_S:
            raise BadRequest(
                "a pause has an end within seven days", hint="dfs-admin repair pause 2h"
            )
        return RepairPauseReply(until_ms=self._repair.job.pause(body.for_s, actor=actor))

    def resume(self, *, actor: str) -> Done:
        """Go on."""
        self._repair.job.resume(actor=actor)
        return Done()

    def budget(self, body: RepairBudgetRequest, *, actor: str) -> RepairBudgetReply:
        """Change the budget of a class, or only say what holds.

        Raises:
            BadRequest: no such class, or less than nothing.
        """
        if body.name:
            known = {each.name.lower(): each for each in COPIED_CLASSES}
            if body.name not in known:
                raise BadRequest(f"no class {body.name[:40]!r}", hint=f"one of {', '.join(known)}")
            if body.rate_bytes < 0:
                raise BadRequest("a budget is not negative", hint="0 is no limit")
            self._repair.job.set_rate(known[body.name], body.rate_bytes, actor=actor)
        rates = self._repair.settings.rates()
        return RepairBudgetReply(rates={each.name.lower(): rate for each, rate in rates.items()})

    def restore(self, body: RestoreRequest, *, actor: str) -> Done:
        """Have a node bring its copy of a block back from the purge area.

        Raises:
            BlockNotFound: the block is not in use.
            JobConflict: the node has a good copy of it.
            Overloaded: the node takes no more orders now, or could not do this one lately.
        """
        node = parse_node_name(body.node)
        name = name_of(self._reader, BlockId(body.block))
        if name is None:
            raise BlockNotFound(f"block {body.block} is not in use")
        if self._is_live(name.block, node):
            raise JobConflict(f"{node_name(node)} has a good copy of block {body.block} already")
        words = "an operator wants it back"
        if not self._repair.reprieve.restore(name, node, words, actor=actor):
            raise Overloaded(
                f"{node_name(node)} does not take the order now",
                hint="see whether it holds one: dfs-admin history BLOCK",
            )
        return Done()

    def _is_live(self, block: BlockId, node: NodeId) -> bool:
        with self._reader.view() as connection:
            kept = read_kept(connection, [block]).get(block)
        return kept is not None and any(
            copy.node == node and copy.state is ReplicaState.LIVE for copy in kept.copies
        )
