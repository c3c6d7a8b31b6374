"""A reader's word that a copy did not read back.

It is believed as far as it does no harm: the copy is read last from now on, and stays where it is.
Only its own DataNode can prove it bad or good, by verifying it anew (`reconcile.py`); a client that
lies condemns nothing.
"""

from dfs.base.errors import BlockNotFound
from dfs.base.events import Emitter, Event
from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.records import Principal
from dfs.base.states import ReplicaState
from dfs.blocks.reconcile import Location
from dfs.blocks.replica_rows import put_locations, read_locations
from dfs.meta.txn import Txn
from dfs.wire.data_api import SuspectRequest
from dfs.wire.shapes import Done

REASON_CHARACTERS_MAX = 200


class Suspects:
    """Answers the route of that name."""

    def __init__(self, *, emit: Emitter) -> None:
        self._emit = emit

    def suspect(self, txn: Txn, who: Principal, body: SuspectRequest) -> Done:
        """Doubt a copy that counted as good; one that is doubted or worse stays as it is.

        Raises:
            BlockNotFound: that node is not known to hold that generation of the block.
        """
        block, node = BlockId(body.block), NodeId(body.node)
        location = read_locations(txn.connection, node, [block]).get(block)
        if location is None or location.generation != body.generation:
            raise BlockNotFound(
                f"{node_name(node)} is not known to hold block {block}"
                f" in generation {body.generation}"
            )
        if location.state is ReplicaState.LIVE:
            doubted = Location(location.generation, ReplicaState.SUSPECT, location.verified_ms)
            put_locations(txn, node, {block: doubted})
            txn.after_commit(lambda: self._say(who, body))
        return Done()

    def _say(self, who: Principal, body: SuspectRequest) -> None:
        self._emit.emit(
            Event.REPLICA_SUSPECT,
            node=node_name(NodeId(body.node)),
            block=body.block,
            generation=body.generation,
            user=who.name,
            why=body.reason[:REASON_CHARACTERS_MAX],
        )
