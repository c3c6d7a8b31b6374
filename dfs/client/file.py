"""`DfsFile`: a file of DFS as Python knows files.

Reading verifies every byte (see `dfs.transfer.replica_reader`), seeks freely, and reads ahead once
reads follow each other.  Writing is sequential; the file appears at `close`, whole, and never if
the `with` block is left by an exception or the file is dropped unclosed.
"""

import io
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Final

from dfs.base.checksum import Buffer
from dfs.base.errors import BadRequest, BlockCorrupt, DfsError, IsADirectory
from dfs.base.records import FileStatus, LocatedFile
from dfs.base.states import InodeKind
from dfs.base.units import MiB
from dfs.client.cluster_link import ClusterLink
from dfs.client.options import PutOptions
from dfs.client.stream_writer import StreamWriter
from dfs.transfer.ranges import check_extents, stretches
from dfs.transfer.read_parallel import stream
from dfs.wire.data_api import Completed

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

PROBING_READ_BYTES: Final = 1 * MiB  # read after a seek; only a second one in order reads ahead


class DfsFile(io.RawIOBase):
    """A file opened for reading, or for writing.  One thread at a time.

    Unlike a raw file of the operating system, `read(n)` gives n bytes unless the file ends.
    After a read that found delivered bytes wrong, every further read raises that error again.
    """

    name: str
    mode: str

    @property
    def completed(self) -> Completed:
        """What the NameNode said when the written file became visible.

        Raises:
            BadRequest: it is not, or not yet, or the file was not opened for writing.
        """
        raise BadRequest(f"{self.name} was not opened for writing")

    def close(self) -> None:
        """Close; of a file being written: make it visible.

        Raises:
            DfsError: it cannot be completed; nothing of it is visible.
        """
        super().close()


class Reader(DfsFile):
    """See `DfsFile`."""

    mode = "rb"

    def __init__(self, cluster: ClusterLink, located: LocatedFile) -> None:
        super().__init__()
        self.name = located.status.path
        self.status: FileStatus = located.status
        self._cluster = cluster
        self._extents = located.extents
        self._size_bytes = check_extents(located.extents)
        self._position = 0
        self._next: Generator[Buffer, None, None] | None = None
        self._next_at = 0  # where the bytes of `_next`, or of the rest, begin
        self._rest = memoryview(b"")
        self._followed_to = -1  # where the last read ended
        self._poison: DfsError | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position; bytes beyond the end read as none."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}
        if whence not in base or base[whence] + offset < 0:
            raise ValueError(f"cannot seek to {offset} from {whence}")
        self._position = base[whence] + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill the buffer as far as the next piece goes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self._some(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """That many bytes, fewer only at the end; all that are left when negative."""
        if size is None or size < 0:
            return self.readall()
        parts: list[memoryview] = []
        while size and (part := self._some(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def readall(self) -> bytes:
        """All that is left, in memory."""
        self._followed_to = self._position  # it will be read on to the end: read ahead
        return b"".join(iter(lambda: self._some(self._size_bytes), b""))

    def close(self) -> None:
        """Drop what was read ahead."""
        if not self.closed:
            self._forget_ahead()
        super().close()

    def _some(self, size: int) -> memoryview:
        """Between 1 and `size` bytes at the position; none at the end or for size 0."""
        if self.closed:
            raise ValueError("the file is closed")
        if self._poison is not None:
            raise self._poison
        if size == 0 or self._position >= self._size_bytes:
            return memoryview(b"")
        if not self._rest or self._next_at != self._position:
            self._fetch(size)
        part, self._rest = self._rest[:size], self._rest[size:]
        self._position += len(part)
        self._next_at = self._followed_to = self._position
        return part

    def _fetch(self, size: int) -> None:
        """Have bytes at the position in `_rest`."""
        if self._next is None or self._next_at != self._position:
            skip = self._position - self._next_at
            if self._next_at <= self._position and skip < len(self._rest):
                self._rest, self._next_at = self._rest[skip:], self._position
                return
            self._begin(size)
        assert self._next is not None
        try:
            piece = next(self._next, None)
            if piece is None:  # a probing read is used up, and reading goes on
                self._begin(size)
                piece = next(self._next)
        except DfsError as exc:
            self._forget_ahead()
            self._poison = exc if isinstance(exc, BlockCorrupt) else None
            raise
        self._rest = memoryview(piece)

    def _begin(self, size: int) -> None:
        self._forget_ahead()
        length = self._size_bytes - self._position
        if self._position != self._followed_to:
            length = min(length, max(size, PROBING_READ_BYTES))
        self._next, self._next_at = self._stream(self._position, length), self._position

    def _stream(self, offset: int, length: int) -> Generator[Buffer, None, None]:
        settings, plane = self._cluster.settings, self._cluster.plane
        return stream(
            plane.reader,
            self.name,
            stretches(self._extents, offset, length, checksum=self.status.checksum),
            relocate=plane.relocator(self.status),
            blocks_ahead=settings.blocks_in_flight,
            pieces_in_flight=settings.chunks_in_flight,
        )

    def _forget_ahead(self) -> None:
        if self._next is not None:
            self._next.close()
        self._next, self._rest = None, memoryview(b"")


class Writer(DfsFile):
    """See `DfsFile`."""

    mode = "wb"
    _writer: StreamWriter | None = None

    def __init__(
        self, cluster: ClusterLink, path: str, *, options: PutOptions, permissions: int
    ) -> None:
        super().__init__()
        self.name = path
        self._completed: Completed | None = None
        self._writer = StreamWriter(
            cluster, path, options=options, permissions=permissions, moved=lambda _size: None
        )

    @property
    def completed(self) -> Completed:
        """See `DfsFile`."""
        if self._completed is None:
            raise BadRequest(f"{self.name} is not complete")
        return self._completed

    def writable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """How many bytes were written."""
        return self._open().size_bytes

    def write(self, data: "ReadableBuffer", /) -> int:
        """Take all of the bytes; waits when too many blocks are under way."""
        view = memoryview(data).cast("B")
        self._open().write(view)
        return len(view)

    def close(self) -> None:
        """Make the file visible.

        Raises:
            DfsError: it cannot be completed; nothing of it is visible.
        """
        writer, self._writer = self._writer, None
        super().close()
        if writer is None:
            return
        try:
            self._completed = writer.complete()
        except BaseException:
            writer.abandon()
            raise

    def abandon(self) -> None:
        """Give the file up; nothing of it is visible."""
        writer, self._writer = self._writer, None
        super().close()
        if writer is not None:
            writer.abandon()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the file, or abandon it when an exception leaves the `with` block."""
        if kind is None:
            self.close()
        else:
            self.abandon()

    def __del__(self) -> None:
        """A writer dropped unclosed was not finished by anybody: half a file is none."""
        if self._writer is not None:
            self.abandon()

    def _open(self) -> StreamWriter:
        if self._writer is None:
            raise ValueError("the file is closed")
        return self._writer


def open_reader(cluster: ClusterLink, path: str) -> Reader:
    """See `DfsClient.open`."""
    located = cluster.names.locate(path)
    if located.status.kind is not InodeKind.FILE:
        raise IsADirectory(f"is a directory: {path}", hint="name a file")
    return Reader(cluster, located)


def open_writer(
    cluster: ClusterLink, path: str, *, options: PutOptions, permissions: int
) -> Writer:
    """See `DfsClient.open`."""
    return Writer(cluster, path, options=options, permissions=permissions)
