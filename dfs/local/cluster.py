"""A local cluster: which daemons it has, and starting, stopping, killing and watching them.

The daemons are the real ones, started as any operator would start them (`launching.py`); nothing of
theirs is loaded here.  Every order is idempotent: `up` starts what does not run, `down` stops what
does.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Final

from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.errors import BadRequest, DaemonFailed, LocalNotFound
from dfs.base.states import NodeState
from dfs.local import processes
from dfs.local.admin_session import AdminSession
from dfs.local.failover import Standing, await_failover, standings
from dfs.local.launching import POLL_S, READY_WITHIN_S, STOP_WITHIN_S, Launcher
from dfs.local.roster import DATANODE, NAMENODE, Folder, Member, write_private
from dfs.local.settings_file import settings_text
from dfs.settings.read import read_config
from dfs.settings.sections import Config
from dfs.wire import routes
from dfs.wire.shapes import Nothing

DATANODES_MAX: Final = 100
DATANODES_DEFAULT: Final = 3
NAMENODES_MAX: Final = 7  # five vote at most; more only stand by


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One daemon as it is now.

    `state`: `ready` (answers), `silent` (runs, does not answer), `killed` and `stopped` (by order),
    `crashed` (ended by itself).  `failover`: None of a DataNode.
    """

    name: str
    role: str
    state: str
    pid: int  # 0 when it does not run
    address: str
    http: str
    data: str
    log: str
    failover: Standing | None = None


