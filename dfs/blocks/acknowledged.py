"""What DataNodes say they have done: taken from the beats once, and handed to whom it concerns.

    order        the row that goes
    delete       of garbage, and of a copy that was retiring; the stray of that very name
    purge_bad    of a copy that is bad; the stray of that very name
    restore      none: the history tells that the copy is back

A row goes only when it still says what the order was about.  A copy that was made anew since, or is
wanted again, keeps its row: its node's next stock report says what is there.  Orders of other kinds
go to those who asked to hear of them (`listen`).  An acknowledgement that a crash loses does no
harm: whoever ordered sees that it is not done, and deleting twice is no error.

What a DataNode could not do is a line in the log; whoever wants it orders it again, later.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection

from dfs.base import crashpoint
from dfs.base.events import Emitter, Event
from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.records import BlockName, CommandFailure, NodeCommand
from dfs.base.states import ReplicaState
from dfs.blocks import history
from dfs.blocks.history import BlockEvent, What
from dfs.blocks.reconcile import Expected, Location
from dfs.blocks.replica_rows import read_expected, read_locations
from dfs.blocks.stray_rows import drop_strays, read_strays
from dfs.meta.tables import REPLICA
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.nodes.orders import Order

ROWS_PER_TXN: Final = 2_000
FAILURES_NAMED_MAX: Final = 20  # lines a pass; the others are counted in the last
ACTOR: Final = "orders"

Listener = Callable[[NodeId, NodeCommand], None]


class Answers(Protocol):
    """Where DataNodes' answers to orders wait."""

    def take_acknowledged(self) -> list[tuple[NodeId, NodeCommand]]:
        """What was done since the last call."""
        ...

    def take_failed(self) -> list[tuple[NodeId, NodeCommand, CommandFailure]]:
        """What could not be done since the last call."""
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """What one pass heard: orders done, rows that went for it, orders that failed."""

    done: int
    dropped: int
    failed: int

    def __bool__(self) -> bool:
        """Whether there was anything worth a line."""
        return bool(self.dropped or self.failed)


class Acknowledgements:
    """See the module.  One pass at a time, by `run_once`."""

    def __init__(self, writer: Writer, *, answers: Answers, emit: Emitter) -> None:
        self._writer = writer
        self._answers = answers
        self._emit = emit
        self._listeners: dict[str, list[Listener]] = {}

    def listen(self, verb: str, listener: Listener) -> None:
        """Tell `listener` of every order of that kind that was done; it must not block."""
        self._listeners.setdefault(verb, []).append(listener)

    def run_once(self) -> Answered:
        """Take what was answered since the last pass."""
        done = self._answers.take_acknowledged()
        removals = [
            (node, command)
            for node, command in done
            if command.verb in (Order.DELETE, Order.PURGE_BAD) and command.block is not None
        ]
        dropped = 0
        for start in range(0, len(removals), ROWS_PER_TXN):
            dropped += self._drop(removals[start : start + ROWS_PER_TXN])
        back = [
            (node, command.block)
            for node, command in done
            if command.verb == Order.RESTORE and command.block is not None
        ]
        if back:
            self._note_restored(back)
        crashpoint.reach("nn.gc.acknowledged")
        for node, command in done:
            for listener in self._listeners.get(command.verb, ()):
                listener(node, command)
        failed = self._answers.take_failed()
        self._say_failed(failed)
        return Answered(len(done), dropped, len(failed))

    def _drop(self, removals: Sequence[tuple[NodeId, NodeCommand]]) -> int:
        retired = self._writer.submit(lambda txn: _drop(txn, removals))
        for removal in retired.retired:
            self._emit.emit(
                Event.REPLICA_RETIRED,
                node=node_name(removal.node),
                block=removal.name.block,
                generation=removal.name.generation,
                why=removal.reason,
            )
        return retired.dropped

    def _note_restored(self, back: Sequence[tuple[NodeId, BlockName]]) -> None:
        def work(txn: Txn) -> list[BlockEvent]:
            events = []
            for node, name in back:
                why = _last_restoring(txn.connection, node, name)
                actor, detail = (why.actor, why.detail) if why else (ACTOR, "")
                events.append(
                    BlockEvent(name.block, name.generation, What.RESTORED, node, actor, detail)
                )
            history.note(txn, events)
            return events

        for event in self._writer.submit(work):
            self._emit.emit(
                Event.REPLICA_RESTORED,
                block=event.block,
                node=node_name(event.node),
                actor=event.actor,
                why=event.detail,
            )

    def _say_failed(self, failed: Sequence[tuple[NodeId, NodeCommand, CommandFailure]]) -> None:
        for node, command, failure in failed[:FAILURES_NAMED_MAX]:
            self._emit.emit(
                Event.COMMAND_FAILED,
                node=node_name(node),
                verb=command.verb,
                block=command.block.block if command.block else 0,
                code=failure.code,
                why=failure.why,
                more=max(0, len(failed) - FAILURES_NAMED_MAX),
            )


