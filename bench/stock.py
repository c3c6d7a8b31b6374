"""The NameNode's load by the stock of many DataNodes: beats, first reports, reports by sums.

A NameNode with its own database answers DataNodes of paper over HTTP; what they hold is in its rows
already (a restart) or not yet (first time).  The figures are seconds of this machine's time and of
the NameNode's processor time; the paper nodes, which pack the reports, are on the same machine.
"""

import argparse
import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.clusters import a_cluster
from bench.figures import Figures
from bench.paper_node import a_usage
from dfs import __version__
from dfs.base.entropy import new_id
from dfs.base.errors import Overloaded
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName, StockEntry, VolumeStatus
from dfs.base.states import StoredState, VolumeState
from dfs.base.units import TiB
from dfs.local.cluster import LocalCluster
from dfs.meta.session import writer_engine
from dfs.wire import nodes_api as n
from dfs.wire import routes
from dfs.wire.http_link import HttpLink
from dfs.wire.routes import Route
from dfs.wire.shapes import Request
from dfs.wire.stock_sums import StockSums, bucket_of

ROUNDS = 3
PAGE = 10_000
BEAT_S = 3.0
CHANGED = 100  # blocks that differ on each node in the round of changes
COPIES = 2
Q = TypeVar("Q", bound=Request)
R = TypeVar("R")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """How much of it."""

    nodes: int
    blocks: int  # on each node


def entry_of(block: int) -> StockEntry:
    """A whole copy of a block."""
    name = BlockName(InodeId(block), 0, BlockId(block), Generation(block))
    return StockEntry(name, 4096, block.to_bytes(16, "big"), StoredState.FINAL, 1)


class StockNode:
    """One DataNode without a disk, that says what it holds."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._http = HttpLink(timeout_s=60)
        self._uuid = new_id()
        joined = self._http.call(url, routes.JOIN, n.JoinRequest(token=token, uuid=self._uuid))
        self.node, self._secret, self._cluster = joined.node, joined.secret, joined.cluster
        self._epoch = 0
        self._sequence = 0

    def register(self) -> None:
        """Say that it started."""
        registration = n.NodeRegistration(
            cluster=self._cluster,
            host="127.0.0.1",
            grpc_port=self.node,  # nobody calls there; an address has one node
            http_port=1,
            rack="/default",
            version=__version__,
            restarts=0,
            clean_stop=True,
            usage=a_usage(),
            volumes=self._volumes(),
        )
        reply = self._http.call(
            self._url, routes.REGISTER_NODE, registration, credential=self._secret
        )
        self._epoch = reply.epoch

    def beat(self) -> None:
        """Say that it lives."""
        beat = n.Beat(usage=a_usage(), volumes=self._volumes(), epoch=self._epoch, keys=[])
        self._http.call(self._url, routes.BEAT, beat, credential=self._secret)

    def report(self, held: Sequence[StockEntry]) -> int:
        """A full report as a DataNode makes it; how many blocks had to be listed."""
        self._sequence += 1
        sums = StockSums()
        sums.add_entries(held)
        digests = n.StockDigests(
            epoch=self._epoch, sequence=self._sequence, counts=sums.counts, sums=sums.sums
        )
        reply = self._patiently(routes.STOCK_DIGESTS, digests)
        buckets = frozenset(reply.buckets)
        if not buckets:
            return 0
        listed = [entry for entry in held if bucket_of(entry.name.block) in buckets]
        for page, start in enumerate(range(0, max(len(listed), 1), PAGE)):
            report = n.StockReport(
                epoch=self._epoch,
                sequence=self._sequence,
                full=True,
                page=page,
                last_page=start + PAGE >= len(listed),
                entries=listed[start : start + PAGE],
                buckets=sorted(buckets),
            )
            self._patiently(routes.STOCK, report)
        return len(listed)

    def close(self) -> None:
        """Fall silent."""
        self._http.close()

    def _patiently(self, route: Route[Q, R], body: Q) -> R:
        while True:
            try:
                return self._http.call(self._url, route, body, credential=self._secret)
            except Overloaded:
                time.sleep(0.05)

    def _volumes(self) -> list[VolumeStatus]:
        return [VolumeStatus(self._uuid, "/paper", VolumeState.ONLINE, 100 * TiB, 90 * TiB, TiB, 0)]


@contextlib.contextmanager
def measured(figures: Figures, name: str, pid: int, note: str = "") -> Iterator[None]:
    """Seconds it takes, and seconds of the NameNode's processor time."""
    cpu = processor_s(pid)
    with figures.series(name, "s", note).timed():
        yield
    figures.series(f"{name}: NameNode's processor", "s").values.append(processor_s(pid) - cpu)


