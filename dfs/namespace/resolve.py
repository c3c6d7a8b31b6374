"""From paths to inodes, checking on the way that the caller may pass.

A `Resolver` lives for one request: it remembers the directories it walked, so a batch of a
thousand paths in one directory walks there once.  Whoever changes a name tells it (`forget`).
"""

import contextlib
from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection

from dfs.accounts.permissions import Access, allows
from dfs.base import paths
from dfs.base.errors import DfsError, NotADirectory, PathNotFound, PermissionDenied
from dfs.base.ids import ROOT_INODE, DirentId, InodeId
from dfs.base.records import Principal
from dfs.namespace.inode_rows import (
    Dirent,
    Entry,
    Inode,
    find_along,
    find_child,
    find_children,
    find_inode,
    newest_dirent_of,
)


class Place(msgspec.Struct, frozen=True):
    """Where a path leads: the directory, the name in it, and the entry there if there is one.

    The root is its own parent, with an empty name.
    """

    path: str
    parent: Inode
    parent_path: str
    name: str
    entry: Entry | None

    @property
    def inode(self) -> Inode:
        """What is there.

        Raises:
            PathNotFound: nothing is.
        """
        return self.found.inode

    @property
    def found(self) -> Entry:
        """The entry there.

        Raises:
            PathNotFound: there is none.
        """
        if self.entry is None:
            raise PathNotFound(f"no such file or directory: {self.path}")
        return self.entry


class Resolver:
    """Walks paths for one caller in one request."""

    def __init__(self, connection: Connection, who: Principal, *, as_of: int | None = None) -> None:
        self._connection = connection
        self._who = who
        self._as_of = as_of
        self._directories: dict[tuple[str, ...], Inode] = {}
        self._ahead: dict[tuple[str, ...], Entry | None] = {}  # of the path at hand
        self._many: dict[InodeId, dict[str, Entry | None]] = {}  # of a batch, by directory

    def place(self, path: str) -> Place:
        """Where `path` leads; its last name may be missing, the directories before it may not.

        Raises:
            BadPath, LimitExceeded: not a path.
            PathNotFound: a directory on the way is missing.
            NotADirectory: something on the way is a file.
            PermissionDenied: a directory on the way may not be passed.
        """
        names = paths.parse(path)
        if not names:
            root = self.directory(())
            return Place("/", root, "/", "", Entry(_ROOT_DIRENT, root))
        if not self._directories and self._as_of is None:
            self._look_ahead(names)
        above = paths.build(names[:-1])
        try:
            parent = self.directory(names[:-1])
            self.require(parent, Access.EXECUTE, above)
            entry = self._child(parent, names)
        finally:
            self._ahead = {}
        return Place(paths.build(names), parent, above, names[-1], entry)

    def directory(self, names: tuple[str, ...]) -> Inode:
        """The directory with those names from the root.

        Raises:
            PathNotFound, NotADirectory, PermissionDenied: as `place`.
        """
        known = self._directories.get(names)
        if known is not None:
            return known
        if not names:
            found = find_inode(self._connection, ROOT_INODE)
            assert found is not None, "a cluster has a root directory"
        else:
            found = self._step(names)
        self._directories[names] = found
        return found

    def _step(self, names: tuple[str, ...]) -> Inode:
        above = self.directory(names[:-1])
        self.require(above, Access.EXECUTE, paths.build(names[:-1]))
        entry = self._child(above, names)
        if entry is None:
            raise PathNotFound(f"no such directory: {paths.build(names)}")
        if not entry.inode.is_directory:
            raise NotADirectory(f"not a directory: {paths.build(names)}")
        return entry.inode

    def _look_ahead(self, names: tuple[str, ...]) -> None:
        """Ask for every step of a path at once, while nothing is known of any; judge them later."""
        root, found = find_along(self._connection, names)
        self._directories[()] = root
        self._ahead = {names[: at + 1]: entry for at, entry in enumerate(found)}

    def look_at_many(self, wanted: Iterable[str]) -> None:
        """Ask for the last names of a batch of paths, one question for a directory.

        What cannot be asked so is asked, or refused, when its place is.
        """
        by_directory: dict[tuple[str, ...], list[str]] = {}
        for path in wanted:
            with contextlib.suppress(DfsError):
                names = paths.parse(path)
                by_directory.setdefault(names[:-1], []).append(names[-1] if names else "")
        for above, last in by_directory.items():
            if len(last) > 1:
                with contextlib.suppress(DfsError):
                    parent = self.directory(above).id
                    found = find_children(self._connection, parent, last)
                    self._many[parent] = {name: found.get(name) for name in last}

    def _child(self, above: Inode, names: tuple[str, ...]) -> Entry | None:
        if names in self._ahead:
            return self._ahead[names]
        there = self._many.get(above.id)
        if there is not None and names[-1] in there:
            return there[names[-1]]
        return find_child(self._connection, above.id, names[-1], as_of=self._as_of)

    def require(self, inode: Inode, access: Access, path: str) -> None:
        """Refuse unless the caller has that access to the inode.

        Raises:
            PermissionDenied: it has not.
        """
        if not self.may(inode, access):
            wanted = (access.name or "").lower().replace("|", " and ")
            raise PermissionDenied(f"{self._who.name} has no {wanted} permission for {path}")

    def may(self, inode: Inode, access: Access) -> bool:
        """Whether the caller has that access to the inode."""
        return allows(
            self._who, owner=inode.owner, group=inode.group, mode=inode.mode, access=access
        )

    def remember(self, names: tuple[str, ...], inode: Inode) -> None:
        """A directory was made or changed in this request."""
        self._directories[names] = inode
        self._many.clear()

    def forget(self) -> None:
        """Names changed: walk afresh."""
        self._directories.clear()
        self._many.clear()


_ROOT_DIRENT = Dirent(DirentId(0), InodeId(0), "", ROOT_INODE, 0)


def path_of(connection: Connection, inode: InodeId) -> tuple[str, bool]:
    """The path an inode has (or had last), and whether every name of it is alive."""
    names: list[str] = []
    alive = True
    at = inode
    while at != ROOT_INODE and len(names) <= paths.DEPTH_MAX:
        dirent = newest_dirent_of(connection, at)
        if dirent is None:
            return paths.build(("?", *reversed(names))), False
        alive = alive and dirent.died_tx is None
        names.append(dirent.name)
        at = dirent.parent
    return paths.build(tuple(reversed(names))), alive
