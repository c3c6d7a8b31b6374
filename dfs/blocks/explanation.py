"""Pure: why a block is written, read or repaired where it is, in the deciders' own words.

Nothing is decided here.  Placement chooses targets, `order_sources` orders a reader's holders,
`redundancy` judges a block, and the planner of repair says why it waits; each is asked as it is in
earnest, so that an explanation cannot differ from what happens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.entropy import Random
from dfs.base.ids import NodeId, node_name
from dfs.base.records import Holder, NodeView, Refusal
from dfs.base.states import NodeState, ReplicaState
from dfs.base.units import format_duration, format_size
from dfs.blocks.placement import PlacementRound, Promised
from dfs.blocks.redundancy import (
    Assessment,
    BlockCopy,
    BlockHealth,
    KeptBlock,
    Standings,
    assess,
    words_for,
)
from dfs.transfer.source_choice import order_sources
from dfs.wire.check_api import Explained

_WELL: Final = frozenset({BlockHealth.HEALTHY, BlockHealth.EXCESS})
_GOOD: Final = frozenset({ReplicaState.LIVE.value, ReplicaState.FAILING.value})
_STRANGER: Final = "the node was removed from the cluster"


@dataclass(frozen=True, slots=True)
class RepairState:
    """What repair is about with one block.

    Attributes:
        copying: source and target of each copy under way.
        why_not: why nothing (more) is done now; empty when it is.
        refusals: where no target was found: each node, and why not.
    """

    copying: tuple[tuple[NodeId, NodeId], ...] = ()
    why_not: str = ""
    refusals: tuple[Refusal, ...] = ()


NO_REPAIR: Final = RepairState()


def explain_write(
    *,
    size_bytes: int,
    copies: int,
    nodes: Sequence[NodeView],
    promised: Mapping[NodeId, Promised],
    rng: Random,
) -> Explained:
    """Where a new block would go now, and why not to the other nodes.

    Among equals chance decides, so another try may choose another of them.
    """
    placement = PlacementRound(nodes, promised).choose(
        size_bytes=size_bytes, copies=copies, exclude=frozenset(), rng=rng
    )
    found = len(placement.targets)
    notes = []
    if 0 < found < copies:
        notes.append(f"{found} of {copies} copies have a place; repair makes the rest when it can")
    if found > 1:
        notes.append("nodes are drawn by room and load, so the next block may go elsewhere")
    wanted = f"{copies} {'copy' if copies == 1 else 'copies'}"
    return Explained(
        title=f"a new block of up to {format_size(size_bytes)}, {wanted}",
        verdict=_placed(found, copies),
        chosen=[
            Refusal(view.node, _why_chosen(view, promised.get(view.node, Promised())))
            for view in placement.targets
        ],
        refused=list(placement.refusals),
        notes=notes,
        is_well=found >= copies,
    )


def _placed(found: int, copies: int) -> str:
    if not found:
        return "would be refused: no DataNode can take it"
    if found < copies:
        return f"would be written with {found} of {copies} copies"
    return "would be written through the first to the others"


def _why_chosen(view: NodeView, promised: Promised) -> str:
    work = view.usage.in_flight + promised.blocks
    busy = f"{work} transfer{'' if work == 1 else 's'}"
    words = f"{format_size(view.usage.free_bytes)} free, {busy}, rack {view.address.rack}"
    return (
        words if view.reachable else f"{words}; did not answer the last sweep, others are too few"
    )


def explain_read(
    kept: KeptBlock, *, nodes: Mapping[NodeId, NodeView], now_ms: int, at: Standings, rng: Random
) -> Explained:
    """In which order a reader elsewhere would try the holders.

    A reader that is on one of the machines, or met with failures, has its own order among those
    that are as good as each other here.
    """
    copies = {copy.node: copy for copy in kept.copies}
    holders = [
        Holder(nodes[copy.node].address, copy.state.value, nodes[copy.node].state)
        for copy in kept.copies
        if copy.node in nodes and copy.generation == kept.truth.generation
    ]
    ordered = order_sources(holders, here=frozenset(), failures={}, load={}, rng=rng)
    listed = {holder.address.node for holder in ordered}
    found = assess(kept, at)
    first_is_good = bool(ordered) and (
        ordered[0].state in _GOOD and ordered[0].node_state is NodeState.LIVE
    )
    return Explained(
        title=_title(kept),
        verdict=_readable(found, first_is_good=first_is_good),
        chosen=[
            Refusal(
                holder.address.node,
                _why_read(copies[holder.address.node], holder, kept, at, now_ms),
            )
            for holder in ordered
        ],
        refused=[
            Refusal(copy.node, _STRANGER if copy.node not in nodes else words_for(copy, kept, at))
            for copy in kept.copies
            if copy.node not in listed
        ],
        is_well=first_is_good and found.health in _WELL,
    )


def _readable(found: Assessment, *, first_is_good: bool) -> str:
    if not found.counting and not found.sources:
        return f"cannot be read: {found.reason}"
    if not first_is_good:
        return f"can be read once a holder answers: {found.reason}"
    return f"is read from the first; {found.reason}"


def _why_read(copy: BlockCopy, holder: Holder, kept: KeptBlock, at: Standings, now_ms: int) -> str:
    age_s = max(0.0, (now_ms - copy.verified_ms) / 1000)
    verified = f"verified {format_duration(age_s)} ago" if copy.verified_ms else "never verified"
    state = f"{copy.state.value} copy on a {holder.node_state.value} node"
    return f"{state}, {verified}; {words_for(copy, kept, at)}"


def explain_repair(kept: KeptBlock, *, at: Standings, state: RepairState) -> Explained:
    """What a block lacks, what is done for it now, and what holds that back."""
    found = assess(kept, at)
    is_well = found.health in _WELL and not state.copying and not found.bad and not found.disputed
    verdict = f"{found.health.value.replace('_', '-')}: {found.reason}"
    if found.repair is not None:
        verdict += f" (class {found.repair.name.lower().replace('_', ' ')})"
    notes = []
    if found.repair is not None and found.sources:
        sources = ", ".join(node_name(node) for node in found.sources)
        notes.append(f"it can be copied from {sources}")
    if state.why_not and not is_well:
        notes.append(f"it waits: {state.why_not}")
    return Explained(
        title=_title(kept),
        verdict=verdict,
        chosen=[
            Refusal(target, f"pulls a copy from {node_name(source)} now")
            for source, target in state.copying
        ],
        refused=[*state.refusals, *_bad_copies(kept, found, at)],
        notes=notes,
        is_well=is_well,
    )


def _bad_copies(kept: KeptBlock, found: Assessment, at: Standings) -> list[Refusal]:
    good = frozenset((*found.sources, *found.counting))
    return [
        Refusal(copy.node, f"{copy.state.value} copy: {words_for(copy, kept, at)}")
        for copy in kept.copies
        if copy.node not in good
    ]


def _title(kept: KeptBlock) -> str:
    size = format_size(kept.truth.length_bytes)
    return f"block {kept.truth.block} (part {kept.name.number}, {size})"
