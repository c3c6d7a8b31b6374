"""Pure: which files of a put go together into packs, and which of a read lie close together.

Writing: a pack takes the files that follow each other, as long as it and its table of contents
have room; files of a directory thus lie side by side, as they will be read.  Empty files are
planned by themselves, for they need no pack, only to be made visible by the thousand.

Reading: a *run* is what one conversation with one DataNode fetches - stretches of one window, in
the order of the block, those that lie near each other as one range, for a DataNode reads and
verifies 256 KiB at a time anyway.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeVar

from dfs.base.checksum import CHUNK_SIZE_BYTES, Buffer
from dfs.base.units import MiB
from dfs.wire.packs import entry_bytes_max, table_has_room

# One commit carries the files of some packs in JSON, where a byte of a path may take six; with
# this much of paths it stays well below what a NameNode takes in one request.
TABLE_BYTES_WANTED: Final = 1 * MiB

GAP_BYTES_MAX: Final = CHUNK_SIZE_BYTES
RUN_BYTES_MAX: Final = 8 * MiB
RUN_RANGES_MAX: Final = 1_000


class Sized(Protocol):
    """A file to be put."""

    @property
    def remote(self) -> str:
        """Its path in DFS."""
        ...

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        ...


F = TypeVar("F", bound=Sized)


def divide(files: Iterable[F], *, file_bytes_max: int) -> tuple[list[F], list[F]]:
    """The files that go into packs, and those that go by themselves: the large, and a lone one.

    Of the former, the empty ones come last.
    """
    small: list[F] = []
    empty: list[F] = []
    alone: list[F] = []
    for file in files:
        if file.size_bytes > file_bytes_max:
            alone.append(file)
        else:
            (small if file.size_bytes else empty).append(file)
    if len(small) + len(empty) < 2:
        return [], small + empty + alone
    return small + empty, alone


def plan_packs(files: Iterable[F], *, pack_bytes: int) -> Iterator[list[F]]:
    """The files in runs, each of which is one pack: at most `pack_bytes` long, unless one is.

    What is empty shares none with what is not.
    """
    pack: list[F] = []
    length = table = 0
    for file in files:
        size, entry = file.size_bytes, entry_bytes_max(file.remote)
        if pack and (
            length + size > pack_bytes
            or (size == 0) != (length == 0)
            or table + entry > TABLE_BYTES_WANTED
            or not table_has_room(len(pack) + 1, table + entry)
        ):
            yield pack
            pack, length, table = [], 0, 0
        pack.append(file)
        length += size
        table += entry
    if pack:
        yield pack


class Part(NamedTuple):
    """A stretch that is wanted: where it lies, and of which file.  Parts sort as they lie.

    Args:
        window: the caller's number of the window it lies in, which is in one block.
        offset: in the block.
        end: in the block.
        file: the caller's number of the file.
    """

    window: int
    offset: int
    end: int
    file: int


@dataclass(frozen=True, slots=True)
class Run:
    """Parts of one window in the order of their offsets, and the ranges that cover them."""

    window: int
    parts: tuple[Part, ...]
    ranges: tuple[tuple[int, int], ...]


def plan_runs(parts: Iterable[Part]) -> list[Run]:
    """The runs that fetch all parts, window by window."""
    runs: list[Run] = []
    begun: list[Part] = []
    ranges: list[tuple[int, int]] = []  # (begin, end)
    for part in sorted(parts):
        if begun and (part.window != begun[0].window or _is_full(ranges, part)):
            runs.append(_run(begun, ranges))
            begun, ranges = [], []
        begun.append(part)
        if ranges and part.offset - ranges[-1][1] <= GAP_BYTES_MAX:
            ranges[-1] = ranges[-1][0], max(ranges[-1][1], part.end)
        else:
            ranges.append((part.offset, part.end))
    if begun:
        runs.append(_run(begun, ranges))
    return runs


def _is_full(ranges: Sequence[tuple[int, int]], part: Part) -> bool:
    """Whether a part is better fetched by another run.  One that overlaps stays with its like."""
    begin, end = ranges[0][0], ranges[-1][1]
    if part.offset < end:
        return False
    return part.end - begin > RUN_BYTES_MAX or len(ranges) >= RUN_RANGES_MAX


def _run(parts: Sequence[Part], ranges: Sequence[tuple[int, int]]) -> Run:
    lengths = tuple((begin, end - begin) for begin, end in ranges)
    return Run(parts[0].window, tuple(parts), lengths)


def slices(
    parts: Sequence[Part], pieces: Iterable[tuple[int, Buffer]]
) -> Iterator[tuple[Part, memoryview]]:
    """The content of each part, as soon as the last byte of it came.

    Args:
        parts: in the order of their offsets.
        pieces: `(offset, bytes)` of what was fetched, in the order of their offsets; what no part
            needs may be among it.
    """
    waiting = iter(parts)
    part = next(waiting, None)
    held, base = memoryview(b""), 0
    for offset, data in pieces:
        if held and base + len(held) == offset:
            data, offset = b"".join((held, data)), base
        view, end = memoryview(data), offset + len(data)
        while part is not None and part.end <= end:
            assert part.offset >= offset, "a part was not fetched"
            yield part, view[part.offset - offset : part.end - offset]
            part = next(waiting, None)
        if part is None:
            held = view[:0]
            continue
        base = max(part.offset, offset)
        held = view[max(base - offset, 0) :] if base < end else view[:0]
