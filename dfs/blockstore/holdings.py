"""What a DataNode holds, over all its volumes: found by name, judged when it does not read back.

Decides which generation may follow which, and what becomes of a block that is not intact: it goes
to quarantine by rename, is refused from then on, and is never deleted here.

One block, several generations (decided under the block's lock, once when the writing begins and
again when it ends):

    higher than stored          accepted; the older stays beside it until it is deleted
    equal, same length and hash success, nothing is written
    equal, other bytes          BlockConflict
    lower                       StaleGeneration
"""

import contextlib
import dataclasses
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import (
    BlockConflict,
    BlockCorrupt,
    BlockNotFound,
    DfsError,
    StaleGeneration,
)
from dfs.base.events import Emitter, Event
from dfs.base.ids import BlockId
from dfs.base.records import BlockName, StockEntry
from dfs.base.states import StoredState
from dfs.blockstore import stock
from dfs.blockstore.catalog_table import CatalogRow
from dfs.blockstore.layout import is_possible
from dfs.blockstore.reader import BlockFile
from dfs.blockstore.volume import Volume

READABLE: Final = (StoredState.FINAL, StoredState.FOUND)
_BLOCK_LOCKS: Final = 256
# So many bad blocks within the window are not the disk's rot any more.
CONDEMNED_MAX: Final = 50
DOUBT_WINDOW_S: Final = 600.0


def find_stored(rows: Sequence[CatalogRow], name: BlockName) -> CatalogRow | None:
    """Pure: the replacement rule, as far as it can be told before the bytes are known.

    Args:
        rows: what is held of the block `name.block`, in every state.
        name: the generation that somebody wants to write.

    Returns:
        The row of the same generation, if it is stored and good; None if it may be written.

    Raises:
        StaleGeneration: a newer generation is stored (a corrupt one counts: it did exist).
        BlockConflict: the same generation is stored for another file or part.
    """
    newest = max((row.name.generation for row in rows), default=0)
    if newest > name.generation:
        raise StaleGeneration(
            f"generation {name.generation} of block {name.block:016x} is older than {newest}"
        )
    for row in rows:
        if row.name.generation != name.generation or row.state not in READABLE:
            continue
        if row.name != name:
            raise BlockConflict(f"block {name.block:016x} is stored as part of another file")
        return row
    return None


