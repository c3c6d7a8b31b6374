"""The facade over a DataNode's data folders: put, read, verify, delete, list.

Decides which volume takes a block (the online one with most room), which generation may follow
which, and what becomes of a block that does not read back.  How bytes reach a disk is `writer.py`
and `volume.py`; who may ask is the caller's business; which blocks there ought to be, the
NameNode's.  Nothing in blocks/ is deleted but by `delete`, which the NameNode alone orders.

One block, several generations (decided under the block's lock, once when the writing begins and
again when it ends):

    higher than stored          accepted; the older stays beside it until it is deleted
    equal, same length and hash success, nothing is written
    equal, other bytes          BlockConflict
    lower                       StaleGeneration
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import (
    BlockConflict,
    BlockCorrupt,
    BlockNotFound,
    DfsError,
    DiskFull,
    LengthMismatch,
    LimitExceeded,
    NodeNotJoined,
    StaleGeneration,
    Stopping,
    VolumeReadOnly,
)
from dfs.base.events import Emitter, Event
from dfs.base.records import BlockName, BlockTruth, StockEntry, VolumeStatus
from dfs.base.states import StoredState, VolumeState
from dfs.blockstore import folders, stock
from dfs.blockstore.catalog import CatalogRow
from dfs.blockstore.disk import Disk
from dfs.blockstore.format import PACK_BYTES_MAX, Label
from dfs.blockstore.identity import NodeIdentity
from dfs.blockstore.layout import check_name
from dfs.blockstore.reader import BlockFile, Piece, Verdict
from dfs.blockstore.volume import Volume
from dfs.blockstore.writer import BlockWriter
from dfs.settings.sections import DatanodeConfig

_BLOCK_LOCKS: Final = 256
_READABLE: Final = (StoredState.FINAL, StoredState.FOUND)


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
        if row.name.generation != name.generation or row.state not in _READABLE:
            continue
        if row.name != name:
            raise BlockConflict(f"block {name.block:016x} is stored as part of another file")
        return row
    return None


class BlockStore:
    """See the module.  Safe for many threads."""

    def __init__(self, opened: folders.OpenedFolders, *, clock: Clock, emit: Emitter) -> None:
        self._volumes = opened.volumes
        self._failed = opened.failed
        self._clock = clock
        self._emit = emit
        self._locks = [threading.Lock() for _ in range(_BLOCK_LOCKS)]
        self._count_lock = threading.Lock()
        self._feed = stock.ChangeFeed()
        self._unmoved: set[BlockName] = set()  # bad, on a disk that would not move them
        self._is_open = True
        self.identity: NodeIdentity | None = opened.identity
        self.uuid = opened.uuid
        self.restarts = opened.restarts
        self.clean_stop = opened.clean_stop
        self.epoch = opened.epoch
        self.in_flight = 0
        self.verified_bytes = 0
        self.transients = 0

    @classmethod
    def open(
        cls,
        folders_of_node: Sequence[Path],
        *,
        config: DatanodeConfig,
        clock: Clock,
        emit: Emitter,
        disk: Disk | None = None,
    ) -> "BlockStore":
        """Lock the folders, format new ones, recover each, and serve them together.

        A folder whose disk fails is listed as FAILED and the others serve on.

        Raises:
            FolderInUse: another process (or this one) serves one of them.
            ForeignFolder: one is not ours: other cluster, node, version, or no data folder.
            LocalIoError: no folder can be opened.
        """
        disk = disk or Disk(sync=config.sync)
        opened = folders.open_folders(
            folders_of_node, disk=disk, config=config, clock=clock, emit=emit
        )
        return cls(opened, clock=clock, emit=emit)

    # Who we are.

    def adopt(self, identity: NodeIdentity) -> None:
        """Remember, in every folder, the cluster and node this DataNode became.

        Raises:
            VolumeReadOnly: a folder cannot be written.
        """
        for volume in self._volumes:
            with volume.writing("node.json"):
                volume.identity.adopt(identity)
        self.identity = identity
        self.uuid = identity.uuid

    def remember_epoch(self, epoch: int) -> None:
        """Remember the highest epoch a NameNode led with; a lower one changes nothing.

        Raises:
            VolumeReadOnly: no folder can be written.
        """
        with self._count_lock:
            if epoch <= self.epoch:
                return
            written = 0
            for volume in self._volumes:
                with contextlib.suppress(VolumeReadOnly, DiskFull), volume.writing("epoch.json"):
                    volume.identity.remember_epoch(epoch)
                    written += 1
            if not written:
                raise VolumeReadOnly("no data folder can remember the epoch")
            self.epoch = epoch

    # Blocks.

    def begin(
        self,
        name: BlockName,
        *,
        path: str,
        length_max: int,
        length: int | None,
        pack: bytes = b"",
    ) -> BlockWriter:
        """Start to take in a block; its room is taken before this returns.

        Args:
            name: which; its generation is held against those stored.
            path: of the file, for the label.
            length_max: bytes that the block may have at most.
            length: bytes it will have; None for a stream, whose room is taken in steps.
            pack: table of contents of a block of many files.

        Raises:
            DiskFull, VolumeReadOnly: no volume can take it.
            StaleGeneration: a newer generation is stored.
            LengthMismatch, LimitExceeded, BadRequest: it cannot be asked for like this.
            NodeNotJoined: this DataNode belongs to no cluster yet.
        """
        check_name(name)
        if length is not None and length > length_max:
            raise LengthMismatch(f"{length} bytes announced and {length_max} allowed")
        if len(pack) > PACK_BYTES_MAX:
            raise LimitExceeded(f"a pack's table of contents ends at {PACK_BYTES_MAX} bytes")
        if self.identity is None:
            raise NodeNotJoined("this DataNode belongs to no cluster yet")
        with self.lock_of(name):
            stored = self.admit(name)
        label = Label(
            cluster=self.identity.cluster,
            file=name.file,
            path=path,
            number=name.number,
            created_ms=self._clock.now_ms(),
            pack=pack,
        )
        self._enter()
        try:
            return BlockWriter(
                self,
                name,
                label=label,
                length=length,
                length_max=length_max,
                choose_volume=None if stored is not None else self._roomiest,
            )
        except BaseException:
            self.writer_closed()
            raise

    def read(self, name: BlockName, ranges: Sequence[tuple[int, int]]) -> Iterator[Piece]:
        """The verified bytes of `(offset, length)` ranges, in order; no range: the whole block.

        The block is found and its tail checked before this returns; the bytes come as the iterator
        is driven.  A block that does not read back is put in quarantine and refused from then on.

        Raises:
            BlockNotFound, BlockCorrupt: from this call or from the iterator.
            BadRequest: a range passes the end of the block.
        """
        volume, row = self._find_readable(name)
        file = self._open_file(volume, row)
        try:
            pieces = file.pieces(ranges)
        except BaseException:
            file.close()
            raise
        return self._serve(volume, row, file, pieces)

    def truth(self, name: BlockName) -> BlockTruth:
        """Length and hash that were recorded when the block was written.

        Raises:
            BlockNotFound: it is not here.
            BlockCorrupt: it is in quarantine.
        """
        return self._find_readable(name)[1].truth

    def entry(self, name: BlockName) -> StockEntry | None:
        """The block as it is reported, in whatever state; None if it is not here."""
        found = self._find(name)
        return None if found is None else found[1].entry(found[0].uuid)

    def verify(self, name: BlockName) -> Verdict:
        """Read all of a block from the disk and hash it; a bad one goes to quarantine.

        Raises:
            BlockNotFound: it is not here.
        """
        found = self._find(name)
        if found is None:
            raise _not_found(name)
        volume, row = found
        if row.state not in _READABLE or name in self._unmoved:
            return _verdict(row, "quarantined")
        try:
            with self._judging(volume, row), self._open_file(volume, row) as file:
                file.scan()
                self._note_read(file, row.size_bytes)
        except BlockCorrupt as exc:
            again = self._find(name)
            bad = again[1] if again is not None else row
            return _verdict(bad, str(exc.details.get("reason", "hash")))
        now_ms = self._clock.now_ms()
        with contextlib.suppress(DfsError), volume.writing("verified"):
            volume.catalog.verified(name, now_ms)
        if row.state is StoredState.FOUND:
            self._feed.changed(name)
        return Verdict.good(row.truth, name, now_ms)

    def delete(self, name: BlockName) -> bool:
        """Retire exactly this generation to the purge area; False if it is not here.

        Raises:
            VolumeReadOnly: its disk takes no writes.
        """
        with self.lock_of(name):
            found = self._find(name)
            if found is None:
                return False
            volume, row = found
            volume.retire(row)
            self._feed.gone(row.entry(volume.uuid))
        self._emit.emit(Event.BLOCK_DELETED, block=name.block, generation=name.generation)
        return True

    # What is held.

    def stock(self, *, after: BlockName | None, limit: int) -> Sequence[StockEntry]:
        """A page of what is held, ordered by (file, number, block, generation)."""
        pages = (
            [row.entry(volume.uuid) for row in volume.catalog.page(after=after, limit=limit)]
            for volume in self._volumes
        )
        return stock.merge(pages, limit)

    def take_changes(self, limit: int) -> tuple[list[StockEntry], list[StockEntry]]:
        """`(new or changed, gone)` since the last take, oldest first, at most `limit` in all."""
        return self._feed.take(limit, self.entry)

    @property
    def changes_lost(self) -> bool:
        """Whether so much changed untaken that only a full report tells it all; reading resets."""
        lost, self._feed.overflowed = self._feed.overflowed, False
        return lost

    def volumes(self) -> list[VolumeStatus]:
        """Every data folder, those that could not be opened too."""
        return [volume.status() for volume in self._volumes] + self._failed

    @property
    def used_bytes(self) -> int:
        """By block files, on all volumes."""
        return sum(volume.used_bytes for volume in self.volumes())

    @property
    def free_bytes(self) -> int:
        """Room for blocks above the reserve, on volumes that take writes."""
        return sum(
            volume.free_bytes for volume in self.volumes() if volume.state is VolumeState.ONLINE
        )

    @property
    def total_bytes(self) -> int:
        """Size of the file systems."""
        return sum(volume.total_bytes for volume in self.volumes())

    def purge_expired(self) -> int:
        """Empty the purge areas of what is past its grace, and tmp/ of dead parts; how many."""
        gone = 0
        for volume in self._volumes:
            if volume.state is VolumeState.ONLINE:
                with contextlib.suppress(VolumeReadOnly, DiskFull):
                    gone += volume.purge_expired()
        return gone

    def close(self, *, clean: bool = True) -> None:
        """Stop.  With `clean`, and nothing in flight, the next start trusts the newest blocks."""
        if not self._is_open:
            return
        self._is_open = False
        for volume in self._volumes:
            volume.close(clean=clean and self.in_flight == 0)

    # What a writer asks; see `writer.Shelf`.

    def lock_of(self, name: BlockName) -> threading.Lock:
        """The lock of a block (several blocks share one)."""
        return self._locks[name.block % _BLOCK_LOCKS]

    def admit(self, name: BlockName) -> CatalogRow | None:
        """The replacement rule over all volumes; the caller holds the lock.  See `find_stored`."""
        rows = [row for volume in self._volumes for row in volume.catalog.rows_of(name.block)]
        return find_stored(rows, name)

    def stored(self, volume: Volume, row: CatalogRow) -> None:
        """A block was published and recorded."""
        self._unmoved.discard(row.name)
        self._feed.changed(row.name)
        self._emit.emit(
            Event.BLOCK_STORED,
            block=row.name.block,
            generation=row.name.generation,
            length_bytes=row.length_bytes,
            volume=volume.uuid,
        )

    def writer_closed(self) -> None:
        """A writer is done, one way or the other."""
        with self._count_lock:
            self.in_flight -= 1

    def _enter(self) -> None:
        with self._count_lock:
            if not self._is_open:
                raise Stopping("the block store is closed")
            self.in_flight += 1

    def _roomiest(self) -> Volume:
        online = [volume for volume in self._volumes if volume.state is VolumeState.ONLINE]
        if not online:
            raise VolumeReadOnly("no data folder of this DataNode takes writes")
        return max(online, key=Volume.room_bytes)

    def _find(self, name: BlockName) -> tuple[Volume, CatalogRow] | None:
        """Where a block is; a good copy is preferred to one in quarantine."""
        rows = ((volume, volume.catalog.row(name)) for volume in self._volumes)
        found = [(volume, row) for volume, row in rows if row is not None]
        found = [each for each in found if each[1].state is not StoredState.DELETING]
        return min(found, key=lambda each: each[1].state not in _READABLE, default=None)

    def _find_readable(self, name: BlockName) -> tuple[Volume, CatalogRow]:
        found = self._find(name)
        if found is None:
            raise _not_found(name)
        if found[1].state not in _READABLE or name in self._unmoved:
            raise BlockCorrupt(
                f"block {name.block:016x} generation {name.generation} is in quarantine here",
                details={"reason": "quarantined"},
            )
        return found

    def _open_file(self, volume: Volume, row: CatalogRow) -> BlockFile:
        """The file, its tail held against its name and the catalog's row."""
        with self._judging(volume, row):
            file = BlockFile(volume.layout.block(row.name), row.name, disk=volume.disk)
            if file.truth != row.truth:
                file.close()
                raise BlockCorrupt(
                    f"the file of block {row.name.block:016x} is not the one recorded",
                    details={"reason": "swapped"},
                )
            return file

    def _serve(
        self, volume: Volume, row: CatalogRow, file: BlockFile, pieces: Iterator[Piece]
    ) -> Iterator[Piece]:
        self._enter()
        try:
            with self._judging(volume, row), file:
                yield from pieces
                self._note_read(file, 0)
        finally:
            self.writer_closed()

    @contextlib.contextmanager
    def _judging(self, volume: Volume, row: CatalogRow) -> Iterator[None]:
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
            if isinstance(exc, FileNotFoundError) and volume.catalog.row(name) != row:
                raise _not_found(name) from exc
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
            if name in self._unmoved or volume.catalog.row(name) != row:
                return  # somebody was faster, or it was deleted
            try:
                volume.condemn(row, reason)
            except DfsError:
                self._unmoved.add(name)
            self._feed.changed(name)
        self._emit.emit(
            Event.BLOCK_QUARANTINED,
            block=name.block,
            generation=name.generation,
            reason=reason,
            volume=volume.uuid,
        )

    def _note_read(self, file: BlockFile, verified: int) -> None:
        with self._count_lock:
            self.verified_bytes += verified
            self.transients += file.transients


def _not_found(name: BlockName) -> BlockNotFound:
    return BlockNotFound(
        f"block {name.block:016x} generation {name.generation} is not on this DataNode"
    )


def _verdict(row: CatalogRow, reason: str) -> Verdict:
    return Verdict.bad(row.name, reason, row.length_bytes, row.state, row.verified_ms)
