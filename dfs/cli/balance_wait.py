"""Waiting for the DataNodes, or the disks of some, to be level.

What is waited for goes on by itself when the waiting ends: ^C says so, and how to stop it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from dfs.base.ids import NodeId, node_name
from dfs.base.states import NodeState
from dfs.base.units import format_duration, format_size
from dfs.cli.job_progress import POLL_S, RUNNING, follow, following

if TYPE_CHECKING:
    from dfs.base.records import NodeView
    from dfs.cli.verbs import Context
    from dfs.wire.balance_api import BalanceReply

# The answer to a beat brings the order, the next beat may still be of before, the third is not.
BEATS_TO_HEAR: Final = 3


def ask_status(context: Context) -> BalanceReply:
    """How far the job is."""
    from dfs.wire.routes import BALANCE_STATUS  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    return context.call(BALANCE_STATUS, Nothing())


def wait_for_nodes(context: Context, reply: BalanceReply) -> BalanceReply:
    """Until the job is over; how it ended."""
    return follow(
        context,
        "rebalance",
        reply,
        ask=ask_status,
        sight=lambda now: (share_of(now), progress_words(now)),
    )


def share_of(reply: BalanceReply) -> float:
    """How much of the way is behind, 0 to 1."""
    if reply.state != RUNNING:
        return 1.0 if reply.state == "done" else 0.0
    whole = max(reply.total_bytes, reply.moved_bytes + reply.left_bytes)
    return 1 - reply.left_bytes / whole if whole else 1.0


def progress_words(reply: BalanceReply) -> str:
    """``30 MiB moved, 1.2 GiB left, 40 MiB/s, ETA 30s``."""
    parts = [f"{format_size(reply.moved_bytes)} moved", f"{format_size(reply.left_bytes)} left"]
    if reply.rate_bytes_per_s:
        parts.append(f"{format_size(reply.rate_bytes_per_s)}/s")
    if reply.eta_s:
        parts.append(f"ETA {format_duration(reply.eta_s)}")
    if reply.why:
        parts.append(reply.why)
    return ", ".join(parts)


def ask_nodes(context: Context) -> dict[int, NodeView]:
    """Every DataNode."""
    from dfs.wire.routes import NODES  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    return {view.node: view for view in context.call(NODES, Nothing()).nodes}


def wait_for_disks(context: Context, ordered: Sequence[int]) -> dict[int, NodeView]:
    """Until those nodes are done with their disks, or are lost; how they are then."""
    try:
        return _wait_for_disks(context, ordered)
    except KeyboardInterrupt:
        context.out.note(
            "they go on without you; watch them: dfs-admin rebalance status --disks; "
            "end it: dfs-admin rebalance stop --disks"
        )
        raise


def _wait_for_disks(context: Context, ordered: Sequence[int]) -> dict[int, NodeView]:
    beats: dict[int, set[int]] = {node: set() for node in ordered}
    with following(context, "level disks") as progress:
        while True:
            views = ask_nodes(context)
            here = [
                views[node]
                for node in ordered
                if node in views and views[node].state is not NodeState.DEAD
            ]
            for view in here:
                beats[view.node].add(view.condition.now_ms)
            busy = [
                view
                for view in here
                if view.condition.disks.running or len(beats[view.node]) <= BEATS_TO_HEAR
            ]
            if not busy:
                return views
            progress.show(*_disks_words(busy, here))
            context.clock.sleep(POLL_S)


def _disks_words(busy: Sequence[NodeView], here: Sequence[NodeView]) -> tuple[float, str]:
    moved = sum(view.condition.disks.moved_bytes for view in here)
    left = sum(view.condition.disks.left_bytes for view in here)
    names = ", ".join(node_name(NodeId(view.node)) for view in busy)
    share = moved / (moved + left) if moved + left else 0.0
    return share, f"{format_size(moved)} moved, {format_size(left)} left on {names}"
