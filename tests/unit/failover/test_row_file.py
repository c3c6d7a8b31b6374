"""A row of failover is on the disk as it was written, or it is refused."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dfs.base.errors import DfsError, LocalIoError, MetadataCorrupt, SchemaMismatch
from dfs.failover.row_file import ROW_BYTES_MAX, VERSION, RowFile
from dfs.ha.rows import Hint, MemberRow, SyncConfig, VoterRow, VoterSet
from tests.crash_sweep import ROOT, named, swept

CONFIG = SyncConfig(7, 3, "A", ("A", "B"), 5, lossy=True)
VOTER = VoterRow("v1", "c", VoterSet(1, 2, ("v1", "v2", "v3")), 7, "A", CONFIG, Hint(5, 99))
MEMBER = MemberRow("Ä", "c", 7, VoterSet(1, 0, ("v1",)), CONFIG)


def test_row_is_read_back_as_it_was_kept(tmp_path: Path) -> None:
    RowFile(tmp_path / "voter", VoterRow).keep(VOTER)
    RowFile(tmp_path / "member", MemberRow).keep(MEMBER)
    assert RowFile(tmp_path / "voter", VoterRow).load() == VOTER
    assert RowFile(tmp_path / "member", MemberRow).load() == MEMBER
    assert sorted(os.listdir(tmp_path)) == ["member", "voter"]  # noqa: PTH208


def test_row_that_never_was_is_none_and_so_is_one_that_got_no_name(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "voter", VoterRow)
    (tmp_path / "voter.new").write_bytes(b"cut")
    assert file.load() is None
    file.keep(VOTER)
    file.keep(replace(VOTER, promised=8))
    assert RowFile(tmp_path / "voter", VoterRow).load() == replace(VOTER, promised=8)


@settings(max_examples=40)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_row_with_any_bit_flipped_is_refused(
    at: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("row") / "voter"
    RowFile(path, VoterRow).keep(VOTER)
    raw = bytearray(path.read_bytes())
    raw[at % len(raw)] ^= 1 << bit
    path.write_bytes(raw)
    with pytest.raises((MetadataCorrupt, SchemaMismatch)):
        RowFile(path, VoterRow).load()


@pytest.mark.parametrize("length", [0, 1, 20, -1])
def test_row_that_was_cut_is_damaged_and_not_absent(length: int, tmp_path: Path) -> None:
    file = RowFile(tmp_path / "voter", VoterRow)
    file.keep(VOTER)
    file.path.write_bytes(file.path.read_bytes()[:length])
    with pytest.raises(MetadataCorrupt, match="voter is damaged"):
        file.load()


def test_row_with_something_behind_it_is_refused(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "voter", VoterRow)
    file.keep(VOTER)
    with file.path.open("ab") as out:
        out.write(b"\n")
    with pytest.raises(MetadataCorrupt):
        file.load()
    file.path.write_bytes(b"x" * (ROW_BYTES_MAX + 10))
    with pytest.raises(MetadataCorrupt):
        file.load()


def test_row_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    RowFile(tmp_path / "row", VoterRow).keep(VOTER)
    with pytest.raises(MetadataCorrupt, match="it is a dfs-voter and no dfs-member"):
        RowFile(tmp_path / "row", MemberRow).load()


def test_row_of_another_version_is_refused_in_words(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "voter", VoterRow)
    file.keep(VOTER)
    raw = file.path.read_bytes()
    file.path.write_bytes(raw.replace(b"dfs-voter %d " % VERSION, b"dfs-voter 2 ", 1))
    with pytest.raises(SchemaMismatch, match="version 2; this program reads version 1"):
        file.load()


@settings(max_examples=40)
@given(raw=st.binary(max_size=300))
def test_any_other_file_is_refused_with_an_error_of_ours(
    raw: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("row") / "voter"
    path.write_bytes(raw)
    with pytest.raises(DfsError):
        RowFile(path, VoterRow).load()


def test_row_that_cannot_be_read_is_not_absent(tmp_path: Path) -> None:
    (tmp_path / "voter").mkdir()
    with pytest.raises(LocalIoError, match="cannot read"):
        RowFile(tmp_path / "voter", VoterRow).load()


def test_write_that_failed_is_not_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    file = RowFile(folder / "voter", VoterRow)
    file.keep(VOTER)
    (folder / "voter.new").mkdir()
    with pytest.raises(LocalIoError, match="cannot write"):
        file.keep(replace(VOTER, promised=8))
    (folder / "voter.new").rmdir()
    with pytest.raises(LocalIoError, match="cannot write"):
        file.keep(replace(VOTER, promised=8))
    assert RowFile(folder / "voter", VoterRow).load() == VOTER


def test_row_survives_every_crash_point(tmp_path: Path) -> None:
    points = swept("tests.unit.failover.row_story", str(tmp_path))
    assert points == named([ROOT / "dfs" / "failover" / "row_file.py"])
