"""Where the bytes of a block come from: a slice of a local file, or a stream by way of a spool.

Both can be read again from their start, since a block whose target fails is sent again.  A file is
simply read again.  A stream cannot be, so the block being read from it is also written to a spool,
a temporary file without a name on the local disk: memory would not hold it, and keeping on with
the surviving targets alone would leave the file with fewer copies for no fault of its own.  The
block is sent from the spool while the stream still fills it.
"""

import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from dfs.base.errors import DfsError, LocalIoError, LocalNotFound, SourceChanged, Stopping
from dfs.transfer.block_channel import SourceIdle
from dfs.transfer.ranges import pieces
from dfs.transfer.read_parallel import local_write_error
from dfs.wire.channel import PIECE_BYTES

IDLE_MAX_S: Final = 10.0  # a DataNode ends silent uploads after 30 s; be the one to end them


class LocalFile:
    """A local file opened to be put, and the word that it stayed the same meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Not to hang on a FIFO that took the file's place since it was listed.
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as exc:
            raise local_read_error(path, exc) from exc
        self._begun = os.fstat(self._fd)
        if not stat.S_ISREG(self._begun.st_mode):
            os.close(self._fd)
            raise LocalIoError(f"not a regular file: {path}")

    def __enter__(self) -> Self:
        """The file."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close it."""
        os.close(self._fd)

    @property
    def size_bytes(self) -> int:
        """Its size when it was opened."""
        return self._begun.st_size

    @property
    def mtime_ns(self) -> int:
        """Its modification time when it was opened."""
        return self._begun.st_mtime_ns

    def read_at(self, offset: int, length_bytes: int) -> bytes:
        """Exactly those bytes.

        Raises:
            SourceChanged: they are not there any more.
            LocalIoError: the disk does not give them.
        """
        parts: list[bytes] = []
        while length_bytes:
            try:
                part = os.pread(self._fd, length_bytes, offset)
            except OSError as exc:
                raise local_read_error(self.path, exc) from exc
            if not part:
                raise SourceChanged(f"{self.path}: became shorter while it was read")
            parts.append(part)
            offset, length_bytes = offset + len(part), length_bytes - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_into(self, offset: int, room: memoryview) -> None:
        """Fill the room with the bytes from that offset on.

        Raises:
            SourceChanged, LocalIoError: as `read_at`.
        """
        while room:
            try:
                count = os.preadv(self._fd, [room], offset)
            except OSError as exc:
                raise local_read_error(self.path, exc) from exc
            if not count:
                raise SourceChanged(f"{self.path}: became shorter while it was read")
            offset, room = offset + count, room[count:]

    def check_unchanged(self) -> None:
        """Refuse to go on with a file that somebody writes to.

        Raises:
            SourceChanged: size or modification time are not what they were.
        """
        now = os.fstat(self._fd)
        if (now.st_size, now.st_mtime_ns) != (self._begun.st_size, self._begun.st_mtime_ns):
            raise SourceChanged(f"{self.path}: changed while it was read")


class FileSlice:
    """One block of a local file.  See `PieceSource`."""

    def __init__(self, file: LocalFile, offset: int, length_bytes: int) -> None:
        self._file = file
        self._offset = offset
        self._length_bytes = length_bytes

    @property
    def length_bytes(self) -> int:
        """See `PieceSource`."""
        return self._length_bytes

    def pieces(self) -> Iterator[bytes]:
        """See `PieceSource`."""
        for offset, length_bytes in pieces(self._length_bytes, PIECE_BYTES):
            yield self._file.read_at(self._offset + offset, length_bytes)

    def read_into(self, offset: int, room: memoryview) -> None:
        """See `PlacedSource`."""
        self._file.read_into(self._offset + offset, room)


class Spool:
    """One block of a stream, on the local disk, read while it is still being filled.

    One thread fills it; others read.  See `PieceSource`.
    """

    def __init__(self, *, folder: str | None = None, idle_max_s: float = IDLE_MAX_S) -> None:
        try:
            self._file = tempfile.TemporaryFile(  # noqa: SIM115 - closed by `close`
                buffering=0, prefix="dfs-", dir=folder
            )
        except OSError as exc:
            raise local_write_error(exc, "a temporary file") from exc
        self._idle_max_s = idle_max_s
        self._grew = threading.Condition()
        self._sealed = False
        self._closed = False
        self.filled_bytes = 0

    def add(self, data: bytes | memoryview) -> None:
        """The next bytes of the stream.

        Raises:
            LocalDiskFull, LocalIoError: the spool cannot take them.
        """
        view = memoryview(data)
        while view:
            try:
                written = os.pwrite(self._file.fileno(), view, self.filled_bytes)
            except OSError as exc:
                raise local_write_error(exc, "a temporary file") from exc
            view = view[written:]
            with self._grew:
                self.filled_bytes += written
                self._grew.notify_all()

    def seal(self) -> None:
        """The block is complete."""
        with self._grew:
            self._sealed = True
            self._grew.notify_all()

    def wait_sealed(self) -> None:
        """Until the block is complete, or given up."""
        with self._grew:
            self._grew.wait_for(lambda: self._sealed or self._closed)

    def close(self) -> None:
        """Drop it; whoever still reads it is told."""
        with self._grew:
            self._closed = True
            self._grew.notify_all()
            self._file.close()

    @property
    def length_bytes(self) -> int | None:
        """See `PieceSource`."""
        return self.filled_bytes if self._sealed else None

    def pieces(self) -> Iterator[bytes]:
        """See `PieceSource`.

        Raises:
            SourceIdle: the stream gave nothing for a while.
            Stopping: the block was given up.
        """
        offset = 0
        while length_bytes := self._ready(offset):
            try:
                with self._grew:
                    self._check_open()
                    piece = os.pread(self._file.fileno(), length_bytes, offset)
            except OSError as exc:
                raise LocalIoError(f"cannot read a temporary file: {exc}") from exc
            yield piece
            offset += len(piece)

    def _ready(self, offset: int) -> int:
        """How long the next piece is, waiting for it to be whole; 0 at the end."""

        def is_whole() -> bool:
            return self._closed or self._sealed or self.filled_bytes - offset >= PIECE_BYTES

        with self._grew:
            if not self._grew.wait_for(is_whole, self._idle_max_s):
                raise SourceIdle
            self._check_open()
            return min(PIECE_BYTES, self.filled_bytes - offset)

    def _check_open(self) -> None:
        if self._closed:
            raise Stopping("the write was given up")


def local_read_error(path: Path, exc: OSError) -> DfsError:
    """What a failed read of a local file means."""
    if isinstance(exc, FileNotFoundError):
        return LocalNotFound(f"no such file on this computer: {path}")
    return LocalIoError(f"cannot read {path}: {exc.strerror or exc}")
