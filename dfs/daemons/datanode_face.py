"""What a DataNode process says of itself: to beats, to `/health`, to `/metrics`.

Gathers facts from the parts that own them; decides nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dfs import __version__
from dfs.base.clock import Clock
from dfs.base.records import BlockName, NodeCondition, NodeUsage, StockEntry, VolumeStatus
from dfs.base.states import VolumeState
from dfs.blockstore.disk_mover import DiskMover
from dfs.blockstore.scrubber import Scrubber
from dfs.blockstore.store import BlockStore
from dfs.daemons.datanode_voter import DatanodeVoter
from dfs.daemons.schedule import JobResult
from dfs.daemons.voter_gauges import add_voter_gauges
from dfs.nodes.namenode_beats import NamenodeBeats
from dfs.nodes.standing import Standing
from dfs.observe.metrics import Metrics
from dfs.rpc.traffic import Traffic
from dfs.settings.sections import Config
from dfs.web.datanode_app import Health, NamenodeSeen, VoterSeen

DURABLE = "fsync"
UNDURABLE = "UNSAFE: [datanode] sync = no, a power cut loses acknowledged blocks"


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What works in the background: after the blocks, and on whom NameNodes elect."""

    scrubber: Scrubber
    mover: DiskMover
    voter: DatanodeVoter


