"""`make bench`: a local cluster against `cp` on the same disk, in the same run.

Every transfer is the `dfs` command as a user types it, start-up included.  Rounds alternate between
DFS and the yardstick, so that what the machine does meanwhile falls on both.
"""

import argparse
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import disk
from bench.clusters import a_cluster
from bench.figures import Figures
from bench.load import creates_per_second, stats_per_second
from bench.memory import peak_bytes, run_dfs
from dfs.base.units import GiB, MiB, format_size, parse_size
from dfs.client import connect
from dfs.local.cluster import LocalCluster

LARGE, TREE = "large", "tree"


class Bench:
    """The rounds."""

    def __init__(self, folder: Path, cluster: LocalCluster) -> None:
        self._source = folder / "source"
        self._out = folder / "out"
        self._cluster = cluster
        self._environment: Mapping[str, str] = {**os.environ, **cluster.variables()}
        self.figures = Figures()

    def prepare(self, large_bytes: int) -> None:
        """Make what is moved."""
        self._source.mkdir(parents=True)
        disk.make_large(self._source / LARGE, large_bytes)
        disk.make_tree(self._source / TREE)

    def transfer_round(self) -> None:
        """Each transfer once, and its yardstick."""
        self._disk("cp large twice + fdatasync", disk.copy_large_twice, LARGE)
        self._dfs("put large", ["put", "--quiet", str(self._source / LARGE), "/large"])
        self._disk("cp large", disk.copy_large_once, LARGE)
        self._get("get large", "/large")
        self._disk("cp tree twice + sync", disk.copy_tree_twice, TREE)
        self._dfs("put tree", ["put", "--quiet", "-r", str(self._source / TREE), "/tree"])
        self._disk("cp tree", disk.copy_tree_once, TREE)
        self._get("get tree", "/tree")
        self._dfs("ls -R", ["ls", "-R", "/tree"])
        self._dfs("rm -r", ["rm", "-r", "--quiet", "/tree"])
        self._dfs("rm large", ["rm", "--quiet", "/large"])

    def names_round(self, number: int) -> None:
        """Operations on names."""
        with connect(config=self._cluster.config(), environment=self._environment) as client:
            root = f"/names-{number}"
            client.mkdir(root)
            creates_per_second(client, root, self.figures)
            stats_per_second(client, f"{root}/single-00000", self.figures, "stat")

    def finish(self) -> None:
        """Ratios, and the memory each process took at most."""
        for name, over in (
            ("put large", "cp large twice + fdatasync"),
            ("get large", "cp large"),
            ("put tree", "cp tree twice + sync"),
            ("get tree", "cp tree"),
        ):
            self.figures.ratio(name, over)
        for one in self._cluster.status():
            mib = peak_bytes(one.pid) / MiB
            self.figures.series(f"peak memory of {one.name}", "MiB").values.append(mib)

    def _disk(self, name: str, copy: Callable[[Path, Path], None], what: str) -> None:
        self._out.mkdir()
        with self.figures.series(name).timed():
            copy(self._source / what, self._out)
        shutil.rmtree(self._out)

    def _get(self, name: str, path: str) -> None:
        self._out.mkdir()
        self._dfs(name, ["get", "--quiet", "-r", path, str(self._out / "got")])
        shutil.rmtree(self._out)

    def _dfs(self, name: str, words: Sequence[str]) -> None:
        with self.figures.series(name).timed():
            peak = run_dfs(words, self._environment)
        self.figures.series(f"peak memory of `dfs {name}`", "MiB").values.append(peak / MiB)


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(".dfs-bench"), help="a folder to make")
    parser.add_argument("--size", type=parse_size, default=GiB, help="of the large file (1GiB)")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement (3)")
    args = parser.parse_args()
    folder = args.data.absolute()
    folder.mkdir()
    try:
        with a_cluster(folder / "cluster", datanodes=3) as cluster:
            bench = Bench(folder, cluster)
            bench.prepare(args.size)
            for number in range(args.rounds):
                bench.transfer_round()
                bench.names_round(number)
            bench.finish()
        title = f"{format_size(args.size)} file, {disk.FOLDERS * disk.FILES_EACH:,} files of 8 KiB"
        bench.figures.show(f"{title}, 3 DataNodes, 2 copies, {os.cpu_count()} cores")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
