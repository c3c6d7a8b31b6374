"""Thousands of small files in, out, listed and removed, against `cp` of the same tree."""

from functools import partial

from bench import disk
from bench.ground import Ground
from bench.targets import (
    COPY_TREE,
    COPY_TREE_TWICE,
    GET_TREE,
    LIST_TREE,
    PUT_TREE,
    REMOVE_TREE,
)


def measure(ground: Ground) -> None:
    """Disk, DFS, disk, DFS ..."""
    source = ground.tree
    for _ in range(ground.sizes.rounds):
        with ground.out() as out:
            ground.time(COPY_TREE_TWICE, partial(disk.copy_tree_twice, source, out))
        ground.time_dfs(PUT_TREE, ["put", "--quiet", "-r", str(source), "/tree"])
        with ground.memory() as out:
            ground.time(COPY_TREE, partial(disk.copy_tree_once, source, out))
        with ground.memory() as out:
            ground.time_dfs(GET_TREE, ["get", "--quiet", "-r", "/tree", str(out / "got")])
        ground.time_dfs(LIST_TREE, ["ls", "-R", "/tree"])
        ground.time_dfs(REMOVE_TREE, ["rm", "-r", "--quiet", "/tree"])
    ground.figures.ratio(PUT_TREE, COPY_TREE_TWICE)
    ground.figures.ratio(GET_TREE, COPY_TREE)
