"""The facade over a DataNode's data folders: put, read, verify, delete, list.

Owns the volumes and what the node remembers of itself.  How bytes reach a disk is `writer.py` and
`volume.py`, which generation may follow which and what becomes of a bad block is `holdings.py`; who
may ask is the caller's business, and which blocks there ought to be, the NameNode's.  Nothing in
blocks/ is deleted but by `delete`, which the NameNode alone orders.
"""

import contextlib
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from dfs.base.clock import Clock
from dfs.base.errors import (
    BlockCorrupt,
    DfsError,
    DiskFull,
    ForeignFolder,
    LengthMismatch,
    LimitExceeded,
    NodeNotJoined,
    Stopping,
    VolumeReadOnly,
)
from dfs.base.events import Emitter, Event
from dfs.base.records import BlockName, BlockTruth, StockEntry, VolumeStatus
from dfs.base.states import VolumeState
from dfs.blockstore import folders, stock
from dfs.blockstore.catalog_table import CatalogRow
from dfs.blockstore.custody import Custody
from dfs.blockstore.disk import Disk
from dfs.blockstore.format import PACK_BYTES_MAX, Label
from dfs.blockstore.holdings import READABLE, Holdings, find_stored, not_found, verdict_of
from dfs.blockstore.identity import NodeIdentity
from dfs.blockstore.layout import check_name
from dfs.blockstore.reader import BlockFile, Piece, Reading, Verdict
from dfs.blockstore.scrub_rows import Proof
from dfs.blockstore.volume import Volume, choose_volume
from dfs.blockstore.writer import BlockWriter
from dfs.settings.sections import DatanodeConfig, ScrubConfig


