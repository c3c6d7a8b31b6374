"""Pure: the figures DFS is to reach, and whether what was measured reaches them.

A target belongs to the series of the same name, whichever command measures it; the median counts.
Ratios compare with what was measured in the same run, so a target holds on any machine; absolute
ones are meant for two cores and loopback.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure may be at most (or must be at least), and what would be better still."""

    limit: float
    aim: float | None = None
    at_least: bool = False

    def holds(self, value: float, limit: float) -> bool:
        """Whether the value is on the good side of that limit."""
        return value >= limit if self.at_least else value <= limit

    def verdict(self, value: float) -> str:
        """In one word or two."""
        if self.aim is not None and self.holds(value, self.aim):
            return "met, and the aim"
        return "met" if self.holds(value, self.limit) else "missed"

    def words(self) -> str:
        """As a table says it."""
        sign = "≥" if self.at_least else "≤"
        aim = "" if self.aim is None else f" (aim {self.aim:,g})"
        return f"{sign} {self.limit:,g}{aim}"


def over(name: str, yardstick: str) -> str:
    """The name of the ratio of two series."""
    return f"{name} / {yardstick}"


# The yardsticks, and what is measured against them.
DD_TWICE, CAT = "dd twice + fdatasync", "cat to memory"
COPY_TREE_TWICE, COPY_TREE = "cp tree twice + sync", "cp tree to memory"
NETWORK, SAME_HOST = "by the network", "same host"
PUT_LARGE, GET_LARGE = "put large", "get large"
PUT_TREE, GET_TREE, LIST_TREE, REMOVE_TREE = "put tree", "get tree", "ls -R", "rm -r"
VERSION = "dfs --version"
STAT, STAT_EMPTY = "stat", "stat, nothing else there"
STAT_STARTED = "stat, seconds after a start"
SINGLE, BATCHED, COMMITTED = "single creates", "batched creates", "batched creates by commit"
SINGLE_COMMITTED = "single creates by commit"
SCRUB_RATE = "scrub of cached data, rate"
COPY, HEAL = "copy + fsync", "heal"
CLIENT_PUT, CLIENT_GET = "peak memory of `dfs put`", "peak memory of `dfs get`"
DATANODE_PEAK = "peak memory of the largest DataNode"
START, NAMENODE_PEAK = "start-up until /health answers", "peak memory of the NameNode"
SHIPPED = ", two standbys"
SWITCHED, KILLED = "longest wait, switchover, {} times", "longest wait, leader killed, {} times"
WEED_TREE, GLUSTER_TREE = "SeaweedFS: put tree", "GlusterFS: get tree"


def of_system(system: str, name: str) -> str:
    """A series of one of several systems that are measured side by side."""
    return f"{system}: {name}"


DFS = "DFS"
TARGETS: Mapping[str, Target] = {
    SWITCHED.format("default"): Target(1.0),
    SWITCHED.format("short"): Target(1.0),
    KILLED.format("default"): Target(12.0),
    KILLED.format("short"): Target(2.0),
    over(f"{PUT_LARGE}, {NETWORK}", DD_TWICE): Target(1.4, 1.1),
    over(f"{PUT_LARGE}, {SAME_HOST}", DD_TWICE): Target(1.4, 1.1),
    over(f"{GET_LARGE}, {NETWORK}", CAT): Target(2.0, 1.3),
    over(f"{GET_LARGE}, {SAME_HOST}", CAT): Target(1.2),
    over(of_system(DFS, PUT_TREE), WEED_TREE): Target(0.3, 0.15),
    over(of_system(DFS, GET_TREE), GLUSTER_TREE): Target(1.0, 0.6),
    LIST_TREE: Target(0.35),
    REMOVE_TREE: Target(0.30),
    VERSION: Target(0.12),
    STAT: Target(2_500, 4_000, at_least=True),
    SINGLE: Target(1_500, at_least=True),
    SINGLE_COMMITTED: Target(1_500, at_least=True),
    BATCHED: Target(15_000, at_least=True),
    COMMITTED: Target(15_000, at_least=True),
    SCRUB_RATE: Target(1.5, at_least=True),
    over(COPY, HEAL): Target(0.6, at_least=True),
    CLIENT_PUT: Target(150),
    CLIENT_GET: Target(150),
    DATANODE_PEAK: Target(250),
    START: Target(5),
    NAMENODE_PEAK: Target(400),
    over(STAT, STAT_EMPTY): Target(0.8, at_least=True),
}
