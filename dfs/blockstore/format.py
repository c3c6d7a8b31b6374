"""Pure: the bytes of a block file.

    content  at offset 0, so that a plain `read` of the file's head is a read of the block
    label    msgpack: which cluster, file and part it is, and the hash of every 256 KiB chunk
    trailer  64 bytes: which block, generation, length and hash; crc of the label and of itself

The tail (label and trailer) is what rebuilds a catalog from the files, and a namespace from the
DataNodes.  Integers are big-endian.  A reader refuses what it does not know: magic, version, flags.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

import msgspec

from dfs.base.checksum import BLOCK_HASH_BYTES, CHUNK_HASH_BYTES, CHUNK_SIZE_BYTES, chunk_count
from dfs.base.decoding import msgpack_reader
from dfs.base.errors import BlockCorrupt
from dfs.base.ids import BlockId, Generation
from dfs.base.records import BlockName, BlockTruth
from dfs.base.units import MiB

MAGIC: Final = b"DFSBLK01"
VERSION: Final = 1
_TRAILER = struct.Struct(">8sHHIQQQ16sII")
_BODY_BYTES: Final = _TRAILER.size - 4  # what the trailer's own crc covers
TRAILER_BYTES: Final = _TRAILER.size
# 4 GiB of chunks make 128 KiB of hashes; the rest is room for a pack's table of contents.
LABEL_BYTES_MAX: Final = 16 * MiB
PACK_BYTES_MAX: Final = 8 * MiB
assert TRAILER_BYTES == 64


class Label(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What a block file says of itself beyond the trailer."""

    cluster: str
    file: int
    path: str  # of the file when the block was written
    number: int
    created_ms: int
    pack: bytes = b""  # table of contents of a block that holds many files
    chunk_bytes: int = CHUNK_SIZE_BYTES
    chunk_hashes: bytes = b""


@dataclass(frozen=True, slots=True)
class Trailer:
    """The last 64 bytes, decoded."""

    truth: BlockTruth
    label_bytes: int
    label_crc: int

    @property
    def size_bytes(self) -> int:
        """How long the whole file must be."""
        return self.truth.length_bytes + self.label_bytes + TRAILER_BYTES


_label_encoder = msgspec.msgpack.Encoder()
_decode_label = msgpack_reader(Label)


def encode_tail(label: Label, truth: BlockTruth) -> bytes:
    """Label and trailer, to be written right after `truth.length_bytes` of content."""
    assert len(truth.hash) == BLOCK_HASH_BYTES
    assert len(label.chunk_hashes) == chunk_count(truth.length_bytes) * CHUNK_HASH_BYTES
    raw = _label_encoder.encode(label)
    assert len(raw) <= LABEL_BYTES_MAX
    body = _TRAILER.pack(
        MAGIC,
        VERSION,
        0,
        len(raw),
        truth.block,
        truth.generation,
        truth.length_bytes,
        truth.hash,
        zlib.crc32(raw),
        0,
    )[:_BODY_BYTES]
    return raw + body + struct.pack(">I", zlib.crc32(body))


def tail_bytes(label: Label, length_bytes: int) -> int:
    """How long the tail of a block of that length will be: known before its hashes are."""
    blank = bytes(chunk_count(length_bytes) * CHUNK_HASH_BYTES)
    filled = msgspec.structs.replace(label, chunk_hashes=blank)
    return len(_label_encoder.encode(filled)) + TRAILER_BYTES


def decode_trailer(raw: bytes) -> Trailer:
    """Read the last 64 bytes of a block file.

    Raises:
        BlockCorrupt: they are not a trailer, or not one this version knows.
    """
    if len(raw) != TRAILER_BYTES:
        raise corrupt("trailer", f"the file ends before its trailer ({len(raw)} bytes)")
    magic, version, flags, label_length, block, generation, length, digest, label_crc, crc = (
        _TRAILER.unpack(raw)
    )
    if magic != MAGIC:
        raise corrupt("trailer", "the trailer does not begin with the magic of a block file")
    if crc != zlib.crc32(raw[:_BODY_BYTES]):
        raise corrupt("trailer", "the trailer does not match its crc")
    if version != VERSION or flags:
        raise corrupt("version", f"block format {version}, flags {flags:#x} is not known here")
    if label_length > LABEL_BYTES_MAX:
        raise corrupt("trailer", f"the label would be {label_length} bytes")
    truth = BlockTruth(BlockId(block), Generation(generation), length, digest)
    return Trailer(truth, label_length, label_crc)


def decode_label(raw: bytes, trailer: Trailer) -> Label:
    """Read the label that the trailer vouches for.

    Raises:
        BlockCorrupt: it does not match its crc, or has not one hash for each chunk.
    """
    if len(raw) != trailer.label_bytes or zlib.crc32(raw) != trailer.label_crc:
        raise corrupt("label", "the label does not match its crc")
    try:
        label = _decode_label(raw)
    except msgspec.MsgspecError as exc:
        raise corrupt("label", f"the label cannot be read: {exc}") from exc
    expected = chunk_count(trailer.truth.length_bytes) * CHUNK_HASH_BYTES
    if label.chunk_bytes != CHUNK_SIZE_BYTES or len(label.chunk_hashes) != expected:
        raise corrupt("label", "the label has not one hash for each 256 KiB chunk")
    return label


def check_name(name: BlockName, trailer: Trailer, label: Label) -> None:
    """Hold a file's own word against the name it lies under: a misdirected write shows here.

    Raises:
        BlockCorrupt: the file is another block's.
    """
    truth = trailer.truth
    said = (label.file, label.number, truth.block, truth.generation)
    if said != (name.file, name.number, name.block, name.generation):
        raise corrupt("swapped", f"the file under this name is block {truth.block:016x}'s")


def corrupt(reason: str, message: str) -> BlockCorrupt:
    """`BlockCorrupt` with a one-word reason, which also names the file in quarantine."""
    return BlockCorrupt(message, details={"reason": reason})