@dataclass(frozen=True, slots=True)
class _Removal:
    """A copy that its node says is gone."""

    node: NodeId
    name: BlockName
    verb: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Dropped:
    dropped: int
    retired: tuple[_Removal, ...]


def _drop(txn: Txn, done: Sequence[tuple[NodeId, NodeCommand]]) -> _Dropped:
    """The rows that go, judged on this transaction's."""
    by_node: dict[NodeId, list[_Removal]] = {}
    for node, command in done:
        assert command.block is not None
        removal = _Removal(node, command.block, command.verb, command.reason)
        by_node.setdefault(node, []).append(removal)
    expected = read_expected(
        txn.connection, {r.name.block for removals in by_node.values() for r in removals}
    )
    counts: Counter[str] = Counter()
    retired: list[_Removal] = []
    events: list[BlockEvent] = []
    for node, removals in by_node.items():
        blocks = {removal.name.block for removal in removals}
        locations = read_locations(txn.connection, node, blocks)
        strays = read_strays(txn.connection, node, blocks)
        known = {stray.name: key for key, stray in strays.items()}
        drop_strays(txn, ((node, known[r.name]) for r in removals if r.name in known))
        counts["strays"] += sum(removal.name in known for removal in removals)
        for removal in removals:
            what = _what_went(removal, locations, expected)
            if what is not None:
                txn.drop(REPLICA, (removal.name.block, node))
                del locations[removal.name.block]
                counts["rows"] += 1
                events.append(_event(removal, what))
                retired += [removal] if what is What.RETIRED else []
    history.note(txn, events)
    return _Dropped(counts.total(), tuple(retired))


def _what_went(
    removal: _Removal,
    locations: Mapping[BlockId, Location],
    expected: Mapping[BlockId, Expected],
) -> What | None:
    """What went with the copy; None when its row says something else by now."""
    location = locations.get(removal.name.block)
    known = expected.get(removal.name.block)
    if location is None or location.generation != removal.name.generation:
        return None
    if known is not None and known.name != removal.name:
        return None  # a stray of that number went, not the copy
    if removal.verb == Order.PURGE_BAD:
        return What.PURGED if location.state is ReplicaState.CORRUPT else None
    what = history.what_went(location.state, None if known is None else known.state)
    return what if what in (What.DELETED, What.RETIRED) else None


def _last_restoring(connection: Connection, node: NodeId, name: BlockName) -> BlockEvent | None:
    """Who wanted the copy back, and why."""
    for event in reversed(history.read(connection, name.block)):
        if (event.what, event.node) == (What.RESTORING, node):
            return event
    return None


def _event(removal: _Removal, what: What) -> BlockEvent:
    name = removal.name
    return BlockEvent(name.block, name.generation, what, removal.node, ACTOR, removal.reason)
