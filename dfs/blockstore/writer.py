"""Taking in one block: every byte verified, then made durable, then visible, then known.

The order of effects is the contract (`BlockWriter.finish` and `Volume.publish` spell it out):

    room is taken       before data flows, so a full disk refuses at once
    data is written     each piece held against its chunk hashes first; fdatasync behind the writer
    length and hash     must be what the client's end computed
    tail is written     label and trailer: the file explains itself
    fsync, close        the bytes are on the disk
    link, unlink        the name appears, whole and clobbering nothing
    fsync the folders   the name is on the disk
    catalog row         commits; only then `finish` returns

A crash anywhere leaves either nothing, or garbage in tmp/ that the next start deletes, or a whole
file without a row that the next start finds.  An error anywhere fails this block only: its part is
unlinked and never fsynced again.
"""

from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from dfs.base.checksum import (
    CHUNK_HASH_BYTES,
    CHUNK_SIZE_BYTES,
    BlockHasher,
    Buffer,
    chunk_count,
    chunk_hashes,
)
from dfs.base.errors import BlockConflict, BlockCorrupt, LengthMismatch
from dfs.base.records import BlockName, BlockTruth
from dfs.base.states import StoredState
from dfs.blockstore.catalog_table import CatalogRow
from dfs.blockstore.format import Label
from dfs.blockstore.part_file import PartFile
from dfs.blockstore.reader import BlockFile
from dfs.blockstore.recovery import row_of
from dfs.blockstore.volume import Volume


class Shelf(Protocol):
    """What a writer needs of the store: the replacement rule, and somebody to tell."""

    def lock_of(self, name: BlockName) -> AbstractContextManager[object]:
        """Held while a block is looked up and published."""
        ...

    def admit(self, name: BlockName) -> CatalogRow | None:
        """The stored row of this very generation, or None if it may be written."""
        ...

    def failing(self, name: BlockName) -> CatalogRow | None:
        """The row of this very generation, if only disks that take no writes have it."""
        ...

    def stored(self, volume: Volume, row: CatalogRow) -> None:
        """A block was published and recorded."""
        ...

    def writer_closed(self) -> None:
        """A writer is done, one way or the other."""
        ...


class Intake:
    """Holds arriving pieces against their order, their hashes and the announced length."""

    def __init__(self, what: str, *, length_max: int) -> None:
        self._what = what
        self._length_max = length_max
        self._hasher = BlockHasher()
        self._hashes: list[bytes] = []

    @property
    def length_bytes(self) -> int:
        """How much has arrived."""
        return self._hasher.length_bytes

    @property
    def chunk_hashes(self) -> bytes:
        """The hashes of all chunks that arrived, joined."""
        return b"".join(self._hashes)

    def take(self, offset: int, data: Buffer, hashes: bytes) -> None:
        """The next piece.

        Raises:
            LengthMismatch: it is not the next, follows one that did not end on a chunk edge, or
                passes the announced length.
            BlockCorrupt: it does not match its chunk hashes.
        """
        have = self.length_bytes
        if offset != have:
            raise LengthMismatch(f"{self._what}: piece at {offset} came when {have} was due")
        if have % CHUNK_SIZE_BYTES:
            raise LengthMismatch(f"{self._what}: only the last piece may end inside a chunk")
        if have + len(data) > self._length_max:
            raise LengthMismatch(f"{self._what}: more than the {self._length_max} bytes announced")
        if len(hashes) != chunk_count(len(data)) * CHUNK_HASH_BYTES:
            raise LengthMismatch(f"{self._what}: a piece needs one hash for each 256 KiB")
        if chunk_hashes(data) != hashes:
            raise BlockCorrupt(
                f"{self._what}: bytes {offset} to {offset + len(data)} were damaged on their way",
                details={"reason": "hash"},
            )
        self._hasher.update(data)
        self._hashes.append(hashes)

    def check_end(self, length: int, digest: bytes) -> None:
        """What arrived is what the client's end says was sent.

        Raises:
            LengthMismatch, BlockCorrupt: it is not.
        """
        if length != self.length_bytes:
            raise LengthMismatch(
                f"{self._what}: {self.length_bytes} bytes arrived of {length} sent"
            )
        if self._hasher.digest() != digest:
            raise BlockCorrupt(
                f"{self._what}: the whole does not match the hash of its sender",
                details={"reason": "hash"},
            )


