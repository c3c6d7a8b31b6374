"""The guided tour: real files into a real cluster that is hurt, heals, grows, and loses no byte.

The first act is here: files are put, and a DataNode is killed while they are read.  The second is
`demo_healing`: repair, a flipped byte, one DataNode more; the third `demo_failover`: the NameNode
that leads is killed, and leads again.  At the end everything is compared.

Every sentence it ends with was tested a moment before; if one did not hold, the exit code is 1.
Nothing is simulated but machines: the daemons are processes of this one, and SIGKILL ends them.
"""

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from dfs.base.clock import Clock
from dfs.base.entropy import SystemRandom
from dfs.base.errors import LocalDiskFull, LocalExists
from dfs.base.units import MiB, format_size
from dfs.client import DfsClient, GetOptions, PutOptions, TransferReport, connect
from dfs.local.cluster import LocalCluster
from dfs.local.demo_failover import Succession
from dfs.local.demo_files import Prints, copy_library, digest_of, take_prints, write_random
from dfs.local.demo_healing import Healing
from dfs.local.demo_screen import Screen, TransferBar
from dfs.local.demo_stage import Stage
from dfs.local.roster import DATANODE
from dfs.observe.exit_codes import EXIT_DONE, EXIT_FAILED

DEFAULT_FOLDER: Final = Path(".dfs-demo")
LARGE_BYTES: Final = 256 * MiB
LARGE_BYTES_MIN: Final = 16 * MiB
# The tour stores the large file six times for a while: source, two copies and the lost ones made
# again, those on the dead DataNode, read back; and what moves lies in two places.
DISK_SHARE: Final = 12
KILL_AT: Final = 0.3  # of the large file
TARGET: Final = "/demo"
LIBRARY, LARGE = "python-library", "large.bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """A folder for the tour alone, the size of the large file, and whether all stays at the end."""

    folder: Path | None = None
    size_bytes: int | None = None
    keep: bool = False


def run_demo(
    options: DemoOptions, *, environment: Mapping[str, str], clock: Clock, console: Console
) -> int:
    """Give the tour; 0 when every claim held.

    Raises:
        LocalExists: the folder holds something.
        LocalDiskFull: there is no room.
        DfsError: a step could not be done at all.
    """
    folder = (options.folder or DEFAULT_FOLDER).absolute()
    if folder.exists() and any(folder.iterdir()):
        raise LocalExists(
            f"{folder} is not empty",
            hint=f"dfs-local down --data {folder}; then remove it, or name another with --data",
        )
    folder.mkdir(parents=True, exist_ok=True)
    screen = Screen(console, clock=clock)
    cluster = LocalCluster(
        folder / "cluster",
        clock=clock,
        rng=SystemRandom(),
        environment=environment,
        say=screen.say,
        hurry=True,
    )
    try:
        size_bytes = _large_size(folder, options.size_bytes)
        stage = Stage(
            folder=folder,
            cluster=cluster,
            screen=screen,
            clock=clock,
            environment=dict(environment),
        )
        Tour(stage).give(size_bytes)
    finally:
        if options.keep:
            screen.say(f'The cluster runs on: eval "$(dfs-local env --data {folder}/cluster)"')
        else:
            cluster.down()
            shutil.rmtree(folder, ignore_errors=True)
        cluster.close()
    return EXIT_DONE if screen.ok else EXIT_FAILED


def _large_size(folder: Path, asked_bytes: int | None) -> int:
    room_bytes = shutil.disk_usage(folder).free // DISK_SHARE
    if room_bytes < LARGE_BYTES_MIN:
        raise LocalDiskFull(
            f"the tour needs {format_size(LARGE_BYTES_MIN * DISK_SHARE)} of disk at {folder}",
            hint="name a folder on another disk with --data",
        )
    return min(asked_bytes or LARGE_BYTES, room_bytes)


class Tour:
    """The steps, in the order they are told."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._source = stage.folder / "source"
        self._back = stage.folder / "back"
        self._cluster = stage.cluster
        self._screen = stage.screen
        self._environment = stage.environment

    def give(self, large_bytes: int) -> None:
        """All of it."""
        start_s = self._stage.clock.monotonic_s()
        self._screen.title("DFS: a cluster on this machine is hurt, heals and loses no byte")
        self._start()
        prints = self._make_files(large_bytes)
        with connect(config=self._cluster.config(), environment=self._environment) as client:
            self._put(client, prints)
            self._look()
            killed = self._read_and_kill(client, prints)
            healing = Healing(self._stage, client, target=TARGET, large=LARGE)
            healing.watch_repair(killed)
            healing.flip_and_scrub(killed)
            healing.grow_and_level(killed)
            Succession(self._stage, target=TARGET).tell()
            self._read_back(client, prints)
            healing.ask_health()
        self._screen.summary(self._stage.clock.monotonic_s() - start_s)

    def _start(self) -> None:
        self._screen.step("Start a NameNode and three DataNodes, each a process of its own.")
        with self._screen.timed("all four answer"):
            self._cluster.up(datanodes=3)
        self._environment.pop("DFS_TOKEN", None)
        self._environment.update(self._cluster.variables())

    def _make_files(self, large_bytes: int) -> Prints:
        self._screen.step("Make something to store.")
        self._source.mkdir()
        copy_library(self._source / LIBRARY)
        write_random(self._source / LARGE, large_bytes, rng=SystemRandom())
        prints = take_prints(self._source)
        self._screen.say(
            f"Python's own library, {len(prints.files) - 1:,} files in "
            f"{len(prints.folders):,} folders, and {format_size(large_bytes)} of random bytes;"
        )
        self._screen.say("the SHA-256 of each is noted before DFS sees any of it.")
        return prints

    def _put(self, client: DfsClient, prints: Prints) -> None:
        self._screen.step("Put all of it into DFS, two copies each, fsynced before acknowledged.")
        client.mkdir(TARGET, parents=True)
        owed = 0
        for name in (LIBRARY, LARGE):
            size_bytes = self._size_of(prints, name)
            with self._screen.timed(f"put {name}", size_bytes), self._screen.bar(name) as bar:
                report = client.put(
                    [self._source / name], TARGET, options=_put_options(size_bytes), progress=bar
                )
            owed += report.owed
            self._check(report, bar)
        self._screen.prove(
            "every file is stored twice", f"{len(prints.files):,} files", held=owed == 0
        )

    def _look(self) -> None:
        self._screen.step("Look at it as any user would.")
        for words in (f"ls -l {TARGET}", f"ls {TARGET}/{LIBRARY}/json", "df -h", "whoami"):
            self._stage.command("dfs", words)

    def _read_and_kill(self, client: DfsClient, prints: Prints) -> str:
        name, node = self._victim(client)
        size_bytes = (self._source / LARGE).stat().st_size
        self._screen.step(f"Read {LARGE}, and kill a DataNode that holds it while it is read.")
        self._screen.say(f"{name} holds most of what is still to be read after {KILL_AT:.0%}.")
        self._back.mkdir()

        def strike() -> None:
            pid = self._cluster.kill(name)
            self._screen.alarm(f"kill -9 {pid}: {name} ({node}) is gone, in mid-read")

        with self._screen.timed("read to the end", size_bytes), self._screen.bar(LARGE) as bar:
            watch = _Strike(bar, at_bytes=int(size_bytes * KILL_AT), strike=strike)
            report = client.get([f"{TARGET}/{LARGE}"], self._back / LARGE, progress=watch)
        self._check(report, bar)
        same = digest_of(self._back / LARGE) == prints.files[LARGE]
        self._screen.prove(
            "a read goes on when its DataNode dies", "same SHA-256", held=same and watch.struck
        )
        return name

    def _read_back(self, client: DfsClient, prints: Prints) -> None:
        self._screen.step("Get everything back, and compare it with what was put.")
        shutil.rmtree(self._back)
        self._back.mkdir()
        with self._screen.timed("got all", prints.size_bytes), self._screen.bar("get") as bar:
            report = client.get(
                [f"{TARGET}/{LIBRARY}", f"{TARGET}/{LARGE}"],
                self._back,
                options=GetOptions(recursive=True),
                progress=bar,
            )
        self._check(report, bar)
        differences = prints.differences(take_prints(self._back))
        self._screen.differences(differences)
        self._screen.prove(
            "every file came back bit for bit",
            f"{len(prints.files):,} files, {format_size(prints.size_bytes)}, "
            f"{len(differences)} differences",
            held=not differences,
        )

    def _victim(self, client: DfsClient) -> tuple[str, str]:
        """The DataNode with most of the blocks behind the point of the kill: name and address."""
        located = client.locate(f"{TARGET}/{LARGE}")
        edge = located.status.size_bytes * KILL_AT
        held = Counter(
            holder.address.grpc_port
            for extent in located.extents
            if extent.file_offset >= edge
            for holder in extent.holders
        )
        port = held.most_common(1)[0][0]
        members = self._cluster.folder.load().of(DATANODE)
        return next((one.name, one.address) for one in members if one.port == port)

    def _check(self, report: TransferReport, bar: TransferBar) -> None:
        for note in bar.notes[:5]:
            self._screen.say(note)
        worst = report.worst()
        if worst is not None:
            raise worst

    def _size_of(self, prints: Prints, name: str) -> int:
        large_bytes = (self._source / LARGE).stat().st_size
        return large_bytes if name == LARGE else prints.size_bytes - large_bytes


class _Strike(TransferBar):
    """Passes progress on, and strikes once when so much was read, before the reader goes on."""

    def __init__(self, bar: TransferBar, *, at_bytes: int, strike: Callable[[], None]) -> None:
        self._bar = bar
        self._left_bytes = at_bytes
        self._strike = strike
        self._lock = threading.Lock()
        self.notes = bar.notes
        self.struck = False

    def started(self, files: int, size_bytes: int) -> None:
        """See `Progress`."""
        self._bar.started(files, size_bytes)

    def advanced(self, size_bytes: int) -> None:
        """See `Progress`."""
        self._bar.advanced(size_bytes)
        with self._lock:
            was_bytes, self._left_bytes = self._left_bytes, self._left_bytes - size_bytes
        if was_bytes > 0 >= self._left_bytes and not self.struck:
            self.struck = True
            self._strike()


def _put_options(size_bytes: int) -> PutOptions:
    """Blocks small enough that the large file has some thirty of them, on every DataNode."""
    block_bytes = max(MiB, min(128 * MiB, size_bytes // 32 // MiB * MiB))
    return PutOptions(recursive=True, replication=2, block_size_bytes=block_bytes)
