"""Having every replica of a file read again by the node that holds it.

Small files share blocks: each replica is read once for all of them that follow each other.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final

from dfs.base.errors import DfsError, ErrorKind
from dfs.base.ids import NodeId, node_name
from dfs.base.records import BlockName, Holder, LocatedExtent, LocatedFile
from dfs.client.batches import result_of
from dfs.client.cluster_link import ClusterLink
from dfs.client.names import is_directory
from dfs.client.options import ReplicaVerdict
from dfs.transfer.block_channel import BlockAccess

NOBODY: Final = NodeId(0)
PROBES_AT_ONCE: Final = 8  # each makes a disk read a whole block
REMEMBERED_MAX: Final = 1_000  # replicas


def verify(cluster: ClusterLink, path: str) -> Iterator[ReplicaVerdict]:
    """See `DfsClient.verify`.  Verdicts come in the order of paths and blocks.

    A block without any holder gives one verdict, of node 0.

    Raises:
        DfsError: the NameNode refuses or does not answer.
    """
    status = cluster.names.stat(path)
    names = cluster.names.insisting()  # what was read again so far would be lost
    files = [status] if not is_directory(status) else names.walk(path)
    said = _Said(cluster)
    pool = ThreadPoolExecutor(PROBES_AT_ONCE, "dfs-verify")
    try:
        for file in files:
            if not is_directory(file):
                yield from _verify_file(said, names.locate(file.path), pool)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a stalled node must not hold us here


class _Said:
    """What the last few replicas were found to be.  Safe to share between threads."""

    def __init__(self, cluster: ClusterLink) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._found: dict[tuple[BlockName, NodeId], tuple[str, bool]] = {}

    def of(self, path: str, extent: LocatedExtent, holder: Holder | None) -> tuple[str, bool]:
        """What is wrong with that replica, empty when nothing is; and whether it was reached."""
        if holder is None:
            return "no DataNode holds this block", True
        key = extent.name, holder.address.node
        with self._lock:
            known = self._found.get(key)
        if known is not None:
            return known
        try:
            found = _reason(self._cluster, path, extent, holder), True
        except DfsError as exc:
            found = exc.message, exc.kind is not ErrorKind.UNAVAILABLE
        with self._lock:
            while len(self._found) >= REMEMBERED_MAX:
                del self._found[next(iter(self._found))]
            self._found[key] = found
        return found


def _verify_file(
    said: _Said, located: LocatedFile, pool: ThreadPoolExecutor
) -> Iterator[ReplicaVerdict]:
    probes = (
        (number, extent, holder)
        for number, extent in enumerate(located.extents)
        for holder in (extent.holders or (None,))
    )
    path = located.status.path
    while some := list(islice(probes, PROBES_AT_ONCE)):
        probed = [pool.submit(_probe, said, path, *probe) for probe in some]
        yield from map(result_of, probed)


def _probe(
    said: _Said, path: str, number: int, extent: LocatedExtent, holder: Holder | None
) -> ReplicaVerdict:
    truth = extent.truth
    node = holder.address.node if holder is not None else NOBODY
    reason, reached = said.of(path, extent, holder)
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


def _reason(cluster: ClusterLink, path: str, extent: LocatedExtent, holder: Holder) -> str:
    """What is wrong with that replica; empty when nothing is.

    Raises:
        DfsError: the node could not be asked, or refused to say.
    """
    access, truth = BlockAccess(extent.name, path, extent.token), extent.truth
    with cluster.plane.channels.to(holder.address) as channel:
        probe = channel.probe(access, verify=True, length_bytes=truth.length_bytes)
    if not probe.held:
        return f"{node_name(holder.address.node)} does not hold it"
    if not probe.intact:
        return "its bytes are not those that were written"
    return "" if probe.matches(truth) else "it is sealed with another hash than the NameNode's"