class Holdings:
    """The blocks of several volumes, and the feed of what changed among them."""

    def __init__(self, volumes: Sequence[Volume], *, clock: Clock, emit: Emitter) -> None:
        self._volumes = volumes
        self._clock = clock
        self._emit = emit
        self._locks = [threading.Lock() for _ in range(_BLOCK_LOCKS)]
        self._unmoved: set[BlockName] = set()  # bad, on a disk that would not move them
        self._condemned_s: deque[float] = deque(maxlen=CONDEMNED_MAX)
        self.feed = stock.ChangeFeed()

    def lock_of(self, name: BlockName) -> threading.Lock:
        """The lock of a block (several blocks share one)."""
        return self._locks[name.block % _BLOCK_LOCKS]

    def rows_of(self, block: BlockId) -> list[CatalogRow]:
        """All that is held of a block, in every generation and state."""
        return [row for volume in self._volumes for row in volume.catalog.rows_of(block)]

    def is_unmoved(self, name: BlockName) -> bool:
        """Whether it is bad and its disk would not let it be moved."""
        return name in self._unmoved

    def moved(self, name: BlockName) -> None:
        """A good copy was stored: it may be served again."""
        self._unmoved.discard(name)

    def entry(self, volume: Volume, row: CatalogRow) -> StockEntry:
        """A row as it is reported: what is refused because it is bad does not count as a copy."""
        told = row.entry(volume.uuid)
        if row.name in self._unmoved and row.state in READABLE:
            return dataclasses.replace(told, state=StoredState.CORRUPT)
        return told

    def find(self, name: BlockName) -> tuple[Volume, CatalogRow] | None:
        """Where a block is; a good copy is preferred to one in quarantine."""
        if not is_possible(name):
            return None
        rows = ((volume, volume.catalog.row(name)) for volume in self._volumes)
        found = [(volume, row) for volume, row in rows if row is not None]
        found = [each for each in found if each[1].state is not StoredState.DELETING]
        return min(found, key=lambda each: each[1].state not in READABLE, default=None)

    def find_readable(self, name: BlockName) -> tuple[Volume, CatalogRow]:
        """Where a block is that may be served.

        Raises:
            BlockNotFound: it is not here.
            BlockCorrupt: it is in quarantine.
        """
        found = self.find(name)
        if found is None:
            raise not_found(name)
        if found[1].state not in READABLE or name in self._unmoved:
            raise BlockCorrupt(
                f"block {name.block:016x} generation {name.generation} is in quarantine here",
                details={"reason": "quarantined"},
            )
        return found

    def open_file(self, volume: Volume, row: CatalogRow) -> BlockFile:
        """The file, its tail held against its name and the catalog's row."""
        with self.judging(volume, row):
            file = BlockFile(volume.layout.block(row.name), row.name, disk=volume.disk)
            if file.truth != row.truth:
                file.close()
                raise BlockCorrupt(
                    f"the file of block {row.name.block:016x} is not the one recorded",
                    details={"reason": "swapped"},
                )
            return file

    @contextlib.contextmanager
    def judging(self, volume: Volume, row: CatalogRow) -> Iterator[None]:
        """What does not read back intact goes to quarantine, and is `BlockCorrupt` to the caller.

        A file that was deleted under the reader is `BlockNotFound`; one that vanished without a
        delete is corrupt.
        """
        name = row.name
        try:
            yield
        except BlockCorrupt as exc:
            self._quarantine(volume, row, str(exc.details.get("reason", "hash")))
            raise
        except OSError as exc:
            if isinstance(exc, FileNotFoundError) and not self._is_still(volume, row):
                raise not_found(name) from exc
            if not isinstance(exc, FileNotFoundError):
                volume.read_failed(name)
            self._quarantine(volume, row, "io")
            raise BlockCorrupt(
                f"block {name.block:016x} cannot be read: {exc}", details={"reason": "io"}
            ) from exc

    def _quarantine(self, volume: Volume, row: CatalogRow, reason: str) -> None:
        """Stop serving a block; move its file aside if the disk lets us.  Never delete it."""
        name = row.name
        with self.lock_of(name):
            if name in self._unmoved or not self._is_still(volume, row):
                return  # somebody was faster, or it was deleted
            if self.is_doubtful:
                self._unmoved.add(name)
            else:
                self._condemn(volume, row, reason)
            self.feed.changed(name)
        self._emit.emit(
            Event.BLOCK_QUARANTINED,
            block=name.block,
            generation=name.generation,
            reason=reason,
            volume=volume.uuid,
        )

    @property
    def is_doubtful(self) -> bool:
        """Whether so many blocks turned out bad lately that memory or code is the likelier culprit.

        They are then refused but left where they are.
        """
        since_s = self._clock.monotonic_s() - DOUBT_WINDOW_S
        return len(self._condemned_s) == CONDEMNED_MAX and self._condemned_s[0] > since_s

    def _condemn(self, volume: Volume, row: CatalogRow, reason: str) -> None:
        self._condemned_s.append(self._clock.monotonic_s())
        try:
            volume.condemn(row, reason)
        except DfsError:
            self._unmoved.add(row.name)

    def _is_still(self, volume: Volume, row: CatalogRow) -> bool:
        """Whether the very file that `row` described is the one in service (not a later copy)."""
        now = volume.catalog.row(row.name)
        return now is not None and now.state in READABLE and now.inode == row.inode


def not_found(name: BlockName) -> BlockNotFound:
    """The answer for a block that is not here."""
    return BlockNotFound(
        f"block {name.block:016x} generation {name.generation} is not on this DataNode"
    )
