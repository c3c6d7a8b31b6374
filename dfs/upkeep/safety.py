"""The three guards together: safe mode, the storm brake, the regression guard.

Builds the one `Caution` that everything destructive asks, answers what an administrator wants to
know of it and does what he says, and sets what is wanted of DataNodes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dfs.accounts.block_keys import BlockKeys
from dfs.base.clock import Clock
from dfs.base.errors import BadRequest, JobConflict
from dfs.base.events import Emitter
from dfs.base.ids import NodeId, node_name, parse_node_name
from dfs.base.records import NodeView
from dfs.base.states import NodeDuty, NodeState
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from dfs.nodes import node_rows
from dfs.nodes.orders import Order
from dfs.nodes.registry import NodeRegistry
from dfs.settings.sections import Config
from dfs.upkeep.caution import Caution
from dfs.upkeep.regression import Anew, RegressionGuard
from dfs.upkeep.remembered import Remembered
from dfs.upkeep.safe_mode import NodeKnowledge, SafeModeGuard
from dfs.upkeep.storm_brake import StormBrake, StormLimits
from dfs.wire.safety_api import (
    AcceptedReply,
    DutyReply,
    DutyRequest,
    LeaveSafeModeRequest,
    SafetyReply,
)

MAINTENANCE_MAX_S = 365 * 86_400.0
_LEAVING = (NodeDuty.DECOMMISSIONING, NodeDuty.DECOMMISSIONED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyParts:
    """What the guards are built from."""

    config: Config
    reader: Reader
    writer: Writer
    registry: NodeRegistry
    keys: BlockKeys
    clock: Clock
    emit: Emitter
    takes_over: bool = False
    lead_above: Callable[[int], int] = lambda epoch: epoch


class Safety:
    """See the module.  Safe to share between threads."""

    def __init__(self, parts: SafetyParts) -> None:
        self._parts = parts
        remembered = Remembered(parts.reader, parts.writer)
        self.storm = _build_storm(parts, remembered)
        self.safe_mode = _build_safe_mode(parts, remembered, self.storm)
        self.storm.is_starting = self.safe_mode.is_starting
        self.regression = _build_regression(parts, remembered)
        self.caution = Caution(
            changes=(self.regression.refusal, self.safe_mode.refusal),
            deletes=(
                self.regression.why_no_deletes,
                self.safe_mode.why_no_deletes,
                self.storm.why_no_deletes,
            ),
            repairs=(
                self.regression.why_no_repair,
                self.safe_mode.why_no_repair,
                self.storm.why_no_repair,
            ),
        )

        parts.registry.why_no_deletes = self.caution.why_no_deletes

    def run_once(self) -> None:
        """Let each guard look; what they find is said once, as events."""
        self.safe_mode.run_once()
        self.regression.run_once()
        self.storm.run_once()

    # ---- what is held back

    def status(self) -> SafetyReply:
        """All there is to say."""
        safe, storm = self.safe_mode.status(), self.storm.storm()
        facts = safe.facts
        return SafetyReply(
            safe_mode=safe.why,
            by_hand=safe.by_hand.by if safe.by_hand else "",
            since_ms=safe.since_ms if safe.on else 0,
            starting=safe.starting,
            blocks=facts.blocks if facts else 0,
            found=facts.found if facts else 0,
            wanted_percent=self._parts.config.repair.safe_mode_percent,
            awaited=list(facts.awaited) if facts and safe.starting else [],
            frozen=storm.reason,
            vanished=list(storm.nodes),
            regressed=self.regression.why(),
            no_deletes=self.caution.why_no_deletes(),
        )

    def enter(self, by: str) -> SafetyReply:
        """Turn safe mode on, until somebody turns it off."""
        self.safe_mode.enter(by)
        return self.status()

    def leave(self, by: str, request: LeaveSafeModeRequest) -> SafetyReply:
        """Turn safe mode off.

        Raises:
            JobConflict: too little is known yet, and it is not forced.
        """
        self.safe_mode.leave(by, force=request.force)
        return self.status()

    def accept_loss(self) -> AcceptedReply:
        """Heal without the nodes that vanished together.

        Raises:
            JobConflict: none did.
        """
        return AcceptedReply(nodes=list(self.storm.accept()))

    def accept_regression(self, by: str) -> AcceptedReply:
        """Go on from metadata that is older than what DataNodes have seen.

        Raises:
            JobConflict: it is not.
        """
        return AcceptedReply(epoch=self.regression.accept(by))

    # ---- what is wanted of nodes

    def set_duty(self, request: DutyRequest) -> DutyReply:
        """Say what is wanted of a DataNode from now on.

        Raises:
            DfsError: see `NodeRegistry.set_duty`; nobody but we says that a node is emptied.
        """
        if request.duty is NodeDuty.DECOMMISSIONED:
            raise BadRequest(
                "a node is decommissioned when nothing is left on it",
                hint=f"say: dfs-admin node decommission {request.name}",
            )
        if not 0 <= request.for_s <= MAINTENANCE_MAX_S:
            raise BadRequest("maintenance lasts a year at most")
        duty: NodeDuty = request.duty
        if duty is NodeDuty.DECOMMISSIONING and self._duty(request.name) in _LEAVING:
            duty = self._duty(request.name)  # it is under way, or done
        for_ms = int(request.for_s * 1000)
        until_ms = self._parts.clock.now_ms() + for_ms if for_ms else 0
        record = self._parts.registry.set_duty(
            request.name, duty, until_ms=until_ms, force=request.force
        )
        return self._describe(record.node)

    def leaving(self, name: str) -> DutyReply:
        """How far a node is emptied.

        Raises:
            NodeNotFound, BadRequest: no such node, or no name.
        """
        return self._describe(parse_node_name(name))

    def trust(self, name: str) -> None:
        """Somebody looked: a node whose breaker is open is believed again.

        Raises:
            NodeNotFound, BadRequest: no such node, or no name.
            JobConflict: it is not heard, or too much waits for it.
        """
        node = parse_node_name(name)
        self._parts.registry.address(node)
        view = self._view(node)
        if view.state is not NodeState.LIVE:
            raise JobConflict(
                f"{node_name(node)} is {view.state.value}: it cannot be told",
                hint="start it first, then say it again",
            )
        if not self._parts.registry.enqueue(node, Order.TRUST, reason="an operator looked"):
            raise JobConflict(f"too much waits for {node_name(node)} already", hint="again later")

    def _duty(self, name: str) -> NodeDuty:
        node = parse_node_name(name)
        self._parts.registry.address(node)
        return self._view(node).duty

    def _view(self, node: NodeId) -> NodeView:
        (view,) = (each for each in self._parts.registry.views() if each.node == node)
        return view

    def _describe(self, node: NodeId) -> DutyReply:
        self._parts.registry.address(node)  # or NodeNotFound
        view = self._view(node)
        return DutyReply(
            node=node,
            duty=view.duty,
            excused_until_ms=view.excused_until_ms,
            blocks_left=self._blocks_left(node) if view.duty in _LEAVING else 0,
        )

    def _blocks_left(self, node: NodeId) -> int:
        serving = [
            view.node
            for view in self._parts.registry.views()
            if view.duty is NodeDuty.IN_SERVICE and view.state is NodeState.LIVE
        ]
        with self._parts.reader.view() as connection:
            return node_rows.count_short_elsewhere(connection, node, serving=serving)


def _build_storm(parts: SafetyParts, remembered: Remembered) -> StormBrake:
    return StormBrake(
        parts.registry.views,
        remembered=remembered,
        clock=parts.clock,
        emit=parts.emit,
        limits=StormLimits(parts.config.liveness, parts.config.repair),
    )


def _build_safe_mode(
    parts: SafetyParts, remembered: Remembered, storm: StormBrake
) -> SafeModeGuard:
    views: Callable[[], Sequence[NodeView]] = parts.registry.views
    return SafeModeGuard(
        parts.reader,
        takes_over=parts.takes_over,
        known=NodeKnowledge(views, parts.registry.presence.fresh, storm.lost_before),
        remembered=remembered,
        clock=parts.clock,
        emit=parts.emit,
        config=parts.config.repair,
    )


def _build_regression(parts: SafetyParts, remembered: Remembered) -> RegressionGuard:
    return RegressionGuard(
        parts.reader,
        parts.writer,
        newer=parts.registry.newer,
        remembered=remembered,
        clock=parts.clock,
        emit=parts.emit,
        anew=Anew(parts.keys.renew, parts.lead_above),
    )