class DatanodeFace:
    """See the module."""

    def __init__(
        self,
        store: BlockStore,
        upkeep: Upkeep,
        standing: Standing,
        traffic: Traffic,
        metrics: Metrics,
        *,
        clock: Clock,
        config: Config,
    ) -> None:
        self._store = store
        self._scrubber, self._mover, self._voter = upkeep.scrubber, upkeep.mover, upkeep.voter
        self._standing = standing
        self._traffic = traffic
        self._metrics = metrics
        self._clock = clock
        self._sync = config.datanode.sync
        self._quarantine_keep_s = config.repair.quarantine_keep_s
        self._started_s = clock.monotonic_s()
        self.stage = "joining"  # then "serving", then "stopping"
        self.beats: NamenodeBeats | None = None  # none before it has joined
        self.jobs: Callable[[], Sequence[JobResult]] = tuple
        self._add_gauges()

    # For beats.

    def usage(self) -> NodeUsage:
        """Space, uptime and work in flight, as of now."""
        return self._usage_of(self.volumes())

    def volumes(self) -> list[VolumeStatus]:
        """Each data folder."""
        return self._store.volumes()

    def condition(self) -> NodeCondition:
        """How healthy this node thinks it is."""
        return NodeCondition(
            now_ms=self._clock.now_ms(),
            doubtful=self._store.is_doubtful,
            quarantined=self._store.quarantined,
            scrub=self._scrubber.status(),
            disks=self._mover.status(),
        )

    def quarantine_due(self, limit: int) -> list[BlockName]:
        """Files in quarantine past their grace: a NameNode says whether they may go."""
        return self._store.custody.quarantine_due(limit, keep_s=self._quarantine_keep_s)

    # For HTTP.

    def health(self) -> Health:
        """See `dfs.web.datanode_app`."""
        volumes = self.volumes()
        usage, standing = self._usage_of(volumes), self._standing
        return Health(
            status=self._status(volumes),
            node=standing.name,
            cluster=standing.cluster,
            uuid=self._store.uuid,
            version=__version__,
            uptime_s=usage.uptime_s,
            used_bytes=usage.used_bytes,
            free_bytes=usage.free_bytes,
            total_bytes=usage.total_bytes,
            volumes=volumes,
            in_flight=usage.in_flight,
            calls=self._traffic.under_way(),
            epoch=standing.epoch,
            leader=self.beats.leader() if self.beats is not None else "",
            namenodes=self._namenodes(),
            voter=VoterSeen(
                self._voter.voter, self._voter.promised, self._voter.version, self._voter.failed
            ),
            jobs=list(self.jobs()),
            doubtful=self._store.is_doubtful,
            quarantined=self._store.quarantined,
            scrub=self._scrubber.status(),
            disks=self._mover.status(),
            durability=DURABLE if self._sync else UNDURABLE,
        )

    def stock(self, *, after: BlockName | None, limit: int) -> Sequence[StockEntry]:
        """See `dfs.web.datanode_app`."""
        return self._store.stock(after=after, limit=limit)

    def metrics(self) -> bytes:
        """See `dfs.web.datanode_app`."""
        return self._metrics.exposition()

    def beat_now(self) -> bool:
        """See `dfs.web.datanode_app`."""
        return self.beats is not None and self.beats.beat_now()

    def _namenodes(self) -> list[NamenodeSeen]:
        return [
            NamenodeSeen(n.url, n.reached, n.registered, n.following, n.last_reached_ms, n.error)
            for n in (self.beats.reachability() if self.beats is not None else ())
        ]

    def _status(self, volumes: Sequence[VolumeStatus]) -> str:
        if self.stage != "serving":
            return self.stage
        healthy = all(volume.state is VolumeState.ONLINE for volume in volumes)
        troubled = self._store.is_doubtful or bool(self._voter.failed)
        return "ok" if healthy and not troubled else "degraded"

    def _usage_of(self, volumes: Sequence[VolumeStatus]) -> NodeUsage:
        return NodeUsage(
            total_bytes=sum(volume.total_bytes for volume in volumes),
            free_bytes=sum(v.free_bytes for v in volumes if v.state is VolumeState.ONLINE),
            used_bytes=sum(volume.used_bytes for volume in volumes),
            uptime_s=round(self._uptime_s(), 3),
            in_flight=self._traffic.total(),
            verified_bytes=self._store.verified_bytes,
            at_ms=self._clock.now_ms(),
        )

    def _uptime_s(self) -> float:
        return self._clock.monotonic_s() - self._started_s

    def _add_gauges(self) -> None:
        store, gauge = self._store, self._metrics.gauge
        gauge("dfs_datanode_used_bytes", "Held by block files", lambda: store.used_bytes)
        gauge("dfs_datanode_free_bytes", "Room for blocks above the reserve", self._free_bytes)
        gauge("dfs_datanode_capacity_bytes", "Size of the disks", lambda: store.total_bytes)
        gauge("dfs_datanode_blocks", "Blocks held", self._blocks)
        gauge("dfs_datanode_volumes_failed", "Data folders that take no writes", self._failed)
        gauge("dfs_datanode_verified_bytes", "Bytes re-hashed", lambda: store.verified_bytes)
        gauge("dfs_datanode_quarantined", "Files in quarantine", lambda: store.quarantined)
        gauge("dfs_datanode_doubtful", "Whether the circuit breaker is open", self._doubtful)
        self._add_scrub_gauges()
        gauge("dfs_datanode_uptime_seconds", "Since the start of the process", self._uptime_s)
        gauge("dfs_datanode_namenodes_reached", "NameNodes that answer", self._reached)
        add_voter_gauges(self._metrics, self._voter)

    def _add_scrub_gauges(self) -> None:
        status, gauge = self._scrubber.status, self._metrics.gauge
        gauge(
            "dfs_datanode_scrub_bytes", "Read back by the scrubber", lambda: status().verified_bytes
        )
        gauge("dfs_datanode_scrub_rate", "Bytes a second", lambda: status().rate_bytes_per_s)
        gauge("dfs_datanode_scrub_found", "Bad blocks found", lambda: status().found)
        gauge("dfs_datanode_scrub_transients", "Bad reads, good again", lambda: status().transients)
        gauge("dfs_datanode_scrub_suspects", "Blocks to verify first", lambda: status().suspects)
        gauge(
            "dfs_datanode_scrub_covered", "Blocks verified in time", lambda: status().covered_blocks
        )
        gauge(
            "dfs_datanode_scrub_oldest_seconds",
            "Since the verification that is longest ago",
            self._oldest_s,
        )

    def _oldest_s(self) -> float:
        oldest_ms = self._scrubber.status().oldest_ms
        return max(0.0, (self._clock.now_ms() - oldest_ms) / 1000) if oldest_ms else 0.0

    def _doubtful(self) -> float:
        return float(self._store.is_doubtful)

    def _free_bytes(self) -> float:
        return self._store.free_bytes

    def _blocks(self) -> float:
        return sum(volume.blocks for volume in self.volumes())

    def _failed(self) -> float:
        return sum(volume.state is not VolumeState.ONLINE for volume in self.volumes())

    def _reached(self) -> float:
        return sum(each.reached for each in self._namenodes())