def processor_s(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def holdings(load: Load) -> list[list[StockEntry]]:
    """What each node holds: every block on two nodes next to each other."""
    blocks = load.nodes * load.blocks // COPIES
    held: list[list[StockEntry]] = [[] for _ in range(load.nodes)]
    for block in range(1, blocks + 1):
        for copy in range(COPIES):
            held[(block + copy) % load.nodes].append(entry_of(block))
    return held


def fill(database: Path, held: Sequence[Sequence[StockEntry]]) -> None:
    """Give a stopped NameNode the blocks, without the files: nothing here looks at files."""
    blocks = {entry.name.block: entry for entries in held for entry in entries}
    engine = writer_engine(database)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.exec_driver_sql(
            "INSERT INTO block (id, generation, length_bytes, hash, state, file, number,"
            " replication, created_ms, acked) VALUES (?, ?, ?, ?, 'committed', ?, 0, ?, 1, '')",
            [
                (block, block, each.length_bytes, each.hash, each.name.file, COPIES)
                for block, each in sorted(blocks.items())
            ],
        )
        connection.exec_driver_sql(
            "INSERT INTO sequence (name, next) VALUES ('block', ?), ('generation', ?)"
            " ON CONFLICT (name) DO UPDATE SET next = excluded.next",
            (len(blocks) + 1, len(blocks) + 1),
        )
        connection.exec_driver_sql("COMMIT")
    engine.dispose()


class Rounds:
    """Everything that is measured."""

    def __init__(self, cluster: LocalCluster, load: Load, figures: Figures) -> None:
        self._cluster, self._load, self._figures = cluster, load, figures
        self._member = cluster.folder.load().members[0]
        self._held = holdings(load)

    def run(self) -> None:
        """First time, restarts, changes."""
        nodes = self._join()
        try:
            self._restart(nodes, fill_first=True)
            note = f"{self._load.nodes} nodes x {self._load.blocks:,} blocks, nothing known"
            with measured(self._figures, "first reports", self._pid, note):
                assert self._report_all(nodes) == sum(map(len, self._held))
            for _ in range(ROUNDS):
                self._restart(nodes, fill_first=False)
                with measured(self._figures, "reports after a restart", self._pid, "unchanged"):
                    assert self._report_all(nodes) == 0
                self._change()
                note = f"{CHANGED} blocks gone from each"
                with measured(self._figures, "reports of changes", self._pid, note):
                    self._report_all(nodes)
                with measured(self._figures, "beats", self._pid, "one of each node"):
                    for node in nodes:
                        node.beat()
        finally:
            for node in nodes:
                node.close()

    def _report_all(self, nodes: Sequence[StockNode]) -> int:
        """One node after the other, while all go on beating; how many blocks had to be listed."""
        listed, beaten_s = 0, time.perf_counter()
        for node, held in zip(nodes, self._held, strict=True):
            listed += node.report(held)
            if time.perf_counter() - beaten_s >= BEAT_S:
                for each in nodes:
                    each.beat()
                beaten_s = time.perf_counter()
        return listed

    @property
    def _pid(self) -> int:
        return self._cluster.status()[0].pid

    def _join(self) -> list[StockNode]:
        url = self._cluster.config().cluster.namenodes[0]
        with contextlib.closing(self._cluster.session()) as session:
            session.open()
            token = session.join_token(uses=self._load.nodes)
        return [StockNode(url, token) for _ in range(self._load.nodes)]

    def _restart(self, nodes: Sequence[StockNode], *, fill_first: bool) -> None:
        self._cluster.stop(self._member.name)
        if fill_first:
            data = self._cluster.folder.data(self._member)
            fill(next(data.rglob("dfs.sqlite")), self._held)
        self._cluster.start(self._member.name)
        with measured(self._figures, "registrations", self._pid):
            for node in nodes:
                node.register()

    def _change(self) -> None:
        for held in self._held:
            del held[:CHANGED]


def main() -> None:
    """Fill, restart, report, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.stock", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(".dfs-bench"), help="a folder to make")
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--blocks", type=int, default=10_000, help="on each node")
    args = parser.parse_args()
    folder = args.data.absolute()
    folder.mkdir()
    figures = Figures()
    try:
        with a_cluster(folder / "cluster", datanodes=0) as cluster:
            Rounds(cluster, Load(args.nodes, args.blocks), figures).run()
        figures.show(f"{args.nodes} DataNodes of {args.blocks:,} blocks each")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
