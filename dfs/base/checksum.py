"""Pure: the digests that make every byte answer for itself.

* A **block** carries xxh3_128 of its whole content, the truth every copy is held against.
* A **chunk** (256 KiB of a block, the last one shorter) carries xxh3_64, so that a range can be
  verified without reading the block.
* A **file** carries xxh3_128 over the `(length, block hash)` of its blocks in order, so it needs
  no second pass over the data and the NameNode computes it from what it verified.

xxh3 (Y. Collet, xxHash 0.8, https://github.com/Cyan4973/xxHash) is fast and not cryptographic: it
guards against faults, not against someone who may write to the disks.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

import xxhash

CHUNK_SIZE_BYTES: Final = 256 * 1024
CHUNK_HASH_BYTES: Final = 8
BLOCK_HASH_BYTES: Final = 16
EMPTY_BLOCK_HASH: Final = xxhash.xxh3_128_digest(b"")

Buffer = bytes | bytearray | memoryview


def chunk_hashes(data: Buffer) -> bytes:
    """The hashes of the chunks of `data`, which must begin on a chunk edge, joined."""
    view = memoryview(data)
    return b"".join(
        xxhash.xxh3_64_digest(view[start : start + CHUNK_SIZE_BYTES])
        for start in range(0, len(view), CHUNK_SIZE_BYTES)
    )


def chunk_count(length_bytes: int) -> int:
    """How many chunks a block of that length has; an empty block has none."""
    return -(-length_bytes // CHUNK_SIZE_BYTES)


class BlockHasher:
    """xxh3_128 of a block that arrives in pieces."""

    def __init__(self) -> None:
        self._state = xxhash.xxh3_128()
        self.length_bytes = 0

    def update(self, data: Buffer) -> None:
        """Add the next bytes."""
        self._state.update(data)
        self.length_bytes += len(data)

    def digest(self) -> bytes:
        """The hash of what came so far, 16 bytes big-endian."""
        return self._state.digest()


def block_hash(data: Buffer) -> bytes:
    """xxh3_128 of a whole block, 16 bytes big-endian."""
    return xxhash.xxh3_128_digest(data)


def file_checksum(pieces: Iterable[tuple[int, bytes]]) -> bytes:
    """The checksum of a file from the `(length, hash)` of its blocks, in order.

    Empty pieces are left out, so an empty file has one checksum however it was written.
    """
    state = xxhash.xxh3_128()
    for length_bytes, digest in pieces:
        assert len(digest) == BLOCK_HASH_BYTES
        if length_bytes:
            state.update(struct.pack(">Q", length_bytes) + digest)
    return state.digest()


def block_lengths(size_bytes: int, block_size_bytes: int) -> Sequence[int]:
    """How a file of that size is cut: full blocks and a last shorter one; none if empty."""
    assert size_bytes >= 0
    assert block_size_bytes > 0
    full, rest = divmod(size_bytes, block_size_bytes)
    return [block_size_bytes] * full + ([rest] if rest else [])
