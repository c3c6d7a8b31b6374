"""What a DataNode holds, over all its volumes: found by name, judged when it does not read back.

Decides which generation may follow which, and what becomes of a block that is not intact: it goes
to quarantine by rename, is refused from then on, and is never deleted here.

One block, several generations (decided under the block's lock, once when the writing begins and
again when it ends):

    higher than stored          accepted; the older stays beside it until it is deleted
    equal, same length and hash success, nothing is written; but where only a disk that takes no
                                writes has it, it is stored on another
    equal, other bytes          BlockConflict
    lower                       StaleGeneration

While the circuit breaker is open nothing is moved: what is bad is refused and reported as CORRUPT,
and stays where it is.
"""

import contextlib
import threading
from collections.abc import Generator, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

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
from dfs.base.states import StoredState, VolumeState
from dfs.blockstore import stock
from dfs.blockstore.breaker import Breaker
from dfs.blockstore.catalog_table import CatalogRow
from dfs.blockstore.layout import is_possible
from dfs.blockstore.reader import BlockFile, Verdict
from dfs.blockstore.volume import Volume
from dfs.settings.sections import ScrubConfig

READABLE: Final = (StoredState.FINAL, StoredState.FOUND)
MOVES_FOLLOWED: Final = 5
_BLOCK_LOCKS: Final = 256


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

    def __init__(
        self, volumes: Sequence[Volume], *, scrub: ScrubConfig, clock: Clock, emit: Emitter
    ) -> None:
        self._volumes = volumes
        self._transient_again_s = scrub.transient_again_s
        self._emit = emit
        self._locks = [threading.Lock() for _ in range(_BLOCK_LOCKS)]
        self._unmoved: set[BlockName] = set()  # bad, on a disk that would not move them
        self.breaker = Breaker(scrub, clock=clock)
        self.feed = stock.ChangeFeed()
        self.found = 0  # bad blocks, since the process started
        for volume in volumes:
            volume.on_read_only = self.feed.lose_track

    def lock_of(self, name: BlockName) -> threading.Lock:
        """The lock of a block (several blocks share one)."""
        return self._locks[name.block % _BLOCK_LOCKS]

    def rows_of(self, block: BlockId) -> list[CatalogRow]:
        """All that is held of a block, in every generation and state."""
        return [row for volume in self._volumes for row in volume.catalog.rows_of(block)]

    def is_refused(self, name: BlockName) -> bool:
        """Whether it is bad and lies where it was: nobody was allowed, or able, to move it."""
        return name in self._unmoved

    def replaced(self, name: BlockName) -> None:
        """A good copy was stored, or the bad one is gone: nothing of that name is refused."""
        self._unmoved.discard(name)

    def entry(self, volume: Volume, row: CatalogRow) -> StockEntry:
        """A row as it is reported.

        What is refused because it is bad does not count as a copy; what is good on a disk that
        takes no writes any more is FAILING: a source, to be replaced.
        """
        told = row.entry(volume.uuid)
        if row.state not in READABLE:
            return told
        if row.name in self._unmoved:
            return replace(told, state=StoredState.CORRUPT)
        if volume.state is not VolumeState.ONLINE:
            return replace(told, state=StoredState.FAILING)
        return told

    def find(self, name: BlockName) -> tuple[Volume, CatalogRow] | None:
        """Where a block is; a good copy is preferred to one in quarantine, on a disk in order."""
        if not is_possible(name):
            return None
        rows = ((volume, volume.catalog.row(name)) for volume in self._volumes)
        found = [(volume, row) for volume, row in rows if row is not None]
        found = [each for each in found if each[1].state is not StoredState.DELETING]
        return min(found, key=_rank, default=None)

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

    def open_readable(self, name: BlockName) -> tuple[Volume, CatalogRow, BlockFile]:
        """A block that may be served, and its file; one that moves to another disk is followed.

        Raises:
            BlockNotFound, BlockCorrupt: as `find_readable`; a damaged tail puts it in quarantine.
        """
        for _ in range(MOVES_FOLLOWED):
            volume, row = self.find_readable(name)
            with contextlib.suppress(BlockNotFound):
                return volume, row, self.open_file(volume, row)
        raise not_found(name)

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
            if isinstance(exc, FileNotFoundError) and not self.is_still(volume, row):
                raise not_found(name) from exc
            if not isinstance(exc, FileNotFoundError):
                volume.read_failed(name)
            self._quarantine(volume, row, "io")
            raise BlockCorrupt(
                f"block {name.block:016x} cannot be read: {exc}", details={"reason": "io"}
            ) from exc

    def _quarantine(self, volume: Volume, row: CatalogRow, reason: str) -> None:
        """We found a bad block: unless too many are found to be believed, it is moved aside."""
        if not self.set_aside(volume, row, reason):
            return
        self.found += 1
        held = sum(each.blocks for each in self._volumes)
        if self.breaker.note(held=held):
            self._emit.emit(Event.NODE_DOUBTFUL, found=self.found, held=held)

    def set_aside(self, volume: Volume, row: CatalogRow, reason: str, *, why: str = "") -> bool:
        """Stop serving a block; move its file aside if we may and can.  Never delete it.

        Args:
            reason: one word, for the file's name.
            why: a sentence, where somebody gave one.

        Returns:
            False if somebody was faster, or it was deleted.
        """
        name = row.name
        with self.lock_of(name):
            if not self.is_still(volume, row):
                return False
            was_refused = name in self._unmoved
            if was_refused and self.breaker.is_open:
                return False
            moved = not self.breaker.is_open and _condemned(volume, row, reason)
            if moved:
                self._unmoved.discard(name)
            else:
                self._unmoved.add(name)
            self.feed.changed(name)
        if self.breaker.is_open and not moved:
            volume.suspects.add(name)  # a restart forgets who is refused, and no suspect
        if moved or not was_refused:
            self._emit.emit(
                Event.BLOCK_QUARANTINED,
                block=name.block,
                generation=name.generation,
                reason=reason,
                why=why,
                volume=volume.uuid,
                moved=moved,
            )
        return not was_refused

    def scan_steps(self, volume: Volume, row: CatalogRow) -> Generator[int, None, None]:
        """Read a block back from the disk, in steps that yield their bytes before they are read.

        Driven to its end without an error the block is proved intact: whoever drove it says so
        (`proved`).  A bad one is in quarantine, or refused, when `BlockCorrupt` is raised.

        Raises:
            BlockCorrupt, BlockNotFound: while it is driven.
        """
        with self.judging(volume, row), self.open_file(volume, row) as file:
            yield from file.scan_steps()
            self.note_transients(volume, row.name, file.transients)

    def proved(self, name: BlockName) -> None:
        """A block was read back intact: what was refused is served again, and it is told."""
        self._unmoved.discard(name)
        self.feed.changed(name)

    def note_transients(self, volume: Volume, name: BlockName, count: int) -> None:
        """A block read badly, and well the second time: doubt it again later."""
        if not count:
            return
        is_alarm = volume.read_differed(count)
        volume.suspects.add(name, after_s=self._transient_again_s)
        self._emit.emit(
            Event.BLOCK_TRANSIENT,
            block=name.block,
            generation=name.generation,
            volume=volume.uuid,
            count=volume.transients,
            alarm=is_alarm,
        )

    @property
    def transients(self) -> int:
        """Mismatches that a second read did not confirm, on all volumes."""
        return sum(volume.transients for volume in self._volumes)

    def trust(self) -> bool:
        """Somebody looked: close the breaker and judge what was left in place anew."""
        if not self.breaker.close():
            return False
        for name in list(self._unmoved):
            self.doubt(name)
        return True

    def doubt(self, name: BlockName) -> bool:
        """Have a block read before any other; False when it is not here.

        One that is known to be bad stays refused until it was read.
        """
        found = self.find(name)
        if found is None:
            return False
        return found[0].suspects.add(name) if found[1].state in READABLE else True

    def is_still(self, volume: Volume, row: CatalogRow) -> bool:
        """Whether the very file that `row` described is the one in service (not a later copy)."""
        now = volume.catalog.row(row.name)
        return now is not None and now.state in READABLE and now.inode == row.inode


def _rank(found: tuple[Volume, CatalogRow]) -> tuple[bool, bool]:
    volume, row = found
    return (row.state not in READABLE, volume.state is not VolumeState.ONLINE)


def _condemned(volume: Volume, row: CatalogRow, reason: str) -> bool:
    """Whether the disk let the file be moved."""
    try:
        volume.condemn(row, reason)
    except DfsError:
        return False
    return True


def not_found(name: BlockName) -> BlockNotFound:
    """The answer for a block that is not here."""
    return BlockNotFound(
        f"block {name.block:016x} generation {name.generation} is not on this DataNode"
    )


def verdict_of(row: CatalogRow, reason: str) -> Verdict:
    """That a block is not intact, and why."""
    return Verdict.bad(row.name, reason, row.length_bytes, row.state, row.verified_ms)
