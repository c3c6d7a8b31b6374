"""fsck: how well the files below a path are kept, in pages; nothing is changed.

Each file's live blocks are read with every copy known of them and held to the one definition of
health (`dfs.blocks.redundancy`); what the copies of each node are worth now, the composition root
says.  A page ends after so many names or blocks, so that a snapshot stays short.

Files share blocks: those of a pack, and a file with its copies.  A block counts once, with the file
of the lowest number that has it and is below the path, so that no page need know of another.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, select

from dfs.base import paths
from dfs.base.ids import ROOT_INODE, BlockId, InodeId, NodeId
from dfs.base.records import NodeView, Principal
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import (
    Assessment,
    BlockHealth,
    KeptBlock,
    Standings,
    assess,
    words_for,
)
from dfs.meta.prepared import Prepared
from dfs.meta.tables import DIRENT, EXTENT, INODE, STRAY
from dfs.namespace.inode_rows import Entry, Inode, find_child, in_parts
from dfs.namespace.resolve import Place, Resolver
from dfs.namespace.walk import names_below, walk
from dfs.wire.check_api import BlockCheck, CopyCheck, FileCheck, FsckReply, FsckRequest, FsckTotals

FILES_AT_ONCE: Final = 500
BLOCKS_AT_ONCE: Final = 2_000  # about, by the sizes of the files
PAGE_VISITS_MAX: Final = 20_000
PAGE_BLOCKS_MAX: Final = 5_000  # and those of the files read with the last of them
PAGE_NAMED_MAX: Final = 1_000  # files named in an answer, so that its body stays small
# Files of shared blocks looked at for a page; a block that takes more may count once a page.
PAGE_SHARERS_MAX: Final = 200_000
SHARERS_AT_ONCE: Final = 100
NOT_COMMITTED: Final = "the metadata has no such block (see: dfs-admin fsck --metadata)"
WELL: Final = frozenset({BlockHealth.HEALTHY, BlockHealth.EXCESS})
SEVERITY: Final = (
    BlockHealth.HEALTHY,
    BlockHealth.EXCESS,
    BlockHealth.MISPLACED,
    BlockHealth.UNDER_REPLICATED,
    BlockHealth.AWAY,
    BlockHealth.DISPUTED,
    BlockHealth.CORRUPT,
    BlockHealth.MISSING,
)
assert set(SEVERITY) == set(BlockHealth)
(_RESERVED_NAME,) = paths.parse(paths.RESERVED)
_SHARERS: Final = Prepared(
    select(EXTENT.c.inode, DIRENT.c.parent)
    .join(DIRENT, DIRENT.c.inode == EXTENT.c.inode)
    .where(
        EXTENT.c.block == bindparam("block"),
        EXTENT.c.inode > bindparam("after"),
        EXTENT.c.died_tx.is_(None),
        DIRENT.c.died_tx.is_(None),
    )
    .order_by(EXTENT.c.inode)
    .limit(SHARERS_AT_ONCE)
)
_PARENT: Final = Prepared(
    select(DIRENT.c.parent).where(DIRENT.c.inode == bindparam("inode"), DIRENT.c.died_tx.is_(None))
)


@dataclass(slots=True)
class _Counts:
    """Totals while they grow."""

    files: int = 0
    directories: int = 0
    size_bytes: int = 0
    blocks: int = 0
    bad_copies: int = 0
    by_file: Counter[str] = field(default_factory=Counter)
    by_block: Counter[str] = field(default_factory=Counter)

    def totals(self) -> FsckTotals:
        return FsckTotals(
            self.files,
            self.directories,
            self.size_bytes,
            self.blocks,
            self.bad_copies,
            dict(self.by_file),
            dict(self.by_block),
        )


@dataclass(frozen=True, slots=True)
class FilePiece:
    """A live extent of a file and the block it lies in; None when the metadata lost that."""

    file_offset: int
    length_bytes: int
    block: BlockId
    kept: KeptBlock | None


class Checking:
    """Answers how well files are kept.

    Args:
        nodes: every DataNode as of now.
        standings: what copies on each of them are worth now.
    """

    def __init__(
        self,
        *,
        nodes: Callable[[], Sequence[NodeView]],
        standings: Callable[[], Standings],
    ) -> None:
        self._nodes = nodes
        self._standings = standings

    def fsck(self, connection: Connection, who: Principal, body: FsckRequest) -> FsckReply:
        """A page of files below a path (or the file that it names).

        Raises:
            DfsError: no such path, or a cursor that is not below it.
        """
        place = Resolver(connection, who).place(body.path)
        page = _Page(connection, self._nodes(), self._standings(), body)
        next_cursor = page.fill(place)
        return FsckReply(
            files=page.named,
            totals=page.usual.totals(),
            reserved=page.reserved.totals(),
            next=next_cursor,
            under_construction=_count_unfinished(connection),
            strays=connection.execute(select(func.count()).select_from(STRAY)).scalar_one(),
        )


class _Sharers:
    """Which of the files below a directory a block counts with; for one page.

    Args:
        below: the directory; None for a page of one file, which all its blocks count with.
        without: a directory whose files are none of them.
    """

    def __init__(
        self, connection: Connection, below: InodeId | None, without: InodeId | None
    ) -> None:
        self._connection = connection
        self._is_one_file = below is None
        self._is_below: dict[int, bool] = {ROOT_INODE: False}
        if without is not None:
            self._is_below[without] = False
        if below is not None:
            self._is_below[below] = True
        self._first: dict[BlockId, int] = {}
        self._left = PAGE_SHARERS_MAX

    def counts_with(self, block: BlockId, inode: InodeId) -> bool:
        """Whether a block counts with that file, which is below and has it."""
        if self._is_one_file:
            return True
        if block not in self._first:
            self._first[block] = self._find(block, inode)
        return self._first[block] == inode

    def _find(self, block: BlockId, inode: InodeId) -> int:
        """The lowest file that has it, or the one at hand if finding it takes too long."""
        after = 0
        while self._left > 0:
            rows = _SHARERS.run(self._connection, block=block, after=after)
            for sharer, parent in rows:
                self._left -= 1
                if sharer == inode or self._leads_below(parent):
                    return int(sharer)
            if len(rows) < SHARERS_AT_ONCE:
                break
            after = rows[-1][0]
        return inode

    def _leads_below(self, directory: int) -> bool:
        passed: list[int] = []
        found: bool | None = None
        while (found := self._is_below.get(directory)) is None:
            passed.append(directory)
            above = _PARENT.run(self._connection, inode=directory)
            if not above or len(passed) > paths.DEPTH_MAX:
                found = False
                break
            directory = above[0][0]
        self._is_below.update(dict.fromkeys(passed, found))
        return found


class _Page:
    """One page while it is made."""

    def __init__(
        self,
        connection: Connection,
        nodes: Sequence[NodeView],
        at: Standings,
        body: FsckRequest,
    ) -> None:
        self._connection = connection
        self._node_states = {view.node: view.state.value for view in nodes}
        self._at = at
        self._body = body
        self._naming = True
        self._blocks_read = 0
        self._sharers = _Sharers(connection, None, None)
        self.named: list[FileCheck] = []
        self.usual, self.reserved = _Counts(), _Counts()

    def fill(self, place: Place) -> str:
        """Check files until the page is full; where the next one begins."""
        if not place.inode.is_directory:
            self._check([(place.path, place.inode)])
            return ""
        reserved = None if paths.is_reserved(place.path) else self._reserved()
        without = reserved.inode.id if reserved is not None else None
        self._sharers = _Sharers(self._connection, place.inode.id, without)
        if not self._body.cursor:
            self._counts(place.path).directories += 1
        next_cursor = self._walk(place, names_below(place.path, self._body.cursor))
        if not next_cursor and place.path == "/":
            self._look_at_reserved()
        return next_cursor

    def _walk(self, place: Place, after: tuple[str, ...]) -> str:
        waiting: list[tuple[str, Inode]] = []
        blocks = 0
        steps = walk(self._connection, place.inode, place.path, after=after)
        for visited, step in enumerate(steps, start=1):
            inode = step.entry.inode
            if inode.is_directory:
                self._counts(step.path).directories += 1
            else:
                waiting.append((step.path, inode))
                blocks += 1 + inode.size_bytes // max(1, inode.block_size_bytes)
            is_last = visited >= PAGE_VISITS_MAX
            if is_last or len(waiting) >= FILES_AT_ONCE or blocks >= BLOCKS_AT_ONCE:
                self._check(waiting)
                waiting, blocks = [], 0
                if is_last or self._is_full():
                    return step.path
        self._check(waiting)
        return ""

    def _look_at_reserved(self) -> None:
        """A walk from the root passes it over; it holds a handful of files.

        They are counted apart and not named: nobody need mind what is broken on purpose.
        """
        entry = self._reserved()
        if entry is not None and entry.inode.is_directory:
            self._naming = False
            self._sharers = _Sharers(self._connection, entry.inode.id, None)
            self._walk(Place(paths.RESERVED, entry.inode, "/", _RESERVED_NAME, entry), ())

    def _reserved(self) -> Entry | None:
        return find_child(self._connection, ROOT_INODE, _RESERVED_NAME)

    def _is_full(self) -> bool:
        return self._blocks_read >= PAGE_BLOCKS_MAX or len(self.named) >= PAGE_NAMED_MAX

    def _counts(self, path: str) -> _Counts:
        return self.reserved if paths.is_reserved(path) else self.usual

    def _check(self, files: Sequence[tuple[str, Inode]]) -> None:
        pieces = read_pieces(self._connection, [inode.id for _, inode in files])
        for path, inode in files:
            self._take(path, inode, pieces[inode.id])

    def _take(self, path: str, inode: Inode, pieces: Sequence[FilePiece]) -> None:
        counts = self._counts(path)
        judged = [(piece, assess(piece.kept, self._at) if piece.kept else None) for piece in pieces]
        healths = [found.health if found else BlockHealth.MISSING for _, found in judged]
        worst = max(healths, key=SEVERITY.index, default=BlockHealth.HEALTHY)
        counts.files += 1
        counts.size_bytes += inode.size_bytes
        counts.by_file[worst.value] += 1
        self._blocks_read += len(pieces)
        by_block = {
            piece.block: (found, health)
            for (piece, found), health in zip(judged, healths, strict=True)
        }
        for block, (found, health) in by_block.items():
            if self._sharers.counts_with(block, inode.id):
                counts.blocks += 1
                counts.bad_copies += len(found.bad) if found else 0
                counts.by_block[health.value] += 1
        if self._naming and (worst not in WELL or self._body.healthy):
            shown = [
                block_check(piece, found, self._at, self._node_states)
                for piece, found in judged
                if self._body.blocks or found is None or found.health not in WELL
            ]
            self.named.append(
                FileCheck(
                    path,
                    inode.size_bytes,
                    inode.replication,
                    worst.value,
                    shown,
                    paths.is_reserved(path),
                )
            )


def read_pieces(
    connection: Connection, inodes: Sequence[InodeId]
) -> dict[InodeId, list[FilePiece]]:
    """The live extents of those files in order, with their blocks and every copy known of those."""
    rows: list[Any] = []
    for part in in_parts(inodes):
        wanted = select(EXTENT).where(EXTENT.c.inode.in_(part), EXTENT.c.died_tx.is_(None))
        rows += connection.execute(wanted.order_by(EXTENT.c.inode, EXTENT.c.file_offset)).all()
    kept = read_kept(connection, [BlockId(row.block) for row in rows])
    found: dict[InodeId, list[FilePiece]] = {inode: [] for inode in inodes}
    for row in rows:
        block = BlockId(row.block)
        found[row.inode].append(
            FilePiece(row.file_offset, row.length_bytes, block, kept.get(block))
        )
    return found


def block_check(
    piece: FilePiece,
    found: Assessment | None,
    at: Standings,
    node_states: dict[NodeId, str],
) -> BlockCheck:
    """A block as it is shown; the copies that are worth most first."""
    kept = piece.kept
    if kept is None or found is None:
        health = BlockHealth.MISSING.value
        return BlockCheck(
            piece.block, 0, 0, piece.file_offset, piece.length_bytes, 0, health, NOT_COMMITTED, []
        )
    order = _in_order(found)
    copies = sorted(kept.copies, key=lambda copy: (order.get(copy.node, len(order)), copy.node))
    return BlockCheck(
        block=kept.truth.block,
        generation=kept.truth.generation,
        number=kept.name.number,
        file_offset=piece.file_offset,
        length_bytes=piece.length_bytes,
        wanted=kept.wanted,
        health=found.health.value,
        reason=found.reason,
        copies=[
            CopyCheck(
                copy.node,
                copy.state.value,
                node_states.get(copy.node, ""),
                copy.verified_ms,
                words_for(copy, kept, at),
            )
            for copy in copies
        ],
    )


def _in_order(found: Assessment) -> dict[NodeId, int]:
    nodes: Iterable[NodeId] = dict.fromkeys((*found.sources, *found.counting))
    return {node: rank for rank, node in enumerate(nodes)}


def _count_unfinished(connection: Connection) -> int:
    wanted = select(func.count()).select_from(INODE).where(INODE.c.under_construction != 0)
    return connection.execute(wanted).scalar_one()
