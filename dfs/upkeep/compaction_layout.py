"""Pure: where the stretches of some blocks stand in the pack that takes their place.

A stretch that a file has to itself is proven by the file's checksum, whatever else is in its block.
Where that does not do (files whose stretches overlap, or that lie in several blocks), the whole
block is read and held against its own hash, which proves every stretch of it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dfs.base import paths
from dfs.base.checksum import block_hash, file_checksum
from dfs.base.ids import BlockId, InodeId
from dfs.wire.packs import PACK_FILES_MAX, PackEntry, entry_bytes_max, table_has_room

_MODE_BITS = 0o1777


@dataclass(frozen=True, slots=True)
class Use:
    """What one file has of a block.

    Attributes:
        checksum: of the file, where it consists of this stretch alone; else nothing.
    """

    block: BlockId
    offset: int
    length_bytes: int
    inode: InodeId
    checksum: bytes
    mode: int
    modified_ms: int

    @property
    def end(self) -> int:
        """Where it ends in the block."""
        return self.offset + self.length_bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a block that is copied in one piece.

    Attributes:
        named_for: of the files that have it, the one that the pack's table names.
        checksums: each that its content must have as a file; none: its whole block proves it.
    """

    block: BlockId
    offset: int
    length_bytes: int
    named_for: Use
    checksums: frozenset[bytes]

    @property
    def end(self) -> int:
        """Where it ends in the block."""
        return self.offset + self.length_bytes

    def is_proven_by(self, content: bytes | memoryview) -> bool:
        """Whether that is what each file says that it has here."""
        found = file_checksum([(len(content), block_hash(content))])
        return self.checksums == {found}


def segments_of(uses: Sequence[Use]) -> list[Segment]:
    """The stretches to copy, by block and offset; no two of them overlap."""
    found: list[Segment] = []
    some: list[Use] = []
    end = 0
    for use in sorted(uses, key=lambda each: (each.block, each.offset, each.inode)):
        if some and (use.block != some[0].block or use.offset >= end):
            found.append(_segment(some))
            some, end = [], 0
        some.append(use)
        end = max(end, use.end)
    if some:
        found.append(_segment(some))
    return found


def _segment(some: Sequence[Use]) -> Segment:
    first = some[0]
    end = max(use.end for use in some)
    alike = all((use.offset, use.end) == (first.offset, end) for use in some)
    own = {use.checksum for use in some if use.checksum}
    proven = alike and len(own) == 1
    return Segment(
        block=first.block,
        offset=first.offset,
        length_bytes=end - first.offset,
        named_for=first,
        checksums=frozenset(own) if proven else frozenset(),
    )


def by_block(segments: Sequence[Segment]) -> dict[BlockId, list[Segment]]:
    """The segments of each block, in their order."""
    found: dict[BlockId, list[Segment]] = defaultdict(list)
    for segment in segments:
        found[segment.block].append(segment)
    return dict(found)


def what_fits(
    segments: Mapping[BlockId, Sequence[Segment]],
    names: Mapping[InodeId, str],
    *,
    pack_bytes: int,
) -> dict[BlockId, str]:
    """Blocks that do not fit into the pack after those before them, and why."""
    left_out: dict[BlockId, str] = {}
    size_bytes = files = table_bytes = 0
    for block, some in segments.items():
        size = sum(each.length_bytes for each in some)
        table = sum(entry_bytes_max(names[each.named_for.inode]) for each in some)
        if size_bytes + size > pack_bytes or files + len(some) > PACK_FILES_MAX:
            left_out[block] = "more is in use of it than when it was planned"
        elif not table_has_room(files + len(some), table_bytes + table):
            left_out[block] = "the paths of its files do not fit into a pack's table"
        else:
            size_bytes += size
            files += len(some)
            table_bytes += table
    return left_out


def table_of(
    segments: Sequence[Segment], content: bytes | bytearray, names: Mapping[InodeId, str]
) -> list[PackEntry]:
    """The pack's table of contents."""
    entries, at, view = [], 0, memoryview(content)
    for segment in segments:
        use, end = segment.named_for, at + segment.length_bytes
        entries.append(
            PackEntry(
                path=names[use.inode],
                offset=at,
                length_bytes=segment.length_bytes,
                hash=block_hash(view[at:end]),
                mode=use.mode & _MODE_BITS,
                modified_ms=use.modified_ms,
            )
        )
        at = end
    return entries


def name_in_table(path: str, inode: InodeId) -> str:
    """A path as a table may hold it."""
    clean = path.encode("utf-8", "replace").decode()
    if clean.startswith("/") and len(clean) <= paths.PATH_BYTES_MAX:
        return clean
    return f"{paths.RESERVED}/inode-{inode}"
