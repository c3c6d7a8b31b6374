"""A cluster of real processes for tests: timers of a tenth, crash points armed, kills by pid.

The daemons are those of `dfs-local`; this adds what tests need: settings, one process started with
a crash point, its exit code, and the metadata as a consistent copy.
"""

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from dfs.base.clock import SystemClock
from dfs.base.entropy import SystemRandom
from dfs.base.errors import DaemonFailed
from dfs.client import DfsClient, connect
from dfs.local import processes
from dfs.local.cluster import LocalCluster
from dfs.local.failover import LEADER, Standing
from dfs.local.ports import free_port
from dfs.local.roster import DATANODE, HOST, NAMENODE, Folder, Member, Roster
from dfs.meta.session import DATABASE_FILE
from dfs.settings.sections import Config
from tests.metadata_checks import check_metadata

KIB, MIB = 1 << 10, 1 << 20
WAIT_S = 60.0
SETTINGS = """\
[cluster]
namenodes = {namenode}

[namenode]
lease_soft_s = 2s
lease_hard_s = 5s
block_token_life_s = 10s
trash_keep_s = 1s
purge_interval_s = 500ms
gc_interval_s = 500ms

[datanode]
reserve_bytes = 1MiB
reserve_percent = 0
purge_keep_s = 2s
part_idle_s = 10s
stock_delta_s = 200ms
stock_full_s = 6h
drain_s = 2s
stall_s = 3s

[client]
credentials = {credentials}
block_size_bytes = 64KiB
local_transfers = on
pack_file_bytes_max = 64KiB
pack_bytes = 512KiB
retry_first_s = 100ms
retry_cap_s = 1s
give_up_s = 90s
transfer_give_up_s = 90s
timeout_s = 10s
stall_s = 3s

[liveness]
heartbeat_interval_s = 300ms
stale_after_s = 3s
dead_after_s = 60s
clean_stop_s = 180s
sweep_interval_s = 5s
sweep_timeout_s = 1s

[scrub]
slo_s = 1h
new_after_s = 30s
quick_interval_s = 30s
files_per_second_max = 50
transient_again_s = 2s
doubt_blocks = 50
doubt_percent = 1
pause_max_s = 1h
canary_interval_s = 1h

[repair]
interval_s = 300ms
urgent_after_s = 6s
timeout_s = 30s
copies_at_once = 16
last_copy_bytes = 0
under_bytes = 50MiB
storm_percent = 25
storm_nodes_min = 2
quarantine_keep_s = 20s
stray_keep_s = 5s
safe_mode_percent = 99.9
safe_mode_wait_s = 3s
forced_delete_wait_s = 60s

[balance]
threshold_percent = 10

[compact]
age_s = 500ms

[health]
interval_s = 6s
scrub_stalled_s = 1h

[ha]
beat_s = 100ms
stickiness_s = 1s
lease_s = 800ms
election_min_s = 1200ms
election_max_s = 2s
ack_s = 500ms
handover_s = 500ms
gate_s = 100ms
gate_rest_s = 1s
hint_s = 200ms

[accounts]
session_life_s = 30d
session_idle_s = 30d
"""


# For tests in which clients move blocks while something is wrong.
BOTH_WAYS = (
    pytest.param("on", id="over sockets"),
    pytest.param("off", id="over the network", marks=pytest.mark.faults),
)


def wait_until(holds: Callable[[], object], what: str, *, within_s: float = WAIT_S) -> None:
    """Wait for a condition; fail naming it when it does not come true in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.05)


def files_now(folder: Path, pattern: str) -> list[Path]:
    """What matches in a folder whose daemon is at work: a folder may go while it is listed."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return [path for path in folder.glob(pattern) if path.is_file()]


