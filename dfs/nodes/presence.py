"""What the NameNode keeps in memory of each DataNode: liveness, usage, volumes, waiting commands.

Everything here is current to the last beat and gone with the process; `registry.py` owns what
outlives it.  One lock guards it all, and nothing is read, written or sent while it is held.
"""

import dataclasses
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from dfs.base.clock import Clock
from dfs.base.errors import NodeNotFound, NodeNotJoined
from dfs.base.events import Emitter, Event
from dfs.base.ids import Epoch, NodeId, node_name
from dfs.base.records import (
    BlockName,
    CommandFailure,
    NodeAddress,
    NodeCommand,
    NodeCondition,
    NodeUsage,
    NodeView,
    VolumeStatus,
)
from dfs.base.states import NodeDuty, NodeEvent, NodeState, VolumeState, advance_node
from dfs.nodes.liveness import Excuse, judge_silence
from dfs.nodes.node_rows import NodeRecord, secret_hash
from dfs.nodes.orders import Orders, command_numbers
from dfs.settings.sections import LivenessConfig

VIEWS_LIFE_S: Final = 1.0
VOLUMES_MAX: Final = 64
ACKNOWLEDGED_MAX: Final = 100_000
FAILED_MAX: Final = 10_000  # refusals kept until they are taken
_NO_USAGE: Final = NodeUsage(0, 0, 0, 0.0, 0)


@dataclass(frozen=True, slots=True)
class LivenessReport:
    """What one pass over the nodes found: those that became stale or dead, and all by state."""

    stale: tuple[NodeId, ...]
    dead: tuple[NodeId, ...]
    states: Mapping[NodeState, int]


class VoterSeen(NamedTuple):
    """The voter in a DataNode's process, as its registration told.

    Attributes:
        url: of the DataNode, for letters.
        machine: where it runs; two daemons of one machine die together.
    """

    node: str
    url: str
    machine: str


@dataclass(slots=True)
class _Node:
    """A node in memory.

    Attributes:
        heard_s: when it was last heard; the start of this run before that.
        registration: which registration of this run it is on; 0 before the first and when dead.
        full_report: the registration for which a full stock report is in; 0 for none.
        voter: the uuid of the voter in its process; "" without one.
        machine: where that runs.
    """

    record: NodeRecord
    heard_s: float
    state: NodeState = NodeState.JOINED
    usage: NodeUsage = _NO_USAGE
    volumes: tuple[VolumeStatus, ...] = ()
    condition: NodeCondition = NodeCondition()
    skew_s: float = 0.0
    registration: int = 0
    full_report: int = 0
    reachable: bool = True
    voter: str = ""
    machine: str = ""
    orders: Orders = field(default_factory=Orders)


