"""The messages of a data stream without the copies that protobuf makes.

A frame *is* a `BlockChunk` of `dataNode.proto`, byte for byte.  One with data has its fields in the
order offset, hashes, data, so that the data is the tail of the message: it is joined to its head
once, read as a view of what arrived, and passed on as it came.  What other implementations send in
another order is read by protobuf, as are headers and footers.

Owns how such a message is laid out; what must hold of its content is checked by who takes it.
"""

from dataclasses import dataclass
from typing import Final

from dfs.base.checksum import Buffer
from dfs.wire import dataNode_pb2 as pb

# Protobuf tags: field number << 3 | wire type (0 varint, 2 length and bytes).
_OFFSET: Final = pb.BlockChunk.OFFSET_FIELD_NUMBER << 3
_DATA: Final = pb.BlockChunk.DATA_FIELD_NUMBER << 3 | 2
_HASHES: Final = pb.BlockChunk.HASHES_FIELD_NUMBER << 3 | 2
_OFFSET_TAG, _DATA_TAG, _HASHES_TAG = bytes([_OFFSET]), bytes([_DATA]), bytes([_HASHES])
_MORE: Final = 0x80  # another byte of the varint follows
_VARINT_BYTES_MAX: Final = 10
_NUMBER_MAX: Final = 2**64 - 1  # what a longer varint says beyond that does not count


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of an upload or a download.

    Args:
        raw: as it travels.
        data: the bytes it brings; of a frame that arrived, a view of `raw`.
        hashes: xxh3_64 of each 256 KiB of `data`, joined.
    """

    raw: bytes
    offset: int = 0
    data: Buffer = b""
    hashes: bytes = b""
    header: pb.UploadHeader | None = None
    footer: pb.UploadFooter | None = None


def data_frame(offset: int, data: Buffer, hashes: bytes) -> Frame:
    """A frame that brings bytes of a block."""
    head = data_head(offset, len(data), hashes)
    return Frame(b"".join((head, data)), offset, data, hashes)


def data_head(offset: int, length_bytes: int, hashes: bytes) -> bytes:
    """What comes before so many bytes of data in their frame."""
    return b"".join(
        (
            _OFFSET_TAG,
            _varint(offset),
            _HASHES_TAG,
            _varint(len(hashes)),
            hashes,
            _DATA_TAG,
            _varint(length_bytes),
        )
    )


def header_frame(header: pb.UploadHeader) -> Frame:
    """The first frame of an upload, and of a download that asked for the label."""
    return Frame(pb.BlockChunk(header=header).SerializeToString(), header=header)


def footer_frame(footer: pb.UploadFooter) -> Frame:
    """The last frame of an upload."""
    return Frame(pb.BlockChunk(footer=footer).SerializeToString(), footer=footer)


def write_frame(frame: Frame) -> bytes:
    """A frame as it travels: gRPC's serializer."""
    return frame.raw


def read_frame(raw: bytes) -> Frame:
    """A message as a frame: gRPC's deserializer.

    Raises:
        google.protobuf.message.DecodeError: it is no `BlockChunk`.
    """
    return _tail_frame(raw) or _any_frame(raw)


def _tail_frame(raw: bytes) -> Frame | None:
    """The frame, if its fields are offset, hashes, data, and nothing else."""
    try:
        if raw[0] != _OFFSET:
            return None
        offset, at = _read_varint(raw, 1)
        if raw[at] != _HASHES:
            return None
        length, at = _read_varint(raw, at + 1)
        hashes, at = raw[at : at + length], at + length
        if raw[at] != _DATA:
            return None
        length, at = _read_varint(raw, at + 1)
    except IndexError:
        return None
    if at + length != len(raw):
        return None
    return Frame(raw, offset, memoryview(raw)[at:], hashes)


def _any_frame(raw: bytes) -> Frame:
    message = pb.BlockChunk.FromString(raw)
    head = message.WhichOneof("head")
    return Frame(
        raw,
        message.offset,
        message.data,
        message.hashes,
        header=message.header if head == "header" else None,
        footer=message.footer if head == "footer" else None,
    )


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    assert value >= 0
    made = bytearray()
    while value >= _MORE:
        made.append(value & 0x7F | _MORE)
        value >>= 7
    made.append(value)
    return bytes(made)


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number there, and where the next field begins.

    Raises:
        IndexError: the message ends in it, or it is longer than any number.
    """
    value = 0
    for shift in range(0, 7 * _VARINT_BYTES_MAX, 7):
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value & _NUMBER_MAX, at
    raise IndexError