class BlockWriter:
    """One block being taken in.  Leave the `with` without `finish` and nothing of it remains.

    `already` is True when this very generation is stored: then nothing is written, and `finish`
    only holds what arrives against what is stored.  For one thread at a time.
    """

    def __init__(
        self,
        shelf: Shelf,
        name: BlockName,
        *,
        label: Label,
        length: int | None,
        length_max: int,
        volume: Volume | None,
    ) -> None:
        self._shelf = shelf
        self._name = name
        self._label = label
        self._length = length
        self._what = f"block {name.block:016x} generation {name.generation}"
        self._intake = Intake(self._what, length_max=length_max if length is None else length)
        self._part: PartFile | None = None
        self._is_open = True
        self.already = volume is None
        if volume is not None:
            self._volume = volume
            self._part = PartFile(
                volume, self._what, label=label, length=length, length_max=length_max
            )

    def write(self, offset: int, data: Buffer, hashes: bytes) -> None:
        """Take the next piece: whole 256 KiB chunks, except that the last may end anywhere.

        Args:
            offset: where in the block; it must follow what came before.
            data: the bytes; they are written from this very buffer.
            hashes: xxh3_64 of each chunk of `data`, joined.

        Raises:
            BlockCorrupt: the piece does not match its hashes.
            LengthMismatch: a gap, a repeat, or more than was announced.
            DiskFull, VolumeReadOnly: the disk cannot take it.
        """
        assert self._is_open
        self._intake.take(offset, data, hashes)
        if self._part is not None:
            self._part.write(data, offset)

    def finish(self, *, length: int, hash: bytes) -> BlockTruth:  # noqa: A002 - the wire's word
        """Make the block durable and visible; when this returns, it is both.

        1 length and hash are held against the sender's
        2 the tail is written, the file fsynced and closed
        3 under the block's lock: the replacement rule once more, then link, unlink, fsync of the
          folders, the catalog row

        Raises:
            LengthMismatch, BlockCorrupt: not what the sender sent; nothing is kept.
            BlockConflict: this generation is stored with other bytes.
            StaleGeneration: a newer generation was stored meanwhile.
            DiskFull, VolumeReadOnly: the disk failed it.
        """
        assert self._is_open
        if self._length is not None and length != self._length:
            raise LengthMismatch(f"{self._what}: {length} bytes sent, {self._length} announced")
        self._intake.check_end(length, hash)
        truth = BlockTruth(self._name.block, self._name.generation, length, hash)
        if self._part is not None:
            label = msgspec.structs.replace(self._label, chunk_hashes=self._intake.chunk_hashes)
            self._part.seal(label, truth)
        with self._shelf.lock_of(self._name):
            stored = self._shelf.admit(self._name)
            if stored is not None:
                self._compare(stored.truth, truth)
            else:
                elsewhere = self._shelf.failing(self._name)
                if elsewhere is not None:
                    self._compare(elsewhere.truth, truth)
                self._publish(truth)
        self.close()
        return truth

    def close(self) -> None:
        """Abandon what is not finished.  Safe to call twice."""
        if not self._is_open:
            return
        self._is_open = False
        part, self._part = self._part, None
        try:
            if part is not None:
                part.discard()
        finally:
            self._shelf.writer_closed()

    def __enter__(self) -> "BlockWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _publish(self, truth: BlockTruth) -> None:
        part = self._part
        if part is None:  # stored when the writing began, and gone since
            raise LengthMismatch(f"{self._what} was deleted meanwhile", hint="send it again")
        with self._volume.writing(self._what):
            self._volume.need_online()
            try:
                part.publish(self._name)
                row = self._row(part, truth)
                self._part = None
            except FileExistsError:
                row = self._take_over(part, truth)
            self._volume.record(row)
        self._shelf.stored(self._volume, row)

    def _row(self, part: PartFile, truth: BlockTruth) -> CatalogRow:
        created_ms, status = self._label.created_ms, part.status
        return CatalogRow(
            self._name,
            truth.length_bytes,
            status.st_size,
            truth.hash,
            StoredState.FINAL,
            self._label.path,
            created_ms,  # every byte was verified on its way in
            created_ms,
            status.st_mtime_ns,
            status.st_ino,
        )

    def _take_over(self, part: PartFile, truth: BlockTruth) -> CatalogRow:
        """A file has our name and no row: an earlier `finish` failed between the two.

        If it is the same block, it counts (once its own name is durable); a damaged one goes to
        quarantine and makes way; anything else is a conflict.
        """
        volume = self._volume
        path = volume.layout.block(self._name)
        try:
            with BlockFile(path, self._name, disk=volume.disk) as file:
                self._compare(file.truth, truth)
                file.scan()
                volume.disk.fsync_folder(path.parent)
                volume.disk.fsync_folder(path.parent.parent)
                return row_of(file, self._name, StoredState.FINAL)
        except BlockCorrupt as exc:
            volume.set_aside(self._name, str(exc.details["reason"]))
        part.publish(self._name)
        row = self._row(part, truth)
        self._part = None
        return row

    def _compare(self, stored: BlockTruth, truth: BlockTruth) -> None:
        if stored != truth:
            raise BlockConflict(
                f"{self._what} is stored with other bytes",
                details={"stored": stored.hash.hex(), "offered": truth.hash.hex()},
            )
