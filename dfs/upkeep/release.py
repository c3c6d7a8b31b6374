"""Whether a node on its way out may go: no block depends on what it has.

The survey says so first, of all such nodes at once; before one is let go it is asked again here, by
the rows of that transaction, as a write or a loss since the survey may need it after all.
"""

from typing import Final

from sqlalchemy import Connection

from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.states import ReplicaState
from dfs.blocks.canary_blocks import canary_blocks
from dfs.blocks.kept_rows import page_of_short, read_kept
from dfs.blocks.redundancy import (
    UNREADABLE,
    Assessment,
    KeptBlock,
    NodeWorth,
    Standings,
    assess,
)

PAGE_BLOCKS: Final = 500
_GOOD: Final = frozenset({ReplicaState.LIVE, ReplicaState.SUSPECT, ReplicaState.FAILING})


def still_needed(block: KeptBlock, found: Assessment, at: Standings) -> tuple[NodeId, ...]:
    """Nodes on their way out that may not leave yet, as far as this block goes."""
    if len(found.counting) >= block.wanted and found.sure:
        return ()
    leaving = [copy for copy in block.copies if at.worth.get(copy.node) is NodeWorth.SPARE]
    if not found.sources:  # what is left of it is bad, and is kept all the same
        return tuple(copy.node for copy in leaving)
    right = block.truth.generation
    return tuple(c.node for c in leaving if c.generation == right and c.state in _GOOD)


def why_stay(connection: Connection, node: NodeId, at: Standings) -> str:
    """Why that node may not go yet; "" when it may.

    Args:
        connection: the writer's own, so that nothing changes until it is gone.
        at: as of now.
    """
    own = canary_blocks(connection)
    after = BlockId(0)
    while short := page_of_short(connection, node, at, after=after, limit=PAGE_BLOCKS):
        for kept in read_kept(connection, short).values():
            found = assess(kept, at)
            if kept.truth.block in own and found.health in UNREADABLE:
                continue  # nobody misses it; another is written in its place
            if node in still_needed(kept, found, at):
                return f"block {kept.truth.block} still needs the copy on {node_name(node)}"
        after = short[-1]
    return ""
