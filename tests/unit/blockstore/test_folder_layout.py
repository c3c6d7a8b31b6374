"""Where things lie, and what names say."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs.base.errors import BadRequest
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName
from dfs.blockstore.layout import (
    ID_MAX,
    NUMBER_MAX,
    Layout,
    SetAside,
    check_name,
    parse_block,
    parse_set_aside,
)

LAYOUT = Layout(Path("/data"))
ids = st.integers(1, ID_MAX)
names = st.builds(
    BlockName,
    ids.map(InodeId),
    st.integers(0, NUMBER_MAX),
    ids.map(BlockId),
    ids.map(Generation),
)


@given(names)
def test_block_path_reads_back_as_its_name(name: BlockName) -> None:
    path = LAYOUT.block(name)
    blocks, bucket, folder, file = path.relative_to(LAYOUT.root).parts
    assert blocks == "blocks"
    assert parse_block(bucket, folder, file) == name


@given(names, names)
def test_two_blocks_never_share_a_path(one: BlockName, other: BlockName) -> None:
    assert (LAYOUT.block(one) == LAYOUT.block(other)) == (one == other)


@given(names, st.integers(0, 4_000_000_000_000), st.sampled_from(["hash", "size", "trailer"]))
def test_quarantine_path_reads_back(name: BlockName, at_ms: int, reason: str) -> None:
    path = LAYOUT.quarantined(name, at_ms=at_ms, reason=reason)
    assert path.parent == LAYOUT.quarantine
    assert parse_set_aside(path.name) == SetAside(name, at_ms, reason)


@given(names, st.integers(0, 4_000_000_000_000))
def test_purge_path_reads_back(name: BlockName, at_ms: int) -> None:
    path = LAYOUT.retired(name, at_ms=at_ms)
    assert path.parent.parent == LAYOUT.purge
    assert parse_set_aside(path.name) == SetAside(name, at_ms)


def test_block_path_is_as_the_design_draws_it() -> None:
    name = BlockName(InodeId(0x1AB), 3, BlockId(0x2F), Generation(9))
    assert LAYOUT.block(name).relative_to(LAYOUT.root).as_posix() == (
        "blocks/ab/00000000000001ab/000003.000000000000002f.0000000000000009"
    )


@pytest.mark.parametrize(
    ("bucket", "folder", "file"),
    [
        ("ab", "00000000000001ac", "000003.000000000000002f.0000000000000009"),  # wrong bucket
        ("ab", "1ab", "000003.000000000000002f.0000000000000009"),
        ("ab", "00000000000001ab", "000003.2f.9"),
        ("ab", "00000000000001ab", "3.000000000000002f.0000000000000009"),
        ("ab", "00000000000001ab", "0000003.000000000000002f.0000000000000009"),  # padded twice
        ("ab", "00000000000001ab", "000003.000000000000002F.0000000000000009"),
        ("ab", "00000000000001ab", "000003.0000000000000000.0000000000000009"),  # id 0
        ("ab", "00000000000001ab", "000003.ffffffffffffffff.0000000000000009"),
        ("ab", "00000000000001ab", "000003.000000000000002f.0000000000000009.part"),
        ("ab", "00000000000001ab", "notes.txt"),
    ],
)
def test_stray_file_is_no_block(bucket: str, folder: str, file: str) -> None:
    assert parse_block(bucket, folder, file) is None


@given(st.text(max_size=120))
def test_arbitrary_names_never_break_the_parsers(text: str) -> None:
    parse_set_aside(text)
    parse_block(text[-2:], text, text)


@pytest.mark.parametrize("wrong", [(0, 0, 1, 1), (1, -1, 1, 1), (1, 0, 0, 1), (1, 0, 1, 1 << 63)])
def test_ids_that_no_counter_gives_are_refused(wrong: tuple[int, int, int, int]) -> None:
    file, number, block, generation = wrong
    with pytest.raises(BadRequest):
        check_name(BlockName(InodeId(file), number, BlockId(block), Generation(generation)))
