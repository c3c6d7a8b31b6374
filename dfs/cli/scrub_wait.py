"""Waiting for a scrub pass, and for what it found to be healed.

A node is waited for until it says that the pass is done, or until it counts as dead; one that has
not heard of the pass (its NameNode was restarted in between) is ordered the same pass again.  One
that doubts itself has stopped, and goes on when a person has looked: it is not waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from dfs.base.errors import BlockCorrupt, PeerUnreachable, WaitTimedOut
from dfs.base.ids import NodeId, node_name
from dfs.base.states import NodeState
from dfs.base.units import format_duration, format_size
from dfs.cli import render
from dfs.cli.job_progress import following
from dfs.cli.job_watch import JobProgress

if TYPE_CHECKING:
    from dfs.cli.verbs import Context
    from dfs.wire.scrub_api import ScrubNode, ScrubOrdered, ScrubReply

POLL_S: Final = 0.5
ORDER_AGAIN_S: Final = 15.0  # several beats: a node that heard would have said so
# What a node found is in its beat before it is in the catalog, by a stock report a second later.
SETTLE_S: Final = 5.0
HEAL_PATIENCE_S: Final = 120.0  # without one more block healed


class PassSight(NamedTuple):
    """Where a pass stands over the nodes it was ordered of."""

    done: tuple[int, ...]
    under_way: tuple[int, ...]
    lost: tuple[int, ...]  # dead, or gone from the cluster
    doubtful: tuple[int, ...]  # of those not done: found so much that they stopped
    unheard: tuple[int, ...]  # of those under way: do not know of the pass yet
    share: float
    left_bytes: int
    rate_bytes_per_s: float
    found: int


class PassResult(NamedTuple):
    """How it ended."""

    status: ScrubReply
    sight: PassSight


def look_at(
    status: ScrubReply, ordered: Sequence[int], run: int, found_before: dict[int, int]
) -> PassSight:
    """Where the pass stands now."""
    nodes = {node.node: node for node in status.nodes}
    lost = tuple(n for n in ordered if n not in nodes or nodes[n].state is NodeState.DEAD)
    here = [nodes[n] for n in ordered if n not in lost]
    left = [node for node in here if not _is_done(node, run)]
    under_way = [node for node in left if not node.doubtful]
    total = sum(node.scrub.total_bytes for node in here)
    left_bytes = sum(_left_bytes(node, run) for node in under_way)
    return PassSight(
        done=tuple(node.node for node in here if _is_done(node, run)),
        under_way=tuple(node.node for node in under_way),
        lost=lost,
        doubtful=tuple(node.node for node in left if node.doubtful),
        unheard=tuple(node.node for node in under_way if node.scrub.run < run),
        share=(1 - left_bytes / total) if total else float(not under_way),
        left_bytes=left_bytes,
        rate_bytes_per_s=sum(node.scrub.rate_bytes_per_s for node in under_way),
        found=sum(max(0, node.scrub.found - found_before.get(node.node, 0)) for node in here),
    )


def _is_done(node: ScrubNode, run: int) -> bool:
    return node.scrub.run > run or (node.scrub.run == run and node.scrub.run_done)


def _left_bytes(node: ScrubNode, run: int) -> int:
    done = node.scrub.pass_bytes if node.scrub.run == run else 0
    return max(0, node.scrub.total_bytes - done)


class ScrubWait:
    """Waits for one pass."""

    def __init__(self, context: Context, ordered: ScrubOrdered, before: ScrubReply) -> None:
        self._context = context
        self._ordered = ordered
        self._found_before = {node.node: node.scrub.found for node in before.nodes}
        self._began_s = context.clock.monotonic_s()
        self._again_s = self._began_s + ORDER_AGAIN_S
        self._named: set[int] = set()

    def wait(self, *, timeout_s: float | None) -> PassResult:
        """Until every node is done and what was found is healed, or never will be.

        Raises:
            PeerUnreachable: every node was lost on the way.
            BlockCorrupt: a node found so much that it stopped.
            WaitTimedOut: it took longer than `timeout_s`, or healing does not get on.
        """
        with following(self._context, "scrub") as progress:
            result = self._await_pass(progress, timeout_s)
            if result.sight.found and not result.sight.doubtful:
                result = self._await_healing(progress, timeout_s)
        if result.sight.doubtful:
            raise _stopped(result.sight.doubtful)
        if not result.sight.done:
            raise PeerUnreachable("every DataNode that was to scrub was lost on the way")
        return result

    def _await_pass(self, progress: JobProgress, timeout_s: float | None) -> PassResult:
        while True:
            result = self._look()
            sight = result.sight
            self._name_lost(progress, sight)
            if not sight.under_way:
                return result
            progress.show(sight.share, _words(sight))
            self._check_time(timeout_s, f"{render.count(len(sight.under_way), 'node')} to go")
            self._order_again(sight)
            self._context.clock.sleep(POLL_S)

    def _await_healing(self, progress: JobProgress, timeout_s: float | None) -> PassResult:
        progress.label("heal")
        clock = self._context.clock
        settled_s = clock.monotonic_s() + SETTLE_S
        stuck_s, fewest = clock.monotonic_s() + HEAL_PATIENCE_S, None
        while True:
            result = self._look()
            blocks, now_s = result.status.blocks, clock.monotonic_s()
            if not blocks.healing and now_s >= settled_s:
                return result
            if fewest is None or blocks.healing < fewest:
                stuck_s, fewest = now_s + HEAL_PATIENCE_S, blocks.healing
            share = blocks.healed / blocks.bad if blocks.bad else 0.0
            progress.show(share, f"{blocks.healed:,} of {render.count(blocks.bad, 'block')} healed")
            left = f"{render.count(blocks.healing, 'block')} with a bad copy not healed yet"
            self._check_time(
                timeout_s, left if blocks.healing else "what was found is not told yet"
            )
            if now_s >= stuck_s:
                raise WaitTimedOut(
                    f"{left}, and none was for {format_duration(HEAL_PATIENCE_S)}",
                    hint="why: dfs-admin repair status",
                )
            clock.sleep(POLL_S)

    def _look(self) -> PassResult:
        from dfs.wire.routes import SCRUB_STATUS  # noqa: PLC0415 - start-up time
        from dfs.wire.shapes import Nothing  # noqa: PLC0415

        status = self._context.call(SCRUB_STATUS, Nothing())
        ordered = self._ordered
        return PassResult(status, look_at(status, ordered.nodes, ordered.run, self._found_before))

    def _name_lost(self, progress: JobProgress, sight: PassSight) -> None:
        for node in sight.lost:
            if node not in self._named:
                self._named.add(node)
                progress.note(f"{node_name(NodeId(node))} was lost before it was done")

    def _order_again(self, sight: PassSight) -> None:
        from dfs.wire.routes import SCRUB_START  # noqa: PLC0415 - start-up time
        from dfs.wire.scrub_api import ScrubStartRequest  # noqa: PLC0415

        if sight.unheard and self._context.clock.monotonic_s() >= self._again_s:
            self._again_s += ORDER_AGAIN_S
            names = [node_name(NodeId(node)) for node in sight.unheard]
            self._context.call(SCRUB_START, ScrubStartRequest(nodes=names, run=self._ordered.run))

    def _check_time(self, timeout_s: float | None, left: str) -> None:
        if timeout_s is not None and self._context.clock.monotonic_s() - self._began_s > timeout_s:
            raise WaitTimedOut(f"not done within {format_duration(timeout_s)}: {left}")


def _stopped(nodes: Sequence[int]) -> BlockCorrupt:
    names = [node_name(NodeId(node)) for node in nodes]
    return BlockCorrupt(
        f"{', '.join(names)} found so many bad blocks that memory or a controller is the likelier"
        " culprit, and stopped",
        hint=f"look at the machine first; then: dfs-admin node trust {names[0]}",
    )


def _words(sight: PassSight) -> str:
    nodes = render.count(len(sight.under_way), "node")
    words = f"{format_size(sight.left_bytes)} left on {nodes}"
    if sight.rate_bytes_per_s > 0:
        eta_s = sight.left_bytes / sight.rate_bytes_per_s
        words += f", {format_size(sight.rate_bytes_per_s)}/s, ETA {format_duration(eta_s)}"
    return f"{words}, {sight.found:,} bad" if sight.found else words
