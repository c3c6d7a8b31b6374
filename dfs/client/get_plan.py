"""What a get will do, from what was named: which directories to make, which files go where.

The mirror of `put_plan`: a source goes into the target when that is a directory, else it becomes
the target; the root directory stands for its contents.  Asks the NameNode, changes nothing.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfs.base import paths
from dfs.base.errors import (
    BadRequest,
    DfsError,
    IsADirectory,
    LocalExists,
    LocalNotFound,
    PathNotFound,
)
from dfs.base.records import FileStatus
from dfs.client.names import NamespaceCalls, is_directory


@dataclass(frozen=True, slots=True)
class Wanted:
    """A remote file or directory, and where it goes."""

    status: FileStatus
    local: str

    @property
    def path(self) -> Path:
        """Where it goes on this computer."""
        return Path(self.local)


@dataclass(slots=True)
class GetPlan:
    """Everything to be done; parents come before what is in them."""

    directories: list[Wanted] = field(default_factory=list)
    files: list[Wanted] = field(default_factory=list)
    failed: list[tuple[str, DfsError]] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.status.size_bytes for file in self.files)


def plan_get(
    calls: NamespaceCalls, sources: Sequence[str], target: Path, *, recursive: bool
) -> GetPlan:
    """The plan.  What is wrong with one source is in `failed`, and the others stand.

    Raises:
        BadRequest: there is nothing to get.
        LocalExists: several sources, and the target is a local file.
        LocalNotFound: several sources, and the target is not there.
        DfsError: the NameNode does not answer.
    """
    if not sources:
        raise BadRequest("nothing to get")
    into = os.path.isdir(target)  # noqa: PTH112 - a name that cannot be is no directory
    if len(sources) > 1 and not into:
        if os.path.exists(target):  # noqa: PTH110 - as above
            raise LocalExists(f"not a directory on this computer: {target}", hint="")
        raise LocalNotFound(f"no such directory on this computer: {target}")
    plan = GetPlan()
    statuses = calls.stat_all([source.rstrip("/") or "/" for source in sources])
    for source, status in zip(sources, statuses, strict=True):
        if isinstance(status, DfsError):
            plan.failed.append((source, status))
            continue
        try:
            _plan_source(calls, plan, status, target, into=into, recursive=recursive)
        except DfsError as exc:
            plan.failed.append((source, exc))
    return plan


def _plan_source(
    calls: NamespaceCalls,
    plan: GetPlan,
    status: FileStatus,
    target: Path,
    *,
    into: bool,
    recursive: bool,
) -> None:
    if is_directory(status) and not recursive:
        raise IsADirectory(f"is a directory: {status.path}")
    name = status.path.rstrip("/").rsplit("/", 1)[-1]
    local = str(target / _local_name(name, status.path) if into and name else target)
    if not is_directory(status):
        plan.files.append(Wanted(status, local))
        return
    plan.directories.append(Wanted(status, local))
    # A remote directory, and where what is in it goes.  A walk tells of it before its entries.
    folders = {status.path.rstrip("/"): local}
    for below in calls.walk(status.path):
        parent, _, name = below.path.rpartition("/")
        try:
            if parent not in folders:
                raise PathNotFound(f"the NameNode listed {below.path!r} below {status.path!r}")
            wanted = Wanted(below, f"{folders[parent]}/{_local_name(name, below.path)}")
        except DfsError as exc:
            plan.failed.append((below.path, exc))
            continue
        if is_directory(below):
            folders[below.path] = wanted.local
            plan.directories.append(wanted)
        else:
            plan.files.append(wanted)


def _local_name(name: str, path: str) -> str:
    """The same name.  A NameNode's word is not trusted to stay below the target."""
    paths.check_name(name, path)
    return name
