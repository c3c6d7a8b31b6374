"""An open block file: verified ranged reads, and the whole of it hashed again.

Nothing leaves here that does not match the hash stored with its chunk.  A mismatch is read a second
time past the page cache, because memory goes wrong too; a second mismatch is `BlockCorrupt`, with a
one-word `reason` in its details.  What then becomes of the file is the store's decision.
"""

import io
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dfs.base.checksum import (
    CHUNK_HASH_BYTES,
    CHUNK_SIZE_BYTES,
    BlockHasher,
    chunk_count,
    chunk_hashes,
)
from dfs.base.errors import BadRequest, BlockCorrupt
from dfs.base.records import BlockName, BlockTruth
from dfs.base.states import StoredState
from dfs.base.units import MiB
from dfs.blockstore import format as block_format
from dfs.blockstore.disk import Disk

PIECE_BYTES: Final = 1 * MiB
_PIECE_CHUNKS: Final = PIECE_BYTES // CHUNK_SIZE_BYTES
assert PIECE_BYTES % CHUNK_SIZE_BYTES == 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Verified bytes of a block, at most 1 MiB.

    `hashes` are the xxh3_64 of each 256 KiB counted from the start of `data`, joined.
    """

    offset: int
    data: bytes
    hashes: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a full re-read of a block file found."""

    name: BlockName
    intact: bool
    reason: str  # one word when not intact: trailer, label, swapped, size, hash, io, quarantined
    length_bytes: int
    hash: bytes  # what the disk says now; empty when it could not be read to its end
    state: StoredState
    verified_ms: int

    @classmethod
    def good(cls, truth: BlockTruth, name: BlockName, verified_ms: int) -> "Verdict":
        """The disk agrees with what was stored."""
        return cls(
            name=name,
            intact=True,
            reason="",
            length_bytes=truth.length_bytes,
            hash=truth.hash,
            state=StoredState.FINAL,
            verified_ms=verified_ms,
        )

    @classmethod
    def bad(
        cls, name: BlockName, reason: str, length: int, state: StoredState, verified_ms: int
    ) -> "Verdict":
        """It does not."""
        return cls(
            name=name,
            intact=False,
            reason=reason,
            length_bytes=length,
            hash=b"",
            state=state,
            verified_ms=verified_ms,
        )


