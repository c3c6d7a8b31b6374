"""Survey and repair planning at a million blocks, on a real metadata database.

    python -m bench.repair_plan [--blocks 1000000]

Ten nodes, two copies of each block.  Measured: a survey in which every block is healthy, one after
a node died, one on two racks, and the plan that follows from each.
"""

import argparse
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from bench.commands import peak_bytes
from bench.figures import Figures
from dfs.base.checksum import block_hash
from dfs.base.clock import SystemClock
from dfs.base.entropy import Random
from dfs.base.events import SilentEmitter
from dfs.base.ids import NodeId
from dfs.base.records import NodeAddress, NodeUsage, NodeView
from dfs.base.states import NodeDuty, NodeState
from dfs.base.units import GiB, MiB
from dfs.blocks.redundancy import RepairClass, Standings, standings
from dfs.meta.cluster_tables import NODE
from dfs.meta.schema import Base
from dfs.meta.session import DATABASE_FILE, Reader, reader_engine, writer_engine
from dfs.meta.tables import BLOCK, REPLICA
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.settings.sections import LimitsConfig, NamenodeConfig
from dfs.upkeep.budget import budget_of
from dfs.upkeep.cluster_view import ClusterView
from dfs.upkeep.repair_plan import RepairLimits, plan_repair
from dfs.upkeep.surveyor import Surveyor

NODES = 10
BATCH = 20_000
ROUNDS = 3
HASH = block_hash(b"x")


def a_node(node: int, rack: str) -> NodeView:
    """A live node in service."""
    return NodeView(
        address=NodeAddress(NodeId(node), "127.0.0.1", 1, 1, rack),
        state=NodeState.LIVE,
        duty=NodeDuty.IN_SERVICE,
        usage=NodeUsage(1000 * GiB, 500 * GiB, 500 * GiB, 1.0, 0),
        first_total_bytes=1000 * GiB,
        first_free_bytes=1000 * GiB,
        registered_ms=1,
        silent_s=0.0,
    )


class Cluster:
    """The nodes, as the surveyor asks for them."""

    def __init__(self) -> None:
        self.nodes = [a_node(n, "/r0") for n in range(1, NODES + 1)]

    def standings(self) -> Standings:
        """What their copies are worth."""
        fresh = frozenset(view.node for view in self.nodes)
        return standings(self.nodes, fresh=fresh, urgent_after_s=60)


def holders(block: int) -> tuple[int, int]:
    """Two nodes, on different racks when odd and even nodes are on two."""
    first = block * 7 % NODES
    return first + 1, (first + 1 + 2 * (block % 4)) % NODES + 1


def rows(first: int, count: int) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Blocks and their copies."""
    for block in range(first, first + count):
        yield (
            {
                "id": block,
                "generation": block,
                "length_bytes": MiB,
                "hash": HASH,
                "state": "committed",
                "file": block,
                "number": 0,
                "replication": 2,
                "created_ms": 0,
                "acked": "",
            },
            [
                {
                    "block": block,
                    "node": node,
                    "generation": block,
                    "state": "live",
                    "verified_ms": 1,
                }
                for node in holders(block)
            ],
        )


def fill(file: Path, blocks: int) -> None:
    """The database, by the one writer, without the journal."""
    engine = writer_engine(file)
    Base.metadata.create_all(engine)
    clock = SystemClock()
    writer = Writer(
        engine,
        file,
        clock=clock,
        emit=SilentEmitter(),
        config=NamenodeConfig(),
        limits=LimitsConfig(),
        on_fatal=print,
    )
    for first in range(1, blocks + 1, BATCH):
        made = list(rows(first, min(BATCH, blocks + 1 - first)))

        def write(txn: Txn, made: list[Any] = made) -> None:
            txn.put_soft(BLOCK, *(block for block, _ in made))
            txn.put_soft(REPLICA, *(copy for _, copies in made for copy in copies))

        writer.submit(write)
    writer.submit(lambda txn: txn.put_soft(NODE, *(node_row(n) for n in range(1, NODES + 1))))
    writer.close()


def node_row(node: int) -> dict[str, Any]:
    """As it joined."""
    numbers = ("first_total_bytes", "first_free_bytes", "joined_ms", "registered_ms")
    return {
        "id": node,
        "uuid": f"{node:032x}",
        "secret_hash": b"",
        "host": "127.0.0.1",
        "grpc_port": 1,
        "http_port": 1,
        "rack": f"/r{node % 2}",
        "duty": "in_service",
        "version": "",
        "excused_until_ms": 0,
        **dict.fromkeys(numbers, 0),
    }


def measure(surveyor: Surveyor, cluster: Cluster, figures: Figures, what: str) -> None:
    """Surveys, and the plan from the last of them."""
    for _ in range(ROUNDS):
        with figures.series(f"survey, {what}").timed():
            survey = surveyor.survey_now()
    view = ClusterView(0, tuple(cluster.nodes), cluster.standings(), survey)
    for _ in range(ROUNDS):
        note = f"{survey.totals.urgency(RepairClass.LAST_COPY).blocks:,} blocks with one copy left"
        with figures.series(f"plan, {what}", note=note).timed():
            plan_repair(
                view,
                limits=RepairLimits(in_flight_per_node=2, copies_at_once=16),
                budget=budget_of({}, 0.0),
                rng=Random(1),
            )


def main() -> None:
    """Fill, survey, plan, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.repair_plan", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(".dfs-bench"), help="a folder to make")
    parser.add_argument("--blocks", type=int, default=1_000_000)
    args = parser.parse_args()
    folder = args.data.absolute()
    folder.mkdir()
    figures, cluster = Figures(), Cluster()
    try:
        file = folder / DATABASE_FILE
        with figures.series("fill the database").timed():
            fill(file, args.blocks)
        reader = Reader(reader_engine(file, connections=2))
        surveyor = Surveyor(reader, source=cluster, clock=SystemClock(), interval_s=3.0)
        measure(surveyor, cluster, figures, "all healthy")
        cluster.nodes[0] = replace(cluster.nodes[0], state=NodeState.DEAD)
        measure(surveyor, cluster, figures, "a node of ten dead")
        cluster.nodes = [a_node(n, f"/r{n % 2}") for n in range(1, NODES + 1)]
        measure(surveyor, cluster, figures, "two racks, all healthy")
        reader.close()
        figures.series("peak memory", "MiB").values.append(peak_bytes(os.getpid()) / MiB)
        figures.show(f"{args.blocks:,} blocks, two copies, {NODES} nodes")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
