"""Pure: the table of contents of a pack, as its block file carries it.

A pack is an ordinary block that holds the content of many small files one after another, without
a gap.  The NameNode knows which file lies where; the table says it once more on the disk, beside
the bytes, so that a block file explains itself when nobody else can.  It is written with the block
and never changed: files that were removed, renamed or refused since stand in it as they were.

    msgpack of [1, [[path, offset, length, hash, mode, modified_ms], ...]]

`hash` is xxh3_128 of the file's content.  A reader refuses what it does not know.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from dfs.base.checksum import BLOCK_HASH_BYTES
from dfs.base.decoding import msgpack_reader
from dfs.base.errors import BadRequest, LimitExceeded
from dfs.base.paths import PATH_BYTES_MAX
from dfs.base.units import MiB

TABLE_VERSION: Final = 1
PACK_FILES_MAX: Final = 8_192
TABLE_BYTES_MAX: Final = 3 * MiB  # it travels in one message of 4 MiB, beside everything else
_MODE_MAX: Final = 0o1777
# An array of six, a string's head, three numbers of at most nine bytes, a mode, a hash.
_ENTRY_BYTES: Final = 1 + 3 + 3 * 9 + 3 + 2 + BLOCK_HASH_BYTES
_HEAD_BYTES: Final = 16


class PackEntry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One file of a pack: where it lies in the block, and what it was when it was written."""

    path: str
    offset: int
    length_bytes: int
    hash: bytes  # xxh3_128 of the content
    mode: int
    modified_ms: int

    @property
    def end(self) -> int:
        """Where the next file begins."""
        return self.offset + self.length_bytes


class _Table(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: int
    entries: list[PackEntry]


_encoder = msgspec.msgpack.Encoder()
_decode_table = msgpack_reader(_Table)


def entry_bytes_max(path: str) -> int:
    """What a file of that path adds to the table, at most: for planning packs that fit."""
    return _ENTRY_BYTES + len(path.encode("utf-8", "surrogatepass"))


def table_has_room(files: int, entries_bytes: int) -> bool:
    """Whether a table may hold so many files, whose `entry_bytes_max` come to so much."""
    return files <= PACK_FILES_MAX and entries_bytes + _HEAD_BYTES <= TABLE_BYTES_MAX


def encode_table(entries: Sequence[PackEntry]) -> bytes:
    """The table as it is stored.

    Raises:
        BadRequest: the entries are no table (see `decode_table`).
        LimitExceeded: more files or bytes than a table may have.
    """
    _check(entries)
    raw = _encoder.encode(_Table(TABLE_VERSION, list(entries)))
    if len(raw) > TABLE_BYTES_MAX:
        raise LimitExceeded(
            f"a pack's table of {len(raw)} bytes is larger than {TABLE_BYTES_MAX}",
            hint="put fewer files into one pack",
        )
    return raw


def decode_table(raw: bytes, *, length_bytes: int | None = None) -> tuple[PackEntry, ...]:
    """The files of a pack, in the order they lie in it.

    Args:
        length_bytes: how long the block is, where known: the table covers exactly that.

    Raises:
        BadRequest: not a table, of another version, or its entries leave a gap, overlap, are empty
            or cannot be files.
        LimitExceeded: more files or bytes than a table may have.
    """
    if len(raw) > TABLE_BYTES_MAX:
        raise LimitExceeded(f"a pack's table of {len(raw)} bytes is larger than {TABLE_BYTES_MAX}")
    try:
        table = _decode_table(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise BadRequest(f"the pack's table cannot be read: {exc}") from None
    if table.version != TABLE_VERSION:
        raise BadRequest(f"a pack's table of version {table.version} is not known here")
    _check(table.entries)
    if length_bytes is not None and table.entries[-1].end != length_bytes:
        raise BadRequest(f"the pack's table covers {table.entries[-1].end} of {length_bytes} bytes")
    return tuple(table.entries)


def _check(entries: Sequence[PackEntry]) -> None:
    if not entries:
        raise BadRequest("a pack holds at least one file")
    if len(entries) > PACK_FILES_MAX:
        raise LimitExceeded(f"a pack of {len(entries)} files; it may hold {PACK_FILES_MAX}")
    end = 0
    for number, entry in enumerate(entries):
        if entry.offset != end or entry.length_bytes <= 0:
            raise BadRequest(f"file {number} of the pack does not begin where the one before ends")
        if len(entry.hash) != BLOCK_HASH_BYTES or not 0 <= entry.mode <= _MODE_MAX:
            raise BadRequest(f"file {number} of the pack has no hash, or no mode, that can be one")
        if not entry.path.startswith("/") or len(entry.path) > PATH_BYTES_MAX:
            raise BadRequest(f"file {number} of the pack has no path that can be one")
        end = entry.end
