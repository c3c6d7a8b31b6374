"""What one client's transfers share: channels to DataNodes, what is known of them, its leases."""

import socket
import threading
from typing import Final

from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.errors import SourceChanged
from dfs.base.ids import NodeId
from dfs.base.records import BlockName, FileStatus, LocatedExtent
from dfs.client.bulk_read import BulkReader
from dfs.client.leases import LeaseKeeper
from dfs.client.names import NamespaceCalls
from dfs.settings.sections import Config
from dfs.transfer.channels import Channels
from dfs.transfer.local_links import LocalLinks, StreamLinks
from dfs.transfer.local_read import LocalReader
from dfs.transfer.local_upload import LocalUploads
from dfs.transfer.node_memory import NodeMemory
from dfs.transfer.replica_reader import Relocate, ReplicaReader, ShortWay
from dfs.transfer.replicas import Replicas
from dfs.transfer.stream_read import StreamReader
from dfs.transfer.write_pipeline import BlockSender
from dfs.wire.data_api import SuspectRequest
from dfs.wire.routes import SUSPECT

SUSPECTS_MAX: Final = 1_000  # reported by one client; a cluster that bad needs no more words
_RENEWALS_PER_LEASE: Final = 3


class DataPlane:
    """Opened when the first bytes move.  Safe to share between threads."""

    def __init__(self, names: NamespaceCalls, *, config: Config, clock: Clock, rng: Random) -> None:
        self._names = names
        names.link.learn()
        self.channels = Channels(clock=clock, stall_s=config.client.stall_s)
        self.memory = NodeMemory(clock=clock)
        local = config.client.local_transfers
        links = LocalLinks(self.channels, clock=clock) if local else None
        self.sender = BlockSender(
            self.channels, self.memory, local=LocalUploads(links) if links else None
        )
        here = frozenset({"127.0.0.1", "::1", "localhost", socket.gethostname()})
        lender = LocalReader(links) if links else None
        self.replicas = Replicas(self.memory, rng=rng, here=here, suspect=self._report)
        ways: list[ShortWay] = [lender] if lender else []
        if config.client.streams:
            ways.append(StreamReader(StreamLinks(self.channels, clock=clock)))
        self.reader = ReplicaReader(self.channels, self.replicas, ways=ways)
        self.bulk = BulkReader(self.channels, self.replicas, local=lender)
        interval_s = config.namenode.lease_soft_s / _RENEWALS_PER_LEASE
        self.leases = LeaseKeeper(names.link, interval_s=interval_s)
        self._lock = threading.Lock()
        self._reported: set[tuple[BlockName, NodeId]] = set()

    def close(self) -> None:
        """Stop renewing leases and end every conversation; transfers under way fail."""
        self.leases.stop()
        self.channels.close()

    def relocator(self, status: FileStatus) -> Relocate:
        """Finds extents of that file again, as long as it has the same content.

        The block may be another one by then: files move from one pack to another.  And the same
        block may be no sign of the same content: a pack has that of many files.
        """
        path = status.path

        def relocate(old: LocatedExtent) -> LocatedExtent:
            located = self._names.locate(path, insist=True)
            same = located.status.checksum == status.checksum
            for extent in located.extents:
                place = extent.file_offset, extent.length_bytes
                if place != (old.file_offset, old.length_bytes):
                    continue
                bytes_there = extent.truth, extent.block_offset
                if same or bytes_there == (old.truth, old.block_offset):
                    return extent
            raise SourceChanged(
                f"{path}: was replaced while it was read", hint="read it again from its start"
            )

        return relocate

    def _report(self, name: BlockName, node: NodeId, reason: str) -> None:
        """Tell the NameNode of a bad replica, once; it will have the node check for itself."""
        with self._lock:
            if (name, node) in self._reported or len(self._reported) >= SUSPECTS_MAX:
                return
            self._reported.add((name, node))
        body = SuspectRequest(
            block=name.block, generation=name.generation, node=node, reason=reason[:200]
        )
        self._names.link.try_once(SUSPECT, body)
