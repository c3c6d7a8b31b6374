"""What is remembered of the put of a directory under a new name, so that `--resume` finds it again.

`put -r photos /album` makes /album when it is not there, and /album/photos when it is.  Cut short
and asked again it would thus store everything a second time, one level deeper.  A small file in the
state folder says which directory (by inode, so that another one of that name is not meant) a put of
that source made; it is there until that put is complete.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

from dfs.base import crashpoint
from dfs.base.decoding import json_reader
from dfs.base.errors import LocalIoError
from dfs.base.records import FileStatus


class _Made(msgspec.Struct, frozen=True):
    inode: int


class TreeMark:
    """The mark of one source and one target."""

    def __init__(self, folder: Path, source: Path | str, target: str) -> None:
        local = os.path.abspath(source)  # noqa: PTH100 - lexical, links stay as they are
        key = f"{local}\0{target.rstrip('/')}".encode("utf-8", "surrogateescape")
        self._file = folder / f"tree-{hashlib.sha256(key).hexdigest()[:32]}.json"

    def is_of(self, found: FileStatus) -> bool:
        """Whether an earlier put of the source, not complete yet, made that directory."""
        try:
            made = json_reader(_Made)(self._file.read_bytes())
        except (OSError, msgspec.MsgspecError):
            return False
        return made.inode == found.inode

    def set(self, made: FileStatus) -> None:
        """This put made that directory.

        Raises:
            LocalIoError: it cannot be written down.
        """
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, msgspec.json.encode(_Made(made.inode)))
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as exc:
            raise LocalIoError(f"cannot remember this put in {self._file}: {exc}") from exc
        crashpoint.reach("client.tree.marked")

    def forget(self) -> None:
        """The put is complete."""
        with contextlib.suppress(OSError):
            self._file.unlink()
