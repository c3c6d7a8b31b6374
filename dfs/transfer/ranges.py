"""Pure: from a range of a file to stretches of blocks, and from a length to pieces of a message."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dfs.base.checksum import Buffer, file_checksum
from dfs.base.errors import MetadataCorrupt
from dfs.base.records import LocatedExtent


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some bytes of one extent.

    Args:
        file_offset: of the first byte, in the file.
        block_offset: of the first byte, in the block.
        checksum: of the file, where the stretch is all of it; else nothing.
    """

    extent: LocatedExtent
    file_offset: int
    block_offset: int
    length_bytes: int
    checksum: bytes = b""

    @property
    def is_whole_block(self) -> bool:
        """Whether it is all of its block, so that the NameNode's hash can judge it."""
        return self.block_offset == 0 and self.length_bytes == self.extent.truth.length_bytes

    @property
    def has_proof(self) -> bool:
        """Whether the NameNode knows what its bytes hash to."""
        return self.is_whole_block or bool(self.checksum)

    def is_proven_by(self, digest: bytes) -> bool:
        """Whether bytes of that xxh3_128 are those that the NameNode knows of."""
        if self.is_whole_block:
            return digest == self.extent.truth.hash
        return file_checksum([(self.length_bytes, digest)]) == self.checksum


def stretches(
    extents: Sequence[LocatedExtent], offset: int, length_bytes: int, *, checksum: bytes = b""
) -> list[Stretch]:
    """The stretches that make up `[offset, offset + length_bytes)` of a file, in order.

    What lies beyond the last extent is left out, as reads beyond the end of a file are short.

    Args:
        checksum: of the whole file, which proves a small one that shares its block with others.

    Raises:
        MetadataCorrupt: the extents do not follow each other without a gap from 0.
    """
    assert offset >= 0
    assert length_bytes >= 0
    check_extents(extents)
    end = offset + length_bytes
    found: list[Stretch] = []
    for extent in extents:
        first = max(offset, extent.file_offset)
        last = min(end, extent.file_offset + extent.length_bytes)
        if first < last:
            inside = first - extent.file_offset
            found.append(Stretch(extent, first, extent.block_offset + inside, last - first))
    if len(extents) == 1 and found and found[0].length_bytes == extents[0].length_bytes:
        return [replace(found[0], checksum=checksum)]
    return found


def check_extents(extents: Sequence[LocatedExtent]) -> int:
    """The length of a file that has those extents.

    Raises:
        MetadataCorrupt: they leave a gap, overlap, or reach out of their blocks.
    """
    reached = 0
    for extent in extents:
        if extent.file_offset != reached or extent.length_bytes <= 0:
            raise MetadataCorrupt(
                f"extents do not follow each other: one begins at {extent.file_offset}, "
                f"not at {reached}"
            )
        if extent.block_offset + extent.length_bytes > extent.truth.length_bytes:
            raise MetadataCorrupt(f"an extent reaches out of block {extent.truth.block}")
        reached += extent.length_bytes
    return reached


def pieces(length_bytes: int, piece_bytes: int) -> Iterator[tuple[int, int]]:
    """`(offset, length)` of the pieces in which so many bytes travel; only the last is shorter."""
    assert piece_bytes > 0
    for offset in range(0, length_bytes, piece_bytes):
        yield offset, min(piece_bytes, length_bytes - offset)


class RangeCutter:
    """Cuts what a DataNode sends for many ranges, one after another, back into those ranges.

    Args:
        ranges: `(offset, length)` in the order asked, none empty.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self.left_bytes = sum(length_bytes for _, length_bytes in ranges)
        self.due: int | None = None  # the offset of the next byte; None when all has come
        self._waiting = iter(ranges)
        self._end = 0
        self._next_range()

    def cut(self, data: Buffer) -> Iterator[tuple[int, bytes]]:
        """`(offset, bytes)` of each range, or part of one, that those bytes are.

        There are at most `left_bytes` of them.
        """
        assert len(data) <= self.left_bytes
        view = memoryview(data)
        while view:
            assert self.due is not None
            offset, part = self.due, view[: self._end - self.due]
            view = view[len(part) :]
            self.due += len(part)
            self.left_bytes -= len(part)
            if self.due == self._end:
                self._next_range()
            yield offset, bytes(part)

    def _next_range(self) -> None:
        following = next(self._waiting, None)
        self.due = None if following is None else following[0]
        self._end = 0 if following is None else sum(following)
