"""Pure: what repair is about with blocks that somebody asks for: copies under way, or why not."""

from collections.abc import Iterable, Mapping
from typing import Final

from dfs.base.ids import BlockId
from dfs.blocks.explanation import NO_REPAIR, RepairState
from dfs.blocks.redundancy import KeptBlock, RepairClass, assess
from dfs.upkeep.cluster_view import ClusterView
from dfs.upkeep.repair_plan import Deferral, RepairPlan

NOTHING_TO_COPY: Final = "there is nothing to copy from; a good copy that comes back is taken"


def repair_states(
    blocks: Iterable[KeptBlock], view: ClusterView, plan: RepairPlan | None, *, paused: str
) -> dict[BlockId, RepairState]:
    """What repair is about with each of the blocks.

    Args:
        plan: the last one; None when there is none yet, or repair is paused.
        paused: why it is; "" when it is not.
    """
    deferred = {each.block: each for each in plan.deferrals} if plan else {}
    return {
        block.truth.block: _state(block, view, deferred, planned=plan is not None, paused=paused)
        for block in blocks
    }


def _state(
    block: KeptBlock,
    view: ClusterView,
    deferred: Mapping[BlockId, Deferral],
    *,
    planned: bool,
    paused: str,
) -> RepairState:
    number = block.truth.block
    copying = tuple(
        (step.source, step.target)
        for step in view.pending.copies.values()
        if step.name.block == number
    )
    deferral = deferred.get(number)
    refusals = deferral.refusals if deferral else ()
    urgency = assess(block, view.standings).repair
    if urgency is None:
        why = deferral.reason if deferral else ""
        return RepairState(copying, why, refusals) if copying or why else NO_REPAIR
    held = paused or view.cautions.why_no_repair(urgency) or view.pending.resting.get(number, "")
    why = held or (deferral.reason if deferral else "")
    if not why and urgency is RepairClass.DAMAGED:
        why = NOTHING_TO_COPY
    elif not why and not copying:
        why = "the next survey has to find it first" if planned else "nothing is planned yet"
    return RepairState(copying, why, refusals)
