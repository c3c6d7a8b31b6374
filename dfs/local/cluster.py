"""A local cluster: which daemons it has, and starting, stopping, killing and watching them.

The daemons are the real ones, started as any operator would start them; nothing of theirs is
loaded here.  Every order is idempotent: `up` starts what does not run, `down` stops what does.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Final

import msgspec

from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.errors import BadRequest, DaemonFailed, DfsError, LocalNotFound, PortInUse
from dfs.base.states import NodeState
from dfs.local import processes
from dfs.local.admin_session import AdminSession
from dfs.local.ports import free_port, is_free
from dfs.local.roster import DATANODE, HOST, NAMENODE, Folder, Member, Roster, write_private
from dfs.local.settings_file import settings_text
from dfs.settings.read import read_config
from dfs.settings.sections import Config
from dfs.wire import routes
from dfs.wire.http_link import HttpLink
from dfs.wire.shapes import Nothing

READY_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 40.0  # a DataNode drains for 20 s by default
DATANODES_MAX: Final = 100
DATANODES_DEFAULT: Final = 3
PORT_TRIES_MAX: Final = 5
_POLL_S: Final = 0.05
_HEALTH_TIMEOUT_S: Final = 2.0
# What a shell may have set for another cluster must not reach these daemons.
_NOT_INHERITED: Final = ("DFS_CONFIG", "DFS_NAMENODE", "DFS_TOKEN", "DFS_CREDENTIALS")


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One daemon as it is now.

    `state`: `ready` (answers), `silent` (runs, does not answer), `killed` and `stopped` (by order),
    `crashed` (ended by itself).
    """

    name: str
    role: str
    state: str
    pid: int  # 0 when it does not run
    address: str
    http: str
    data: str
    log: str


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
        self._rng = rng
        self._environment = {k: v for k, v in environment.items() if k not in _NOT_INHERITED}
        self._say = say
        self._hurry = hurry
        self._http = HttpLink(timeout_s=_HEALTH_TIMEOUT_S)

    def up(self, *, datanodes: int | None = None) -> None:
        """Start everything; make the cluster first where there is none.

        Args:
            datanodes: how many there shall be at least; None is 3 in a new cluster, else as it is.

        Raises:
            BadRequest: more than `DATANODES_MAX` are wanted.
            DaemonFailed, PortInUse: a daemon did not come up; the others stay as they are.
        """
        if datanodes is not None and not 0 <= datanodes <= DATANODES_MAX:
            raise BadRequest(f"--datanodes takes 0 to {DATANODES_MAX}")
        with self.folder.lock():
            roster = self.folder.load()
            if datanodes is None:
                datanodes = 0 if roster.members else DATANODES_DEFAULT
            self._found(roster, datanodes)
            for member in self.folder.load().of(NAMENODE):
                self._settle(self._ensure_running(member))
            self._bring_datanodes()

    def down(self) -> None:
        """Stop every daemon, DataNodes first; what they store stays."""
        with self.folder.lock():
            roster = self.folder.load()
            for role in (DATANODE, NAMENODE):
                asked = [self._order(m, SIGTERM, "stop") for m in roster.of(role)]
                for member in asked:
                    self._await_end(member)

    def add_datanode(self) -> Member:
        """One DataNode more, started and joined; those that were stopped or killed stay so."""
        with self.folder.lock():
            self._need_cluster()
            member = self._new_member(DATANODE)
            self._bring_datanodes(new=True)
            return member

    def start(self, name: str) -> None:
        """Start one daemon that does not run, and wait until it serves."""
        with self.folder.lock():
            self._need_cluster()
            member = self.folder.load().find(name)
            if member.role == NAMENODE:
                self._ensure_running(member)
            else:
                self._bring_datanodes(only=name)

    def stop(self, name: str) -> None:
        """Ask one daemon to drain and end."""
        with self.folder.lock():
            self._await_end(self._order(self.folder.load().find(name), SIGTERM, "stop"))

    def kill(self, name: str) -> int:
        """End one daemon at once with SIGKILL, as a power switch would; the pid it had.

        Raises:
            LocalNotFound: there is no such daemon, or it does not run.
        """
        with self.folder.lock():
            member = self.folder.load().find(name)
            if not processes.is_running(member.pid, member.started):
                raise LocalNotFound(f"{name} does not run", hint="see: dfs-local status")
            self._order(member, SIGKILL, "kill")
            processes.wait_gone(
                member.pid, member.started, within_s=STOP_WITHIN_S, clock=self._clock
            )
            return member.pid

    def status(self) -> list[MemberStatus]:
        """Every daemon as it is now."""
        self._need_cluster()
        return [self._status(member) for member in self.folder.load().members]

    def config(self) -> Config:
        """The settings of this cluster's processes."""
        self._need_cluster()
        return read_config(file=self.folder.config, environment={})

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
        first = self.folder.load().of(NAMENODE)[0]
        return AdminSession(
            self.folder,
            config=self.config(),
            clock=self._clock,
            namenode=self.folder.data(first),
        )

    def close(self) -> None:
        """Let go of connections; the daemons go on."""
        self._http.close()

    def _need_cluster(self) -> None:
        if not self.folder.exists():
            raise LocalNotFound(
                f"no local cluster in {self.folder.root}",
                hint="make one with: dfs-local up, or name its folder with --data",
            )

    def _found(self, roster: Roster, datanodes: int) -> None:
        """See that the folder, its settings and the roster are there."""
        namenode = roster.of(NAMENODE)[0] if roster.of(NAMENODE) else self._new_member(NAMENODE)
        if not self.folder.config.is_file():
            self._write_settings(namenode)
        while len(self.folder.load().of(DATANODE)) < datanodes:
            self._new_member(DATANODE)

    def _new_member(self, role: str) -> Member:
        name = self.folder.load().next_name(role)
        member = self._with_ports(Member(name=name, role=role, port=0, http_port=0))
        self._remember(member)
        return member

    def _with_ports(self, member: Member) -> Member:
        """The same daemon on ports that are free."""
        taken = self.folder.load().ports()
        port = http_port = free_port(HOST, taken=taken, rng=self._rng)
        if member.role == DATANODE:
            http_port = free_port(HOST, taken={*taken, port}, rng=self._rng)
        return msgspec.structs.replace(member, port=port, http_port=http_port)

    def _write_settings(self, namenode: Member) -> None:
        text = settings_text(
            namenode=namenode.http, credentials=self.folder.credentials, hurry=self._hurry
        )
        write_private(self.folder.config, text.encode())

    def _bring_datanodes(self, *, only: str = "", new: bool = False) -> None:
        """Start DataNodes; new ones join one by one, so that they are numbered in order.

        Args:
            only: this one; `new`: those that never joined.
        """
        members = self.folder.load().of(DATANODE)
        wanted = [m for m in members if only in ("", m.name) and not (new and m.settled)]
        session = self.session()
        try:
            session.open()
            known = [member for member in wanted if member.settled]
            for member in known:
                self._launch(member)
            for member in known:
                self._await_ready(member)
            for member in (member for member in wanted if not member.settled):
                self._join(session, member)
            self._await_live(session, [member for member in wanted if member.settled])
        finally:
            session.close()

    def _join(self, session: AdminSession, member: Member) -> None:
        token = session.join_token(uses=1)
        write_private(self.folder.join_token, f"{token}\n".encode())
        try:
            member = self._ensure_running(member)
            self._await_live(session, [member])
        finally:
            self.folder.join_token.unlink(missing_ok=True)
        self._settle(member)

    def _settle(self, member: Member) -> None:
        """From now on its ports stay as they are."""
        self._remember(msgspec.structs.replace(member, settled=True))

    def _ensure_running(self, member: Member) -> Member:
        """Start it and wait until it serves; a new one gets other ports when its own are taken."""
        for tries_left in reversed(range(PORT_TRIES_MAX)):
            try:
                self._launch(member)
                self._await_ready(member)
                break
            except (DaemonFailed, PortInUse):
                taken = not all(is_free(HOST, port) for port in (member.port, member.http_port))
                if member.settled or not taken or not tries_left:
                    raise
                member = self._move_ports(member)
        return self.folder.load().find(member.name)

    def _move_ports(self, member: Member) -> Member:
        self._say(f"{member.name}: its port was taken meanwhile; trying another")
        moved = self._with_ports(member)
        self._remember(moved)
        if member.role == NAMENODE:
            self._write_settings(moved)
        return moved

    def _launch(self, member: Member) -> None:
        member = self.folder.load().find(member.name)
        if processes.is_running(member.pid, member.started):
            return
        for port in {member.port, member.http_port}:
            if not is_free(HOST, port):
                raise PortInUse(
                    f"{member.name}: another process listens on {HOST}:{port}",
                    hint=f"stop that process; `ss -ltnp 'sport = :{port}'` names it",
                )
        self._say(f"starting {member.name}")
        pid, started = processes.start(
            self._command(member), log=self.folder.log(member), environment=self._environment
        )
        self._remember(msgspec.structs.replace(member, pid=pid, started=started, order="start"))

    def _command(self, member: Member) -> list[str]:
        data = str(self.folder.data(member))
        common = ["--host", HOST, "--port", str(member.port), "--data", data]
        common += ["--config", str(self.folder.config)]
        command = [sys.executable, "-m", f"dfs.daemons.{member.role}", "serve", *common]
        if member.role == DATANODE:
            command += ["--http-port", str(member.http_port)]
            if self.folder.join_token.is_file():
                command += ["--join-token-file", str(self.folder.join_token)]
        return command

    def _await_ready(self, member: Member) -> None:
        member = self.folder.load().find(member.name)
        deadline_s = self._clock.monotonic_s() + READY_WITHIN_S
        while not self._answers(member):
            if not processes.is_running(member.pid, member.started):
                raise self._failed(member, "ended at its start")
            if self._clock.monotonic_s() > deadline_s:
                raise self._failed(member, f"does not answer after {READY_WITHIN_S:.0f} s")
            self._clock.sleep(_POLL_S)

    def _failed(self, member: Member, how: str) -> DaemonFailed:
        log = self.folder.log(member)
        said = processes.last_words(log)
        return DaemonFailed(f"{member.name} {how}. It said:\n{said}", hint=f"its log: {log}")

    def _answers(self, member: Member) -> bool:
        try:
            self._http.fetch(f"{member.http}/health")
        except DfsError:
            return False
        return True

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
                    raise self._failed(member, "ended before it joined")
            if self._clock.monotonic_s() > deadline_s:
                missing = ", ".join(names[port] for port in names.keys() - live)
                raise DaemonFailed(f"the NameNode does not hear {missing}", hint="see its log")
            self._clock.sleep(_POLL_S)

    def _order(self, member: Member, number: Signals, order: str) -> Member:
        """Send the signal, and note what was ordered so that `status` can tell a crash from it."""
        if processes.send(member.pid, member.started, number):
            if number is not SIGKILL:
                self._say(f"stopping {member.name}")
            member = msgspec.structs.replace(member, order=order)
            self._remember(member)
        return member

    def _await_end(self, member: Member) -> None:
        gone = processes.wait_gone(
            member.pid, member.started, within_s=STOP_WITHIN_S, clock=self._clock
        )
        if not gone:
            self._say(f"{member.name} did not end within {STOP_WITHIN_S:.0f} s: killing it")
            processes.send(member.pid, member.started, SIGKILL)

    def _remember(self, member: Member) -> None:
        self.folder.save(self.folder.load().with_member(member))

    def _status(self, member: Member) -> MemberStatus:
        running = processes.is_running(member.pid, member.started)
        if running:
            state = "ready" if self._answers(member) else "silent"
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
        )
