"""Frames of a data stream are messages of the proto, whoever wrote them."""

import contextlib

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from dfs.base.checksum import chunk_hashes
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.frames import data_frame, footer_frame, header_frame, read_frame, write_frame

OFFSETS = st.integers(min_value=0, max_value=2**64 - 1)
CONTENTS = st.binary(max_size=1_000)


@given(OFFSETS, CONTENTS)
@settings(max_examples=200)
def test_protobuf_reads_a_frame_as_the_message_it_is(offset: int, data: bytes) -> None:
    frame = data_frame(offset, data, chunk_hashes(data))

    message = pb.BlockChunk.FromString(write_frame(frame))

    assert (message.offset, message.data, message.hashes) == (offset, data, chunk_hashes(data))
    assert message.WhichOneof("head") is None


@given(OFFSETS, CONTENTS)
@settings(max_examples=200)
def test_a_message_of_protobuf_is_read_as_a_frame(offset: int, data: bytes) -> None:
    message = pb.BlockChunk(offset=offset, data=data, hashes=chunk_hashes(data))

    frame = read_frame(message.SerializeToString())

    assert (frame.offset, bytes(frame.data), frame.hashes) == (offset, data, chunk_hashes(data))
    assert frame.header is None
    assert frame.footer is None


@given(OFFSETS, CONTENTS)
@settings(max_examples=200)
def test_a_frame_is_read_as_it_was_written_without_copying_its_data(
    offset: int, data: bytes
) -> None:
    sent = data_frame(offset, data, chunk_hashes(data))

    got = read_frame(sent.raw)

    assert (got.offset, bytes(got.data), got.hashes) == (offset, data, chunk_hashes(data))
    assert isinstance(got.data, memoryview)
    assert got.data.obj is sent.raw


def test_headers_and_footers_come_through() -> None:
    header = pb.UploadHeader(pack=b"table")
    footer = pb.UploadFooter(length=7, hash=bytes(16))

    assert read_frame(header_frame(header).raw).header == header
    assert read_frame(footer_frame(footer).raw).footer == footer


def test_a_footer_that_brings_data_as_well_is_read_with_both() -> None:
    message = pb.BlockChunk(offset=5, data=b"abc", hashes=bytes(8))
    message.footer.length = 8

    frame = read_frame(message.SerializeToString())

    assert (frame.offset, frame.data, frame.hashes) == (5, b"abc", bytes(8))
    assert frame.footer is not None
    assert frame.footer.length == 8


def test_a_field_behind_the_data_is_not_taken_for_data() -> None:
    frame = data_frame(1, b"abc", bytes(8))
    later = pb.BlockChunk(offset=9).SerializeToString()

    read = read_frame(frame.raw + later)

    assert (read.offset, bytes(read.data)) == (9, b"abc")


@given(st.integers(min_value=0, max_value=60))
def test_a_frame_cut_short_is_refused_or_read_as_protobuf_reads_it(length: int) -> None:
    cut = data_frame(2**40, b"content" * 4, bytes(8)).raw[:length]

    try:
        message = pb.BlockChunk.FromString(cut)
    except DecodeError:
        with pytest.raises(DecodeError):
            read_frame(cut)
    else:
        frame = read_frame(cut)
        assert (frame.offset, bytes(frame.data)) == (message.offset, message.data)


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_any_bytes_are_read_as_protobuf_reads_them_or_refused(raw: bytes) -> None:
    for each in (raw, b"\x18" + raw):
        with contextlib.suppress(DecodeError):
            frame = read_frame(each)
            message = pb.BlockChunk.FromString(each)
            assert (bytes(frame.data), frame.hashes) == (message.data, message.hashes)
            assert frame.offset == message.offset
