"""The bytes of a block file."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs.base.checksum import CHUNK_HASH_BYTES, CHUNK_SIZE_BYTES, block_hash, chunk_count
from dfs.base.errors import BlockCorrupt
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName, BlockTruth
from dfs.blockstore import format as block_format

ids = st.integers(1, (1 << 63) - 1)


@st.composite
def tails(draw: st.DrawFn) -> tuple[block_format.Label, BlockTruth]:
    length = draw(st.integers(0, 40 * CHUNK_SIZE_BYTES))
    hashes = chunk_count(length) * CHUNK_HASH_BYTES
    label = block_format.Label(
        cluster=draw(st.text(max_size=40)),
        file=draw(ids),
        path=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=200)),
        number=draw(st.integers(0, 10_000)),
        created_ms=draw(st.integers(0, 1 << 45)),
        pack=draw(st.binary(max_size=200)),
        chunk_hashes=draw(st.binary(min_size=hashes, max_size=hashes)),
    )
    digest = draw(st.binary(min_size=16, max_size=16))
    return label, BlockTruth(BlockId(draw(ids)), Generation(draw(ids)), length, digest)


def _read(tail: bytes) -> tuple[block_format.Label, BlockTruth]:
    trailer = block_format.decode_trailer(tail[-block_format.TRAILER_BYTES :])
    assert trailer.size_bytes == trailer.truth.length_bytes + len(tail)
    raw = tail[: -block_format.TRAILER_BYTES]
    return block_format.decode_label(raw, trailer), trailer.truth


@given(tails())
def test_tail_reads_back_as_written(written: tuple[block_format.Label, BlockTruth]) -> None:
    assert _read(block_format.encode_tail(*written)) == written


@given(tails())
def test_tail_length_is_known_before_the_hashes(
    written: tuple[block_format.Label, BlockTruth],
) -> None:
    label, truth = written
    assert block_format.tail_bytes(label, truth.length_bytes) == len(
        block_format.encode_tail(label, truth)
    )


@given(tails(), st.data())
def test_tail_with_any_flipped_bit_is_refused(
    written: tuple[block_format.Label, BlockTruth], data: st.DataObject
) -> None:
    tail = bytearray(block_format.encode_tail(*written))
    tail[data.draw(st.integers(0, len(tail) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BlockCorrupt) as refusal:
        _read(bytes(tail))
    assert refusal.value.details["reason"] in ("trailer", "label", "version")


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_trailer(raw: bytes) -> None:
    with pytest.raises(BlockCorrupt):
        block_format.decode_trailer(raw)


def test_trailer_is_64_bytes_in_the_stated_order() -> None:
    label = block_format.Label(cluster="c", file=1, path="/p", number=0, created_ms=0)
    tail = block_format.encode_tail(
        label, BlockTruth(BlockId(2), Generation(3), 0, block_hash(b""))
    )
    raw = tail[-64:]
    fields = struct.unpack(">8sHHIQQQ16sII", raw)
    assert fields[:3] == (b"DFSBLK01", 1, 0)
    assert fields[3] == len(tail) - 64
    assert fields[4:8] == (2, 3, 0, block_hash(b""))
    assert fields[8:] == (zlib.crc32(tail[:-64]), zlib.crc32(raw[:60]))


def test_trailer_of_a_later_version_is_refused_by_that_word() -> None:
    label = block_format.Label(cluster="c", file=1, path="/p", number=0, created_ms=0)
    tail = block_format.encode_tail(
        label, BlockTruth(BlockId(2), Generation(3), 0, block_hash(b""))
    )
    body = tail[-64:-4].replace(b"DFSBLK01\x00\x01", b"DFSBLK01\x00\x02")
    with pytest.raises(BlockCorrupt) as refusal:
        block_format.decode_trailer(body + struct.pack(">I", zlib.crc32(body)))
    assert refusal.value.details["reason"] == "version"


@pytest.mark.parametrize("other", [(8, 0, 2, 3), (1, 1, 2, 3), (1, 0, 9, 3), (1, 0, 2, 4)])
def test_file_under_another_blocks_name_is_refused(other: tuple[int, int, int, int]) -> None:
    label = block_format.Label(cluster="c", file=1, path="/p", number=0, created_ms=0)
    trailer = block_format.Trailer(
        BlockTruth(BlockId(2), Generation(3), 0, block_hash(b"")), label_bytes=0, label_crc=0
    )
    right = BlockName(InodeId(1), 0, BlockId(2), Generation(3))
    block_format.check_name(right, trailer, label)
    file, number, block, generation = other
    wrong = BlockName(InodeId(file), number, BlockId(block), Generation(generation))
    with pytest.raises(BlockCorrupt):
        block_format.check_name(wrong, trailer, label)
