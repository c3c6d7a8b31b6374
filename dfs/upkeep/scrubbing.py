"""The NameNode's side of scrubbing: orders passes and pauses of DataNodes, says how far they are.

A pass has a number that grows for ever; a DataNode tells with every beat which one it does and
whether it is done.  Orders travel in beats and are kept in memory only: who waits for a pass sees
in the status that a node has not heard of it (this NameNode was restarted in between) and orders
the same number once more.  How a DataNode scrubs is its own business (`dfs.blockstore`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection, select

from dfs.base.clock import Clock
from dfs.base.errors import BadRequest
from dfs.base.events import Emitter, Event
from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.records import NodeView, Refusal
from dfs.base.states import NodeState
from dfs.base.units import format_duration
from dfs.blocks.redundancy import standings
from dfs.meta.cluster_tables import SEQUENCE
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from dfs.nodes.orders import Order, Ordering
from dfs.settings.sections import Config
from dfs.upkeep.bad_counts import BadCounts, count_bad
from dfs.upkeep.named_nodes import named_nodes
from dfs.wire.scrub_api import (
    CanaryStatus,
    ScrubNode,
    ScrubOrdered,
    ScrubPauseRequest,
    ScrubReply,
    ScrubResumeRequest,
    ScrubStartRequest,
)

RUN_SEQUENCE: Final = "scrub_run"
_HEARD: Final = (NodeState.LIVE, NodeState.STALE)


class Nodes(Ordering, Protocol):
    """The DataNodes, as far as scrubbing orders them about."""

    def views(self) -> tuple[NodeView, ...]:
        """Every DataNode as of now."""
        ...


class Stock(Protocol):
    """What is known of DataNodes' stock."""

    def fresh(self) -> frozenset[NodeId]:
        """The nodes whose stock is known."""
        ...


class CanaryWatch(Protocol):
    """The canaries, as far as a status shows them."""

    def statuses(self) -> list[CanaryStatus]:
        """Each node's canary as of now."""
        ...

    def blocks(self, connection: Connection) -> frozenset[BlockId]:
        """The blocks that are bad on purpose, perhaps."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubParts:
    """What `Scrubbing` stands on."""

    writer: Writer
    reader: Reader
    nodes: Nodes
    stock: Stock
    clock: Clock
    emit: Emitter
    config: Config


class Scrubbing:
    """See the module.  Safe to share between threads."""

    def __init__(self, parts: ScrubParts, canaries: CanaryWatch) -> None:
        self._parts = parts
        self._canaries = canaries

    def start(self, body: ScrubStartRequest) -> ScrubOrdered:
        """Order a pass over everything held, of the named nodes or all that are heard.

        Raises:
            NodeNotFound: a named node is none.
            BadRequest: a name is none, or the pass was never given out.
        """
        chosen = named_nodes(body.nodes, self._parts.nodes.views())
        run = self._known_run(body.run) if body.run else self._next_run()
        ordered = self._order(chosen, Order.SCRUB, instead=None, value=run)
        return ScrubOrdered(nodes=ordered.nodes, refused=ordered.refused, run=run)

    def pause(self, body: ScrubPauseRequest) -> ScrubOrdered:
        """Let nodes rest for a while that ends by itself.

        Raises:
            NodeNotFound: a named node is none.
            BadRequest: a name is none, or the while is none or longer than may be.
        """
        longest_s = self._parts.config.scrub.pause_max_s
        for_s = longest_s if body.for_s is None else body.for_s
        if not 0 < for_s <= longest_s:
            raise BadRequest(
                f"scrubbing can be paused for at most {format_duration(longest_s)}",
                hint="a pause ends by itself, so that it is not forgotten: [scrub] pause_max_s",
            )
        until_ms = self._parts.clock.now_ms() + int(for_s * 1000)
        chosen = named_nodes(body.nodes, self._parts.nodes.views())
        ordered = self._order(chosen, Order.SCRUB_PAUSE, instead=Order.SCRUB_RESUME, value=until_ms)
        return ScrubOrdered(nodes=ordered.nodes, refused=ordered.refused, until_ms=until_ms)

    def resume(self, body: ScrubResumeRequest) -> ScrubOrdered:
        """Let nodes go on before their pause ends.

        Raises:
            NodeNotFound, BadRequest: as `start`.
        """
        chosen = named_nodes(body.nodes, self._parts.nodes.views())
        return self._order(chosen, Order.SCRUB_RESUME, instead=Order.SCRUB_PAUSE, value=0)

    def status(self) -> ScrubReply:
        """How far every node is, and what became of what was found."""
        parts = self._parts
        views = parts.nodes.views()
        at = standings(
            views,
            fresh=parts.stock.fresh(),
            urgent_after_s=parts.config.repair.urgent_after_s,
        )
        with parts.reader.view() as connection:
            canaries = self._canaries.blocks(connection)
            bad = count_bad(connection, at, leave_out=canaries)
            run = _newest_run(connection)
        return ScrubReply(
            now_ms=parts.clock.now_ms(),
            slo_s=parts.config.scrub.slo_s,
            run=run,
            nodes=[_scrub_node(view, bad) for view in views],
            blocks=bad.blocks,
            canaries=self._canaries.statuses(),
        )

    def _order(
        self, chosen: Sequence[NodeView], verb: Order, *, instead: Order | None, value: int
    ) -> ScrubOrdered:
        nodes: list[int] = []
        refused: list[Refusal] = []
        for view in chosen:
            if view.state not in _HEARD:
                refused.append(Refusal(view.node, f"not heard of: it is {view.state.value}"))
                continue
            if instead is not None:
                self._parts.nodes.cancel(view.node, instead)
            if self._parts.nodes.enqueue(view.node, verb, reason="ordered", value=value):
                nodes.append(view.node)
            else:
                refused.append(Refusal(view.node, "it takes no such order now; try again later"))
        self._parts.emit.emit(
            Event.SCRUB_CHANGED,
            change=verb.value,
            value=value,
            nodes=[node_name(NodeId(node)) for node in nodes],
        )
        return ScrubOrdered(nodes=nodes, refused=refused)

    def _next_run(self) -> int:
        return self._parts.writer.submit(lambda txn: txn.take(RUN_SEQUENCE))

    def _known_run(self, run: int) -> int:
        with self._parts.reader.view() as connection:
            newest = _newest_run(connection)
        if not 0 < run <= newest:
            raise BadRequest(f"there was no scrub pass {run}; the newest is {newest}")
        return run


def _scrub_node(view: NodeView, bad: BadCounts) -> ScrubNode:
    return ScrubNode(
        node=view.node,
        state=view.state,
        silent_s=view.silent_s,
        scrub=view.condition.scrub,
        bad=bad.hurting.get(view.node, 0),
        aside=bad.aside.get(view.node, 0),
        doubtful=view.condition.doubtful,
    )


def _newest_run(connection: Connection) -> int:
    wanted = select(SEQUENCE.c.next).where(SEQUENCE.c.name == RUN_SEQUENCE)
    return (connection.execute(wanted).scalar() or 1) - 1
