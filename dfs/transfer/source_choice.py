"""Pure: which replica of a block to read first, and which after it.

No replica is left out: one on a node that counts as dead, or that somebody reported as bad, is
still better than no bytes at all, since what it gives is verified before anybody sees it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from dfs.base.entropy import Random
from dfs.base.ids import NodeId
from dfs.base.records import Holder
from dfs.base.states import NodeState, ReplicaState

_NODE_RANK: Final[Mapping[NodeState, int]] = {
    NodeState.LIVE: 0,
    NodeState.JOINED: 1,
    NodeState.STALE: 2,
    NodeState.DEAD: 3,
}
_REPLICA_RANK: Final[Mapping[str, int]] = {
    ReplicaState.LIVE: 0,
    ReplicaState.FAILING: 1,
    ReplicaState.SUSPECT: 2,
    ReplicaState.RETIRING: 3,
    ReplicaState.MISSING: 5,
    ReplicaState.DISPUTED: 6,
    ReplicaState.CORRUPT: 7,
}
_UNKNOWN_RANK: Final = 4  # a state of a newer NameNode: after the good, before the bad


def order_sources(
    holders: Sequence[Holder],
    *,
    here: frozenset[str],
    failures: Mapping[NodeId, int],
    load: Mapping[NodeId, int],
    rng: Random,
) -> list[Holder]:
    """The holders in the order to try them.

    A good copy on a node that is not dead comes first of all, and bad copies last.  Among those,
    what the NameNode says of the copy counts, then what it says of the node, then what this client
    went through with it; a copy on this computer and the less busy node break ties, chance
    the rest, so that many readers of one block spread over its holders.

    Args:
        here: names and addresses of this computer.
        failures: how often each node failed this client lately.
        load: reads this client has in flight at each node.
    """
    mixed = list(holders)
    rng.shuffle(mixed)

    def rank(holder: Holder) -> tuple[bool, bool, int, int, int, bool, int]:
        node = holder.address.node
        state = _REPLICA_RANK.get(holder.state, _UNKNOWN_RANK)
        return (
            state > _UNKNOWN_RANK,
            holder.node_state is NodeState.DEAD,
            state,
            _NODE_RANK[holder.node_state],
            failures.get(node, 0),
            holder.address.host not in here,
            load.get(node, 0),
        )

    return sorted(mixed, key=rank)
