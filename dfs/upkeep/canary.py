"""Canaries: proof, once a week for every DataNode, that what is bad is found and healed.

A small block is written with a copy on the node, that copy is spoiled by order, and then nothing is
said to anybody: the node's scrubber must find it as it finds rot, repair must heal it as it heals
rot.  What a canary may do when, `canary_states` decides; this reads what is known, writes the
block as a client would, gives the order, and keeps where each canary is in a `setting` row, so that
a NameNode that was restarted goes on.

Order of effects when a copy is spoiled: that it is so is committed first, then the node is told,
then that it obeyed is committed.  A crash in between leaves a canary of which nobody knows whether
it is spoiled: it is given up for a new one.
"""

import dataclasses
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from sqlalchemy import Connection, select

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.decoding import json_reader
from dfs.base.entropy import Random
from dfs.base.errors import DfsError
from dfs.base.events import Emitter, Event
from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.records import AllocatedBlock, BlockName, NodeCommand, NodeView, WrittenBlock
from dfs.base.states import NodeDuty, NodeState
from dfs.base.units import KiB
from dfs.blocks.canary_blocks import canary_blocks
from dfs.blocks.history import What, read
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.placement import choose_targets
from dfs.blocks.redundancy import (
    UNREADABLE,
    BlockHealth,
    KeptBlock,
    Standings,
    assess,
    standings,
)
from dfs.meta.cluster_tables import SETTING
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.nodes.orders import Order
from dfs.settings.sections import Config
from dfs.upkeep.canary_states import (
    Act,
    Canary,
    CanaryState,
    Decision,
    Sighting,
    Terms,
    decide,
    is_late,
    written,
)
from dfs.upkeep.caution import Caution
from dfs.upkeep.scrubbing import Nodes, Stock
from dfs.wire.data_api import OpenedFile
from dfs.wire.scrub_api import CanaryStatus

CANARY_BYTES: Final = 64 * KiB
FIRST_AFTER_S: Final = 600.0  # a node that just joined has better things to do
CHECK_EVERY_S: Final = 60.0
CHECKS_PER_INTERVAL: Final = 50  # where the interval is short
WRITES_PER_PASS_MAX: Final = 4
BEATS_TO_OBEY: Final = 10  # one to be told, one to answer, and some that get lost
_KEY: Final = "canary."
_BAD: Final = frozenset({What.CORRUPT, What.QUARANTINED, What.DISPUTED})


class CanaryFiles(Protocol):
    """The canaries' files in the namespace."""

    def begin(
        self, txn: Txn, node: NodeId, nodes: Sequence[NodeView], *, size_bytes: int
    ) -> OpenedFile:
        """A file to be written, with one block, one copy on each of those nodes."""
        ...

    def complete(self, txn: Txn, opened: OpenedFile, block: WrittenBlock) -> None:
        """Make it visible."""
        ...

    def abandon(self, txn: Txn, opened: OpenedFile) -> None:
        """Give it up."""
        ...

    def retire(self, txn: Txn, node: NodeId, *, keep: str = "") -> int:
        """End every file of the node but that one."""
        ...


class BlockWriter(Protocol):
    """How the bytes reach DataNodes."""

    def write(self, allocated: AllocatedBlock, path: str, content: bytes) -> WrittenBlock:
        """Have the block on its targets, all of them or fewer; raises when none took it."""
        ...

    def close(self) -> None:
        """End every conversation."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryParts:
    """What `Canaries` stands on."""

    writer: Writer
    reader: Reader
    nodes: Nodes
    stock: Stock
    files: CanaryFiles
    blocks: BlockWriter
    caution: Caution
    clock: Clock
    rng: Random
    emit: Emitter
    config: Config


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """What one pass did: the nodes whose canaries were written, spoiled, found, healed, refused."""

    written: tuple[str, ...] = ()
    spoiled: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    healed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything happened."""
        return any(getattr(self, field.name) for field in dataclasses.fields(self))


