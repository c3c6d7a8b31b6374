"""What a put will do, from what was named: which directories to make, which files go where.

`cp -r` is the model.  A source goes into the target when that is a directory, else it becomes the
target; `.` and `..` stand for their contents; a trailing slash on a source changes nothing.  In a
tree, links to files are followed, and other links, sockets, devices and pipes left out with a note;
one that is named as a source is refused, as who names it means to have it stored.  Reads the local
disk, changes nothing.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from dfs.base import paths
from dfs.base.errors import (
    BadRequest,
    DfsError,
    IsADirectory,
    LocalNotFound,
    NotADirectory,
    PathNotFound,
)
from dfs.base.states import InodeKind
from dfs.client.piece_sources import local_read_error

_MODE_BITS: Final = 0o777
# In a directory so near the root, a name of ASCII that a file system gave cannot make a bad path.
_PLAIN_CHARS: Final = paths.PATH_BYTES_MAX // 4 - paths.NAME_BYTES_MAX
_PLAIN_DEPTH: Final = paths.DEPTH_MAX - 1


class PlannedFile(msgspec.Struct, frozen=True, gc=False):
    """A file to be put."""

    local: str
    remote: str
    size_bytes: int
    mtime_ns: int
    mode: int

    @property
    def path(self) -> Path:
        """Where it is on this computer."""
        return Path(self.local)

    @property
    def modified_ms(self) -> int:
        """Its modification time as DFS keeps it."""
        return self.mtime_ns // 1_000_000


@dataclass(frozen=True, slots=True)
class PlannedDirectory:
    """A directory to be made, unless it is there."""

    remote: str
    mode: int


@dataclass(slots=True)
class PutPlan:
    """Everything to be done; parents come before what is in them."""

    directories: list[PlannedDirectory] = field(default_factory=list)
    files: list[PlannedFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: list[tuple[str, DfsError]] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files)


def plan_put(
    sources: Sequence[Path | str], target: str, target_kind: InodeKind | None, *, recursive: bool
) -> PutPlan:
    """The plan.  What is wrong with one source is in `failed`, and the others stand.

    Args:
        sources: as the user wrote them; a `Path` has no trailing slash or dot, a text may.
        target_kind: what is there now, or None for nothing.

    Raises:
        NotADirectory: several sources, and the target is a file.
        PathNotFound: several sources, or a trailing slash, and the target is not there.
        BadRequest: there is nothing to put.
    """
    if not sources:
        raise BadRequest("nothing to put")
    _check_target(len(sources), target, target_kind)
    plan = PutPlan()
    for source in sources:
        try:
            _plan_source(plan, str(source), target, target_kind, recursive=recursive)
        except DfsError as exc:
            plan.failed.append((str(source), exc))
    return plan


def _check_target(sources: int, target: str, kind: InodeKind | None) -> None:
    needs_directory = sources > 1 or (target.endswith("/") and target != "/")
    if needs_directory and kind is InodeKind.FILE:
        raise NotADirectory(f"not a directory: {target}")
    if sources > 1 and kind is None:
        raise PathNotFound(
            f"no such directory: {target}", hint="make it first with: dfs mkdir -p DIRECTORY"
        )


def _plan_source(
    plan: PutPlan, source: str, target: str, kind: InodeKind | None, *, recursive: bool
) -> None:
    found = _stat(source)
    is_directory = stat.S_ISDIR(found.st_mode)
    if is_directory and not recursive:
        raise IsADirectory(f"is a directory on this computer: {source}")
    if is_directory and kind is InodeKind.FILE:
        raise NotADirectory(f"cannot put directory {source} over the file {target}")
    if not is_directory and kind is None and target.endswith("/"):
        raise PathNotFound(f"no such directory: {target}")
    remote = _remote(source, target, kind)
    if is_directory:
        plan.directories.append(PlannedDirectory(remote, found.st_mode & _MODE_BITS))
        _plan_tree(plan, source, remote)
    elif stat.S_ISREG(found.st_mode):
        plan.files.append(_file(source, remote, found))
    else:
        raise BadRequest(
            f"neither a file nor a directory on this computer: {source}",
            hint="to store what comes out of it: ... | dfs put - REMOTE",
        )


def _remote(source: str, target: str, kind: InodeKind | None) -> str:
    bare = target.rstrip("/") or "/"
    name = os.path.basename(source.rstrip("/"))  # noqa: PTH119 - a Path would drop `.`
    if kind is InodeKind.DIRECTORY and name not in ("", ".", ".."):
        paths.check_name(name, source)
        bare = paths.join(bare, name)
    paths.parse(bare)
    return bare


def _plan_tree(plan: PutPlan, top: str, remote_top: str) -> None:
    """Walk without recursion of ours, as trees may be deeper than Python's stack."""
    waiting = [(top, remote_top)]
    while waiting:
        local, remote = waiting.pop()
        deeper: list[tuple[str, str]] = []
        base = remote.removesuffix("/")
        is_plain = len(base) < _PLAIN_CHARS and base.count("/") < _PLAIN_DEPTH
        for entry in _entries(plan, local):
            below = f"{base}/{entry.name}"
            try:
                if not (is_plain and entry.name.isascii()):
                    paths.parse(below)
                child = _plan_entry(plan, entry, below)
            except DfsError as exc:
                plan.failed.append((paths.printable(entry.path), exc))
                continue
            if child is not None:
                deeper.append(child)
        waiting.extend(reversed(deeper))


def _entries(plan: PutPlan, local: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(local) as listing:
            yield from sorted(listing, key=lambda entry: entry.name)
    except OSError as exc:
        plan.failed.append((local, local_read_error(Path(local), exc)))


def _plan_entry(plan: PutPlan, entry: os.DirEntry[str], remote: str) -> tuple[str, str] | None:
    """Plan one entry; if it is a directory, what to walk next."""
    try:
        if entry.is_dir(follow_symlinks=False):
            mode = entry.stat(follow_symlinks=False).st_mode
            plan.directories.append(PlannedDirectory(remote, mode & _MODE_BITS))
            return entry.path, remote
        if entry.is_file():  # of a link, what it points at
            plan.files.append(_file(entry.path, remote, entry.stat()))
            return None
    except OSError as exc:
        if exc.errno != errno.ELOOP:  # a link to itself is one to no file
            raise local_read_error(Path(entry.path), exc) from exc
    what = "link to no file" if entry.is_symlink() else "neither file nor directory"
    plan.notes.append(f"left out, {what}: {paths.printable(entry.path)}")
    return None


def _file(local: str, remote: str, found: os.stat_result) -> PlannedFile:
    return PlannedFile(local, remote, found.st_size, found.st_mtime_ns, found.st_mode & _MODE_BITS)


def _stat(source: str) -> os.stat_result:
    try:
        return os.stat(source)  # noqa: PTH116 - the text as the user wrote it
    except FileNotFoundError:
        raise LocalNotFound(f"no such file or directory on this computer: {source}") from None
    except (OSError, ValueError) as exc:
        raise LocalNotFound(f"cannot look at {source!r}: {exc}") from exc
