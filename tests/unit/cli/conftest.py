"""A fake NameNode over real HTTP, and the commands run against it in this process."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dfs.base.clock import ManualClock
from dfs.cli import admin, user
from dfs.cli.command import run_line
from dfs.cli.connection import Connection
from dfs.cli.verbs import Place, Program, Streams, Surroundings
from tests.unit.cli.fake_namenode import NOW_MS, FakeNamenode


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class ByteBackedText(io.TextIOWrapper):
    """A text stream in memory with the `buffer` that file content goes to."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self) -> str:
        raw = self.buffer
        assert isinstance(raw, io.BytesIO)
        return raw.getvalue().decode()


@dataclass
class Ran:
    """What one command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Console:
    """Runs command lines as one user of one fake cluster."""

    def __init__(self, namenode: FakeNamenode, folder: Path) -> None:
        self.namenode = namenode
        self.clock = ManualClock(now_ms=NOW_MS)
        self.environment = {
            "HOME": str(folder),
            "DFS_NAMENODE": namenode.url,
            "DFS_TOKEN": namenode.token(),
            "DFS_CONFIG": str(folder / "config.ini"),
            "TZ": "UTC",
        }
        (folder / "config.ini").write_text("[client]\ngive_up_s = 0s\ntimeout_s = 5s\n")

    def dfs(self, *words: str, stdin: str = "", terminal: bool = False) -> Ran:
        return self.run(user.PROGRAM, *words, stdin=stdin, terminal=terminal)

    def admin(self, *words: str, stdin: str = "") -> Ran:
        return self.run(admin.PROGRAM, *words, stdin=stdin)

    def run(self, program: Program, *words: str, stdin: str = "", terminal: bool = False) -> Ran:
        out, err = (Terminal(), Terminal()) if terminal else (ByteBackedText(), ByteBackedText())
        around = self.around(program, Streams(io.StringIO(stdin), out, err))
        try:
            code = run_line(around, words)
        finally:
            around.connection.close()
        return Ran(code, _text(out), _text(err))

    def around(self, program: Program, streams: Streams) -> Surroundings:
        return Surroundings(
            program=program,
            connection=Connection(self.environment),
            streams=streams,
            clock=self.clock,
            place=Place(),
        )


def _text(stream: io.StringIO | ByteBackedText) -> str:
    return stream.text() if isinstance(stream, ByteBackedText) else stream.getvalue()


@pytest.fixture
def namenode() -> Iterator[FakeNamenode]:
    fake = FakeNamenode()
    yield fake
    fake.stop()


@pytest.fixture
def console(namenode: FakeNamenode, tmp_path: Path) -> Console:
    return Console(namenode, tmp_path)
