"""Healing a DataNode that died, against copying the same bytes on the same disk.

    python -m bench.heal [--size 4GiB] [--data FOLDER]

A real cluster of four DataNodes on one disk is filled until the one that will die holds so many
bytes, in two copies of every block.  It is killed, and counted from the moment it is declared dead:
how long until every block has two copies again on the others.  The yardstick is what a disk must at
least do for that: the same block files read and written once, each fsynced.
"""

import argparse
import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy import text as sql
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from bench.clusters import a_cluster
from bench.figures import Figures
from bench.targets import COPY, HEAL
from dfs.base.entropy import Random
from dfs.base.states import NodeState
from dfs.base.units import GiB, MiB, format_size, parse_size
from dfs.client import DfsClient, PutOptions, connect
from dfs.local.cluster import LocalCluster
from dfs.local.roster import NAMENODE
from dfs.meta.session import DATABASE_FILE
from dfs.wire import routes
from dfs.wire.shapes import Nothing

DATANODES, COPIES = 4, 2
FILE_BYTES = 256 * MiB
POLL_S = 0.25
GIVE_UP_S = 3600.0
# Nothing but the disk is to hold it back, and it begins once the node counts as dead: soon.
DEAD_AFTER, DEAD_AFTER_HERE = "dead_after_s = 60s", "dead_after_s = 15s"
SETTINGS = """
[repair]
urgent_after_s = 60s
last_copy_bytes = 0
few_copies_bytes = 0
under_bytes = 0
misplaced_bytes = 0
"""
LACKING = sql(
    "SELECT count(*), coalesce(sum(length_bytes), 0) FROM (SELECT b.id, b.length_bytes FROM block b"
    " LEFT JOIN replica r ON r.block = b.id AND r.generation = b.generation"
    " AND r.state = 'live' AND r.node != :dead"
    " WHERE b.state = 'committed' GROUP BY b.id HAVING count(r.node) < b.replication)"
)
HELD = sql(
    "SELECT r.node, sum(b.length_bytes) FROM replica r JOIN block b ON b.id = r.block"
    " WHERE r.state = 'live' AND b.state = 'committed' GROUP BY r.node"
)


class HealBench:
    """One round: fill, kill, wait."""

    def __init__(self, folder: Path, cluster: LocalCluster, client: DfsClient) -> None:
        self._folder = folder
        self._cluster = cluster
        self._client = client
        self._metadata = _metadata_of(cluster)
        self.figures = Figures()

    def fill(self, size_bytes: int) -> tuple[int, int]:
        """Put files until some node holds so much; that node, and what it holds."""
        source = self._folder / "source"
        rng = Random(1)
        number = 0
        while True:
            held = self._held()
            fullest = max(held, key=lambda node: held[node], default=0)
            if held and held[fullest] >= size_bytes:
                source.unlink()
                return fullest, held[fullest]
            _write(source, min(FILE_BYTES, size_bytes), rng)
            options = PutOptions(replication=COPIES)
            report = self._client.put([source], f"/file-{number:04}", options=options)
            assert not report.failed, report.failed
            number += 1

    def measure(self, node: int, held_bytes: int) -> None:
        """Kill the node and wait until the others have what it held."""
        name = f"dn-{node}"
        data = next(Path(one.data) for one in self._cluster.status() if one.name == name)
        self._cluster.kill(name)
        began_s = time.monotonic()
        _wait(lambda: self._is_dead(node), "the node counts as dead")
        silence_s = time.monotonic() - began_s
        with self.figures.series(HEAL).timed():
            _wait(lambda: self._lacking(node) == 0, "every block has its copies")
        with self.figures.series(COPY).timed():
            _copy(sorted((data / "blocks").rglob("*")), self._folder / "copies")
        for one in (HEAL, COPY):
            rate = held_bytes / MiB / self.figures.series(one).median
            self.figures.add(f"{one}, rate", rate, "MiB/s")
        self.figures.add("until it counts as dead", silence_s, note="not part of heal")

    def _is_dead(self, node: int) -> bool:
        views = self._client.link.call(routes.NODES, Nothing()).nodes
        return any(view.node == node and view.state is NodeState.DEAD for view in views)

    def _lacking(self, dead: int) -> int:
        with self._metadata.connect() as connection:
            blocks, _ = connection.execute(LACKING, {"dead": dead}).one()
        return int(blocks)

    def _held(self) -> dict[int, int]:
        with self._metadata.connect() as connection:
            rows = connection.execute(HELD).all()
        return {int(node): int(held) for node, held in rows}


def _unleash(cluster: LocalCluster) -> None:
    """Start it again with repair that nothing but the disk holds back."""
    cluster.down()
    text = cluster.folder.config.read_text()
    assert DEAD_AFTER in text
    cluster.folder.config.write_text(text.replace(DEAD_AFTER, DEAD_AFTER_HERE) + SETTINGS)
    cluster.up(datanodes=DATANODES)


def _metadata_of(cluster: LocalCluster) -> Engine:
    """The NameNode's database, to look at."""
    data = next(Path(one.data) for one in cluster.status() if one.role == NAMENODE)
    return create_engine(
        f"sqlite:///file:{data / DATABASE_FILE}?mode=ro&uri=true", poolclass=NullPool
    )


def _write(file: Path, size_bytes: int, rng: Random) -> None:
    with file.open("wb") as out:
        for offset in range(0, size_bytes, 4 * MiB):
            out.write(rng.randbytes(min(4 * MiB, size_bytes - offset)))


def _copy(files: list[Path], target: Path) -> None:
    target.mkdir()
    for number, file in enumerate(path for path in files if path.is_file()):
        copy = target / f"{number:06}"
        shutil.copyfile(file, copy)
        with copy.open("rb") as written:
            os.fsync(written.fileno())


def _wait(holds: Callable[[], bool], what: str) -> None:
    give_up_s = time.monotonic() + GIVE_UP_S
    while not holds():
        assert time.monotonic() < give_up_s, f"not within {GIVE_UP_S:.0f} s: {what}"
        time.sleep(POLL_S)


def heal(folder: Path, size_bytes: int) -> Figures:
    """A new cluster in the folder, one of its nodes filled with so much and killed."""
    folder.mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        cluster = stack.enter_context(a_cluster(folder / "cluster", datanodes=0))
        _unleash(cluster)
        environment = {**os.environ, **cluster.variables()}
        client = stack.enter_context(connect(config=cluster.config(), environment=environment))
        bench = HealBench(folder, cluster, client)
        node, held_bytes = bench.fill(size_bytes)
        bench.measure(node, held_bytes)
        return bench.figures


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.heal", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(".dfs-bench"), help="a folder to make")
    parser.add_argument("--size", type=parse_size, default=4 * GiB, help="of the dead node (4GiB)")
    args = parser.parse_args()
    figures = heal(args.data.absolute(), args.size)
    figures.ratio(COPY, HEAL)
    figures.show(
        f"a dead node of {format_size(args.size)} or more, {DATANODES - 1} others, one disk,"
        f" {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
