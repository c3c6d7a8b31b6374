"""The processes of several NameNodes and DataNodes: planned, started, signalled, cut off, ended.

Every pair has a `machine`, and so a voter; with `tests.netns` a network of its own as well, and
then a last host is the clients'.  A process is signalled through its parent, which is this one, so
a pid is never somebody else's.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfs.base.entropy import SystemRandom
from dfs.local.ports import free_port
from dfs.local.processes import last_words
from dfs.local.roster import HOST, Folder
from dfs.meta.session import DATABASE_FILE
from dfs.settings.read import read_config
from dfs.settings.sections import Config
from tests.cluster_rig import SETTINGS, wait_until
from tests.netns import Network

ROOT = Path(__file__).resolve().parents[1]
READY_S = 60.0
ENDS_S = 60.0


@dataclass
class Daemon:
    """One process of the cluster, running or not.

    Attributes:
        host: where it is in the network of the test; -1 on loopback.
        first: words that only its very first start needs.
    """

    name: str
    folder: Path
    url: str
    command: list[str]
    host: int
    first: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it said, in all of its lives."""
        return self.folder.with_name(f"{self.name}.log")

    @property
    def database(self) -> Path:
        """Of a NameNode."""
        return self.folder / DATABASE_FILE

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None


class HaProcesses:
    """Those of a cluster in a folder.  Not thread-safe: one thread starts and kills.

    Args:
        settings: keys of the settings of tests and other values for them.
        network: one host a machine, and one for the clients; None is loopback.
    """

    def __init__(
        self, root: Path, settings: Mapping[str, str], *, machines: int, network: Network | None
    ) -> None:
        self.root = root
        self.network = network
        self.daemons: dict[str, Daemon] = {}
        self._changed = settings
        self._rng = SystemRandom()
        self._ports: set[int] = set()
        self._environment = {k: v for k, v in os.environ.items() if k[:4] not in ("DFS_", "XDG_")}
        self._environment |= {"HOME": str(root / "home"), "PYTHONPATH": str(ROOT)}
        (root / "home").mkdir(parents=True)
        self.token = self.join_token = ""
        self._plan(machines)

    # ---- what there is

    @property
    def namenodes(self) -> list[str]:
        """Their names, which are those of the members as long as none was removed."""
        return [name for name in sorted(self.daemons) if name.startswith("nn-")]

    @property
    def datanodes(self) -> list[str]:
        """Their names."""
        return [name for name in sorted(self.daemons) if name.startswith("dn-")]

    @property
    def urls(self) -> list[str]:
        """Of all NameNodes."""
        return [self.daemons[name].url for name in self.namenodes]

    @property
    def variables(self) -> dict[str, str]:
        """The environment in which a program is a client of this cluster, as its admin."""
        return self._environment | {
            "DFS_CONFIG": str(self.root / "config.ini"),
            "DFS_TOKEN": self.token,
        }

    @property
    def config(self) -> Config:
        """The settings of clients."""
        return read_config(file=self.root / "config.ini", environment={})

    def client_command(self, words: Sequence[str]) -> list[str]:
        """The words that run a Python program where clients are."""
        command = [sys.executable, *words]
        return command if self.network is None else self.network.hosts[-1].command(command)

    def start(self, name: str) -> None:
        """Start it, and wait until it says that it is ready.

        Raises:
            AssertionError: it ended, or did not get ready.
        """
        self.await_ready(name, self.launch(name))

    def start_all(self) -> None:
        """Start what does not run."""
        begun = {name: self.launch(name) for name, d in self.daemons.items() if not d.is_running}
        for name, said in begun.items():
            self.await_ready(name, said)

    def await_ready(self, name: str, said: int) -> None:
        """Wait until it says that it is ready, in what it adds to so much of its log.

        Raises:
            AssertionError: it ended, or did not get ready.
        """
        daemon = self.daemons[name]

        def is_ready() -> bool:
            assert daemon.is_running, f"{name} ended:\n{last_words(daemon.log)}"
            return b" ready: " in daemon.log.read_bytes()[said:]

        wait_until(is_ready, f"{name} is ready", within_s=READY_S)

    def launch(self, name: str) -> int:
        """Start it, and wait for nothing; how long its log was before."""
        daemon = self.daemons[name]
        assert not daemon.is_running, name
        command = [*daemon.command]
        if not daemon.folder.exists():
            command += [*daemon.first]
            if self.join_token:
                command += ["--join-token", self.join_token]
        said = daemon.log.stat().st_size if daemon.log.exists() else 0
        with daemon.log.open("ab") as log:
            if self.network is not None:
                command = self.network.hosts[daemon.host].command(command)
            daemon.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        return said

    def refusal(self, name: str) -> str:
        """What it says as it refuses to start.

        Raises:
            AssertionError: it does not refuse.
        """
        said = self.launch(name)
        process = self.daemons[name].process
        assert process is not None
        assert process.wait(READY_S) not in (0, -signal.SIGKILL), name
        return self.daemons[name].log.read_text()[said:]

    def start_or_refusal(self, name: str) -> str:
        """As `start`, or what it said as it refused to."""
        daemon, said = self.daemons[name], self.launch(name)

        def is_settled() -> bool:
            return not daemon.is_running or b" ready: " in daemon.log.read_bytes()[said:]

        wait_until(is_settled, f"{name} starts, or refuses to", within_s=READY_S)
        return "" if daemon.is_running else daemon.log.read_text()[said:]

    def kill(self, *names: str) -> None:
        """SIGKILL for all of them at one moment; nothing for those that do not run."""
        for name in names:
            self._signal(name, signal.SIGKILL)
        for name in names:
            process = self.daemons[name].process
            if process is not None:
                process.wait(ENDS_S)

    def freeze(self, name: str) -> None:
        """SIGSTOP."""
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        self._signal(name, signal.SIGCONT)

    def stop(self, name: str) -> None:
        """SIGTERM, and wait for the end."""
        self._signal(name, signal.SIGTERM)
        process = self.daemons[name].process
        assert process is not None
        assert process.wait(ENDS_S) == 0, f"{name}:\n{last_words(self.daemons[name].log)}"

    def end(self) -> None:
        """SIGKILL for everything that runs, frozen or not."""
        self.kill(*self.daemons)

    # ---- the network

    def cut(self, one: int, other: int, *, one_way: bool = False) -> None:
        """Between two machines, counted from 1; with `one_way` from the first to the second."""
        assert self.network is not None
        self.network.cut(
            self.network.hosts[one - 1], self.network.hosts[other - 1], one_way=one_way
        )

    def isolate(self, number: int) -> None:
        """Cut a machine off from all others and from the clients."""
        assert self.network is not None
        self.network.isolate(self.network.hosts[number - 1])

    def heal(self) -> None:
        """Every cut."""
        assert self.network is not None
        self.network.heal_all()

    def bugs(self) -> list[str]:
        """Lines of any log that tell of a bug of ours."""
        logs = (daemon.log for daemon in self.daemons.values() if daemon.log.exists())
        lines = (line for log in logs for line in log.read_text().splitlines())
        return [line for line in lines if "bug.unhandled" in line or "Traceback" in line]

    def last_words(self) -> str:
        """The end of each log, and of each NameNode what failover said in it."""
        told: list[str] = []
        for daemon in self.daemons.values():
            lines = daemon.log.read_text().splitlines() if daemon.log.exists() else []
            of_failover = [line for line in lines if '"ha.' in line or " ha." in line]
            told += [f"--- {daemon.name}", *of_failover[-15:], "...", *lines[-5:]]
        return "\n".join(told)

    def _plan(self, machines: int) -> None:
        folders = Folder(self.root)
        hosts = [HOST] * machines
        if self.network is not None:
            hosts = [host.address for host in self.network.hosts[:machines]]
        ports = [self._port() for _ in range(3 * machines)]
        urls = [f"http://{host}:{port}" for host, port in zip(hosts, ports, strict=False)]
        text = SETTINGS.format(namenode=", ".join(urls), credentials=folders.credentials)
        for key, value in self._changed.items():
            text, count = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
            assert count, key
        if self.network is not None:
            text = text.replace("local_transfers = on", "local_transfers = off")
            text = text.replace("[datanode]\n", "[datanode]\nlocal_socket = off\n")
        file = self.root / "config.ini"
        file.write_text(text)
        for number, host in enumerate(hosts, 1):
            at = -1 if self.network is None else number - 1
            port, block, http = ports[number - 1 :: machines]
            common = ["serve", "--config", str(file), "--host", host, "--machine", f"m{number}"]
            name = f"nn-{number}"
            folder = self.root / name
            words = [sys.executable, "-m", "dfs.daemons.namenode", *common]
            words += ["--port", str(port), "--data", str(folder)]
            peers = ",".join(url for url in urls[:machines] if url != urls[number - 1])
            first = ["--role", "standby", "--peers", peers] if number > 1 else []
            self.daemons[name] = Daemon(name, folder, urls[number - 1], words, at, first)
            name = f"dn-{number}"
            folder = self.root / name
            words = [sys.executable, "-m", "dfs.daemons.datanode", *common, "--port", str(block)]
            words += ["--http-port", str(http), "--data", str(folder)]
            self.daemons[name] = Daemon(name, folder, f"http://{host}:{http}", words, at)

    def _port(self) -> int:
        port = free_port(HOST, taken=self._ports, rng=self._rng)
        self._ports.add(port)
        return port

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self.daemons[name].process
        if process is not None and process.poll() is None:
            process.send_signal(number)
