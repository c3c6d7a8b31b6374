"""Metadata at a million files: how long it takes, how large it is, how fast it answers.

    python -m bench.million [--files 1000000]

One real NameNode, and DataNodes of paper (`paper_node.py`) that sign for one block of each file on
two copies: a million inodes, names, extents and blocks, two million replicas.  It is asked while it
is empty; once it holds them all it is stopped and started, and asked again.
"""

import argparse
import re
import shutil
import sys
import time
from pathlib import Path

import msgspec

from bench.clusters import a_cluster
from bench.commands import peak_bytes
from bench.figures import Figures
from bench.load import stats_per_second
from bench.paper_node import PaperNode
from bench.targets import NAMENODE_PEAK, START, STAT, STAT_EMPTY, STAT_STARTED
from bench.workloads.requests import create
from dfs.base.checksum import block_hash
from dfs.base.records import BlockTruth, WrittenBlock
from dfs.base.units import MiB
from dfs.client import DfsClient, connect
from dfs.local.cluster import LocalCluster
from dfs.wire import data_api as d
from dfs.wire import routes

BATCH = 1_000
CONTENT = b"x" * 1_024
HASH = block_hash(CONTENT)
ROUNDS = 3
LOOKED_OVER_WITHIN_S = 300.0
DAEMON_STARTED = '"event":"daemon.started"'
DAEMON_JOB = re.compile('"event":"job.finished".*"job":"(soundness|repair)"')


def fill(client: DfsClient, nodes: dict[int, PaperNode], folder: int) -> None:
    """A folder of a thousand files with a block each."""
    files = [
        d.NewFile(path=f"/million/{folder:04}/file-{number:04}", size_bytes=len(CONTENT))
        for number in range(BATCH)
    ]
    opened = client.link.call(routes.CREATE, d.CreateRequest(files=files))
    items = []
    for one in opened.outcomes:
        assert one.value is not None, one.error
        (block,) = one.value.blocks
        truth = BlockTruth(block.name.block, block.name.generation, len(CONTENT), HASH)
        receipts = tuple(nodes[target.node].sign(truth) for target in block.targets)
        written = [WrittenBlock(truth, receipts)]
        items.append(d.CompleteItem(inode=one.value.inode, lease=one.value.lease, blocks=written))
    done = client.link.call(routes.COMPLETE, d.CompleteRequest(items=items))
    assert all(one.error is None for one in done.outcomes)


def build(cluster: LocalCluster, client: DfsClient, files: int, figures: Figures) -> None:
    """All of them, a thousand at a time."""
    session = cluster.session()
    session.open()
    nodes = [PaperNode(client.link.namenodes[0], session.join_token(uses=1)) for _ in range(2)]
    session.close()
    try:
        client.mkdir("/million")
        client.mkdir_all([f"/million/{folder:04}" for folder in range(files // BATCH)])
        rate = figures.series("files created", "1/s", "create + complete, 1,000 a request")
        for folder in range(files // BATCH):
            start_s = time.perf_counter()
            fill(client, {int(node.node): node for node in nodes}, folder)
            rate.values.append(BATCH / (time.perf_counter() - start_s))
    finally:
        for node in nodes:
            node.close()


def ask_empty(client: DfsClient, figures: Figures) -> None:
    """What a NameNode that holds next to nothing answers."""
    client.mkdir("/few")
    create(client, ["/few/file"])
    for _ in range(ROUNDS):
        stats_per_second(client, "/few/file", figures, STAT_EMPTY)


def ask(cluster: LocalCluster, client: DfsClient, files: int, figures: Figures) -> None:
    """What a NameNode that holds them does."""
    name = cluster.folder.load().members[0].name
    for _ in range(ROUNDS):
        cluster.stop(name)
        with figures.series(START).timed():
            cluster.start(name)
        stats_per_second(client, "/million/0000/file-0500", figures, STAT_STARTED)
        wait_looked_over(cluster)
        with figures.series("list a folder of 1,000").timed():
            assert sum(1 for _ in client.listdir("/million/0000")) == BATCH
        with figures.series("du of everything").timed():
            assert client.du("/million").files == files
        stats_per_second(client, "/million/0000/file-0500", figures, STAT)
    with figures.series("walk everything").timed():
        assert sum(1 for _ in client.walk("/million")) == files + files // BATCH
    figures.ratio(STAT, STAT_EMPTY)


def wait_looked_over(cluster: LocalCluster) -> None:
    """Until what a NameNode looks over once after a start is behind it: its database, and every
    block, none of which a DataNode has here.
    """
    log = cluster.folder.log(cluster.folder.load().members[0])
    deadline_s = time.monotonic() + LOOKED_OVER_WITHIN_S
    wanted = {"soundness", "repair"}
    while wanted:
        assert time.monotonic() < deadline_s, f"not over: {wanted}"
        time.sleep(1)
        lines = log.read_text().splitlines()
        begun = max(at for at, line in enumerate(lines) if DAEMON_STARTED in line)
        for line in filter(DAEMON_JOB.search, lines[begun:]):
            told = msgspec.json.decode(line)
            if told["job"] == "soundness" or told["report"].get("surveyed"):
                wanted.discard(told["job"])


def sizes(cluster: LocalCluster, figures: Figures) -> None:
    """On disk and in memory."""
    member = cluster.folder.load().members[0]
    data = cluster.folder.data(member)
    total = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    figures.add("NameNode's folder", total / MiB, "MiB")
    peak = peak_bytes(cluster.status()[0].pid) / MiB
    figures.add(NAMENODE_PEAK, peak, "MiB", "since its last start")


def main() -> None:
    """Fill, restart, ask, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.million", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(".dfs-bench"), help="a folder to make")
    parser.add_argument("--files", type=int, default=1_000_000, help="a multiple of 1,000")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there, too")
    args = parser.parse_args()
    folder = args.data.absolute()
    folder.mkdir()
    figures = Figures()
    try:
        with (
            a_cluster(folder / "cluster", datanodes=0) as cluster,
            connect(config=cluster.config()) as client,
        ):
            ask_empty(client, figures)
            build(cluster, client, args.files, figures)
            ask(cluster, client, args.files, figures)
            sizes(cluster, figures)
        title = f"{args.files:,} files of one block, two copies"
        figures.show(title)
        if args.json:
            figures.write_json(args.json, title=title, command=sys.argv[1:])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
