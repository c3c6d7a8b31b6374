"""What is remembered of the put of one large file, so that it can go on after an interruption.

One file a put, in the state folder: a first line saying what is being written (source, its size
and time, target, lease), then a line for every block that is durable, with its hash and receipts.
Each line is fsynced before the next block counts.  It is good for as long as the NameNode renews
the lease and the source is as it was; a cut last line is one block less.  A put locks its file for
as long as it runs.
"""

import contextlib
import fcntl
import hashlib
import os
from io import FileIO
from pathlib import Path
from typing import Final, Self

import msgspec

from dfs.base import crashpoint
from dfs.base.decoding import json_reader
from dfs.base.errors import LocalIoError
from dfs.base.paths import printable
from dfs.base.records import WrittenBlock
from dfs.client.put_plan import PlannedFile
from dfs.wire.data_api import OpenedFile

_PREFIX: Final = "put-"


class PutBegun(msgspec.Struct, frozen=True):
    """The first line."""

    local: str
    remote: str
    size_bytes: int
    mtime_ns: int
    opened: OpenedFile

    def is_of(self, file: PlannedFile) -> bool:
        """Whether it is this very put of this very source."""
        return (self.remote, self.size_bytes, self.mtime_ns) == (
            file.remote,
            file.size_bytes,
            file.mtime_ns,
        )


class BlockDone(msgspec.Struct, frozen=True):
    """Every further line."""

    number: int
    block: WrittenBlock


class PutState:
    """The state of one put, being kept.  Made by `begin` or `load`.

    Its file is locked until `forget` or `close`, so that nobody takes over a put that still runs.
    """

    def __init__(
        self, file: Path, held: FileIO, begun: PutBegun, done: dict[int, WrittenBlock]
    ) -> None:
        self._file = file
        self._held = held
        self.begun = begun
        self.done = done

    @classmethod
    def begin(cls, folder: Path, planned: PlannedFile, opened: OpenedFile) -> Self | None:
        """Remember that this put began; None when another put has the state in use.

        Raises:
            LocalIoError: it cannot be written down.
        """
        begun = PutBegun(
            # It need not be UTF-8, which a line is.  Lexical: links stay as they are.
            printable(os.path.abspath(planned.local)),  # noqa: PTH100
            planned.remote,
            planned.size_bytes,
            planned.mtime_ns,
            opened,
        )
        file = _state_file(folder, planned)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            held = _hold(file, os.O_CREAT)
            if held is None:
                return None
            held.truncate(0)
            _write(held, msgspec.json.encode(begun))
        except OSError as exc:
            raise LocalIoError(f"cannot remember this put in {file}: {exc}") from exc
        crashpoint.reach("client.state.begun")
        return cls(file, held, begun, {})

    @classmethod
    def load(cls, folder: Path, planned: PlannedFile) -> Self | None:
        """What is remembered of an earlier put of that source to that target, if anything.

        None too while that put still runs: it is left alone.
        """
        file = _state_file(folder, planned)
        try:
            held = _hold(file)
        except OSError:
            return None
        if held is None:
            return None
        try:
            first, *rest = held.readall().split(b"\n")
            begun = json_reader(PutBegun)(first)
        except (OSError, msgspec.MsgspecError):
            held.close()
            return None
        done: dict[int, WrittenBlock] = {}
        for line in rest:
            with contextlib.suppress(msgspec.MsgspecError):
                one = json_reader(BlockDone)(line)
                done[one.number] = one.block
        return cls(file, held, begun, done)

    @staticmethod
    def any_in(folder: Path) -> bool:
        """Whether any put is remembered there: looked at once, for thousands of files."""
        try:
            return any(each.name.startswith(_PREFIX) for each in folder.iterdir())
        except OSError:
            return False

    @staticmethod
    def is_in(folder: Path, planned: PlannedFile) -> bool:
        """Whether a put of that source to that target is remembered there."""
        return _state_file(folder, planned).exists()

    def add(self, number: int, block: WrittenBlock) -> None:
        """That block is durable.

        Raises:
            LocalIoError: it cannot be written down.
        """
        try:
            # The newline before ends a line that a crash may have cut.
            _write(self._held, b"\n" + msgspec.json.encode(BlockDone(number, block)))
        except (OSError, ValueError) as exc:  # the latter: closed, as the put was ended
            raise LocalIoError(f"cannot remember a block in {self._file}: {exc}") from exc
        crashpoint.reach("client.state.block")
        self.done[number] = block

    def close(self) -> None:
        """Leave it to a later put to go on with."""
        self._held.close()

    def forget(self) -> None:
        """The put is complete, or cannot be gone on with."""
        with contextlib.suppress(OSError):
            self._file.unlink()
        self._held.close()


def _state_file(folder: Path, planned: PlannedFile) -> Path:
    local = os.path.abspath(planned.local)  # noqa: PTH100 - lexical, links stay as they are
    key = f"{local}\0{planned.remote}".encode("utf-8", "surrogateescape")
    return folder / f"{_PREFIX}{hashlib.sha256(key).hexdigest()[:32]}.jsonl"


def _hold(file: Path, flag: int = 0) -> FileIO | None:
    """Open a state file and lock it; None when another put has it in use.

    Raises:
        OSError: it is not there, or cannot be opened.
    """
    while True:
        fd = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flag, 0o600)
        held = FileIO(fd, "r+")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            return None
        except OSError:  # a file system without locks: as good as it gets there
            return held
        if os.fstat(fd).st_nlink:
            return held
        held.close()  # its put was completed between our opening and locking it: look again


def _write(held: FileIO, line: bytes) -> None:
    held.write(line + b"\n")
    os.fsync(held.fileno())
