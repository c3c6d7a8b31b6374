"""Pure: the states of inodes, blocks, replicas and nodes, and the moves allowed between them.

block    ALLOCATED --commit--> COMMITTED --unreferenced--> GARBAGE --purged--> (row gone)
         ALLOCATED: a client may write it; no file shows it.  COMMITTED: hash and length are the
         truth.  GARBAGE: nothing points at it; its replicas wait for their deletion.

replica  a node's copy: LIVE (reported or acknowledged with the true hash), SUSPECT (somebody
         could not read it; it counts until its node has looked), FAILING (good, on a disk that
         takes no writes any more: a source, to be replaced), RETIRING (good, one too many, its
         deletion is ordered: counts no more), CORRUPT (its node proved it bad), DISPUTED (its node
         vouches for bytes that are not the truth), MISSING (a full report lacked it)

node     JOINED --beat--> LIVE --silent--> STALE --silent longer--> DEAD --register--> LIVE
         LIVE: beats arrive.  STALE: avoided for new work.  DEAD: its copies do not count.
"""

from collections.abc import Mapping
from enum import StrEnum


class InodeKind(StrEnum):
    """What an inode is."""

    DIRECTORY = "directory"
    FILE = "file"


class BlockState(StrEnum):
    """See the module's picture."""

    ALLOCATED = "allocated"
    COMMITTED = "committed"
    GARBAGE = "garbage"


class ReplicaState(StrEnum):
    """What the NameNode knows of one node's copy."""

    LIVE = "live"
    SUSPECT = "suspect"
    FAILING = "failing"
    RETIRING = "retiring"
    CORRUPT = "corrupt"
    DISPUTED = "disputed"
    MISSING = "missing"


class StoredState(StrEnum):
    """What a DataNode says of a block file it holds."""

    FINAL = "final"  # written, fsynced, hash known
    FOUND = "found"  # on the disk without a catalog row; its trailer is valid
    FAILING = "failing"  # final, on a disk that takes no writes any more; never in a catalog
    CORRUPT = "corrupt"  # in quarantine
    DELETING = "deleting"  # on its way to the purge area


class NodeState(StrEnum):
    """Whether a DataNode is heard."""

    JOINED = "joined"
    LIVE = "live"
    STALE = "stale"
    DEAD = "dead"


class NodeEvent(StrEnum):
    """What can happen to a node's liveness."""

    REGISTERED = "registered"
    BEAT = "beat"
    MISSED_SHORT = "missed_short"
    MISSED_LONG = "missed_long"


class NodeDuty(StrEnum):
    """What the operator wants of a node."""

    IN_SERVICE = "in_service"
    MAINTENANCE = "maintenance"
    DECOMMISSIONING = "decommissioning"
    DECOMMISSIONED = "decommissioned"


class VolumeState(StrEnum):
    """Whether a disk of a DataNode takes writes."""

    ONLINE = "online"
    READ_ONLY = "read_only"
    FAILED = "failed"


class IllegalMoveError(AssertionError):
    """A state does not accept an event: a bug of ours, never the world's."""


NODE_MOVES: Mapping[tuple[NodeState, NodeEvent], NodeState] = {
    (NodeState.JOINED, NodeEvent.REGISTERED): NodeState.LIVE,
    (NodeState.JOINED, NodeEvent.BEAT): NodeState.LIVE,
    (NodeState.JOINED, NodeEvent.MISSED_SHORT): NodeState.STALE,
    (NodeState.LIVE, NodeEvent.REGISTERED): NodeState.LIVE,
    (NodeState.LIVE, NodeEvent.BEAT): NodeState.LIVE,
    (NodeState.LIVE, NodeEvent.MISSED_SHORT): NodeState.STALE,
    (NodeState.STALE, NodeEvent.REGISTERED): NodeState.LIVE,
    (NodeState.STALE, NodeEvent.BEAT): NodeState.LIVE,
    (NodeState.STALE, NodeEvent.MISSED_LONG): NodeState.DEAD,
    (NodeState.DEAD, NodeEvent.REGISTERED): NodeState.LIVE,  # a dead node must register again
}


def advance_node(state: NodeState, event: NodeEvent) -> NodeState:
    """The state after the event.

    Raises:
        IllegalMoveError: the table has no such move.
    """
    try:
        return NODE_MOVES[state, event]
    except KeyError:
        raise IllegalMoveError(f"{state} does not accept {event}") from None
