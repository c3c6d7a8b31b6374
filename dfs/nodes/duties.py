"""What the operator wants of each DataNode, and until when a silence is expected.

    in_service ---> maintenance ---> in_service         by itself when its time is over
    in_service, maintenance ---> decommissioning ---> decommissioned    when nothing is left on it
    decommissioning, decommissioned ---> in_service     recommissioned

A node that stops in order is excused for a while, as if in maintenance.  Both are journaled, so
that a NameNode that starts meanwhile knows; memory follows the commit.

Decides which of these moves are allowed; what becomes of a node's blocks is decided elsewhere.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from sqlalchemy import Connection

from dfs.base.clock import Clock
from dfs.base.errors import BadRequest, JobConflict, NodeInUse, NodeNotFound
from dfs.base.events import Emitter, Event
from dfs.base.ids import NodeId, node_name, parse_node_name
from dfs.base.states import NodeDuty, NodeState
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.nodes import node_rows
from dfs.nodes.node_rows import NodeRecord
from dfs.nodes.presence import Presence

_IN, _AWAY = NodeDuty.IN_SERVICE, NodeDuty.MAINTENANCE
_LEAVING, _LEFT = NodeDuty.DECOMMISSIONING, NodeDuty.DECOMMISSIONED
DUTY_MOVES: Final[Mapping[NodeDuty, frozenset[NodeDuty]]] = {
    _IN: frozenset({_IN, _AWAY, _LEAVING}),
    _AWAY: frozenset({_IN, _AWAY, _LEAVING}),
    _LEAVING: frozenset({_IN, _LEAVING, _LEFT}),
    _LEFT: frozenset({_IN, _LEFT}),
}


class Duties:
    """See the module.  Safe to share between threads."""

    def __init__(
        self,
        writer: Writer,
        *,
        presence: Presence,
        clock: Clock,
        emit: Emitter,
        clean_stop_s: float,
    ) -> None:
        self._writer = writer
        self._presence = presence
        self._clock = clock
        self._emit = emit
        self._clean_stop_ms = int(clean_stop_s * 1000)

    def set(
        self,
        node: NodeId | str,
        duty: NodeDuty,
        *,
        until_ms: int = 0,
        force: bool = False,
        why_not: Callable[[Connection], str] = lambda _connection: "",
    ) -> NodeRecord:
        """See `NodeRegistry.set_duty`."""
        number = parse_node_name(node) if isinstance(node, str) else node
        if until_ms and (duty is not _AWAY or until_ms <= self._clock.now_ms()):
            raise BadRequest("only maintenance has an end, and one that is still to come")
        if duty in (_AWAY, _LEAVING) and not force:
            self._check_not_last(number)
        record, before = self._writer.submit(
            lambda txn: self._write(txn, number, duty, until_ms=until_ms, why_not=why_not)
        )
        if record != before:
            self._emit.emit(
                Event.NODE_CHANGED,
                node=node_name(number),
                change=duty.value,
                was=before.duty.value,
                until_ms=until_ms,
            )
        return record

    def _check_not_last(self, node: NodeId) -> None:
        """Refuse to take the last node that could take blocks out of service."""
        serving = {
            view.node
            for view in self._presence.views()
            if view.duty is _IN and view.state is NodeState.LIVE
        }
        if serving == {node}:
            raise NodeInUse(
                f"{node_name(node)} is the last DataNode in service",
                hint="let another one join first: dfs-admin join-token; or add --force",
            )

    def _write(
        self,
        txn: Txn,
        node: NodeId,
        duty: NodeDuty,
        *,
        until_ms: int,
        why_not: Callable[[Connection], str],
    ) -> tuple[NodeRecord, NodeRecord]:
        before = node_rows.get_node(txn, node)
        if before is None:
            raise NodeNotFound(f"no such DataNode: {node_name(node)}")
        if duty not in DUTY_MOVES[before.duty]:
            words = before.duty.value.replace("_", " ")
            raise JobConflict(
                f"{node_name(node)} is {words}: it cannot go to {duty.value.replace('_', ' ')}",
                hint=f"first: dfs-admin node recommission {node_name(node)}",
            )
        if reason := why_not(txn.connection):
            raise JobConflict(reason)
        record = dataclasses.replace(before, duty=duty, excused_until_ms=until_ms)
        self._put(txn, record, before)
        return record, before

    def _put(self, txn: Txn, record: NodeRecord, before: NodeRecord) -> None:
        if record != before:
            node_rows.put_node(txn, record)
            txn.after_commit(lambda: self._presence.take_duty(record))

    # ---- expected silence

    def heard(self, node: NodeId, *, leaving: bool) -> None:
        """A node beats: it is excused when it says that it stops in order, and no more when it
        goes on.  Maintenance and decommissioning are the operator's to end.
        """
        excuse = self._presence.excuse(node)
        now_ms = self._clock.now_ms()
        if excuse.duty is not _IN or not (leaving or excuse.until_ms > now_ms):
            return
        until_ms = now_ms + self._clean_stop_ms if leaving else 0
        self._writer.submit(lambda txn: self._write_excuse(txn, node, until_ms))
        if leaving:
            self._emit.emit(
                Event.NODE_CHANGED, node=node_name(node), change="stopped", until_ms=until_ms
            )

    def _write_excuse(self, txn: Txn, node: NodeId, until_ms: int) -> None:
        before = node_rows.get_node(txn, node)
        if before is not None and before.duty is _IN:
            self._put(txn, dataclasses.replace(before, excused_until_ms=until_ms), before)

    def end_maintenance(self) -> None:
        """Put the nodes back in service whose maintenance is over; their excuse ends then."""
        for node in self._presence.maintenance_over():
            self._writer.submit(partial(self._write_end, node))
            self._emit.emit(
                Event.NODE_CHANGED,
                node=node_name(node),
                change=_IN.value,
                was=_AWAY.value,
                until_ms=0,
            )

    def _write_end(self, node: NodeId, txn: Txn) -> None:
        before = node_rows.get_node(txn, node)
        over = before is not None and 0 < before.excused_until_ms <= txn.now_ms
        if before is not None and before.duty is _AWAY and over:
            # What it was excused until stays: its silence counts from then.
            self._put(txn, dataclasses.replace(before, duty=_IN), before)
