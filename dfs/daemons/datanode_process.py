"""The composition root of a DataNode.

`DatanodeProcess` builds every object by hand, top to bottom, and is the list of what runs.  The
order of a start: open and recover the folders, take the ports, join (once in a lifetime), serve,
beat.  The order of a stop: refuse new transfers, let those under way finish, stop beating, close
the folders as cleanly stopped.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from dfs import __version__
from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.events import Event
from dfs.base.ids import NodeId
from dfs.base.states import VolumeState
from dfs.blockstore.disk_mover import DiskMover, MoverReport
from dfs.blockstore.identity import NodeIdentity
from dfs.blockstore.quick_scrub import QuickReport
from dfs.blockstore.scrub import ScrubReport
from dfs.blockstore.scrubber import Scrubber
from dfs.blockstore.store import BlockStore
from dfs.daemons.datanode_face import DatanodeFace, Upkeep
from dfs.daemons.datanode_orders import command_handlers
from dfs.daemons.datanode_voter import DatanodeVoter
from dfs.daemons.lifecycle import (
    StopRequest,
    announce,
    require_listenable,
)
from dfs.daemons.schedule import Schedule
from dfs.daemons.whereabouts import machine_of, named_host
from dfs.failover.envelope import ENVELOPE_BYTES_MAX, LETTERS_PATH
from dfs.nodes.beat import BeatSettings, Outside, Shared
from dfs.nodes.commands import CommandRunner
from dfs.nodes.joining import join
from dfs.nodes.namenode_beats import NamenodeBeats
from dfs.nodes.standing import Standing
from dfs.nodes.stock_reports import StockFeed
from dfs.observe.logs import Log
from dfs.observe.metrics import Metrics
from dfs.rpc.block_service import BlockService, Desk
from dfs.rpc.conversations import Conversations, Converse
from dfs.rpc.copy import Copies
from dfs.rpc.gate import Gate
from dfs.rpc.local_server import LocalServer, socket_path
from dfs.rpc.local_service import LocalService
from dfs.rpc.peers import Peers
from dfs.rpc.server import BlockServer
from dfs.rpc.stall import StallWatch
from dfs.rpc.stream_service import StreamService
from dfs.rpc.traffic import Traffic
from dfs.rpc.upload import Uploads
from dfs.settings.sections import Config
from dfs.web.datanode_app import create_app
from dfs.web.front import Front
from dfs.web.http_server import HttpLimits, HttpServer
from dfs.web.letters import letters_address
from dfs.wire.http_link import HttpLink
from dfs.wire.nodes_api import JoinRequest, NodeRegistration

PROGRAM: Final = "dfs-datanode"
HTTP_THREADS: Final = 4
HTTP_DRAIN_S: Final = 2.0
JOIN_TIMEOUT_S: Final = 10.0
PURGE_INTERVAL_S: Final = 60.0
SCRUB_INTERVAL_S: Final = 2.0  # between looks for something due; a slice may take a minute
SMALL_JOBS: Final = 3
JOBS_A_FOLDER: Final = 2  # long ones, which are not to wait for each other
VITAL_THREADS: Final = (
    *("beat ", "stock ", "commands", "stall-watch", "local-", "http", "catalog "),
    *("voter", "letters "),
)


class DatanodeProcess:
    """One DataNode, from its folders to its ports.

    Args:
        join_token: asked for when the folders belong to no cluster yet, and only then.

    Raises:
        FolderInUse, ForeignFolder, LocalIoError, PortInUse, BadConfig: it cannot start.
    """

    def __init__(
        self, config: Config, *, join_token: Callable[[], str], log: Log, clock: Clock
    ) -> None:
        self._config = config
        self._join_token = join_token
        self._log = log
        self._clock = clock
        node = config.datanode
        self.store = BlockStore.open(
            [Path(folder) for folder in node.data],
            config=node,
            scrub=config.scrub,
            clock=clock,
            emit=log,
        )
        try:
            self._build()
        except BaseException:
            self.store.close()
            raise

    def _build(self) -> None:
        node, log, clock = self._config.datanode, self._log, self._clock
        for port in (node.port, node.http_port):
            require_listenable(node.host, port)
        metrics = Metrics()
        self.standing = Standing(memory=self.store, clock=clock)
        self._traffic = Traffic(metrics)
        self._peers = Peers()
        self._watch = StallWatch(stall_s=node.stall_s, clock=clock)
        self.scrubber = Scrubber(self.store, config=self._config.scrub, clock=clock, emit=self._log)
        self.mover = DiskMover(
            self.store,
            bytes_per_s=self._config.balance.bandwidth_bytes,
            clock=clock,
            emit=self._log,
        )
        self.voter = DatanodeVoter(clock=clock, emit=log)
        self.face = DatanodeFace(
            self.store,
            Upkeep(self.scrubber, self.mover, self.voter),
            self.standing,
            self._traffic,
            metrics,
            clock=clock,
            config=self._config,
        )
        service = self._service()
        self.grpc = BlockServer(
            service, host=node.host, port=node.port, transfers_max=node.transfers_max
        )
        self.http = self._http()
        service.stream_port = self.http.port
        self._add_jobs()
        self._beats: NamenodeBeats | None = None

    def _http(self) -> HttpServer:
        node = self._config.datanode
        letters = {LETTERS_PATH: letters_address(self.voter.receive)}
        return HttpServer(
            Front(letters, create_app(self.face, self._log), self._log.exception),
            host=node.host,
            port=node.http_port,
            limits=HttpLimits(threads=HTTP_THREADS, body_bytes_max=ENVELOPE_BYTES_MAX + 1),
            clock=self._clock,
            streams=self.streams.take_over,
        )

    def _add_jobs(self) -> None:
        config, scrubber = self._config, self.scrubber
        folders = len(scrubber.volumes)
        schedule = Schedule(
            clock=self._clock, log=self._log, threads_max=SMALL_JOBS + folders * JOBS_A_FOLDER
        )
        purge_s = min(PURGE_INTERVAL_S, config.datanode.purge_keep_s)
        schedule.every("purge", purge_s, self.store.purge_expired)
        schedule.every("volumes", PURGE_INTERVAL_S, self._volumes_not_online)
        quick_s = min(PURGE_INTERVAL_S, config.scrub.quick_interval_s)
        for number, (whole, quick) in enumerate(zip(scrubber.volumes, scrubber.quick, strict=True)):
            schedule.every(f"scrub {number}", SCRUB_INTERVAL_S, whole.run_once, has_more=_has_more)
            schedule.every(f"quick scrub {number}", quick_s, quick.run_once, has_more=_has_more)

        schedule.every("level disks", SCRUB_INTERVAL_S, self.mover.run_once, has_more=_has_more)

        def soon() -> None:
            for number in range(folders):
                schedule.soon(f"scrub {number}")

        scrubber.on_work = soon
        self.mover.on_work = partial(schedule.soon, "level disks")
        self._schedule = schedule
        self.face.jobs = schedule.results

    def _conversations(self, name: str, converse: Converse) -> Conversations:
        node = self._config.datanode
        return Conversations(
            name,
            converse,
            stall_s=node.stall_s,
            transfers_max=node.transfers_max,
            clock=self._clock,
        )

    def _past_grpc(self, gate: Gate, uploads: Uploads) -> None:
        """The ways that copy less: sockets on this computer, streams from others."""
        node, standing, log = self._config.datanode, self.standing, self._log
        local = LocalService(self.store, gate, standing, uploads, traffic=self._traffic, log=log)
        self.local = LocalServer(
            self._conversations("local", local.converse),
            path=socket_path(node.data, folder=node.local_folder, uuid=self.store.uuid),
            emit=log,
        )
        stream = StreamService(self.store, gate, standing, traffic=self._traffic, log=log)
        self.streams = self._conversations("stream", stream.converse)

    def _service(self) -> BlockService:
        node, standing, peers = self._config.datanode, self.standing, self._peers
        gate = Gate(standing, block_bytes_max=self._config.limits.block_size_bytes_max)
        uploads = Uploads(
            disk=self.store,
            gate=gate,
            standing=standing,
            peers=peers,
            traffic=self._traffic,
            log=self._log,
            stall_s=node.stall_s,
        )
        copies = Copies(
            disk=self.store,
            gate=gate,
            standing=standing,
            peers=peers,
            traffic=self._traffic,
            stall_s=node.stall_s,
            clock=self._clock,
        )
        self._past_grpc(gate, uploads)
        return BlockService(
            disk=self.store,
            gate=gate,
            standing=standing,
            uploads=uploads,
            copies=copies,
            watch=self._watch,
            desk=Desk(self._log, self._traffic, node.stall_s),
        )

    def run(self, stop: StopRequest) -> None:
        """Serve until asked to stop, then drain.

        Raises:
            DfsError: joining was refused.
        """
        self.http.start()
        drained = True
        try:
            identity = self._identity(stop)
            if identity is not None:
                self._serve(identity)
                stop.wait()
                drained = self._drain(stop)
        finally:
            self._close(clean=drained)

    def _identity(self, stop: StopRequest) -> NodeIdentity | None:
        """Who we are: as the folders say, or as a NameNode says now; None when told to stop."""
        if self.store.identity is not None:
            return self.store.identity
        link = HttpLink(timeout_s=JOIN_TIMEOUT_S)
        reply = join(
            self._config.cluster.namenodes,
            JoinRequest(token=self._join_token(), uuid=self.store.uuid),
            link=link,
            clock=self._clock,
            emit=self._log,
            stopped=lambda: stop.asked,
        )
        link.close()
        if reply is None:
            return None
        crashpoint.reach("dn.joined")
        identity = NodeIdentity(reply.cluster, self.store.uuid, reply.node, reply.secret)
        self.store.adopt(identity)
        self._log.emit(Event.NODE_JOINED, node=reply.node, cluster=reply.cluster)
        return identity

    def _serve(self, identity: NodeIdentity) -> None:
        self.standing.settle(identity.cluster, NodeId(identity.node))
        self.voter.open(
            [v.layout.root for v in self.store.folders if v.state is VolumeState.ONLINE],
            cluster=identity.cluster,
        )
        self._watch.start()
        self.grpc.start()
        self._socket = self.local.start() if self._config.datanode.local_socket else ""
        self._beats = self.face.beats = self._new_beats(identity)
        self.face.stage = "serving"
        self._beats.start()
        self._schedule.start()
        grpc, http = f"{self._host}:{self.grpc.port}", f"{self._host}:{self.http.port}"
        self._log.emit(Event.DAEMON_STARTED, node=self.standing.name, grpc=grpc, http=http)
        announce(f"{PROGRAM} {self.standing.name} ready: grpc {grpc} http {http}")

    def _new_beats(self, identity: NodeIdentity) -> NamenodeBeats:
        commands = CommandRunner(
            handlers=command_handlers(self.store, self.scrubber, self.mover),
            standing=self.standing,
            emit=self._log,
        )
        shared = Shared(
            settings=self._beat_settings(identity),
            facts=self.face,
            standing=self.standing,
            feed=StockFeed(self.store),
            commands=commands,
            post=self.voter,
            outside=Outside(self._clock, Random(), self._log),
        )
        return NamenodeBeats(self._config.cluster.namenodes, shared, self.store)

    def _beat_settings(self, identity: NodeIdentity) -> BeatSettings:
        node = self._config.datanode
        registration = NodeRegistration(
            cluster=identity.cluster,
            host=self._host,
            grpc_port=self.grpc.port,
            http_port=self.http.port,
            rack=node.rack,
            version=__version__,
            restarts=self.store.restarts,
            clean_stop=self.store.clean_stop,
            usage=self.face.usage(),
            volumes=self.face.volumes(),
            local=self._socket,
            voter=self.voter.voter,
            machine=machine_of(self._config.ha),
        )
        return BeatSettings(
            interval_s=self._config.liveness.heartbeat_interval_s,
            stock_delta_s=node.stock_delta_s,
            stock_full_s=node.stock_full_s,
            stock_page_max=node.stock_page_max,
            secret=identity.secret,
            registration=registration,
        )

    @property
    def _host(self) -> str:
        """What others are told to reach us by."""
        node = self._config.datanode
        return node.advertise_host or named_host(node.host)

    def _drain(self, stop: StopRequest) -> bool:
        self.face.stage = "stopping"
        self._log.emit(Event.DAEMON_STOPPING, why=stop.signal_name, under_way=self._traffic.total())
        drain_s = self._config.datanode.drain_s
        end_s = self._clock.monotonic_s() + drain_s
        drained = self.grpc.stop(drain_s)
        for each in (self.local, self.streams):
            drained &= each.stop(max(0.0, end_s - self._clock.monotonic_s()))
        return drained

    def _close(self, *, clean: bool) -> None:
        if self._beats is not None:
            if clean:
                self._beats.take_leave()
            self._beats.stop()
        self.voter.stop()
        self.standing.keep()
        self._schedule.stop()
        self._watch.stop()
        self._peers.close()
        self.http.stop(HTTP_DRAIN_S)
        self.store.close(clean=clean)
        self._log.emit(Event.DAEMON_STOPPED, clean=clean)

    def _volumes_not_online(self) -> list[str]:
        """The paths of data folders that take no writes: a line in the log while there are any."""
        return [v.path for v in self.store.volumes() if v.state is not VolumeState.ONLINE]


def _has_more(report: ScrubReport | QuickReport | MoverReport) -> bool:
    return report.has_more
