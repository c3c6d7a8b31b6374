"""A pack being assembled: small local files read one after another into one buffer, and hashed.

A file goes in whole and as it was when it was listed, or not at all: what cannot be read, or
changed since, is told and leaves no gap.  The pack stays in memory until it is durable, so that it
can be sent again.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfs.base.checksum import block_hash
from dfs.base.errors import DfsError, LocalIoError, SourceChanged
from dfs.client.options import PutOptions
from dfs.client.piece_sources import local_read_error
from dfs.client.put_plan import PlannedFile
from dfs.wire.channel import PIECE_BYTES
from dfs.wire.pack_api import PackedFile
from dfs.wire.packs import PackEntry, encode_table

Refused = Callable[[PlannedFile, DfsError], None]


@dataclass(slots=True)
class Packed:
    """The files of one pack, in order, each with its offset and the hash of its content."""

    files: list[PlannedFile] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    length_bytes: int = 0

    def table(self) -> bytes:
        """The table of contents that is stored with the block."""
        return encode_table(
            [
                PackEntry(file.remote, offset, file.size_bytes, digest, file.mode, file.modified_ms)
                for file, offset, digest in zip(self.files, self.offsets, self.hashes, strict=True)
            ]
        )

    def items(self, pack: int, options: PutOptions) -> list[PackedFile]:
        """The files as a commit names them, `pack` being the place of their pack in it."""
        return [
            PackedFile(
                path=file.remote,
                pack=pack,
                offset=offset,
                length_bytes=file.size_bytes,
                hash=digest,
                mode=file.mode,
                modified_ms=file.modified_ms,
                overwrite=options.overwrite,
                parents=options.parents,
                replication=options.replication,
            )
            for file, offset, digest in zip(self.files, self.offsets, self.hashes, strict=True)
        ]


def assemble(files: Sequence[PlannedFile], buffer: bytearray, refused: Refused) -> Packed:
    """Read the files into the buffer, which has room for all of them.

    Args:
        refused: told of every file that does not go in, and why.
    """
    packed = Packed()
    at = 0
    with memoryview(buffer) as room:
        for file in files:
            end = at + file.size_bytes
            content = room[at:end]
            try:
                _read(file, content)
            except DfsError as exc:
                refused(file, exc)
                continue
            packed.files.append(file)
            packed.offsets.append(at)
            packed.hashes.append(block_hash(content) if file.size_bytes else b"")
            at = end
    packed.length_bytes = at
    return packed


class PackSource:
    """The content of a pack.  See `PieceSource`."""

    def __init__(self, buffer: bytearray, length_bytes: int) -> None:
        self._buffer = buffer
        self._length_bytes = length_bytes

    @property
    def length_bytes(self) -> int:
        """See `PieceSource`."""
        return self._length_bytes

    def pieces(self) -> Iterator[bytes]:
        """See `PieceSource`."""
        with memoryview(self._buffer) as content:
            for start in range(0, self._length_bytes, PIECE_BYTES):
                yield bytes(content[start : min(start + PIECE_BYTES, self._length_bytes)])


def _read(file: PlannedFile, room: memoryview) -> None:
    """Read a file that is as it was planned.  The one look at it comes after its last byte.

    Raises:
        SourceChanged: it is not.
        LocalNotFound, LocalIoError: it cannot be read.
    """
    try:
        # Not to hang on a FIFO that took the file's place since it was listed.
        fd = os.open(file.local, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            done = os.readv(fd, [room]) if room else 0
            while done < len(room) and (more := os.readv(fd, [room[done:]])):
                done += more
            found = os.fstat(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise local_read_error(Path(file.local), exc) from exc
    if not stat.S_ISREG(found.st_mode):
        raise LocalIoError(f"not a regular file: {file.local}")
    if (found.st_size, found.st_mtime_ns) != (file.size_bytes, file.mtime_ns):
        raise SourceChanged(f"{file.local}: changed since it was listed")
    if done < len(room):
        raise SourceChanged(f"{file.local}: became shorter while it was read")
