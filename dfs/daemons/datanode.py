"""`dfs-datanode`: the composition root of a DataNode, and its command line.

`DatanodeProcess` builds every object by hand, top to bottom, and is the list of what runs.  The
order of a start: open and recover the folders, take the ports, join (once in a lifetime), serve,
beat.  The order of a stop: refuse new transfers, let those under way finish, stop beating, close
the folders as cleanly stopped.
"""

import argparse
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from dfs import __version__
from dfs.base import crashpoint
from dfs.base.clock import Clock, SystemClock
from dfs.base.entropy import Random
from dfs.base.errors import BadConfig
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
from dfs.daemons.datanode_offline import list_folders, until_unread, verify_folders
from dfs.daemons.datanode_orders import command_handlers
from dfs.daemons.lifecycle import (
    StopRequest,
    announce,
    parse_arguments,
    port_argument,
    require_listenable,
    run_guarded,
    tune_interpreter,
    watch_threads,
)
from dfs.daemons.schedule import Schedule
from dfs.nodes.beat import BeatSettings, NamenodeBeat, NamenodeBeats, Outside
from dfs.nodes.commands import CommandRunner
from dfs.nodes.joining import join
from dfs.nodes.standing import Standing
from dfs.nodes.stock_reports import StockFeed
from dfs.observe.exit_codes import EXIT_DONE, EXIT_FAILED
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
from dfs.settings.read import Overrides, read_config
from dfs.settings.sections import Config
from dfs.web.datanode_app import create_app
from dfs.web.http_server import HttpLimits, HttpServer
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
VITAL_THREADS: Final = ("beat ", "stock ", "commands", "stall-watch", "local-", "http", "catalog ")
WILDCARDS: Final = frozenset({"", "0.0.0.0", "::"})


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
        self.face = DatanodeFace(
            self.store,
            Upkeep(self.scrubber, self.mover),
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
        self.http = HttpServer(
            create_app(self.face, log),
            host=node.host,
            port=node.http_port,
            limits=HttpLimits(threads=HTTP_THREADS),
            clock=clock,
            streams=self.streams.take_over,
        )
        service.stream_port = self.http.port
        self._add_jobs()
        self._beats: NamenodeBeats | None = None

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
        self._watch.start()
        self.grpc.start()
        self._socket = self.local.start() if self._config.datanode.local_socket else ""
        self._beats = self._new_beats(identity)
        self.face.reachability = self._beats.reachability
        self.face.stage = "serving"
        self._beats.start()
        self._schedule.start()
        grpc, http = f"{self._host}:{self.grpc.port}", f"{self._host}:{self.http.port}"
        self._log.emit(Event.DAEMON_STARTED, node=self.standing.name, grpc=grpc, http=http)
        announce(f"{PROGRAM} {self.standing.name} ready: grpc {grpc} http {http}")

    def _new_beats(self, identity: NodeIdentity) -> NamenodeBeats:
        settings = self._beat_settings(identity)
        feed = StockFeed(self.store)
        commands = CommandRunner(
            handlers=command_handlers(self.store, self.scrubber, self.mover),
            standing=self.standing,
            emit=self._log,
        )
        beats = [
            NamenodeBeat(
                url,
                settings=settings,
                facts=self.face,
                standing=self.standing,
                feed=feed,
                commands=commands,
                outside=Outside(self._clock, Random(), self._log),
            )
            for url in self._config.cluster.namenodes
        ]
        return NamenodeBeats(beats, commands)

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
        own = socket.gethostname() if node.host in WILDCARDS else node.host
        return node.advertise_host or own

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


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    asked = parse_arguments(build_parser(), sys.argv[1:] if arguments is None else arguments)
    if isinstance(asked, int):
        return asked
    environment = dict(os.environ)
    match asked.command:
        case "ls":
            listing = partial(list_folders, asked.data, as_json=asked.json, with_files=asked.files)
            return run_guarded(PROGRAM, partial(until_unread, listing))
        case "verify":
            proof = partial(verify_folders, asked.data, as_json=asked.json)
            return run_guarded(PROGRAM, partial(until_unread, proof))
        case _:
            return run_guarded(PROGRAM, lambda: serve(asked, environment))


def serve(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Run the daemon; the exit code when it has stopped.

    Raises:
        DfsError: it cannot start or cannot join.
    """
    config = read_config(file=asked.config, environment=environment, overrides=_overrides(asked))
    if not config.datanode.data:
        raise BadConfig("no data folder", hint="name at least one with --data DIR")
    crashpoint.arm(environment)
    log = Log(process="datanode", level=config.logging.level, file=config.logging.file)
    tune_interpreter()
    stop = StopRequest()
    stop.install()
    bugs = watch_threads(log, stop, vital=VITAL_THREADS)
    token = partial(_join_token, asked, environment)
    DatanodeProcess(config, join_token=token, log=log, clock=SystemClock()).run(stop)
    return EXIT_FAILED if bugs else EXIT_DONE


def _join_token(asked: argparse.Namespace, environment: Mapping[str, str]) -> str:
    if asked.join_token_file is None:
        return asked.join_token or environment.get("DFS_JOIN_TOKEN", "")
    try:
        token = str(asked.join_token_file.read_text(encoding="utf-8").strip())
    except OSError as exc:
        raise BadConfig(
            f"cannot read the join token: {asked.join_token_file}: {exc.strerror}",
            hint="make one with: dfs-admin join-token > FILE",
        ) from exc
    if not token:
        raise BadConfig(
            f"there is no join token in {asked.join_token_file}",
            hint="make one with: dfs-admin join-token > FILE",
        )
    return token


def _overrides(asked: argparse.Namespace) -> Overrides:
    level = "debug" if asked.verbose else "warning" if asked.quiet else None
    flags = {
        ("datanode", "data"): tuple(str(folder) for folder in asked.data) or None,
        ("datanode", "host"): asked.host,
        ("datanode", "port"): asked.port,
        ("datanode", "http_port"): asked.http_port,
        ("datanode", "rack"): asked.rack,
        ("cluster", "namenodes"): _urls(asked.namenode),
        ("logging", "level"): level,
    }
    return {key: value for key, value in flags.items() if value is not None}


def _urls(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(url.strip().rstrip("/") for url in text.split(",") if url.strip())


def build_parser() -> argparse.ArgumentParser:
    """Every command and flag of `dfs-datanode`."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="A DataNode of DFS: holds blocks.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="run the daemon"))
    for command, meaning in (
        ("ls", "list the blocks in a data folder, daemon running or not"),
        ("verify", "read and hash every block in a data folder; exit 7 if one is corrupt"),
    ):
        offline = commands.add_parser(command, help=meaning, description=meaning)
        _add_data(offline, required=True)
        offline.add_argument("--json", action="store_true", help="print a JSON array")
        if command == "ls":
            offline.add_argument(
                "--files", action="store_true", help="name the files in each pack, too"
            )
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    _add_data(parser, required=False)
    parser.add_argument("--host", metavar="H", help="address to listen on")
    parser.add_argument(
        "--port", type=port_argument, metavar="P", help="of the block service; 0: any"
    )
    parser.add_argument("--http-port", type=port_argument, metavar="P", help="of /health; 0: any")
    parser.add_argument("--namenode", metavar="URL[,URL]", help="every NameNode of the cluster")
    parser.add_argument("--rack", metavar="R", help="where the machine stands, like /room1/rack2")
    parser.add_argument("--config", type=Path, metavar="FILE", help="instead of ./config.ini")
    token = parser.add_mutually_exclusive_group()
    token.add_argument("--join-token", default="", metavar="T", help="or set DFS_JOIN_TOKEN")
    token.add_argument("--join-token-file", type=Path, metavar="F", help="a file that holds it")
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument("--verbose", action="store_true", help="log every block")
    loud.add_argument("--quiet", action="store_true", help="log warnings and errors only")


def _add_data(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--data",
        action="append",
        type=Path,
        default=None if required else [],
        required=required,
        metavar="DIR",
        help="a data folder; repeat for each disk",
    )


if __name__ == "__main__":
    sys.exit(main())
