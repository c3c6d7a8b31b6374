"""DFS, as it is measured beside a peer."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.clusters import a_cluster
from bench.commands import program
from bench.peers.system import LARGE, TREE, Place
from bench.targets import DFS
from dfs import __version__

DATANODES = 3


class Ourselves:
    """Three DataNodes, two copies; commands are `dfs`, their start included."""

    name = DFS
    copies = 2
    durability = "each copy, its folder and the metadata are fsynced before the answer"

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stack = ExitStack()
        self._environment: Mapping[str, str] = {}

    def version(self) -> str:
        """Of this source tree."""
        return __version__

    def start(self) -> None:
        """A local cluster."""
        folder = self._place.data / "cluster"
        cluster = self._stack.enter_context(a_cluster(folder, datanodes=DATANODES))
        self._environment = {**os.environ, **cluster.variables()}

    def refresh(self) -> None:
        """Every command begins anew."""

    def stop(self) -> None:
        """End the cluster."""
        self._stack.close()

    def environment(self) -> Mapping[str, str]:
        """What points `dfs` at it."""
        return self._environment

    def put_large(self, source: Path) -> Sequence[str]:
        """`dfs put`."""
        return [*program(), "put", "--quiet", str(source), f"/{LARGE}"]

    def get_large(self, target: Path) -> Sequence[str]:
        """`dfs get`."""
        return [*program(), "get", "--quiet", f"/{LARGE}", str(target)]

    def remove_large(self) -> Sequence[str]:
        """`dfs rm`."""
        return [*program(), "rm", "--quiet", f"/{LARGE}"]

    def put_tree(self, source: Path) -> Sequence[str]:
        """`dfs put -r`."""
        return [*program(), "put", "--quiet", "-r", str(source), f"/{TREE}"]

    def get_tree(self, target: Path) -> Sequence[str]:
        """`dfs get -r`."""
        return [*program(), "get", "--quiet", "-r", f"/{TREE}", str(target)]

    def list_tree(self) -> Sequence[str]:
        """`dfs ls -R`."""
        return [*program(), "ls", "-R", f"/{TREE}"]

    def remove_tree(self) -> Sequence[str]:
        """`dfs rm -r`."""
        return [*program(), "rm", "-r", "--quiet", f"/{TREE}"]
