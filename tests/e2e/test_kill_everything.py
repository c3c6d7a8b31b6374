"""Clients write while every process, theirs too, is killed at random moments and started again.

They write single files and trees, over the sockets of DataNodes of this computer and over the
network; what they wrote is read by single calls and by bulk, by both ways.

The seed is printed; the moments are those of the machine, so a seed gives the order of kills and
not their instants.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dfs.base.entropy import Random
from dfs.base.errors import DataUnavailable, DfsError, PeerUnreachable
from dfs.client import DfsClient
from tests.cluster_rig import RigCluster, running_cluster, wait_until
from tests.e2e.kill_writer import World, content, count_done, worlds

ROOT = Path(__file__).resolve().parents[2]
WRITERS = 3
KILLS = 4  # of one process each, before that of everything at the end of a round
PAUSE_S = 0.8  # the longest between two kills


class Writers:
    """Client processes, each in a directory of its own."""

    def __init__(self, cluster: RigCluster, rng: Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self.errors = cluster.root / "writers.log"

    def start(self, number: int) -> None:
        """Begin, or go on with the same diary."""
        seed = str(self._rng.getrandbits(32))
        way = ("on", "off")[number % 2]
        words = [self.remote(number), str(self.diary(number)), seed, way]
        with self.errors.open("ab") as log:
            self._running[number] = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.kill_writer", *words],
                cwd=ROOT,
                env=self._cluster.variables,
                stdout=log,
                stderr=log,
            )

    def kill(self, number: int) -> None:
        """SIGKILL."""
        process = self._running.pop(number)
        process.kill()
        process.wait(timeout=30)

    def kill_all(self) -> None:
        """SIGKILL for each that runs."""
        for number in list(self._running):
            self.kill(number)

    def remote(self, number: int) -> str:
        """Its directory."""
        return f"/writers/{number}"

    def diary(self, number: int) -> Path:
        """Its diary."""
        return self._cluster.root / f"diary-{number}"

    def done(self) -> int:
        """Operations acknowledged by now."""
        diaries = (self.diary(number) for number in range(WRITERS))
        return sum(count_done(diary) for diary in diaries if diary.exists())


def _storm(cluster: RigCluster, writers: Writers, rng: Random) -> None:
    """Kill some at random moments and start them again; then everything at one moment."""
    before = writers.done()
    for number in range(WRITERS):
        writers.start(number)
    wait_until(lambda: writers.done() >= before + WRITERS, "the writers write")
    everything: list[str | int] = [*cluster.names, *range(WRITERS)]
    victims = rng.sample(everything, KILLS)
    while victims:
        together = [victims.pop() for _ in range(min(len(victims), rng.choice((1, 1, 1, 2, 3))))]
        time.sleep(rng.uniform(0.0, PAUSE_S))  # the random moment
        for victim in together:
            if isinstance(victim, int):
                writers.kill(victim)
            else:
                cluster.kill(victim)
        # The NameNode first: a DataNode is only up when it is known there.
        for victim in sorted(together, key=lambda v: (isinstance(v, str), v != "nn-1", str(v))):
            if isinstance(victim, int):
                writers.start(victim)
            else:
                cluster.start("nn-1")
                cluster.start(victim)
    time.sleep(rng.uniform(0.0, PAUSE_S))
    rng.shuffle(everything)
    for victim in everything:
        if isinstance(victim, int):
            writers.kill(victim)
        else:
            cluster.kill(victim)
    cluster.up()


def _read_all(client: DfsClient, remote: str) -> dict[str, bytes]:
    """Every file there, in bulk; one by one what does not come so."""
    paths = [status.path for status in client.listdir(remote)]
    return {
        path.rsplit("/", 1)[1]: _read(client, path) if isinstance(data, DfsError) else data
        for path, data in client.read_many(paths)
    }


def _read(client: DfsClient, path: str) -> bytes:
    """A DataNode that has just started may not serve yet."""
    found = b""

    def is_read() -> bool:
        nonlocal found
        try:
            found = client.read_bytes(path)
        except (DataUnavailable, PeerUnreachable):
            return False
        return True

    wait_until(is_read, f"{path} can be read", within_s=30)
    return found


def _judge(cluster: RigCluster, writers: Writers) -> None:
    with cluster.client(local_transfers=True) as near, cluster.client(local_transfers=False) as far:
        for number in range(WRITERS):
            remote = writers.remote(number)
            allowed = worlds(writers.diary(number))
            found = _read_all(near, remote)
            single = {f"{remote}/{name}": data for name, data in found.items()}
            assert {path: _read(far, path) for path in single} == single
            assert any(_is(world, remote, found) for world in allowed), (
                f"{remote}: {sorted((n, len(d)) for n, d in found.items())}"
                f" is none of {[sorted(world) for world in allowed]}"
            )
    wait_until(lambda: not cluster.parts(), "no .part is left")
    cluster.check_metadata()


def _is(world: World, remote: str, found: dict[str, bytes]) -> bool:
    return {name: content(remote, number) for name, number in world} == found


def _run_rounds(folder: Path, rounds: int) -> None:
    seed = int(os.environ.get("KILL_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    print(f"KILL_SEED={seed}", flush=True)
    rng = Random(seed)
    with running_cluster(folder / "cluster", datanodes=3) as cluster:
        writers = Writers(cluster, rng)
        try:
            for number in range(rounds):
                began = time.monotonic()
                try:
                    _storm(cluster, writers, rng)
                    _judge(cluster, writers)
                except (AssertionError, DfsError) as exc:
                    pytest.fail(f"KILL_SEED={seed} round {number}: {exc}\n{cluster.last_words()}")
                took_s = time.monotonic() - began
                print(f"round {number}: {writers.done()} acknowledged, {took_s:.1f} s", flush=True)
        finally:
            writers.kill_all()
        assert "Traceback" not in writers.errors.read_text()


@pytest.mark.timeout(300)
def test_acknowledged_files_survive_kills_of_every_process(tmp_path: Path) -> None:
    _run_rounds(tmp_path, 1)


@pytest.mark.faults
@pytest.mark.timeout(5400)
def test_acknowledged_files_survive_fifty_rounds_of_kills_of_every_process(tmp_path: Path) -> None:
    _run_rounds(tmp_path, 50)