class LocalCluster:
    """The cluster in one folder.

    Args:
        environment: what daemons inherit, less what points at another cluster.
        say: told, in words, what is being done.
        hurry: a new cluster is made for a tour: it is less patient.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock,
        rng: Random,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        hurry: bool = False,
    ) -> None:
        self.folder = Folder(root.absolute())
        self._clock = clock
        self._hurry = hurry
        self._launcher = Launcher(
            self.folder,
            clock=clock,
            rng=rng,
            environment=environment,
            say=say,
            founder_moved=self._write_settings,
        )

    def up(self, *, datanodes: int | None = None, namenodes: int | None = None) -> None:
        """Start everything; make the cluster first where there is none.

        Args:
            datanodes: how many there shall be at least; None is 3 in a new cluster, else as it is.
            namenodes: the same; None is 1 in a new cluster.

        Raises:
            BadRequest: more than `DATANODES_MAX` or `NAMENODES_MAX` are wanted.
            DaemonFailed, PortInUse: a daemon did not come up; the others stay as they are.
        """
        if datanodes is not None and not 0 <= datanodes <= DATANODES_MAX:
            raise BadRequest(f"--datanodes takes 0 to {DATANODES_MAX}")
        if namenodes is not None and not 1 <= namenodes <= NAMENODES_MAX:
            raise BadRequest(f"--namenodes takes 1 to {NAMENODES_MAX}")
        with self.folder.lock():
            if datanodes is None:
                datanodes = 0 if self.folder.load().members else DATANODES_DEFAULT
            self._found(datanodes, namenodes or 1)
            self._bring()

    def down(self) -> None:
        """Stop every daemon, DataNodes first; what they store stays."""
        with self.folder.lock():
            roster = self.folder.load()
            for role in (DATANODE, NAMENODE):
                asked = [self._launcher.order(m, SIGTERM, "stop") for m in roster.of(role)]
                for member in asked:
                    self._launcher.await_end(member)

    def add_datanode(self) -> Member:
        """One DataNode more, started and joined; those that were stopped or killed stay so."""
        with self.folder.lock():
            self._need_cluster()
            member = self._launcher.new_member(DATANODE)
            self._bring_new([member])
            return member

    def add_namenode(self) -> Member:
        """One NameNode more, which follows and is in sync.

        Raises:
            BadRequest: there are `NAMENODES_MAX`.
        """
        with self.folder.lock():
            self._need_cluster()
            if len(self.folder.load().of(NAMENODE)) >= NAMENODES_MAX:
                raise BadRequest(f"there are {NAMENODES_MAX} NameNodes, and no more are needed")
            member = self._launcher.new_member(NAMENODE)
            self._bring_new([member])
            return member

    def start(self, name: str) -> None:
        """Start one daemon that does not run, and wait until it serves."""
        with self.folder.lock():
            self._need_cluster()
            member = self.folder.load().find(name)
            if not member.settled and member != self._founder():
                self._bring_new([member])
                return
            self._launcher.ensure_running(member)
            if member.role == DATANODE:
                with self._opened() as session:
                    self._await_live(session, [member])

    def stop(self, name: str) -> None:
        """Ask one daemon to drain and end."""
        with self.folder.lock():
            member = self.folder.load().find(name)
            self._launcher.await_end(self._launcher.order(member, SIGTERM, "stop"))

    def kill(self, name: str) -> int:
        """End one daemon at once with SIGKILL, as a power switch would; the pid it had.

        Raises:
            LocalNotFound: there is no such daemon, or it does not run.
        """
        with self.folder.lock():
            member = self.folder.load().find(name)
            if not processes.is_running(member.pid, member.started):
                raise LocalNotFound(f"{name} does not run", hint="see: dfs-local status")
            self._launcher.order(member, SIGKILL, "kill")
            processes.wait_gone(
                member.pid, member.started, within_s=STOP_WITHIN_S, clock=self._clock
            )
            return member.pid

    def status(self) -> list[MemberStatus]:
        """Every daemon as it is now."""
        self._need_cluster()
        roster = self.folder.load()
        namenodes = roster.of(NAMENODE)
        with contextlib.closing(self.session()) as session:
            session.resume()
            standing = standings(session, namenodes)
        return [self._status(member, standing.get(member.name)) for member in roster.members]

    def config(self) -> Config:
        """The settings of this cluster's processes, with all of its NameNodes."""
        self._need_cluster()
        urls = self.folder.load().namenode_urls
        overrides = {("cluster", "namenodes"): urls} if urls else {}
        return read_config(file=self.folder.config, environment={}, overrides=overrides)

    def variables(self) -> dict[str, str]:
        """What points `dfs` and `dfs-admin` at this cluster, logged in as its admin."""
        config = self.config()
        return {
            "DFS_CONFIG": str(self.folder.config),
            "DFS_NAMENODE": ",".join(config.cluster.namenodes),
            "DFS_CREDENTIALS": str(self.folder.credentials),
        }

    def session(self) -> AdminSession:
        """The admin's session; close it after use."""
        return AdminSession(
            self.folder,
            config=self.config(),
            clock=self._clock,
            namenode=self.folder.data(self._founder()),
        )

    def close(self) -> None:
        """Let go of connections; the daemons go on."""
        self._launcher.close()

    def _need_cluster(self) -> None:
        if not self.folder.exists():
            raise LocalNotFound(
                f"no local cluster in {self.folder.root}",
                hint="make one with: dfs-local up, or name its folder with --data",
            )

    def _founder(self) -> Member:
        """The NameNode that made the cluster; the others joined it."""
        return self.folder.load().of(NAMENODE)[0]

    def _found(self, datanodes: int, namenodes: int) -> None:
        """See that the folder, its settings and the roster are there."""
        if not self.folder.load().of(NAMENODE):
            self._launcher.new_member(NAMENODE)
        if not self.folder.config.is_file():
            self._write_settings(self._founder())
        for role, wanted in ((NAMENODE, namenodes), (DATANODE, datanodes)):
            while len(self.folder.load().of(role)) < wanted:
                self._launcher.new_member(role)

    def _write_settings(self, founder: Member) -> None:
        text = settings_text(
            namenode=founder.http, credentials=self.folder.credentials, hurry=self._hurry
        )
        write_private(self.folder.config, text.encode())

    def _bring(self) -> None:
        """Start all that is known, then let the new ones join.

        A leader may need the votes of DataNodes, so nobody is waited for as such before they run.
        """
        founder = self._founder()
        if not founder.settled:
            self._launcher.settle(self._launcher.ensure_running(founder))
        for role in (NAMENODE, DATANODE):
            known = [member for member in self.folder.load().of(role) if member.settled]
            for member in known:
                self._launcher.launch(member)
            for member in known:
                self._launcher.await_ready(member)
        self._bring_new([one for one in self.folder.load().members if not one.settled])
        nodes = [member for member in self.folder.load().of(DATANODE) if member.settled]
        with self._opened() as session:
            self._await_live(session, nodes)

    def _bring_new(self, members: Sequence[Member]) -> None:
        """Let them join one by one, so that each is numbered in its order."""
        if not members:
            return
        with self._opened() as session:
            for member in members:
                self._join(session, member)
            if any(member.role == NAMENODE for member in members):
                every = self.folder.load().members
                running = [m for m in every if processes.is_running(m.pid, m.started)]
                await_failover(session, running, clock=self._clock)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[AdminSession]:
        session = self.session()
        try:
            session.open()
            yield session
        finally:
            session.close()

    def _join(self, session: AdminSession, member: Member) -> None:
        token = session.join_token(uses=1)
        write_private(self.folder.join_token, f"{token}\n".encode())
        try:
            member = self._launcher.ensure_running(member)
            if member.role == DATANODE:
                self._await_live(session, [member])
        finally:
            self.folder.join_token.unlink(missing_ok=True)
        self._launcher.settle(member)

    def _await_live(self, session: AdminSession, wanted: Sequence[Member]) -> None:
        """Wait until the NameNode counts on them, by the port of their block service."""
        names = {member.port: member.name for member in wanted}
        deadline_s = self._clock.monotonic_s() + READY_WITHIN_S
        while True:
            nodes = session.link.call(routes.NODES, Nothing()).nodes
            live = {n.address.grpc_port for n in nodes if n.state is NodeState.LIVE}
            if names.keys() <= live:
                return
            for member in (self.folder.load().find(name) for name in names.values()):
                if not processes.is_running(member.pid, member.started):
                    raise self._launcher.failed(member, "ended before it joined")
            if self._clock.monotonic_s() > deadline_s:
                missing = ", ".join(names[port] for port in names.keys() - live)
                raise DaemonFailed(f"the NameNode does not hear {missing}", hint="see its log")
            self._clock.sleep(POLL_S)

    def _status(self, member: Member, standing: Standing | None) -> MemberStatus:
        running = processes.is_running(member.pid, member.started)
        if running:
            state = "ready" if self._launcher.answers(member) else "silent"
        else:
            state = {"start": "crashed", "kill": "killed"}.get(member.order, "stopped")
        return MemberStatus(
            name=member.name,
            role=member.role,
            state=state,
            pid=member.pid if running else 0,
            address=member.address,
            http=member.http,
            data=str(self.folder.data(member)),
            log=str(self.folder.log(member)),
            failover=standing,
        )
