"""Pure: whether a copy may be retired, and which of those that are too many go first.

A copy goes only when enough *sure* ones stay: on live nodes in service whose stock is known.  What
is away, doubted or on its way out is never counted for that, however likely it is to be good.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from dfs.base.ids import NodeId, node_name
from dfs.base.states import ReplicaState
from dfs.blocks.redundancy import Assessment, BlockHealth, KeptBlock, NodeWorth, Standings, assess

DAY_MS: Final = 86_400_000
_HERE: Final = frozenset({NodeWorth.FULL, NodeWorth.SPARE, NodeWorth.DOUBTFUL})
_GOES: Final = frozenset({ReplicaState.LIVE, ReplicaState.SUSPECT, ReplicaState.FAILING})


def without(block: KeptBlock, node: NodeId) -> KeptBlock:
    """The block as it is when that node has no copy."""
    return replace(block, copies=tuple(copy for copy in block.copies if copy.node != node))


def why_keep(block: KeptBlock, node: NodeId, at: Standings) -> str:
    """Why that copy may not be retired; "" when it may."""
    copy = next((copy for copy in block.copies if copy.node == node), None)
    if copy is None or copy.state not in _GOES:
        return f"{node_name(node)} has no copy that could be retired"
    if node not in at.fresh or at.worth.get(node) not in _HERE:
        return f"{node_name(node)} is not here now"
    unknown = [
        other.node
        for other in block.copies
        if at.worth.get(other.node, NodeWorth.NONE) is not NodeWorth.NONE
        and other.node not in at.fresh
    ]
    if unknown:
        return f"what {node_name(unknown[0])} holds is not known yet"
    before, after = assess(block, at), assess(without(block, node), at)
    if len(after.sure) < block.wanted:
        return f"{len(after.sure)} sure copies would be left of {block.wanted} wanted"
    if _is_misplaced(after) and not _is_misplaced(before):
        return "the others are all on one rack"
    return ""


def _is_misplaced(found: Assessment) -> bool:
    return found.health is BlockHealth.MISPLACED


def choose_excess(
    block: KeptBlock, at: Standings, *, used: Mapping[NodeId, float]
) -> tuple[NodeId, ...]:
    """The nodes whose copies go, so that as many sure ones are left as are wanted.

    First those verified longest ago (by days), then those on the fullest nodes; the racks stay as
    many as they can.

    Args:
        used: how full each node is, 0 to 1.
    """
    chosen: list[NodeId] = []
    left = block
    verified = {copy.node: copy.verified_ms // DAY_MS for copy in block.copies}
    while len(sure := assess(left, at).sure) > left.wanted:
        racks = Counter(at.racks.get(node, "") for node in sure)

        def rank(node: NodeId, racks: Counter[str] = racks) -> tuple[bool, int, float, NodeId]:
            alone = racks[at.racks.get(node, "")] == 1  # those on a rack of their own come last
            return alone, verified[node], -used.get(node, 0.0), node

        ranked = sorted(sure, key=rank)
        going = next((node for node in ranked if not why_keep(left, node, at)), None)
        if going is None:
            break
        chosen.append(going)
        left = without(left, going)
    return tuple(chosen)
