"""The regression guard: a NameNode whose metadata is older than what DataNodes have seen.

Somebody started an old copy of the database, or a disk lost what it had acknowledged.  Such a
NameNode would take newer blocks for rubbish and give their numbers to others.  It serves reads,
refuses every change, and deletes and repairs nothing, until it is started with its newest database
or an administrator accepts the loss.  The verdict is journaled: it outlives a restart.

Accepting: in one transaction every number that the lost history may have given is skipped for good
(`lost_ids.py`); then this NameNode leads anew, in an epoch above all that DataNodes saw.  As after
any beginning of a reign every DataNode registers and reports, and safe mode waits for them.  Should
it die in between, it is regressed again, and accepted again.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from dfs.base.clock import Clock
from dfs.base.errors import DfsError, JobConflict, Regressed
from dfs.base.events import Emitter, Event
from dfs.base.ids import NodeId, node_name
from dfs.blocks.lost_ids import skip_lost_ids, unknown_numbers
from dfs.meta.cluster_tables import SETTING
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.nodes.newer_history import Newer, NewerHistory, Reached
from dfs.upkeep.remembered import Key, Remembered

RETRY_AFTER_S: Final = 60.0


class Verdict(msgspec.Struct, frozen=True):
    """What a DataNode saw that this NameNode does not know; `epoch` is the highest seen."""

    why: str
    node: int
    epoch: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Anew:
    """How a NameNode goes on that lost transactions.

    Attributes:
        new_key: makes a block key: DataNodes may know another key by the newest number.
        lead_above: ends this reign, and begins one in an epoch above that one; which.
    """

    new_key: Callable[[], None]
    lead_above: Callable[[int], int]


class RegressionGuard:
    """See the module.  Safe to share between threads."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        *,
        newer: NewerHistory,
        remembered: Remembered,
        clock: Clock,
        emit: Emitter,
        anew: Anew,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._newer = newer
        self._remembered = remembered
        self._clock = clock
        self._emit = emit
        self._anew = anew
        self._lock = threading.Lock()
        self._verdict = remembered.read(Key.REGRESSED, Verdict)

    # ---- what others ask

    def why(self) -> str:
        """What was seen that is not known here; "" when nothing was."""
        if self._verdict is not None:
            return self._verdict.why
        newer = self._newer.newest()
        return "" if newer is None else _words(newer)

    def refusal(self) -> DfsError | None:
        """What a change is refused with now; None when it is welcome."""
        why = self.why()
        if not why:
            return None
        return Regressed(
            f"the NameNode's metadata is older than what DataNodes have seen: {why}",
            details={"retry_after_s": RETRY_AFTER_S},
        )

    def why_no_deletes(self) -> str:
        """Why nothing may be deleted now; "" when it may."""
        why = self.why()
        return f"the metadata is older than what DataNodes have seen: {why}" if why else ""

    def why_no_repair(self, _urgency: object) -> str:
        """Why nothing may be repaired now; "" when it may."""
        return self.why_no_deletes()

    # ---- the job

    def run_once(self) -> str:
        """Look for signs of it, and write down the first; why it is regressed."""
        with self._lock:
            if self._verdict is None:
                found = self._look()
                if found is not None:
                    self._declare(found)
        return self.why()

    def _look(self) -> Verdict | None:
        newer = self._newer.newest()
        if newer is not None:
            return Verdict(_words(newer), newer.node, newer.seen.epoch, self._clock.now_ms())
        with self._reader.view() as connection:
            found = unknown_numbers(connection)
        if found is None:
            return None
        node, block = found
        why = f"{node_name(NodeId(node))} holds block {block:x}, which was never given out here"
        return Verdict(why, node, self._writer.epoch, self._clock.now_ms())

    def _declare(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self._remembered.keep(Key.REGRESSED, verdict)
        self._emit.emit(
            Event.METADATA_REGRESSED,
            why=verdict.why,
            node=node_name(NodeId(verdict.node)),
            epoch=self._writer.epoch,
            txid=self._writer.txid,
        )
        self._anew.new_key()

    def accept(self, by: str) -> int:
        """Go on from what there is: what only the lost transactions knew stays lost, its block
        files stay where they are.  The new epoch.

        Raises:
            JobConflict: nothing was lost.
        """
        self.run_once()
        with self._lock:
            verdict = self._verdict
            if verdict is None:
                raise JobConflict("the metadata is as new as what DataNodes have seen")
            seen = self._writer.submit(lambda txn: self._write_acceptance(txn, verdict))
            self._newer.accept(Reached(seen + 1, 0))
            self._verdict = None
        self._anew.new_key()
        epoch = self._anew.lead_above(seen)
        self._emit.emit(Event.METADATA_ACCEPTED, by=by, was=verdict.why, epoch=epoch)
        return epoch

    def _write_acceptance(self, txn: Txn, verdict: Verdict) -> int:
        """The highest epoch that DataNodes saw."""
        skip_lost_ids(txn)
        txn.drop(SETTING, (Key.REGRESSED.value,))
        newest = self._newer.newest()
        return max(verdict.epoch, newest.seen.epoch if newest else 0, self._writer.epoch)


def _words(newer: Newer) -> str:
    seen, ours = newer.seen, newer.ours
    return (
        f"{node_name(newer.node)} has seen transaction {seen.txid} of epoch {seen.epoch}, "
        f"here is transaction {ours.txid} of epoch {ours.epoch}"
    )
