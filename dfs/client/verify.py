"""Having every replica of a file read again by the node that holds it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final

from dfs.base.errors import DfsError, ErrorKind
from dfs.base.ids import NodeId, node_name
from dfs.base.records import Holder, LocatedExtent, LocatedFile
from dfs.client.cluster_link import ClusterLink
from dfs.client.names import is_directory
from dfs.client.options import ReplicaVerdict
from dfs.transfer.block_channel import BlockAccess

NOBODY: Final = NodeId(0)
PROBES_AT_ONCE: Final = 8  # each makes a disk read a whole block


def verify(cluster: ClusterLink, path: str) -> Iterator[ReplicaVerdict]:
    """See `DfsClient.verify`.  Verdicts come in the order of paths and blocks.

    A block without any holder gives one verdict, of node 0.

    Raises:
        DfsError: the NameNode refuses or does not answer.
    """
    status = cluster.names.stat(path)
    files = [status] if not is_directory(status) else cluster.names.walk(path)
    with ThreadPoolExecutor(PROBES_AT_ONCE, "dfs-verify") as pool:
        for file in files:
            if not is_directory(file):
                yield from _verify_file(cluster, cluster.names.locate(file.path), pool)


def _verify_file(
    cluster: ClusterLink, located: LocatedFile, pool: ThreadPoolExecutor
) -> Iterator[ReplicaVerdict]:
    probes = (
        (number, extent, holder)
        for number, extent in enumerate(located.extents)
        for holder in (extent.holders or (None,))
    )
    path = located.status.path
    while some := list(islice(probes, PROBES_AT_ONCE)):
        yield from pool.map(lambda probe: _probe(cluster, path, *probe), some)


def _probe(
    cluster: ClusterLink, path: str, number: int, extent: LocatedExtent, holder: Holder | None
) -> ReplicaVerdict:
    truth = extent.truth
    node = holder.address.node if holder is not None else NOBODY
    reason, reached = "", True
    try:
        reason = _reason(cluster, path, extent, holder)
    except DfsError as exc:
        reason, reached = exc.message, exc.kind is not ErrorKind.UNAVAILABLE
    return ReplicaVerdict(
        path,
        number,
        truth.block,
        truth.generation,
        truth.length_bytes,
        node,
        not reason,
        reason,
        reached,
    )


def _reason(cluster: ClusterLink, path: str, extent: LocatedExtent, holder: Holder | None) -> str:
    """What is wrong with that replica; empty when nothing is.

    Raises:
        DfsError: the node could not be asked, or refused to say.
    """
    if holder is None:
        return "no DataNode holds this block"
    access, truth = BlockAccess(extent.name, path, extent.token), extent.truth
    with cluster.plane.channels.to(holder.address) as channel:
        probe = channel.probe(access, verify=True, length_bytes=truth.length_bytes)
    if not probe.held:
        return f"{node_name(holder.address.node)} does not hold it"
    if not probe.intact:
        return "its bytes are not those that were written"
    return "" if probe.matches(truth) else "it is sealed with another hash than the NameNode's"
