"""Local files that are being got: written under a temporary name, seen only when complete.

The order is the contract: 1 all bytes are written and verified, 2 mode and time are set, 3 the
name appears (link, which never replaces anything, or rename when it may).  Whatever ends it before
the third step removes the temporary file.  There is no fsync: like `cp`, a get leaves the local
disk's caching to the operating system.
"""

import contextlib
import errno
import itertools
import os
from pathlib import Path
from typing import Final, Self

from dfs.base import crashpoint
from dfs.base.checksum import Buffer
from dfs.base.entropy import new_id
from dfs.base.errors import BadPath, DfsError, LocalExists, LocalIoError, LocalNotFound
from dfs.transfer.read_parallel import local_write_error

_UNSPEAKABLE: Final = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
_PART_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_RUN: Final = new_id()[:12]  # nobody else's parts are called so
_serial = itertools.count()
_NAME_CHARS_SAFE: Final = 50  # of four bytes each at most
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class PartFile:
    """One of them.  A context manager: what is not published when it ends is removed.

    Raises:
        LocalExists: the target is there and may not be replaced, or is a directory.
        LocalNotFound: its directory is not there.
        LocalDiskFull, LocalIoError: the disk does not take it.
        BadPath: this computer cannot have a file of that name.
    """

    def __init__(self, target: Path, *, size_bytes: int, overwrite: bool) -> None:
        self._target = target
        self._overwrite = overwrite
        check_free(target, overwrite=overwrite)
        self._part = target.with_name(_part_name(target.name))
        try:
            self.fd = os.open(self._part, _PART_FLAGS, 0o600)
        except (OSError, ValueError) as exc:
            raise local_target_error(target, exc) from exc
        self._published = False
        try:
            self._reserve(size_bytes)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        """The file."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Remove it, unless it was published."""
        os.close(self.fd)
        if not self._published:
            with contextlib.suppress(OSError):
                self._part.unlink()

    def publish(self, *, mode: int, modified_ms: int) -> None:
        """Give it its mode, time and name.

        Raises:
            LocalExists: somebody made the target meanwhile.
            LocalIoError: it cannot be named.
        """
        try:
            os.fchmod(self.fd, mode & 0o777)
            os.utime(self.fd, ns=(modified_ms * 1_000_000, modified_ms * 1_000_000))
            crashpoint.reach("client.part.written")
            _publish(str(self._part), str(self._target), overwrite=self._overwrite)
        except FileExistsError:
            raise LocalExists(f"exists on this computer: {self._target}") from None
        except OSError as exc:
            raise local_target_error(self._target, exc) from exc
        self._published = True
        crashpoint.reach("client.part.published")

    def _reserve(self, size_bytes: int) -> None:
        """Have the room before bytes travel for nothing; some file systems cannot promise it."""
        if not size_bytes:
            return
        try:
            os.posix_fallocate(self.fd, 0, size_bytes)
        except OSError as exc:
            if exc.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                return
            raise local_write_error(exc, str(self._target)) from exc


def write_small(
    target: str, content: Buffer, *, mode: int, modified_ms: int, overwrite: bool
) -> None:
    """A whole file at once: the three steps of a `PartFile` in as few calls as they take.

    Args:
        target: absolute, or below the working directory; the caller saw that it is free.

    Raises:
        LocalExists, LocalNotFound, LocalDiskFull, LocalIoError, BadPath: as `PartFile`.
    """
    folder, slash, name = target.rpartition("/")
    part = f"{folder}{slash}{_part_name(name)}"
    made = False
    try:
        fd = os.open(part, _PART_FLAGS, 0o600)
        made = True
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.fchmod(fd, mode & 0o777)
            os.utime(fd, ns=(modified_ms * 1_000_000, modified_ms * 1_000_000))
        finally:
            os.close(fd)
        crashpoint.reach("client.part.written")
        _publish(part, target, overwrite=overwrite)
    except BaseException as exc:
        if made:
            with contextlib.suppress(OSError):
                os.unlink(part)  # noqa: PTH108 - as below
        if isinstance(exc, FileExistsError):
            raise LocalExists(f"exists on this computer: {target}") from None
        if isinstance(exc, OSError | ValueError):
            raise local_target_error(Path(target), exc) from exc
        raise
    crashpoint.reach("client.part.published")


def _part_name(name: str) -> str:
    """A name of the target's own, cut so that the suffix does not make it too long."""
    if len(name) > _NAME_CHARS_SAFE:
        name = os.fsdecode(os.fsencode(name)[:200])
    return f"{name}.{_RUN}{next(_serial):x}.part"


def _publish(part: str, target: str, *, overwrite: bool) -> None:
    """Give a complete file its name.

    Raises:
        FileExistsError: somebody made the target meanwhile.
        OSError, LocalExists: it cannot be named.
    """
    if not overwrite:
        try:
            os.link(part, target)  # noqa: PTH112 - thousands of files, and a Path costs more
        except OSError as exc:
            if exc.errno not in _NO_LINKS:
                raise
            check_free(Path(target), overwrite=False)  # the next best on such a file system
        else:
            os.unlink(part)  # noqa: PTH108 - as above
            return
    os.replace(part, target)  # noqa: PTH105 - as above


def check_free(target: Path, *, overwrite: bool) -> None:
    """Refuse a target that is in the way.

    Raises:
        LocalExists: it is a directory, or there and not to be replaced.
    """
    try:
        there = os.path.lexists(target)
        if there and not target.is_symlink() and target.is_dir():
            raise LocalExists(f"a directory is in the way on this computer: {target}", hint="")
    except (OSError, ValueError) as exc:
        raise local_target_error(target, exc) from exc
    if there and not overwrite:
        raise LocalExists(f"exists on this computer: {target}")


def make_directory(target: Path) -> bool:
    """Make a local directory, or find it; whether it is new.

    Raises:
        LocalExists: a file is in the way.
        LocalNotFound, LocalDiskFull, LocalIoError, BadPath: as `PartFile`.
    """
    try:
        target.mkdir(mode=0o777)
    except FileExistsError:
        if target.is_dir():
            return False
        raise LocalExists(
            f"a file is in the way of a directory on this computer: {target}", hint=""
        ) from None
    except (OSError, ValueError) as exc:
        raise local_target_error(target, exc) from exc
    return True


def local_target_error(target: Path, exc: OSError | ValueError) -> DfsError:
    """What it means that a local file or directory could not be made."""
    if isinstance(exc, ValueError) or exc.errno in _UNSPEAKABLE:
        return BadPath(
            f"this computer cannot have a file of that name: {str(target)!r}: {exc}",
            hint="get it under another name, one file at a time",
        )
    if isinstance(exc, FileNotFoundError):
        return LocalNotFound(f"no such directory on this computer: {target.parent}")
    if isinstance(exc, NotADirectoryError):
        return LocalIoError(f"not a directory on this computer: {target.parent}")
    return local_write_error(exc, str(target))
