"""A DataNode with disks and a rack of its own, beside those of the cluster's roster."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.cluster_rig import RigCluster, files_now, wait_until
from tests.e2e.refusal_rig import User

STOP_S = 30


class OwnDatanode:
    """Started and ended by its test.

    Args:
        folders: its disks; the first holds who it is.
    """

    def __init__(self, cluster: RigCluster, folders: Sequence[Path], *, rack: str) -> None:
        self.folders = tuple(folders)
        self._cluster = cluster
        self._rack = rack
        self._user = User(cluster.variables, cluster.root)
        self._process: subprocess.Popen[bytes] | None = None
        self.log = cluster.root / f"{self.folders[0].name}.log"

    @property
    def name(self) -> str:
        """What the NameNode calls it."""
        return str(self.view()["node"])

    @property
    def number(self) -> int:
        """Its id."""
        return int(self.name.removeprefix("dn-"))

    def view(self) -> dict:
        """What `dfs-admin nodes` says of it; empty when it never joined."""
        nodes = json.loads(self._user.admin("nodes", "--json").done().out)
        mine = {str(folder) for folder in self.folders}
        return next((n for n in nodes if mine & {v["path"] for v in n["volumes"]}), {})

    def start(self) -> None:
        """Start it, join it the first time, and wait until the NameNode counts on its disks."""
        token = [] if self.view() else ["--join-token", self._join_token()]
        data = [word for folder in self.folders for word in ("--data", str(folder))]
        config = ["--config", str(self._cluster.folder.config), "--rack", self._rack]
        command = [sys.executable, "-m", "dfs.daemons.datanode", "serve", *config, *data]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", "0", "--http-port", "0", *token],
                stdout=log,
                stderr=log,
                env=self._cluster.variables,
            )
        wait_until(self._serves, f"{self.folders[0].name} serves")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait for the end."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(STOP_S)
            self._process = None

    def block_files(self, folder: int = 0) -> list[Path]:
        """What lies on one of its disks."""
        return sorted(files_now(self.folders[folder] / "blocks", "*/*/*"))

    def log_count(self, event: str) -> int:
        """How often its log tells of an event."""
        return self.log.read_text().count(f'"{event}"')

    def _join_token(self) -> str:
        return self._user.admin("join-token").done().out.strip()

    def _serves(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        view = self.view()
        return bool(view) and view["state"] == "live" and len(view["volumes"]) == len(self.folders)


@contextlib.contextmanager
def own_datanode(
    cluster: RigCluster, folders: Sequence[Path], *, rack: str = "/default"
) -> Iterator[OwnDatanode]:
    """One that serves, and is killed at the end."""
    node = OwnDatanode(cluster, folders, rack=rack)
    try:
        node.start()
        yield node
    finally:
        node.end(signal.SIGKILL)
    text = node.log.read_text()
    assert "bug.unhandled" not in text, text[-2000:]
    assert "Traceback" not in text, text[-2000:]
