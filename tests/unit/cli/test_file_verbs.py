import io
import os
from argparse import Namespace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs.cli import file_commands
from dfs.cli.connection import Connection
from dfs.cli.file_commands import last_lines_offset
from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import FakeNamenode


class RawBytes(io.RawIOBase):
    """Content whose reads come short, as those of a network do."""

    def __init__(self, data: bytes) -> None:
        self._source = io.BytesIO(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._source.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        return self._source.read(min(size, 3))


@given(st.binary(max_size=60).map(lambda b: b.replace(b"\x00", b"\n")), st.integers(0, 8))
def test_last_lines_are_those_that_tail_shows(data: bytes, lines: int) -> None:
    offset = last_lines_offset(RawBytes(data), len(data), lines)
    expected = list(io.BytesIO(data))  # by newline alone
    assert data[offset:] == b"".join(expected[len(expected) - min(lines, len(expected)) :])


def test_last_lines_are_found_across_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_commands, "PIECE_BYTES", 4)
    data = b"one\ntwo\nthree\nfour\n"
    assert data[last_lines_offset(RawBytes(data), len(data), 2) :] == b"three\nfour\n"


def test_cat_of_what_is_not_there_goes_on_and_exits_with_3(console: Console) -> None:
    ran = console.dfs("cat", "/missing", "/missing-too")
    assert ran.code == 3
    assert ran.err.count("no such file") == 2


def test_cat_of_a_directory_is_refused(console: Console) -> None:
    assert console.dfs("cat", "/user").code == 5
    assert console.dfs("tail", "/user").code == 5


def test_put_of_a_missing_file_says_so_and_exits_with_3(console: Console, tmp_path: Path) -> None:
    ran = console.dfs("put", str(tmp_path / "nothing"), "x")
    assert ran.code == 3
    assert ran.err.startswith("dfs: ")
    assert str(tmp_path / "nothing") in ran.err


def test_put_of_a_tree_with_names_that_cannot_be_is_a_failure_and_no_wrong_command_line(
    console: Console, tmp_path: Path
) -> None:
    (tmp_path / "tree" / "fine").mkdir(parents=True)
    (tmp_path / "tree" / os.fsdecode(b"b\xff")).write_bytes(b"x")
    ran = console.dfs("put", "-r", str(tmp_path / "tree"), "/user/alice/new")
    assert (ran.code, "2 directories" in ran.out or "1 failed" in ran.out) == (1, True)
    assert "b\\xff" in ran.err
    ran = console.dfs("put", "-r", str(tmp_path / "tree" / os.fsdecode(b"b\xff")), "/user/alice")
    assert ran.code == 2


def test_remote_name_that_is_not_utf8_is_refused(console: Console) -> None:
    ran = console.dfs("ls", os.fsdecode(b"/user/\xff"))
    assert (ran.code, "'/user/\\xff'" in ran.err) == (2, True)


def test_put_of_several_needs_a_directory(
    console: Console, namenode: FakeNamenode, tmp_path: Path
) -> None:
    ran = console.dfs("put", "a", "b", "nowhere")
    assert ran.code == 3
    assert "dfs mkdir -p /user/alice/nowhere" in ran.err


def test_put_takes_standard_input_alone(console: Console) -> None:
    ran = console.dfs("put", "-", "b", "/user")
    assert ran.code == 2


def test_get_of_several_needs_a_local_directory(
    console: Console, namenode: FakeNamenode, tmp_path: Path
) -> None:
    namenode.add_file("/a", 0)
    namenode.add_file("/b", 0)
    ran = console.dfs("get", "/a", "/b", str(tmp_path / "nowhere"))
    assert ran.code == 3
    assert "no such local directory" in ran.err


def test_flags_win_over_the_environment(console: Console, namenode: FakeNamenode) -> None:
    console.environment["DFS_NAMENODE"] = "http://127.0.0.1:9"
    assert console.dfs("whoami", "--namenode", namenode.url).out == "alice\n"


def test_connection_is_shared_by_commands_with_the_same_flags(console: Console) -> None:
    connection = Connection(console.environment)
    flags = Namespace(config=None, namenode=None)
    assert connection.client(flags) is connection.client(flags)
    other = Namespace(config=None, namenode="http://127.0.0.1:9")
    assert connection.client(flags) is not connection.client(other)
    connection.close()
