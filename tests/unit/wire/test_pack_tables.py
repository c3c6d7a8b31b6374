"""The table of contents of a pack: what is written is read, and nothing else is."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs.base.checksum import block_hash
from dfs.base.errors import DfsError
from dfs.wire.packs import (
    PACK_FILES_MAX,
    TABLE_BYTES_MAX,
    PackEntry,
    decode_table,
    encode_table,
    entry_bytes_max,
    table_has_room,
)

names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=40
)


def laid_out(files: list[tuple[str, int, int, int]]) -> list[PackEntry]:
    """Entries one after another."""
    entries: list[PackEntry] = []
    at = 0
    for name, length, mode, modified_ms in files:
        digest = block_hash(name.encode())
        entries.append(PackEntry(f"/d/{name}", at, length, digest, mode, modified_ms))
        at += length
    return entries


files = st.lists(
    st.tuples(names, st.integers(1, 1 << 40), st.integers(0, 0o1777), st.integers(-(2**62), 2**62)),
    min_size=1,
    max_size=30,
)


@given(files)
def test_a_table_reads_back_as_it_was_written(files: list[tuple[str, int, int, int]]) -> None:
    entries = laid_out(files)
    raw = encode_table(entries)
    assert decode_table(raw) == tuple(entries)
    assert decode_table(raw, length_bytes=entries[-1].end) == tuple(entries)


@given(files)
def test_the_room_a_table_takes_is_never_more_than_planned(
    files: list[tuple[str, int, int, int]],
) -> None:
    entries = laid_out(files)
    planned = sum(entry_bytes_max(entry.path) for entry in entries)
    assert len(encode_table(entries)) <= planned + 16
    assert table_has_room(len(entries), planned)


@given(files, st.binary(max_size=300), st.integers(0, 1 << 30))
def test_what_is_no_table_is_refused_by_name(
    files: list[tuple[str, int, int, int]], noise: bytes, cut: int
) -> None:
    raw = encode_table(laid_out(files))
    for spoilt in (noise, raw[: cut % len(raw)], raw + b"\0"):
        with pytest.raises(DfsError):
            decode_table(spoilt)


@given(files, st.integers(0, 29), st.sampled_from([-1, 1, 7]))
def test_a_gap_or_an_overlap_is_refused(
    files: list[tuple[str, int, int, int]], number: int, shift: int
) -> None:
    entries = laid_out(files)
    at = number % len(entries)
    moved = msgspec.structs.replace(entries[at], offset=entries[at].offset + shift)
    entries[at] = moved
    with pytest.raises(DfsError):
        encode_table(entries)
    raw = msgspec.msgpack.encode([1, entries])
    with pytest.raises(DfsError):
        decode_table(raw)


def test_a_table_covers_the_whole_block_and_no_more() -> None:
    raw = encode_table(laid_out([("a", 10, 0o644, 1), ("b", 5, 0o600, 2)]))
    for length_bytes in (14, 16):
        with pytest.raises(DfsError):
            decode_table(raw, length_bytes=length_bytes)


def test_a_table_is_bounded_in_files_and_bytes() -> None:
    many = laid_out([(f"{n}", 1, 0o644, 0) for n in range(PACK_FILES_MAX + 1)])
    assert decode_table(encode_table(many[:-1])) == tuple(many[:-1])
    with pytest.raises(DfsError):
        encode_table(many)
    long = laid_out([(f"{n:04}" + "x" * 4000, 1, 0o644, 0) for n in range(1_000)])
    planned = sum(entry_bytes_max(entry.path) for entry in long)
    assert planned > TABLE_BYTES_MAX
    assert not table_has_room(len(long), planned)
    with pytest.raises(DfsError):
        encode_table(long)


def test_another_version_is_refused() -> None:
    entry = laid_out([("a", 1, 0o644, 0)])[0]
    with pytest.raises(DfsError, match="version 2"):
        decode_table(msgspec.msgpack.encode([2, [entry]]))
