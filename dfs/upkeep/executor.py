"""Performs steps: the shell under the planners of repair and balance.

Copies run in a few threads; nothing waits for them.  The order of effects of one:

    1 the target holds the block, fsynced    its signed receipt vouches for the truth
    2 its row is live (journaled, commit)    if the block is still in use in that generation
    3 only then may another copy be retired  (a step of its own, decided anew)

A crash before 2 leaves a copy that its node reports by itself.  A source that turns out bad becomes
suspect, is verified by its own node, and another is tried.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.errors import (
    BlockConflict,
    BlockCorrupt,
    BlockNotFound,
    DfsError,
    DiskFull,
    LengthMismatch,
    StaleGeneration,
    Stopping,
    VolumeReadOnly,
)
from dfs.base.events import Emitter, Event
from dfs.base.ids import NodeId, node_name
from dfs.base.records import BlockName, NodeAddress
from dfs.base.states import ReplicaState
from dfs.blocks.history import BlockEvent, What, note
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import KeptBlock, Standings, assess
from dfs.meta.session import Reader
from dfs.meta.tables import REPLICA
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.nodes.orders import Order, Ordering
from dfs.upkeep.caution import Caution
from dfs.upkeep.mini_client import MiniClient, is_at_source
from dfs.upkeep.pending import PendingTable
from dfs.upkeep.retirement import without
from dfs.upkeep.retiring import Retirement, put_copy_state, retire
from dfs.upkeep.steps import CopyBlock, DropReplica, Purpose

# The source has not what it should have: it is doubted until its own node has looked.
_BAD_SOURCE: Final = (BlockCorrupt, BlockNotFound, LengthMismatch)
# The target cannot take it, and will not be able to in a minute.
_BAD_TARGET: Final = (DiskFull, VolumeReadOnly, BlockConflict, StaleGeneration)


class Nodes(Ordering, Protocol):
    """What the executor needs of the register of nodes."""

    def address(self, node: NodeId) -> NodeAddress:
        """Where a DataNode is; raises NodeNotFound."""
        ...


@dataclass(frozen=True, slots=True)
class CopyOutcome:
    """What came of a copy.  `why` says what went wrong, "" when nothing did."""

    step: CopyBlock
    took_s: float
    why: str = ""

    @property
    def done(self) -> bool:
        """Whether the copy counts now."""
        return not self.why


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorParts:
    """What the executor works with."""

    reader: Reader
    writer: Writer
    nodes: Nodes
    client: MiniClient
    pending: PendingTable
    caution: Caution
    standings: Callable[[], Standings]
    clock: Clock
    emit: Emitter


class Executor:
    """See the module.  Safe to share between threads.

    Args:
        threads: copies that run at the same time; more are refused by `submit`.
    """

    def __init__(self, parts: ExecutorParts, *, threads: int) -> None:
        self._parts = parts
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="copy")
        self._lock = threading.Lock()
        self._running = 0
        self._closed = False
        self._listeners: list[Callable[[CopyOutcome], None]] = []

    def listen(self, listener: Callable[[CopyOutcome], None]) -> None:
        """Tell it of every copy that is over.  Called from the threads that copy."""
        self._listeners.append(listener)

    # ---- copies

    def submit(self, step: CopyBlock, then: Callable[[CopyOutcome], None] | None = None) -> bool:
        """Begin a copy and do not wait for it; `then` is told how it ended.

        Returns:
            False when the same is under way, or as many are as may be.
        """
        with self._lock:
            if self._closed or self._running >= self._threads:
                return False
            if not self._parts.pending.begin(step):
                return False
            self._running += 1
        self._pool.submit(self._run, step, then)
        return True

    def _run(self, step: CopyBlock, then: Callable[[CopyOutcome], None] | None) -> None:
        began_s = self._parts.clock.monotonic_s()
        try:
            why = self._copy(step)
        except DfsError as err:
            why = f"{err.code}: {err.message}"
        except Exception as exc:  # noqa: BLE001 - the thread's last line: a bug must not be lost
            self._parts.emit.emit(Event.BUG_UNHANDLED, where="copy", error=repr(exc))
            why = f"bug: {exc!r}"
        finally:
            self._parts.pending.end(step)
            with self._lock:
                self._running -= 1
        self._tell(CopyOutcome(step, self._parts.clock.monotonic_s() - began_s, why), then)

    def _tell(self, outcome: CopyOutcome, then: Callable[[CopyOutcome], None] | None) -> None:
        for listener in (*self._listeners, *([then] if then else [])):
            try:
                listener(outcome)
            except Exception as exc:  # noqa: BLE001 - the pool would swallow it, and the others' news
                self._parts.emit.emit(Event.BUG_UNHANDLED, where="copy", error=repr(exc))

    def _copy(self, step: CopyBlock) -> str:
        """Make one copy; why it was not made, or "".

        Raises:
            DfsError: from the metadata; the copy is left to the stock reports.
        """
        parts = self._parts
        if parts.pending.is_cancelled(step):
            return "not needed any more"
        began_s = parts.clock.monotonic_s()
        # A copy that the target gave up earlier may have been ordered gone twice.
        parts.nodes.cancel(step.target, Order.DELETE, step.name)
        try:
            source, target = parts.nodes.address(step.source), parts.nodes.address(step.target)
            parts.client.copy(step, source, target)
        except Stopping as err:
            return err.message
        except DfsError as err:
            self._failed(step, err)
            return f"{err.code}: {err.message}"
        crashpoint.reach("nn.copy.received")
        counted = parts.writer.submit(lambda txn: self._count(txn, step))
        crashpoint.reach("nn.copy.counted")
        parts.pending.succeeded(step)
        if not counted:
            return "the block is not in use any more"
        parts.emit.emit(
            Event.REPLICA_COPIED,
            block=step.name.block,
            source=node_name(step.source),
            target=node_name(step.target),
            size_bytes=step.truth.length_bytes,
            purpose=step.purpose,
            urgency=step.urgency.name.lower(),
            took_s=round(parts.clock.monotonic_s() - began_s, 3),
        )
        return ""

    def _count(self, txn: Txn, step: CopyBlock) -> bool:
        """Write the copy down; False when the block is not what it was."""
        kept = read_kept(txn.connection, [step.name.block]).get(step.name.block)
        if kept is None or kept.truth != step.truth:
            return False
        txn.put(
            REPLICA,
            {
                "block": step.name.block,
                "node": step.target,
                "generation": step.truth.generation,
                "state": ReplicaState.LIVE.value,
                "verified_ms": txn.now_ms,
            },
        )
        what = What.MOVED if step.purpose is Purpose.BALANCE else What.COPIED
        detail = f"from {node_name(step.source)}: {step.reason}"
        note(txn, [_event(kept, what, step.target, step.purpose, detail)])
        return True

    def _failed(self, step: CopyBlock, err: DfsError) -> None:
        parts = self._parts
        at_source = is_at_source(err) or isinstance(err, BlockCorrupt | BlockNotFound)
        bad_source = at_source and isinstance(err, _BAD_SOURCE)
        bad_target = not at_source and isinstance(err, _BAD_TARGET)
        parts.pending.failed(
            step,
            source=at_source,
            target=not at_source,
            proved=bad_source or bad_target,
            why=f"{err.code}: {err.message}"[:200],
        )
        parts.emit.emit(
            Event.REPLICA_COPY_FAILED,
            block=step.name.block,
            source=node_name(step.source),
            target=node_name(step.target),
            side="source" if at_source else "target",
            code=err.code,
            why=err.message,
        )
        if bad_source:
            self.doubt(step.name, step.source, actor=step.purpose, why=err.message)

    # ---- the rest: one transaction, or one order

    def doubt(self, name: BlockName, node: NodeId, *, actor: str, why: str) -> None:
        """A copy could not be read: it is suspect until its own node has looked."""

        def work(txn: Txn) -> bool:
            kept = read_kept(txn.connection, [name.block]).get(name.block)
            copy = next((c for c in kept.copies if c.node == node), None) if kept else None
            if kept is None or copy is None or copy.state is not ReplicaState.LIVE:
                return False
            put_copy_state(txn, kept, node, ReplicaState.SUSPECT)
            note(txn, [_event(kept, What.SUSPECT, node, actor, why)])
            return True

        if self._parts.writer.submit(work):
            self._parts.emit.emit(
                Event.REPLICA_SUSPECT,
                node=node_name(node),
                block=name.block,
                generation=name.generation,
                user=actor,
                why=why,
            )
        reason = f"it could not be copied from: {why}"
        self._parts.nodes.enqueue(node, Order.VERIFY, name, reason=reason)

    def drop(self, step: DropReplica) -> Retirement:
        """Retire a copy if it may go by the rows of now, and order its deletion."""
        parts = self._parts
        held_back = parts.caution.why_no_deletes()
        if held_back:
            return Retirement(done=False, why_not=held_back)
        parts.pending.dropped(step.name.block)
        proof = self._prove_rest(step)
        if proof.why_not:
            return Retirement(done=False, why_not=proof.why_not)
        done = parts.writer.submit(
            lambda txn: retire(
                txn,
                step.name.block,
                step.node,
                at=parts.standings(),
                proved=proof.nodes,
                actor=step.purpose,
                reason=step.reason,
            )
        )
        crashpoint.reach("nn.replica.retiring")
        if done:
            parts.nodes.enqueue(step.node, Order.DELETE, step.name, reason=step.reason)
        return done

    def _prove_rest(self, step: DropReplica) -> "_Proof":
        """Read the copy that is to be the only sure one left, before the other goes."""
        parts = self._parts
        with parts.reader.view() as connection:
            kept = read_kept(connection, [step.name.block]).get(step.name.block)
        if kept is None:
            return _Proof(why_not="the block is not in use any more")
        left = assess(without(kept, step.node), parts.standings()).sure
        if len(left) != 1:
            return _Proof()  # two that nobody doubts, or none: then it is refused anyway
        try:
            if parts.client.is_intact(kept.name, kept.truth, parts.nodes.address(left[0])):
                return _Proof(nodes=frozenset(left))
            why = f"{node_name(left[0])} would be left, and its copy is not intact"
            self.doubt(kept.name, left[0], actor=step.purpose, why=why)
        except DfsError as err:
            why = f"{node_name(left[0])} would be left, and could not be asked: {err.message}"
        return _Proof(why_not=why)

    def close(self) -> None:
        """Give up what is under way, and wait until its threads have noticed."""
        with self._lock:
            self._closed = True
        self._parts.client.close()
        self._pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Proof:
    """Nodes whose copies were read just now and are good, or why a copy has to stay."""

    nodes: frozenset[NodeId] = frozenset()
    why_not: str = ""


def _event(kept: KeptBlock, what: What, node: NodeId, actor: str, detail: str) -> BlockEvent:
    return BlockEvent(kept.truth.block, kept.truth.generation, what, node, actor, detail)
