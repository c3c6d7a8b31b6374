"""The REST shapes of balancing: the job that levels DataNodes, its plan, and disks of a node."""

import msgspec

from dfs.base.records import BlockName, Refusal
from dfs.wire.shapes import Reply, Request


class BalanceRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Level the DataNodes; what is not said is as configured.

    `threshold_percent`: how far a node's use may be from the mean.
    """

    threshold_percent: float | None = None
    bandwidth_bytes: int | None = None  # a second, of all moves together


class NodeShare(msgspec.Struct, frozen=True, kw_only=True):
    """How full one node is beside the others; bytes that are on their way count as arrived."""

    node: int
    side: str  # over, within, under; out: takes no part, `why` says for what reason
    percent: float
    used_bytes: int
    total_bytes: int
    excess_bytes: int  # above the mean; below zero what it lacks
    why: str = ""  # also, when nothing moved, why


class BalanceReply(Reply, frozen=True, kw_only=True):
    """The job that levels the DataNodes: the one that runs, or the last.

    `state`: idle (there was none), running, done, stuck (no more can move), stopped.
    """

    state: str
    why: str = ""  # how it ended; of a running one what it waits for
    by: str = ""  # who started it
    threshold_percent: float
    mean_percent: float
    bandwidth_bytes: int
    started_ms: int = 0
    ended_ms: int = 0
    total_bytes: int = 0  # to move, as it was at the start
    moved_bytes: int = 0
    moved_blocks: int = 0
    failed_moves: int = 0
    left_bytes: int = 0  # to move, as of now
    in_flight: int = 0
    rate_bytes_per_s: float = 0.0  # over the last minute
    eta_s: float = 0.0  # 0 when it cannot be told
    nodes: list[NodeShare] = []


class PlannedMove(msgspec.Struct, frozen=True, kw_only=True):
    """A block that would move, and a path of a file that it is in ("": of none)."""

    block: BlockName
    path: str = ""
    source: int
    target: int
    size_bytes: int
    reason: str


class BalancePlanReply(Reply, frozen=True, kw_only=True):
    """What balancing would begin with, if it were started now."""

    threshold_percent: float
    mean_percent: float
    total_bytes: int  # to move until every node is within the threshold
    planned_bytes: int
    moves: list[PlannedMove]
    nodes: list[NodeShare]
    words: str  # where the cluster stands


class DisksRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Let nodes level their own disks (none named: all with several), or stop that."""

    nodes: list[str] = []
    threshold_percent: float | None = None
    stop: bool = False


class DisksOrdered(Reply, frozen=True, kw_only=True):
    """Which nodes were ordered, and which were not and why."""

    nodes: list[int]
    refused: list[Refusal] = []
    threshold_percent: float