class RigCluster:
    """A cluster in a folder.  Not thread-safe: one thread starts and kills."""

    def __init__(self, root: Path, settings: Mapping[str, str]) -> None:
        self.root = root
        self.folder = Folder(root)
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("DFS_")}
        self._rng = SystemRandom()
        self._ends: dict[tuple[int, str], int] = {}
        self._settle_settings(settings)

    @property
    def config(self) -> Config:
        """The settings of a client, with all NameNodes."""
        with self._local() as local:
            return local.config()

    @property
    def names(self) -> list[str]:
        """Every daemon."""
        return [member.name for member in self.folder.load().members]

    @property
    def datanodes(self) -> list[str]:
        """Every DataNode."""
        return [member.name for member in self.folder.load().of(DATANODE)]

    @property
    def namenodes(self) -> list[str]:
        """Every NameNode."""
        return [member.name for member in self.folder.load().of(NAMENODE)]

    @property
    def variables(self) -> dict[str, str]:
        """The environment in which `dfs` finds this cluster, logged in as its admin."""
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        clean = {k: v for k, v in self._environment.items() if not k.startswith("XDG_")}
        with self._local() as local:
            return clean | local.variables() | {"HOME": str(home)}

    def client(self, *, local_transfers: bool | None = None) -> DfsClient:
        """A client that remembers nothing of earlier ones.

        Args:
            local_transfers: which way it takes to DataNodes; None is the configured one.
        """
        config = self.config
        if local_transfers is not None:
            own = replace(config.client, local_transfers=local_transfers)
            config = replace(config, client=own)
        return connect(config=config, environment=self.variables)

    def data(self, name: str) -> Path:
        """What that daemon stores."""
        return self.folder.data(self.folder.load().find(name))

    def start(self, name: str, **extra: str) -> bool:
        """Start it, by itself or with a crash point; False when it died at that."""
        with self._local(extra) as local:
            try:
                local.start(name)
            except DaemonFailed:
                if self.exit_code(name) != 137:
                    raise
                return False
        return True

    def add_datanode(self, **extra: str) -> bool:
        """One DataNode more, as `start`; `up` finishes what died."""
        with self._local(extra) as local:
            try:
                local.add_datanode()
            except DaemonFailed:
                if self.exit_code(self.datanodes[-1]) != 137:
                    raise
                return False
        return True

    def add_namenode(self) -> str:
        """One NameNode more, which follows and is in sync."""
        with self._local() as local:
            return local.add_namenode().name

    def standings(self) -> dict[str, Standing]:
        """How each NameNode stands in failover."""
        with self._local() as local:
            return {one.name: one.failover for one in local.status() if one.failover is not None}

    def leader(self) -> str:
        """Who leads; empty while nobody does."""
        found = self.standings().items()
        leading = [(one.epoch, name) for name, one in found if one.role == LEADER]
        return max(leading, default=(0, ""))[1]

    def up(self, *, datanodes: int | None = None, namenodes: int | None = None) -> None:
        """Start what does not run, and so many DataNodes and NameNodes at least."""
        with self._local() as local:
            local.up(datanodes=datanodes, namenodes=namenodes)

    def down(self) -> None:
        """Stop everything in order."""
        with self._local() as local:
            local.down()

    def kill(self, name: str) -> None:
        """SIGKILL; nothing when it does not run."""
        member = self.folder.load().find(name)
        if processes.is_running(member.pid, member.started):
            with self._local() as local:
                local.kill(name)

    def stop(self, name: str) -> None:
        """SIGTERM, and wait for the end."""
        with self._local() as local:
            local.stop(name)

    def restart(self, name: str, **extra: str) -> bool:
        """SIGKILL and `start`."""
        self.kill(name)
        return self.start(name, **extra)

    def is_running(self, name: str) -> bool:
        """Whether its process is there."""
        member = self.folder.load().find(name)
        return processes.is_running(member.pid, member.started)

    def exit_code(self, name: str) -> int | None:
        """How its last process ended; None while it runs."""
        member = self.folder.load().find(name)
        key = member.pid, member.started
        if key not in self._ends:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(member.pid, os.WNOHANG)
                if pid:
                    self._ends[key] = os.waitstatus_to_exitcode(status)
        return self._ends.get(key)

    def parts(self) -> list[Path]:
        """Half-written blocks on any DataNode."""
        return [one for name in self.datanodes for one in (self.data(name) / "tmp").iterdir()]

    def block_files(self, name: str) -> set[tuple[int, int]]:
        """`(block, generation)` of each block file of a DataNode."""
        found = files_now(self.data(name) / "blocks", "*/*/*")
        words = [path.name.split(".") for path in found]
        return {(int(block, 16), int(generation, 16)) for _, block, generation in words}

    @contextlib.contextmanager
    def metadata(self, name: str = "") -> Iterator[Connection]:
        """A copy of the metadata as committed at one moment, the NameNode running or not.

        Args:
            name: which NameNode's; the first one's when it is empty.
        """
        file = self.data(name or self.namenodes[0]) / DATABASE_FILE
        copy = sqlite3.connect(":memory:", check_same_thread=False)
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as live:
            live.backup(copy)
        engine = create_engine("sqlite://", creator=lambda: copy, poolclass=StaticPool)
        with engine.connect() as connection:
            yield connection
        engine.dispose()

    def check_metadata(self, name: str = "") -> None:
        """Assert every invariant of the metadata."""
        with self.metadata(name) as connection:
            check_metadata(connection)

    def last_words(self) -> str:
        """The end of each daemon's log, for a failure."""
        logs = (self.folder.log(member) for member in self.folder.load().members)
        return "\n".join(f"--- {log.name}\n{processes.last_words(log)}" for log in logs)

    def bugs(self) -> list[str]:
        """Lines of any log that tell of a bug of ours."""
        logs = (self.folder.log(member) for member in self.folder.load().members)
        lines = (line for log in logs if log.exists() for line in log.read_text().splitlines())
        return [line for line in lines if "bug.unhandled" in line or "Traceback" in line]

    def _settle_settings(self, changed: Mapping[str, str]) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        if self.folder.exists():
            return
        port = free_port(HOST, taken=(), rng=self._rng)
        # Settled: these settings name its port, so it must not move.
        first = Member(name="nn-1", role=NAMENODE, port=port, http_port=port, settled=True)
        text = SETTINGS.format(namenode=first.http, credentials=self.folder.credentials)
        for key, value in changed.items():
            text, found = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
            assert found, key
        self.folder.config.write_text(text)
        self.folder.save(Roster(members=(first,)))

    @contextlib.contextmanager
    def _local(self, extra: Mapping[str, str] | None = None) -> Iterator[LocalCluster]:
        local = LocalCluster(
            self.root,
            clock=SystemClock(),
            rng=self._rng,
            environment=self._environment | dict(extra or {}),
            say=lambda _text: None,
        )
        try:
            yield local
        finally:
            local.close()


@contextlib.contextmanager
def running_cluster(
    root: Path, *, datanodes: int, namenodes: int = 1, **settings: str
) -> Iterator[RigCluster]:
    """A cluster that is stopped at the end, whatever happened, and whose logs hold no bug.

    Args:
        settings: keys of `SETTINGS` and other values for them.
    """
    cluster = RigCluster(root, settings)
    try:
        cluster.up(datanodes=datanodes, namenodes=namenodes)
        yield cluster
        if bugs := cluster.bugs():
            pytest.fail(f"bugs in the logs of the daemons: {bugs[:3]}")
    finally:
        for name in cluster.names:
            cluster.kill(name)
