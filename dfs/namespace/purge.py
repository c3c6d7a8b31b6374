"""The purge: what was removed long enough ago is taken apart, in bounded steps.

A removed tree is one dead dirent over live rows.  The purge descends from it: entries first, then
the directory, so a step that is cut short leaves a smaller tree under the same dead dirent, and the
next step goes on there.  Blocks that no extent points at any more become garbage; their replicas
are the garbage collector's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.events import Emitter, Event
from dfs.base.ids import BlockId, DirentId, InodeId
from dfs.blocks.blockmap import discard, unreferenced
from dfs.meta.tables import DIRENT, EXTENT, INODE
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.namespace.inode_rows import Dirent, find_inode, in_parts
from dfs.settings.sections import NamenodeConfig


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What one pass did; `more` says that something expired is left."""

    names: int
    inodes: int
    blocks: int
    more: bool

    def __bool__(self) -> bool:
        """Whether anything was done; a pass without is no news."""
        return bool(self.names or self.inodes or self.blocks)


class Purge:
    """The job that empties the trash."""

    def __init__(
        self, writer: Writer, *, clock: Clock, config: NamenodeConfig, emit: Emitter
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._keep_ms = int(config.trash_keep_s * 1000)
        self._rows_max = config.purge_rows_max
        self._emit = emit

    def run_once(self) -> PurgeReport:
        """One bounded step, in one transaction."""
        report = self._writer.submit(self._step)
        if report.names:
            self._emit.emit(
                Event.TRASH_PURGED, names=report.names, inodes=report.inodes, blocks=report.blocks
            )
        return report

    def _step(self, txn: Txn) -> PurgeReport:
        work = _Work(txn, self._rows_max)
        expired = (
            select(DIRENT)
            .where(DIRENT.c.died_tx.is_not(None), DIRENT.c.died_ms <= txn.now_ms - self._keep_ms)
            .order_by(DIRENT.c.died_ms)
            .limit(self._rows_max)
        )
        for row in txn.connection.execute(expired).all():
            if not work.take(Dirent(*row)):
                break
        blocks = work.write()
        crashpoint.reach("nn.purge.applied")
        return PurgeReport(len(work.names), len(work.inodes), blocks, work.spent)


@dataclass(slots=True)
class _Level:
    """A name under way: what is left below it, and whether there is more than was read."""

    dirent: Dirent
    below: list[Dirent]
    cut_short: bool


class _Work:
    """Gathers what goes, depth first, until the budget is spent; then drops it all at once."""

    def __init__(self, txn: Txn, rows_max: int) -> None:
        self._txn = txn
        self._left = rows_max
        self.names: list[DirentId] = []
        self.inodes: list[InodeId] = []
        self.spent = False

    def take(self, dirent: Dirent) -> bool:
        """Take a dead or unreachable name and all that only it leads to; False if cut short."""
        if dirent.died_tx is not None and dirent.died_by is None:
            return self._count(self.names, dirent.id)  # it moved: what it named lives elsewhere
        # An explicit stack: trees may be deeper than Python likes to recurse.
        stack = [self._open(dirent)]
        while stack:
            top = stack[-1]
            if top.below:
                child = top.below.pop()
                moved = child.died_tx is not None and child.died_by is None
                if not moved:
                    stack.append(self._open(child))
                elif not self._count(self.names, child.id):
                    return False
            elif top.cut_short or not self._count(self.inodes, top.dirent.inode):
                self.spent = True
                return False
            else:
                self.names.append(top.dirent.id)
                stack.pop()
        return True

    def write(self) -> int:
        """Drop what was gathered; how many blocks became garbage."""
        txn = self._txn
        keys, blocks = self._extents()
        txn.drop(EXTENT, *keys)
        txn.drop(INODE, *((inode,) for inode in self.inodes))
        txn.drop(DIRENT, *((name,) for name in self.names))
        garbage = unreferenced(txn, blocks)
        discard(txn, garbage, reason="removed", not_before_ms=txn.now_ms)
        return len(garbage)

    def _count(self, into: list, number: int) -> bool:  # type: ignore[type-arg]
        if self._left <= 0:
            self.spent = True
            return False
        self._left -= 1
        into.append(number)
        return True

    def _open(self, dirent: Dirent) -> "_Level":
        """What a name leads to, with no more entries than the budget could take."""
        found = find_inode(self._txn.connection, dirent.inode)
        if found is None or not found.is_directory:
            return _Level(dirent, [], cut_short=False)
        limit = max(1, self._left)
        rows = self._txn.connection.execute(
            select(DIRENT).where(DIRENT.c.parent == dirent.inode).limit(limit + 1)
        ).all()
        return _Level(dirent, [Dirent(*row) for row in rows[:limit]], cut_short=len(rows) > limit)

    def _extents(self) -> tuple[list[tuple[int, int]], Sequence[BlockId]]:
        keys: list[tuple[int, int]] = []
        blocks: set[BlockId] = set()
        for part in in_parts(self.inodes):
            wanted = select(EXTENT.c.inode, EXTENT.c.seq, EXTENT.c.block)
            for row in self._txn.connection.execute(wanted.where(EXTENT.c.inode.in_(part))):
                keys.append((row.inode, row.seq))
                blocks.add(row.block)
        return keys, sorted(blocks)