class Presence:
    """See the module.  Safe to share between threads."""

    def __init__(self, *, clock: Clock, emit: Emitter, config: LivenessConfig) -> None:
        self._clock = clock
        self._emit = emit
        self._config = config
        self._lock = threading.Lock()
        self._nodes: dict[NodeId, _Node] = {}
        self._by_secret: dict[bytes, NodeId] = {}
        self._numbers = command_numbers()
        self._registrations = 0
        self._acknowledged: list[tuple[NodeId, NodeCommand]] = []
        self._failed: list[tuple[NodeId, NodeCommand, CommandFailure]] = []
        self._views: tuple[NodeView, ...] | None = None
        self._views_at_s = 0.0

    # ---- who there is

    def replace_all(self, records: Iterable[NodeRecord]) -> None:
        """Know exactly these nodes; what is known of those that stay, stays."""
        wanted = {record.node: record for record in records}
        for node in self.joined() - set(wanted):
            self.forget(node)
        for record in wanted.values():
            self.remember(record)

    def remember(self, record: NodeRecord) -> None:
        """Know a node, or its new credential; an earlier one is good for nothing from now on."""
        with self._lock:
            known = self._nodes.get(record.node)
            if known is None:
                self._nodes[record.node] = _Node(record, self._clock.monotonic_s())
            else:
                known.record = record
            self._revoke(record.node)
            self._by_secret[record.secret_hash] = record.node
            self._views = None

    def forget(self, node: NodeId) -> None:
        """A node was removed."""
        with self._lock:
            self._nodes.pop(node, None)
            self._revoke(node)
            self._views = None

    def _revoke(self, node: NodeId) -> None:
        for hashed in [h for h, owner in self._by_secret.items() if owner == node]:
            del self._by_secret[hashed]

    def owner_of(self, secret: str) -> NodeId | None:
        """The node with that credential."""
        return self._by_secret.get(secret_hash(secret))

    def joined(self) -> frozenset[NodeId]:
        """Every node that was not removed."""
        with self._lock:
            return frozenset(self._nodes)

    def is_unused(self, node: NodeId) -> bool:
        """Whether nobody can be using that node's credential: it is dead, or never started."""
        with self._lock:
            known = self._nodes.get(node)
            if known is None:
                return False
            return known.state is NodeState.DEAD or not known.record.registered_ms

    def is_dead(self, node: NodeId) -> bool:
        """Whether that node counts as dead, or is not known any more."""
        with self._lock:
            known = self._nodes.get(node)
            return known is None or known.state is NodeState.DEAD

    # ---- what nodes say

    def take_registration(
        self,
        record: NodeRecord,
        usage: NodeUsage,
        volumes: Sequence[VolumeStatus],
        *,
        voter: str = "",
        machine: str = "",
    ) -> None:
        """A node registered; until its full report is in, its stock is unknown."""
        with self._lock:
            known = self._nodes.get(record.node)
            if known is None:
                return  # removed meanwhile
            known.record = record
            self._registrations += 1
            known.registration, known.full_report = self._registrations, 0
            known.reachable = True  # what a sweep found before this start is over
            known.voter, known.machine = voter, machine
            was = self._heard(known, NodeEvent.REGISTERED)
            self._take_word(known, usage, volumes)
        self._say_back(record.node, was)

    def take_beat(
        self,
        node: NodeId,
        usage: NodeUsage,
        volumes: Sequence[VolumeStatus],
        acknowledged: Sequence[int],
        *,
        failed: Sequence[CommandFailure] = (),
        condition: NodeCondition | None = None,
    ) -> bool:
        """A node lives; whether it is registered in this run.

        The beats of a node that counts as dead, or never registered, change nothing of it.

        Raises:
            NodeNotJoined: it was removed.
        """
        was: NodeState | None = None
        with self._lock:
            known = self._known(node)
            if known.state is not NodeState.DEAD and known.record.registered_ms:
                was = self._heard(known, NodeEvent.BEAT)
                self._take_word(known, usage, volumes)
                if condition is not None:
                    self._take_condition(known, condition)
            self._take_failed(node, known, failed)
            done = known.orders.acknowledge(acknowledged)
            room = ACKNOWLEDGED_MAX - len(self._acknowledged)
            self._acknowledged += [(node, command) for command in done[:room]]
            registered = known.registration > 0
        if was is not None:
            self._say_back(node, was)
        return registered

    def _take_condition(self, known: _Node, condition: NodeCondition) -> None:
        known.condition = condition
        if condition.now_ms:
            known.skew_s = round((condition.now_ms - self._clock.now_ms()) / 1000, 3)

    def _take_failed(self, node: NodeId, known: _Node, failed: Sequence[CommandFailure]) -> None:
        words = {failure.command: failure for failure in failed}
        refused = known.orders.refuse(list(words), now_s=self._clock.monotonic_s())
        room = FAILED_MAX - len(self._failed)
        self._failed += [(node, command, words[command.command]) for command in refused[:room]]

    def _heard(self, known: _Node, event: NodeEvent) -> NodeState:
        """The state before."""
        was = known.state
        known.state = advance_node(was, event)
        known.heard_s = self._clock.monotonic_s()
        return was

    def _take_word(self, known: _Node, usage: NodeUsage, volumes: Sequence[VolumeStatus]) -> None:
        known.usage = msgspec.structs.replace(usage, at_ms=self._clock.now_ms())
        known.volumes = tuple(volumes[:VOLUMES_MAX])
        self._views = None

    def _say_back(self, node: NodeId, was: NodeState) -> None:
        if was in (NodeState.STALE, NodeState.DEAD):
            self._emit.emit(Event.NODE_BACK, node=node_name(node), was=was)

    def tick_once(self) -> LivenessReport:
        """Note who has been silent for too long."""
        found: dict[NodeEvent, list[NodeId]] = {event: [] for event in NodeEvent}
        said: list[tuple[NodeEvent, NodeId, float]] = []
        with self._lock:
            now_s, now_ms = self._clock.monotonic_s(), self._clock.now_ms()
            for node, known in self._nodes.items():
                silent_s = now_s - known.heard_s
                silence = judge_silence(
                    known.state,
                    Excuse(known.record.duty, known.record.excused_until_ms),
                    silent_s=silent_s,
                    now_ms=now_ms,
                    config=self._config,
                )
                known.state = silence.state
                for event in silence.events:
                    found[event].append(node)
                    said.append((event, node, silent_s))
                    self._views = None
                if NodeEvent.MISSED_LONG in silence.events:
                    known.registration = known.full_report = 0
            states = dict.fromkeys(NodeState, 0)
            for known in self._nodes.values():
                states[known.state] += 1
        for event, node, silent_s in said:
            name = Event.NODE_STALE if event is NodeEvent.MISSED_SHORT else Event.NODE_LOST
            self._emit.emit(name, node=node_name(node), silent_s=round(silent_s, 1))
        return LivenessReport(
            tuple(found[NodeEvent.MISSED_SHORT]), tuple(found[NodeEvent.MISSED_LONG]), states
        )

    def take_duty(self, record: NodeRecord) -> None:
        """What the operator wants of a node, or until when its silence is expected, changed."""
        with self._lock:
            if known := self._nodes.get(record.node):
                known.record = dataclasses.replace(
                    known.record, duty=record.duty, excused_until_ms=record.excused_until_ms
                )
                self._views = None

    def excuse(self, node: NodeId) -> Excuse:
        """Whether the node's silence would be expected.

        Raises:
            NodeNotJoined: it was removed.
        """
        with self._lock:
            record = self._known(node).record
            return Excuse(record.duty, record.excused_until_ms)

    def maintenance_over(self) -> list[NodeId]:
        """The nodes whose maintenance had an end that has come."""
        now_ms = self._clock.now_ms()
        with self._lock:
            return [
                node
                for node, known in self._nodes.items()
                if known.record.duty is NodeDuty.MAINTENANCE
                and 0 < known.record.excused_until_ms <= now_ms
            ]

    def mark_reachable(self, answers: Mapping[NodeId, bool]) -> None:
        """What a sweep found: whether each node answered it."""
        with self._lock:
            for node, reachable in answers.items():
                if (known := self._nodes.get(node)) and known.reachable != reachable:
                    known.reachable = reachable
                    self._views = None

    # ---- what others see

    def views(self) -> tuple[NodeView, ...]:
        """Every DataNode as of now, in the order of ids; the same object while nothing changed."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            if self._views is None or now_s - self._views_at_s >= VIEWS_LIFE_S:
                now_ms = self._clock.now_ms()
                self._views = tuple(
                    _view(known, now_s, now_ms) for _, known in sorted(self._nodes.items())
                )
                self._views_at_s = now_s
            return self._views

    def address(self, node: NodeId) -> NodeAddress:
        """Where a DataNode is.

        Raises:
            NodeNotFound: no such node.
        """
        with self._lock:
            if node not in self._nodes:
                raise NodeNotFound(f"no such DataNode: {node_name(node)}")
            return self._nodes[node].record.address

    def voters(self) -> dict[str, VoterSeen]:
        """The voters in the processes of nodes that are registered and live, by their uuids."""
        with self._lock:
            return {
                known.voter: VoterSeen(node_name(node), known.record.address.http, known.machine)
                for node, known in sorted(self._nodes.items())
                if known.voter and known.registration and known.state is NodeState.LIVE
            }

    def registration(self, node: NodeId) -> int:
        """Which registration of this run the node is on; 0 when it must register first."""
        with self._lock:
            known = self._nodes.get(node)
            return known.registration if known else 0

    def note_full_report(self, node: NodeId, registration: int) -> None:
        """All that the node held since that registration is taken in."""
        with self._lock:
            known = self._nodes.get(node)
            if known and registration and known.registration == registration:
                known.full_report = registration

    def doubt_stock(self, node: NodeId) -> None:
        """A report of the node got lost: what it holds is not known until a full one."""
        with self._lock:
            if known := self._nodes.get(node):
                known.full_report = 0

    def fresh(self) -> frozenset[NodeId]:
        """The nodes whose stock is known: registered in this run, with a full report since."""
        with self._lock:
            return frozenset(
                node
                for node, known in self._nodes.items()
                if known.registration and known.full_report == known.registration
            )

    # ---- commands

    def enqueue(
        self,
        node: NodeId,
        verb: str,
        block: BlockName | None,
        *,
        epoch: Epoch,
        reason: str,
        value: int = 0,
    ) -> bool:
        """See `NodeRegistry.enqueue`."""
        with self._lock:
            known = self._nodes.get(node)
            if known is None:
                return False
            command = NodeCommand(next(self._numbers), verb, epoch, block, reason, value)
            return known.orders.add(command, now_s=self._clock.monotonic_s())

    def cancel(self, node: NodeId, verb: str, block: BlockName | None = None) -> bool:
        """Order it no more; whether it was waiting.  The node may have been told already."""
        with self._lock:
            known = self._nodes.get(node)
            return known is not None and known.orders.cancel(verb, block)

    def orders(self, node: NodeId, *, deletions: bool = True) -> list[NodeCommand]:
        """What the next answer to that node carries, with or without what deletes.

        Raises:
            NodeNotJoined: it was removed.
        """
        with self._lock:
            return self._known(node).orders.next_batch(deletions=deletions)

    def take_acknowledged(self) -> list[tuple[NodeId, NodeCommand]]:
        """What DataNodes have done since the last call."""
        with self._lock:
            done, self._acknowledged = self._acknowledged, []
        return done

    def take_failed(self) -> list[tuple[NodeId, NodeCommand, CommandFailure]]:
        """What DataNodes could not do since the last call."""
        with self._lock:
            failed, self._failed = self._failed, []
        return failed

    def _known(self, node: NodeId) -> _Node:
        known = self._nodes.get(node)
        if known is None:
            raise NodeNotJoined(f"{node_name(node)} was removed from the cluster")
        return known


def _view(known: _Node, now_s: float, now_ms: int) -> NodeView:
    record = known.record
    silent_s = now_s - known.heard_s
    excuse = Excuse(record.duty, record.excused_until_ms)
    return NodeView(
        address=record.address,
        state=known.state,
        duty=record.duty,
        usage=known.usage,
        first_total_bytes=record.first_total_bytes,
        first_free_bytes=record.first_free_bytes,
        registered_ms=record.registered_ms,
        silent_s=round(silent_s, 3),
        replicas=sum(volume.blocks for volume in known.volumes),
        reachable=known.reachable,
        writable_volumes=sum(v.state is VolumeState.ONLINE for v in known.volumes),
        volumes=known.volumes,
        version=record.version,
        excused_until_ms=record.excused_until_ms,
        is_excused=now_ms < record.excused_until_ms,
        excused_s=round(silent_s - excuse.unexcused_s(silent_s, now_ms=now_ms), 3),
        skew_s=known.skew_s,
        condition=known.condition,
    )
