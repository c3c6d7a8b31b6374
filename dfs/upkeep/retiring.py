"""Retiring a copy: the decision is taken again inside the transaction that writes it down.

Who wants a copy gone (repair's excess, balance, an operator) decided on a snapshot; the rows may be
others by now.  Here they are read in the writer's transaction, so that no two deciders can take a
block below what it should have.  The order of effects:

    1 enough sure copies stay, by this transaction's rows    else nothing happens
      (if it is to be a single one, it was read just before)
    2 the row is `retiring`                                  (journaled, commit): it counts no more
    3 the node is ordered to delete exactly that generation, again until it has
    4 it says so                                             its row goes (gc.py)
"""

from dataclasses import dataclass

from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.states import ReplicaState
from dfs.blocks.history import BlockEvent, What, note
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import KeptBlock, Standings, assess
from dfs.meta.tables import REPLICA
from dfs.meta.txn import Txn
from dfs.upkeep.retirement import why_keep, without


@dataclass(frozen=True, slots=True)
class Retirement:
    """Whether a copy was retired; if not, why not."""

    done: bool
    why_not: str = ""

    def __bool__(self) -> bool:
        """Whether it was."""
        return self.done


def retire(
    txn: Txn,
    block: BlockId,
    node: NodeId,
    *,
    at: Standings,
    proved: frozenset[NodeId],
    actor: str,
    reason: str,
) -> Retirement:
    """Mark a copy as retiring if enough sure ones stay.  The caller orders the deletion after.

    Args:
        at: as of now, not of when the plan was made.
        proved: nodes whose copies were read just now: one that is to be alone must be among them.
        actor: which job wants it, for the block's history.
    """
    kept = read_kept(txn.connection, [block]).get(block)
    if kept is None:
        return Retirement(done=False, why_not="the block is not in use any more")
    why = why_keep(kept, node, at) or _why_unproved(kept, node, at, proved)
    if why:
        return Retirement(done=False, why_not=why)
    put_copy_state(txn, kept, node, ReplicaState.RETIRING)
    event = BlockEvent(block, kept.truth.generation, What.RETIRING, node, actor, reason)
    note(txn, [event])
    return Retirement(done=True)


def _why_unproved(kept: KeptBlock, node: NodeId, at: Standings, proved: frozenset[NodeId]) -> str:
    """Somebody else may have retired a copy since the others were looked at."""
    left = assess(without(kept, node), at).sure
    if len(left) > 1 or proved.issuperset(left):
        return ""
    return f"{node_name(left[0])} would be left, and its copy was not read just now"


def put_copy_state(txn: Txn, kept: KeptBlock, node: NodeId, state: ReplicaState) -> None:
    """Write down another state of a copy that is known (journaled)."""
    copy = next(copy for copy in kept.copies if copy.node == node)
    txn.put(
        REPLICA,
        {
            "block": kept.truth.block,
            "node": node,
            "generation": copy.generation,
            "state": state.value,
            "verified_ms": copy.verified_ms,
        },
    )