class BlockFile:
    """One block file, opened and its tail checked against the name it lies under.

    Raises, on making one:
        BlockCorrupt: the tail is damaged, or is another block's.
        FileNotFoundError: there is no such file.
        OSError: the disk cannot read it.
    """

    def __init__(self, path: Path, name: BlockName, *, disk: Disk) -> None:
        self._disk = disk
        self._file = _open(path)
        try:
            self._fd = self._file.fileno()
            self.trailer, self.label = self._read_tail(name)
        except BaseException:
            self._file.close()
            raise
        self.transients = 0  # mismatches that a second read did not confirm

    @property
    def truth(self) -> BlockTruth:
        """What the file says its content is."""
        return self.trailer.truth

    def fileno(self) -> int:
        """The open file itself, for reading; whoever reads from it verifies what he reads."""
        return self._fd

    def status(self) -> os.stat_result:
        """The file's size, inode and times."""
        return os.fstat(self._fd)

    def pieces(self, ranges: Sequence[tuple[int, int]]) -> Iterator[Piece]:
        """The bytes of `(offset, length)` ranges in the order asked; none means the whole block.

        Raises:
            BadRequest: a range passes the end of the block.
            BlockCorrupt: a chunk does not match its hash, twice.
            OSError: the disk cannot read.
        """
        length = self.truth.length_bytes
        wanted = ranges or ((0, length),)
        for offset, count in wanted:
            if offset < 0 or count < 0 or offset + count > length:
                raise BadRequest(
                    f"range {offset}+{count} passes the end of a block of {length} bytes"
                )
        verified = _Verified()
        return (
            piece
            for offset, count in wanted
            for piece in self._range(offset, offset + count, verified)
        )

    def scan(self) -> None:
        """Read all of it from the disk itself and hash it.

        Raises:
            BlockCorrupt: a chunk or the whole does not match, twice.
            OSError: the disk cannot read.
        """
        for _ in self.scan_steps():
            pass

    def scan_steps(self) -> Generator[int, None, None]:
        """The same in steps, so that its caller can pace it: yields the bytes of each, before it.

        Raises:
            BlockCorrupt, OSError: as `scan`, while it is driven.
        """
        self._disk.drop_cache(self._fd)
        hasher = BlockHasher()
        for first in range(0, chunk_count(self.truth.length_bytes), _PIECE_CHUNKS):
            yield min(PIECE_BYTES, self.truth.length_bytes - first * CHUNK_SIZE_BYTES)
            hasher.update(self._chunks(first, _PIECE_CHUNKS))
        self._disk.drop_cache(self._fd)
        if hasher.digest() != self.truth.hash:
            raise block_format.corrupt("hash", "the chunks match but the block's hash does not")

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def __enter__(self) -> "BlockFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _range(self, start: int, end: int, verified: "_Verified") -> Iterator[Piece]:
        """Cut at multiples of 256 KiB, so that all pieces but the ends need no new hashes.

        Ranges that lie close together share chunks: what was verified last is not read again.
        """
        position = start
        while position < end:
            first = position // CHUNK_SIZE_BYTES
            base = first * CHUNK_SIZE_BYTES
            stop = min(end, base + PIECE_BYTES)
            if not verified.has(base, stop):
                verified.data = self._chunks(first, chunk_count(stop - base))
                verified.offset = base
            data, base = verified.data, verified.offset
            if position == base and stop == base + len(data):
                yield Piece(position, data, self._expected(first, len(data)))
            else:
                part = data[position - base : stop - base]
                yield Piece(position, part, chunk_hashes(part))
            position = stop

    def _chunks(self, first: int, count: int) -> bytes:
        """So many chunks from the `first` on, verified; fewer where the block ends."""
        offset = first * CHUNK_SIZE_BYTES
        want = min(count * CHUNK_SIZE_BYTES, self.truth.length_bytes - offset)
        expected = self._expected(first, want)
        data = self._disk.read(self._fd, want, offset)
        if chunk_hashes(data) == expected:
            return data
        self._disk.drop_cache(self._fd, offset, want)
        data = self._disk.read(self._fd, want, offset)
        if chunk_hashes(data) == expected:
            self.transients += 1
            return data
        raise block_format.corrupt(
            "hash", f"bytes {offset} to {offset + want} are not those stored"
        )

    def _expected(self, first: int, length: int) -> bytes:
        start = first * CHUNK_HASH_BYTES
        return self.label.chunk_hashes[start : start + chunk_count(length) * CHUNK_HASH_BYTES]

    def _read_tail(self, name: BlockName) -> tuple[block_format.Trailer, block_format.Label]:
        try:
            return self._read_tail_once(name)
        except BlockCorrupt:
            self._disk.drop_cache(self._fd)
            return self._read_tail_once(name)

    def _read_tail_once(self, name: BlockName) -> tuple[block_format.Trailer, block_format.Label]:
        size = os.fstat(self._fd).st_size
        at = max(0, size - block_format.TRAILER_BYTES)
        trailer = block_format.decode_trailer(
            self._disk.read(self._fd, block_format.TRAILER_BYTES, at)
        )
        if trailer.size_bytes != size:
            raise block_format.corrupt(
                "size", f"the file has {size} bytes and its trailer counts {trailer.size_bytes}"
            )
        raw = self._disk.read(self._fd, trailer.label_bytes, trailer.truth.length_bytes)
        label = block_format.decode_label(raw, trailer)
        block_format.check_name(name, trailer, label)
        return trailer, label


@dataclass(slots=True)
class _Verified:
    """The newest stretch that was read and verified."""

    offset: int = 0
    data: bytes = b""

    def has(self, start: int, end: int) -> bool:
        return self.offset <= start and end <= self.offset + len(self.data)


def _open(path: Path) -> io.FileIO:
    """Without following a link or waiting at a pipe, and only if it is a plain file."""

    def opener(file: str, flags: int) -> int:
        return os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

    file = io.FileIO(path, "rb", opener=opener)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise block_format.corrupt("stray", f"{path} is no plain file")
    return file


class Reading(Iterator[Piece]):
    """Pieces of a block, and the open file they come from; leaving it as a context closes that.

    Driven to its end it needs no closing.  One thread at a time.
    """

    def __init__(self, pieces: Generator[Piece, None, None], file: BlockFile) -> None:
        self._pieces = pieces
        self._file = file

    def __next__(self) -> Piece:
        return next(self._pieces)

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Read no more.  A generator that was never started closes nothing, so this does."""
        self._pieces.close()
        self._file.close()
