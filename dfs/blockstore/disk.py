"""The system calls of the data path, in one place: whole writes, whole reads, and what is durable.

Owns nothing and decides nothing; it lets `OSError` through, which `volume.py` turns into ours.
`sync=False` makes every flush a no-op: for tests that do not ask about power cuts.
"""

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dfs.base.checksum import Buffer
from dfs.base.durable import sync_folder

# No room: the block is refused and the disk is as good as before.
FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CANNOT_ALLOCATE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


@dataclass(frozen=True, slots=True)
class Space:
    """A file system's size and what an ordinary user may still write, bytes."""

    total_bytes: int
    free_bytes: int


class Disk:
    """The calls themselves.  One object serves all threads."""

    def __init__(self, *, sync: bool = True) -> None:
        self.sync = sync

    def create(self, path: Path) -> int:
        """Make a file that must not exist, for writing by us alone."""
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, 0o600)

    def allocate(self, fd: int, offset: int, length: int) -> bool:
        """Take the room now, so that a full disk is known before data flows.

        Returns:
            False where the file system has no such call; the room is then not taken.
        """
        try:
            os.posix_fallocate(fd, offset, length)
        except OSError as exc:
            if exc.errno in _CANNOT_ALLOCATE:
                return False
            raise
        return True

    def write(self, fd: int, data: Buffer, offset: int) -> None:
        """Write all of it, straight from the buffer given."""
        done = os.pwrite(fd, data, offset)
        if done == len(data):
            return
        view = memoryview(data)
        while done < len(view):
            done += os.pwrite(fd, view[done:], offset + done)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """Read all of it, or less only where the file ends."""
        data = os.pread(fd, length, offset)
        while 0 < len(data) < length:
            more = os.pread(fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def fsync(self, fd: int) -> None:
        """Content and metadata of a file are on the disk."""
        if self.sync:
            os.fsync(fd)

    def fdatasync(self, fd: int) -> None:
        """Content of a file, and what is needed to find it, is on the disk."""
        if self.sync:
            os.fdatasync(fd)

    def fsync_folder(self, folder: Path) -> None:
        """The names in a folder are on the disk."""
        if self.sync:
            sync_folder(folder)

    def drop_cache(self, fd: int, offset: int = 0, length: int = 0) -> None:
        """Let the next read come from the disk itself; length 0 means to the end."""
        with contextlib.suppress(OSError):  # advice: a file system may not take it
            os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)

    def space(self, folder: Path) -> Space:
        """Size and free room of the file system that holds `folder`."""
        stat = os.statvfs(folder)
        return Space(stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize)
