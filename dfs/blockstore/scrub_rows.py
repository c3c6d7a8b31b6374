"""What the scrubber of one volume asks of its catalog and writes there.

Three things live beside the rows of the blocks: a few numbers that outlive the process (which pass
runs, until when it pauses), the suspects, and in each row the newest pass it is done with.  Knows
SQL; decides no order (`scrub_order`) and no pace (`scrub_pace`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName
from dfs.blockstore.catalog import Catalog, Sql
from dfs.blockstore.catalog_table import CatalogRow

_HELD: Final = "state IN ('final', 'found')"
_THIS: Final = "block = ? AND generation = ?"
SUSPECTS_MAX: Final = 10_000  # what is beyond waits for its ordinary turn


class Mark(StrEnum):
    """The numbers that are kept."""

    PASS = "pass"  # of the pass under way, or of the last one when it is done
    PASS_DONE = "pass_done"  # 1 when nothing is left of it
    PASS_BEGUN_MS = "pass_begun_ms"
    PASS_ENDED_MS = "pass_ended_ms"
    RUN = "run"  # the newest pass that was ordered, as the NameNode counts
    RUN_PASS = "run_pass"  # and as this volume does; 0 when it is done
    PAUSED_UNTIL_MS = "paused_until_ms"
    QUICK_MS = "quick_ms"  # when the last quick pass ended


@dataclass(frozen=True, slots=True)
class ScrubCounts:
    """What a catalog says of its coverage."""

    blocks: int = 0
    bytes: int = 0
    pass_blocks: int = 0
    pass_bytes: int = 0
    covered_blocks: int = 0
    covered_bytes: int = 0
    unread_blocks: int = 0
    oldest_ms: int = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """A file was read back intact."""

    name: BlockName
    inode: int  # of the very file that was read
    number: int  # of the pass it was read for
    at_ms: int


class ScrubRows:
    """See the module."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def marks(self) -> dict[Mark, int]:
        """The numbers that are kept; 0 for those that never were."""
        kept = dict.fromkeys(Mark, 0)
        for mark in Mark:
            for (value,) in self._catalog.query("SELECT value FROM scrub WHERE key = ?", (mark,)):
                kept[mark] = value
        return kept

    def keep(self, marks: Mapping[Mark, int]) -> None:
        """Write numbers down."""
        sql = "INSERT OR REPLACE INTO scrub (key, value) VALUES (?, ?)"
        self._catalog.apply([(sql, (mark.value, value)) for mark, value in marks.items()])

    def unread(self, *, ripe_ms: int, now_ms: int, limit: int) -> list[CatalogRow]:
        """Blocks never read back, born before `ripe_ms` (or, the clock went back, after now)."""
        where = f"reread = 0 AND {_HELD} AND (created_ms <= ? OR created_ms > ?)"
        tail = f"WHERE {where} ORDER BY created_ms LIMIT ?"
        return self._catalog.select(tail, (ripe_ms, now_ms, limit))

    def undone(self, number: int, *, limit: int) -> list[CatalogRow]:
        """Blocks that a pass must still read, those first that were read longest ago."""
        tail = f"WHERE {_HELD} AND passed < ? ORDER BY passed, verified_ms LIMIT ?"
        return self._catalog.select(tail, (number, limit))

    def prove(self, proofs: Sequence[Proof]) -> None:
        """These were read back intact; one commit for all."""
        sql = (
            "UPDATE block SET verified_ms = ?, state = 'final', reread = 1,"
            " passed = max(passed, ?)"
            f" WHERE {_THIS} AND inode = ? AND {_HELD}"
        )
        self._catalog.apply(
            [(sql, (p.at_ms, p.number, p.name.block, p.name.generation, p.inode)) for p in proofs]
        )

    def skip(self, name: BlockName, *, number: int) -> None:
        """It cannot be read, nor moved away: this pass need not come back to it."""
        sql = f"UPDATE block SET reread = 1, passed = ? WHERE {_THIS}"
        self._catalog.apply([(sql, (number, name.block, name.generation))])

    def unread_again(self, name: BlockName) -> None:
        """As if it had never been read back since it was written."""
        sql = f"UPDATE block SET reread = 0 WHERE {_THIS}"
        self._catalog.apply([(sql, (name.block, name.generation))])

    def suspects(self) -> list[BlockName]:
        """The suspects that are written down."""
        sql = "SELECT file, number, block, generation FROM suspect LIMIT ?"
        return [
            BlockName(InodeId(file), number, BlockId(block), Generation(generation))
            for file, number, block, generation in self._catalog.query(sql, (SUSPECTS_MAX,))
        ]

    def suspect(self, names: Sequence[BlockName]) -> None:
        """Write suspects down: they outlive the process."""
        sql = "INSERT OR REPLACE INTO suspect (file, number, block, generation) VALUES (?, ?, ?, ?)"
        self._catalog.apply([(sql, (n.file, n.number, n.block, n.generation)) for n in names])

    def acquit(self, names: Sequence[BlockName]) -> None:
        """They were looked at."""
        sql = f"DELETE FROM suspect WHERE {_THIS}"
        statements: list[Sql] = [(sql, (name.block, name.generation)) for name in names]
        self._catalog.apply(statements)

    def counts(self, *, number: int, since_ms: int) -> ScrubCounts:
        """One walk over all rows: seconds for millions, so its caller does not ask often.

        Args:
            number: the pass under way.
            since_ms: what was verified (or written) since then is covered.
        """
        seen = "max(verified_ms, created_ms)"
        sql = (
            "SELECT count(*), coalesce(sum(size), 0),"
            " coalesce(sum(passed >= ?), 0), coalesce(sum((passed >= ?) * size), 0),"
            f" coalesce(sum({seen} >= ?), 0), coalesce(sum(({seen} >= ?) * size), 0),"
            f" coalesce(sum(reread = 0), 0), coalesce(min({seen}), 0) FROM block WHERE {_HELD}"
        )
        (found,) = self._catalog.query(sql, (number, number, since_ms, since_ms))
        return ScrubCounts(*found)