class BlockStore:
    """See the module.  Safe for many threads."""

    def __init__(
        self, opened: folders.OpenedFolders, *, scrub: ScrubConfig, clock: Clock, emit: Emitter
    ) -> None:
        self._volumes = opened.volumes
        self._failed = opened.failed
        self._clock = clock
        self._emit = emit
        self._count_lock = threading.Lock()
        self._epoch_lock = threading.Lock()
        self._holdings = Holdings(opened.volumes, scrub=scrub, clock=clock, emit=emit)
        self.custody = Custody(opened.volumes, self._holdings, clock=clock, emit=emit)
        self._is_open = True
        self.identity: NodeIdentity | None = opened.identity
        self.uuid = opened.uuid
        self.restarts = opened.restarts
        self.clean_stop = opened.clean_stop
        self.epoch, self.txid = opened.reached
        self.namenodes = opened.namenodes
        self.in_flight = 0
        self.verified_bytes = 0

    @classmethod
    def open(
        cls,
        folders_of_node: Sequence[Path],
        *,
        config: DatanodeConfig,
        clock: Clock,
        emit: Emitter,
        scrub: ScrubConfig | None = None,
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
        return cls(opened, scrub=scrub or ScrubConfig(), clock=clock, emit=emit)

    # Who we are.

    def adopt(self, identity: NodeIdentity) -> None:
        """Remember, in every folder, the cluster and node this DataNode became.

        Raises:
            VolumeReadOnly: a folder cannot be written.
            ForeignFolder: they belong to another cluster already.
        """
        if self.identity is not None and self.identity.cluster != identity.cluster:
            raise ForeignFolder(f"the data folders belong to cluster {self.identity.cluster}")
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
        with self._epoch_lock:
            if epoch <= self.epoch:
                return
            if not self._write_reached(epoch, 0):
                raise VolumeReadOnly("no data folder can remember the epoch")
            self.epoch, self.txid = epoch, 0

    def remember_txid(self, epoch: int, txid: int) -> None:
        """Remember the newest transaction seen of that epoch, if it is the highest; as far as disks
        take it: it only helps to notice a NameNode that has lost some.
        """
        with self._epoch_lock:
            if epoch == self.epoch and txid > self.txid:
                self._write_reached(epoch, txid)
                self.txid = txid

    def remember_namenodes(self, urls: Sequence[str]) -> None:
        """Remember which NameNodes the leader told of; as far as disks take it: it tells again."""
        with self._epoch_lock:
            for volume in self._volumes:
                with contextlib.suppress(VolumeReadOnly, DiskFull), volume.writing("namenodes"):
                    volume.identity.remember_namenodes(urls)
            self.namenodes = tuple(urls)

    def _write_reached(self, epoch: int, txid: int) -> int:
        """In how many folders it was written down."""
        written = 0
        for volume in self._volumes:
            with contextlib.suppress(VolumeReadOnly, DiskFull), volume.writing("epoch.json"):
                volume.identity.remember_reached(epoch, txid)
                written += 1
        return written

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
                volume=None if stored is not None else self._choose(length or 0),
            )
        except BaseException:
            self.writer_closed()
            raise

    def read(self, name: BlockName, ranges: Sequence[tuple[int, int]]) -> Reading:
        """The verified bytes of `(offset, length)` ranges, in order; no range: the whole block.

        The block is found and its tail checked before this returns; the bytes come as the iterator
        is driven.  Use it as a context, or drive it to its end: it has the file open.  A block that
        does not read back is put in quarantine and refused from then on.

        Raises:
            BlockNotFound, BlockCorrupt: from this call or from the iterator.
            BadRequest: a range passes the end of the block.
        """
        volume, row, file = self._holdings.open_readable(name)
        try:
            pieces = file.pieces(ranges)
        except BaseException:
            file.close()
            raise
        return Reading(self._serve(volume, row, file, pieces), file)

    def truth(self, name: BlockName) -> BlockTruth:
        """Length and hash of a block that need not be stored here again, as recorded when written.

        Raises:
            BlockNotFound: it is not here, or on a failed disk while another takes writes.
            BlockCorrupt: it is in quarantine.
        """
        row = self._holdings.find_readable(name)[1]
        if self._may_replace(name):
            raise not_found(name)
        return row.truth

    def label(self, name: BlockName) -> Label:
        """What the block's file says of itself: path when written, table of contents, chunk hashes.

        Raises:
            BlockNotFound, BlockCorrupt: as `truth`; a damaged tail puts it in quarantine.
        """
        with self.lend(name) as file:
            return file.label

    def lend(self, name: BlockName) -> BlockFile:
        """Its open file, tail checked, for one who verifies what he reads of it.

        Raises:
            BlockNotFound, BlockCorrupt: as `label`.
        """
        return self._holdings.open_readable(name)[2]

    def entry(self, name: BlockName) -> StockEntry | None:
        """The block as it is reported, in whatever state; None if it is not here."""
        found = self._holdings.find(name)
        return None if found is None else self._holdings.entry(*found)

    def verify(self, name: BlockName) -> Verdict:
        """Read all of a block from the disk and hash it; a bad one goes to quarantine.

        Raises:
            BlockNotFound: it is not here.
        """
        found = self._holdings.find(name)
        if found is None:
            raise not_found(name)
        volume, row = found
        is_refused = self._holdings.is_refused(name) and self.is_doubtful
        if row.state not in READABLE or is_refused:
            return verdict_of(row, "quarantined")
        number = volume.pass_number
        try:
            for _ in self._holdings.scan_steps(volume, row):
                pass
        except BlockCorrupt as exc:
            again = self._holdings.find(name)
            bad = again[1] if again is not None else row
            return verdict_of(bad, str(exc.details.get("reason", "hash")))
        now_ms = self._clock.now_ms()
        self.count_verified(row.size_bytes)
        with contextlib.suppress(DfsError), volume.writing("verified"):
            volume.scrub_rows.prove([Proof(name, row.inode, number, now_ms)])
        self._holdings.proved(name)
        return Verdict.good(row.truth, name, now_ms)

    def delete(self, name: BlockName) -> bool:
        """Retire exactly this generation to the purge area, good and bad; False if it is not here.

        Raises:
            VolumeReadOnly: its disk takes no writes.
        """
        with self.lock_of(name):
            gone = False
            while (found := self._holdings.find(name)) is not None:  # a good copy, then a bad one
                volume, row = found
                volume.retire(row)
                self._holdings.feed.gone(row.entry(volume.uuid))
                gone = True
            self._holdings.replaced(name)
        if gone:
            self._emit.emit(Event.BLOCK_DELETED, block=name.block, generation=name.generation)
        return gone

    # What is doubted; what a NameNode decides about copies is `custody`.

    def suspect(self, name: BlockName) -> bool:
        """Have a block verified before any other; False when it is not here."""
        return self._holdings.doubt(name)

    def trust(self) -> bool:
        """An operator looked: close the circuit breaker.  Whether it was open."""
        return self._holdings.trust()

    @property
    def quarantined(self) -> int:
        """Block files in quarantine."""
        return self.custody.quarantined

    # What is held.

    def stock(
        self,
        *,
        after: BlockName | None,
        limit: int,
        buckets: frozenset[int] = stock.EVERY_BUCKET,
    ) -> Sequence[StockEntry]:
        """A page of what is held, ordered by (file, number, block, generation).

        Args:
            after: the last of the page before.
            limit: how many at most.
            buckets: of blocks (the low byte of their ids) to list; empty for all.
        """
        pages = (
            [
                self._holdings.entry(volume, row)
                for row in volume.catalog.page(after=after, limit=limit, buckets=buckets)
            ]
            for volume in self._volumes
        )
        return stock.merge(pages, limit)

    def take_changes(self, limit: int) -> tuple[list[StockEntry], list[StockEntry]]:
        """`(new or changed, gone)` since the last take, oldest first, at most `limit` in all."""
        return self._holdings.feed.take(limit, self.entry)

    @property
    def changes_lost(self) -> bool:
        """Whether so much changed untaken that only a full report tells it all; reading resets."""
        lost, self._holdings.feed.overflowed = self._holdings.feed.overflowed, False
        return lost

    @property
    def is_doubtful(self) -> bool:
        """Whether this node found so many bad blocks lately that it had better be looked at."""
        return self._holdings.breaker.is_open

    @property
    def found(self) -> int:
        """Bad blocks found since the process started."""
        return self._holdings.found

    @property
    def transients(self) -> int:
        """Mismatches that a second read did not confirm, since the process started."""
        return self._holdings.transients

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
        return self._holdings.lock_of(name)

    def admit(self, name: BlockName) -> CatalogRow | None:
        """The replacement rule over all volumes; the caller holds the lock.  See `find_stored`.

        A copy on a disk that takes no writes any more is no reason not to store it on another.
        """
        stored = find_stored(self._holdings.rows_of(name.block), name)
        return None if self._may_replace(name) else stored

    def _may_replace(self, name: BlockName) -> bool:
        """Whether its only disks take no writes, and another one does."""
        online = (volume.state is VolumeState.ONLINE for volume in self._volumes)
        return self.failing(name) is not None and any(online)

    def failing(self, name: BlockName) -> CatalogRow | None:
        """The row of this very generation, if only disks that take no writes have it."""
        found = self._holdings.find(name)
        if found is None or found[1].state not in READABLE:
            return None
        return None if found[0].state is VolumeState.ONLINE else found[1]

    def stored(self, volume: Volume, row: CatalogRow) -> None:
        """A block was published and recorded."""
        self._holdings.replaced(row.name)
        self._holdings.feed.changed(row.name)
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

    # What the scrubber and the mover between disks ask.

    @property
    def holdings(self) -> Holdings:
        """Where each block is, and what becomes of a bad one."""
        return self._holdings

    @property
    def folders(self) -> Sequence[Volume]:
        """The data folders in service."""
        return self._volumes

    def count_verified(self, size_bytes: int) -> None:
        """So much was read back and matched."""
        with self._count_lock:
            self.verified_bytes += size_bytes

    def _enter(self) -> None:
        with self._count_lock:
            if not self._is_open:
                raise Stopping("the block store is closed")
            self.in_flight += 1

    def _choose(self, need_bytes: int) -> Volume:
        online = [volume for volume in self._volumes if volume.state is VolumeState.ONLINE]
        if not online:
            raise VolumeReadOnly("no data folder of this DataNode takes writes")
        offers = [(volume.room_bytes(), volume.parts_in_flight) for volume in online]
        return online[choose_volume(offers, need_bytes=need_bytes)]

    def _serve(
        self, volume: Volume, row: CatalogRow, file: BlockFile, pieces: Iterator[Piece]
    ) -> Generator[Piece, None, None]:
        self._enter()
        try:
            with self._holdings.judging(volume, row), file:
                yield from pieces
        finally:
            self._holdings.note_transients(volume, row.name, file.transients)
            self.writer_closed()