def check_every_s(config: Config) -> float:
    """How often the job looks."""
    return min(CHECK_EVERY_S, config.scrub.canary_interval_s / CHECKS_PER_INTERVAL)


class Canaries:
    """See the module.  `run_once` is for one thread; the questions are for all."""

    def __init__(self, parts: CanaryParts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._canaries: dict[NodeId, Canary] = {}
        self._why: dict[NodeId, str] = {}
        self._heard: dict[NodeId, BlockName] = {}
        with parts.reader.view() as connection:
            self._canaries.update(_load(connection))

    # ---- the job

    def run_once(self) -> CanaryReport:
        """Look at every canary, and take each at most one step on."""
        views = self._parts.nodes.views()
        fit = {view.node: view for view in views if _is_fit(view)}
        self._forget_removed({view.node for view in views})
        self._note_heard()
        sightings = self._sightings(fit, views)
        tally: dict[str, list[str]] = {}
        writes_left = WRITES_PER_PASS_MAX
        for node, view in fit.items():
            canary = self._canary(node)
            decision = decide(canary, sightings.get(node), self._terms(node, fit))
            if decision.act is Act.WRITE:
                if not writes_left:
                    continue
                writes_left -= 1
            done = self._perform(view, decision, fit)
            if done:
                tally.setdefault(done, []).append(node_name(node))
        return CanaryReport(**{what: tuple(names) for what, names in tally.items()})

    def _perform(self, view: NodeView, decision: Decision, fit: Mapping[NodeId, NodeView]) -> str:
        """What was done, as the report names it."""
        node = view.node
        self._why[node] = decision.why
        match decision.act:
            case Act.WAIT:
                return ""
            case Act.WRITE:
                return self._write(view, fit)
            case Act.SPOIL:
                return self._spoil(node, decision.canary)
            case Act.NOTE:
                self._keep(node, decision.canary)
                return self._say(node, decision.canary)

    def _write(self, view: NodeView, fit: Mapping[NodeId, NodeView]) -> str:
        """A new block on the node and one other; the old file goes when the new one stands."""
        parts, node = self._parts, view.node
        refusal = parts.caution.refusal_of_changes()
        if refusal is not None:
            self._why[node] = f"not written: {refusal.message}"
            return "refused"
        nodes = [view, *self._partner(view, fit)]
        try:
            self._write_to(node, nodes)
        except DfsError as exc:
            self._why[node] = f"not written: {exc.message}"
            return "refused"
        return "written"

    def _write_to(self, node: NodeId, nodes: Sequence[NodeView]) -> None:
        parts = self._parts
        opened = parts.writer.submit(
            lambda txn: parts.files.begin(txn, node, nodes, size_bytes=CANARY_BYTES)
        )
        crashpoint.reach("nn.canary.begun")
        allocated = opened.blocks[0]
        content = Random(f"canary {opened.path}").randbytes(CANARY_BYTES)
        try:
            block = parts.blocks.write(allocated, opened.path, content)
        except DfsError:
            parts.writer.submit(lambda txn: parts.files.abandon(txn, opened))
            raise
        canary = written(self._canary(node), path=opened.path, block=allocated.name.block)

        def complete(txn: Txn) -> None:
            parts.files.complete(txn, opened, block)
            parts.files.retire(txn, node, keep=opened.path)
            _put(txn, node, canary)

        parts.writer.submit(complete)
        crashpoint.reach("nn.canary.written")
        self._remember(node, canary)

    def _partner(self, view: NodeView, fit: Mapping[NodeId, NodeView]) -> list[NodeView]:
        """Another node for the second copy, on another rack where there is one."""
        others = [other for other in fit.values() if other.node != view.node]
        away = [other for other in others if other.address.rack != view.address.rack]
        chosen = choose_targets(
            size_bytes=CANARY_BYTES,
            copies=1,
            nodes=away or others,
            exclude=frozenset({view.node}),
            rng=self._parts.rng,
        )
        return list(chosen.targets)

    def _spoil(self, node: NodeId, canary: Canary) -> str:
        parts = self._parts
        with parts.reader.view() as connection:
            kept = read_kept(connection, [BlockId(canary.block)]).get(BlockId(canary.block))
            own = canary_blocks(connection)
        if kept is None or kept.truth.block not in own:
            return ""
        self._keep(node, canary)
        crashpoint.reach("nn.canary.spoiled")
        if not parts.nodes.enqueue(node, Order.SPOIL_CANARY, kept.name, reason="canary"):
            self._why[node] = "the node takes no such order now"
            return "refused"
        parts.emit.emit(
            Event.CANARY_ARMED, node=node_name(node), block=canary.block, path=canary.path
        )
        return "spoiled"

    def _say(self, node: NodeId, canary: Canary) -> str:
        if canary.state is CanaryState.FOUND:
            return "found"
        if canary.state is not CanaryState.HEALED:
            self._withdraw(node, canary)
            return "refused"
        self._parts.emit.emit(
            Event.CANARY_HEALED,
            node=node_name(node),
            block=canary.block,
            found_s=(canary.found_ms - canary.armed_ms) / 1000,
            healed_s=(canary.healed_ms - canary.armed_ms) / 1000,
        )
        return "healed"

    def _withdraw(self, node: NodeId, canary: Canary) -> None:
        """An order that still waits for its node is over: it will be given again, or is moot."""
        with self._parts.reader.view() as connection:
            found = read_kept(connection, [BlockId(canary.block)])
        for kept in found.values():
            self._parts.nodes.cancel(node, Order.SPOIL_CANARY, kept.name)

    def heard(self, node: NodeId, command: NodeCommand) -> None:
        """A node said that it obeyed; noted at the next pass."""
        if command.block is not None:
            with self._lock:
                self._heard[node] = command.block

    def _note_heard(self) -> None:
        with self._lock:
            heard, self._heard = self._heard, {}
        for node, block in heard.items():
            canary = self._canary(node)
            if canary.state is CanaryState.SPOILED and canary.block == block.block:
                now_ms = self._parts.clock.now_ms()
                self._keep(node, dataclasses.replace(canary, told_ms=now_ms))

    # ---- what is known

    def statuses(self) -> list[CanaryStatus]:
        """Each node's canary as of now; nodes that are out of service have none."""
        fit = {view.node: view for view in self._parts.nodes.views() if _is_fit(view)}
        late_s = self._parts.config.health.canary_late_s
        with self._lock:
            canaries, why = dict(self._canaries), dict(self._why)
        return [
            _status(
                node,
                canaries[node],
                why.get(node, ""),
                late=is_late(canaries[node], self._terms(node, fit), late_s=late_s),
            )
            for node in sorted(fit)
            if node in canaries
        ]

    def blocks(self, connection: Connection) -> frozenset[BlockId]:
        """The blocks of canaries, bad on purpose perhaps."""
        return canary_blocks(connection)

    def close(self) -> None:
        """End what is under way."""
        self._parts.blocks.close()

    def _terms(self, node: NodeId, fit: Iterable[NodeId]) -> Terms:
        parts = self._parts
        interval_s = parts.config.scrub.canary_interval_s
        liveness = parts.config.liveness
        return Terms(
            now_ms=parts.clock.now_ms(),
            interval_s=interval_s,
            first_after_s=min(FIRST_AFTER_S, interval_s),
            order_s=2 * liveness.stale_after_s + BEATS_TO_OBEY * liveness.heartbeat_interval_s,
            others=sum(other != node for other in fit),
            why_not=parts.caution.why_no_deletes(),
        )

    def _sightings(
        self, fit: Iterable[NodeId], views: Sequence[NodeView]
    ) -> dict[NodeId, Sighting]:
        parts = self._parts
        at = standings(
            views,
            fresh=parts.stock.fresh(),
            urgent_after_s=parts.config.repair.urgent_after_s,
        )
        kept_of = {node: BlockId(self._canary(node).block) for node in fit}
        seen: dict[NodeId, Sighting] = {}
        with parts.reader.view() as connection:
            kept = read_kept(connection, kept_of.values())
            for node, block in kept_of.items():
                if block in kept:
                    found_bad = self._was_found(connection, node)
                    seen[node] = _sighting(kept[block], at, node, found_bad=found_bad)
        return seen

    def _was_found(self, connection: Connection, node: NodeId) -> bool:
        """Whether the node reported its copy bad since the order, healed already or not."""
        canary = self._canary(node)
        return canary.state is CanaryState.SPOILED and any(
            event.node == node and event.what in _BAD and event.at_ms >= canary.armed_ms
            for event in read(connection, BlockId(canary.block))
        )

    def _canary(self, node: NodeId) -> Canary:
        with self._lock:
            known = self._canaries.get(node)
            if known is None:
                known = Canary(first_ms=self._parts.clock.now_ms())
                self._canaries[node] = known
            return known

    def _keep(self, node: NodeId, canary: Canary) -> None:
        self._parts.writer.submit(lambda txn: _put(txn, node, canary))
        crashpoint.reach("nn.canary.kept")
        self._remember(node, canary)

    def _remember(self, node: NodeId, canary: Canary) -> None:
        with self._lock:
            self._canaries[node] = canary

    def _forget_removed(self, joined: set[NodeId]) -> None:
        gone = [node for node in self._canaries if node not in joined]
        for node in gone:
            self._parts.writer.submit(lambda txn, node=node: self._drop(txn, node))  # type: ignore[misc]
            with self._lock:
                self._canaries.pop(node, None)
                self._why.pop(node, None)

    def _drop(self, txn: Txn, node: NodeId) -> None:
        self._parts.files.retire(txn, node)
        txn.drop(SETTING, (f"{_KEY}{node}",))


def _is_fit(view: NodeView) -> bool:
    return (
        view.state is NodeState.LIVE
        and view.duty is NodeDuty.IN_SERVICE
        and view.writable_volumes > 0
        and not view.condition.doubtful
    )


def _sighting(kept: KeptBlock, at: Standings, node: NodeId, *, found_bad: bool) -> Sighting:
    assessment = assess(kept, at)
    own = next(
        (
            copy
            for copy in kept.copies
            if copy.node == node and copy.generation == kept.truth.generation
        ),
        None,
    )
    return Sighting(
        wanted=kept.wanted,
        counting=len(assessment.counting),
        sure=len(assessment.sure),
        here=own.state if own else None,
        here_sure=node in assessment.sure,
        read_ms=own.verified_ms if own else 0,
        found_bad=found_bad,
        lost=assessment.health in UNREADABLE - {BlockHealth.AWAY},
    )


def _status(node: NodeId, canary: Canary, why: str, *, late: bool) -> CanaryStatus:
    return CanaryStatus(
        node=node,
        state=canary.state.value,
        path=canary.path,
        why=why,
        first_ms=canary.first_ms,
        armed_ms=canary.armed_ms,
        found_ms=canary.found_ms,
        healed_ms=canary.healed_ms,
        last_healed_ms=canary.last_healed_ms,
        round_ms=canary.round_ms,
        rounds=canary.rounds,
        late=late,
    )


def _load(connection: Connection) -> dict[NodeId, Canary]:
    wanted = select(SETTING).where(SETTING.c.key.startswith(_KEY, autoescape=True))
    return {
        NodeId(int(row.key.removeprefix(_KEY))): json_reader(Canary)(row.value)
        for row in connection.execute(wanted)
    }


def _put(txn: Txn, node: NodeId, canary: Canary) -> None:
    value = msgspec.json.encode(canary).decode()
    txn.put(SETTING, {"key": f"{_KEY}{node}", "value": value})
