"""One daemon of a local cluster: its ports and command line, its start, its end.

It is started as any operator would start it.  What `cluster.json` says of it is kept up to date
here.
"""

import sys
from collections.abc import Callable, Mapping
from signal import SIGKILL, Signals
from typing import Final

import msgspec

from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.errors import DaemonFailed, DfsError, PortInUse
from dfs.local import processes
from dfs.local.ports import free_port, is_free
from dfs.local.roster import DATANODE, HOST, NAMENODE, Folder, Member
from dfs.wire.http_link import HttpLink

READY_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 40.0  # a DataNode drains for 20 s by default
PORT_TRIES_MAX: Final = 5
POLL_S: Final = 0.05
_HEALTH_TIMEOUT_S: Final = 2.0
# What a shell may have set for another cluster must not reach these daemons.
_NOT_INHERITED: Final = ("DFS_CONFIG", "DFS_NAMENODE", "DFS_TOKEN", "DFS_CREDENTIALS")


class Launcher:
    """See the module.

    Args:
        environment: what daemons inherit, less what points at another cluster.
        say: told, in words, what is being done.
        founder_moved: told when the first NameNode got another port before anybody knew it.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        clock: Clock,
        rng: Random,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        founder_moved: Callable[[Member], None],
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._rng = rng
        self._environment = {k: v for k, v in environment.items() if k not in _NOT_INHERITED}
        self._say = say
        self._founder_moved = founder_moved
        self._http = HttpLink(timeout_s=_HEALTH_TIMEOUT_S)

    def close(self) -> None:
        """Let go of connections; the daemons go on."""
        self._http.close()

    def new_member(self, role: str) -> Member:
        """One more in the roster, on free ports; not started."""
        name = self._folder.load().next_name(role)
        member = self._with_ports(Member(name=name, role=role, port=0, http_port=0))
        self.remember(member)
        return member

    def settle(self, member: Member) -> None:
        """From now on its ports stay as they are."""
        self.remember(msgspec.structs.replace(member, settled=True))

    def remember(self, member: Member) -> None:
        """Write down how it is."""
        self._folder.save(self._folder.load().with_member(member))

    def ensure_running(self, member: Member) -> Member:
        """Start it and wait until it serves; a new one gets other ports when its own are taken.

        Raises:
            DaemonFailed, PortInUse: it did not come up.
        """
        for tries_left in reversed(range(PORT_TRIES_MAX)):
            try:
                self.launch(member)
                self.await_ready(member)
                break
            except (DaemonFailed, PortInUse):
                taken = not all(is_free(HOST, port) for port in (member.port, member.http_port))
                if member.settled or not taken or not tries_left:
                    raise
                member = self._move_ports(member)
        return self._folder.load().find(member.name)

    def launch(self, member: Member) -> None:
        """Start it, if it does not run.

        Raises:
            PortInUse: another process has its port.
        """
        member = self._folder.load().find(member.name)
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
            self._command(member), log=self._folder.log(member), environment=self._environment
        )
        self.remember(msgspec.structs.replace(member, pid=pid, started=started, order="start"))

    def await_ready(self, member: Member) -> None:
        """Wait until it serves.

        Raises:
            DaemonFailed: it ended, or takes too long.
        """
        member = self._folder.load().find(member.name)
        deadline_s = self._clock.monotonic_s() + READY_WITHIN_S
        while not self.answers(member):
            if not processes.is_running(member.pid, member.started):
                raise self.failed(member, "ended at its start")
            if self._clock.monotonic_s() > deadline_s:
                raise self.failed(member, f"does not answer after {READY_WITHIN_S:.0f} s")
            self._clock.sleep(POLL_S)

    def failed(self, member: Member, how: str) -> DaemonFailed:
        """The refusal that says what became of it, and what it said last."""
        log = self._folder.log(member)
        said = processes.last_words(log)
        return DaemonFailed(f"{member.name} {how}. It said:\n{said}", hint=f"its log: {log}")

    def answers(self, member: Member) -> bool:
        """Whether its `/health` is there."""
        try:
            self._http.fetch(f"{member.http}/health")
        except DfsError:
            return False
        return True

    def order(self, member: Member, number: Signals, order: str) -> Member:
        """Send the signal, and note what was ordered so that `status` can tell a crash from it."""
        if processes.send(member.pid, member.started, number):
            if number is not SIGKILL:
                self._say(f"stopping {member.name}")
            member = msgspec.structs.replace(member, order=order)
            self.remember(member)
        return member

    def await_end(self, member: Member) -> None:
        """Wait until it ended; one that takes too long is killed."""
        gone = processes.wait_gone(
            member.pid, member.started, within_s=STOP_WITHIN_S, clock=self._clock
        )
        if not gone:
            self._say(f"{member.name} did not end within {STOP_WITHIN_S:.0f} s: killing it")
            processes.send(member.pid, member.started, SIGKILL)

    def _with_ports(self, member: Member) -> Member:
        """The same daemon on ports that are free."""
        taken = self._folder.load().ports()
        port = http_port = free_port(HOST, taken=taken, rng=self._rng)
        if member.role == DATANODE:
            http_port = free_port(HOST, taken={*taken, port}, rng=self._rng)
        return msgspec.structs.replace(member, port=port, http_port=http_port)

    def _move_ports(self, member: Member) -> Member:
        self._say(f"{member.name}: its port was taken meanwhile; trying another")
        moved = self._with_ports(member)
        self.remember(moved)
        if member.name == self._folder.load().of(NAMENODE)[0].name:
            self._founder_moved(moved)
        return moved

    def _command(self, member: Member) -> list[str]:
        """Each is a machine of its own to failover, so that each may have a vote."""
        data = str(self._folder.data(member))
        common = ["--host", HOST, "--port", str(member.port), "--data", data]
        common += ["--config", str(self._folder.config), "--machine", member.name]
        command = [sys.executable, "-m", f"dfs.daemons.{member.role}", "serve", *common]
        joining = self._folder.join_token.is_file() and not member.settled
        if joining:
            command += ["--join-token-file", str(self._folder.join_token)]
        others = [url for url in self._folder.load().namenode_urls if url != member.http]
        if member.role == DATANODE:
            command += ["--http-port", str(member.http_port), "--namenode", ",".join(others)]
        elif joining:
            command += ["--role", "standby", "--peers", ",".join(others)]
        return command
