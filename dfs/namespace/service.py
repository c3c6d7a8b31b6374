"""The namespace put together: one object for the composition root and the web to hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dfs.accounts.block_keys import BlockKeys
from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.ids import NodeId
from dfs.base.records import NodeView
from dfs.blocks.redundancy import Standings, standings
from dfs.namespace.canaries import Canaries
from dfs.namespace.changes import Changes
from dfs.namespace.checking import Checking
from dfs.namespace.completing import Completing
from dfs.namespace.copying import Copying
from dfs.namespace.edit import EntryCounts
from dfs.namespace.explaining import Deciders, Explaining
from dfs.namespace.keeping import Keeping
from dfs.namespace.leases import LeaseClock
from dfs.namespace.locating import Locating
from dfs.namespace.locating_many import LocatingMany
from dfs.namespace.lookup import Lookup
from dfs.namespace.packing import Packing
from dfs.namespace.trash import Trash
from dfs.namespace.writing import Writing
from dfs.settings.sections import Config


@dataclass(frozen=True, slots=True)
class Namespace:
    """Every capability of the namespace; their methods take `(connection or txn, who, body)`.

    `heard` is when writers were last heard of; the lease expiry job shares it.
    """

    lookup: Lookup
    changes: Changes
    copying: Copying
    trash: Trash
    writing: Writing
    completing: Completing
    packing: Packing
    locating: Locating
    locating_many: LocatingMany
    checking: Checking
    keeping: Keeping
    explaining: Explaining
    canaries: Canaries
    heard: LeaseClock


def build_namespace(
    *,
    clock: Clock,
    config: Config,
    nodes: Callable[[], Sequence[NodeView]],
    keys: BlockKeys,
    rng: Random,
    fresh: Callable[[], frozenset[NodeId]] = frozenset,
) -> Namespace:
    """The namespace of one NameNode.

    Args:
        nodes: every DataNode as it is now.
        keys: signs block tokens and says which receipts hold.
        rng: breaks ties among DataNodes.
        fresh: those of the nodes whose stock is known.
    """
    counts = EntryCounts(entries_max=config.limits.directory_entries_max)
    heard = LeaseClock(clock)

    def worth() -> Standings:
        return standings(nodes(), fresh=fresh(), urgent_after_s=config.repair.urgent_after_s)

    completing = Completing(
        counts=counts,
        heard=heard,
        keys=keys,
        config=config.namenode,
        replication=config.replication,
    )
    writing = Writing(counts=counts, heard=heard, nodes=nodes, keys=keys, rng=rng, config=config)
    deciders = Deciders(
        nodes=nodes, standings=worth, writing=writing, clock=clock, rng=rng, config=config
    )
    return Namespace(
        lookup=Lookup(
            clock=clock, limits=config.limits, replication=config.replication, nodes=nodes
        ),
        changes=Changes(counts=counts, replication=config.replication),
        copying=Copying(counts=counts),
        trash=Trash(clock=clock, counts=counts, config=config.namenode, limits=config.limits),
        writing=writing,
        completing=completing,
        packing=Packing(counts=counts, heard=heard, keys=keys, writing=writing, config=config),
        canaries=Canaries(
            counts=counts, heard=heard, keys=keys, rng=rng, config=config, completing=completing
        ),
        locating=Locating(nodes=nodes, keys=keys, limits=config.limits),
        locating_many=LocatingMany(nodes=nodes, keys=keys, limits=config.limits),
        checking=Checking(nodes=nodes, standings=worth),
        keeping=Keeping(standings=worth),
        explaining=Explaining(deciders),
        heard=heard,
    )
