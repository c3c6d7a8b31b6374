"""The few ways in which names and inodes change, each whole: link, unlink, make, touch.

Everything that edits the namespace goes through here, so that permissions of directories, limits,
times and intervals are kept in one place.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeVar

from msgspec.structs import replace
from sqlalchemy import Connection, func, select

from dfs.accounts.permissions import MODE_MAX, Access, may_remove_entry, owns
from dfs.base import paths
from dfs.base.errors import BadRequest, LimitExceeded, PathExists, PathNotFound, PermissionDenied
from dfs.base.ids import SUPERGROUP, SUPERUSER, DirentId, InodeId, UserId
from dfs.base.records import Principal
from dfs.base.states import InodeKind
from dfs.meta.tables import DIRENT
from dfs.meta.txn import Txn
from dfs.namespace.batch import change_each
from dfs.namespace.inode_rows import Dirent, Inode, find_inodes, put_dirents, put_inodes
from dfs.namespace.resolve import Place, Resolver
from dfs.wire.shapes import Outcomes

I = TypeVar("I")  # noqa: E741 - an item
V = TypeVar("V")

COUNTED_DIRECTORIES_MAX: Final = 10_000
# DFS itself, the only one that changes what is reserved.  Known by being this object: no session,
# not even the administrator's, has it.
KEEPER: Final = Principal(SUPERUSER, "admin", frozenset({SUPERGROUP}))
_ADD: Final = Access.WRITE | Access.EXECUTE
NOT_KEPT: Final = 0  # died_ms of what goes past the trash: expired from the start


class EntryCounts:
    """How many entries the directories that grow have; counted once, then kept up.

    Only the writer's thread uses it.  A refused request may leave a count a little high, so a full
    directory is counted again before it refuses.
    """

    def __init__(self, *, entries_max: int) -> None:
        self._max = entries_max
        self._counts: OrderedDict[InodeId, int] = OrderedDict()

    def grow(self, connection: Connection, directory: InodeId, path: str, count: int) -> None:
        """Make room for `count` more entries.

        Raises:
            LimitExceeded: the directory would hold more than it may.
        """
        have = self._counts.get(directory)
        if have is None or have + count > self._max:
            have = _count(connection, directory)
        if have + count > self._max:
            raise LimitExceeded(
                f"{path} holds {have} entries; a directory may hold {self._max}",
                hint="spread the files over several directories",
            )
        self._counts[directory] = have + count
        self._counts.move_to_end(directory)
        if len(self._counts) > COUNTED_DIRECTORIES_MAX:
            self._counts.popitem(last=False)

    def room(self, connection: Connection, directory: InodeId) -> int:
        """How many more entries there is room for, beside those that are there."""
        return max(0, self._max - _count(connection, directory))


def _count(connection: Connection, directory: InodeId) -> int:
    live = DIRENT.c.died_tx.is_(None)
    return connection.execute(
        select(func.count()).select_from(DIRENT).where(DIRENT.c.parent == directory, live)
    ).scalar_one()


class Edit:
    """The changes of one request."""

    def __init__(self, txn: Txn, who: Principal, counts: EntryCounts) -> None:
        self.txn = txn
        self.who = who
        self.resolver = Resolver(txn.connection, who)
        self._counts = counts

    def refuse_reserved(self, path: str) -> None:
        """Refuse what only DFS itself changes.

        Raises:
            PermissionDenied: it is such a path, and the caller is somebody else.
        """
        if self.who is not KEEPER and paths.is_reserved(path):
            raise PermissionDenied(
                f"{path} is DFS's own", hint="nobody can change it; it is kept by the NameNode"
            )

    def require_writable(self, directory: Inode, path: str) -> None:
        """Refuse unless the caller may add entries to the directory.

        Raises:
            PermissionDenied: it may not.
        """
        self.refuse_reserved(path)
        self.resolver.require(directory, _ADD, path)

    def require_removable(self, place: Place) -> None:
        """Refuse unless the caller may take this name away.

        Raises:
            PermissionDenied: directory or sticky bit forbid it.
        """
        self.refuse_reserved(place.path)
        allowed = may_remove_entry(
            self.who,
            directory_owner=place.parent.owner,
            directory_group=place.parent.group,
            directory_mode=place.parent.mode,
            entry_owner=place.inode.owner,
        )
        if not allowed:
            raise PermissionDenied(f"{self.who.name} may not remove entries of {place.parent_path}")

    def require_owned(self, inode: Inode, path: str) -> None:
        """Refuse unless the caller owns the inode.

        Raises:
            PermissionDenied: it belongs to somebody else.
        """
        self.refuse_reserved(path)
        if not owns(self.who, owner=inode.owner):
            raise PermissionDenied(f"only its owner may do that to {path}")

    def make_directories(self, names: tuple[str, ...], *, mode: int) -> Inode:
        """The directory with those names, made with all above it where missing.

        Raises:
            NotADirectory, PermissionDenied, LimitExceeded: on the way.
        """
        try:
            return self.resolver.directory(names)
        except PathNotFound:
            self.make_directories(names[:-1], mode=mode)
        return self.make_directory(self.resolver.place(paths.build(names)), mode=mode)

    def make_directory(self, place: Place, *, mode: int) -> Inode:
        """A new directory at a free place; it inherits the group of the one above (BSD's rule).

        Raises:
            PathExists, PermissionDenied, LimitExceeded, BadRequest.
        """
        check_mode(mode)
        if place.entry is not None:
            raise PathExists(f"already there: {place.path}", hint="choose another name")
        now_ms = self.txn.now_ms
        made = Inode(
            id=InodeId(self.txn.take("inode")),
            kind=InodeKind.DIRECTORY,
            owner=self.who.user,
            group=place.parent.group,
            mode=mode,
            size_bytes=0,
            replication=0,
            block_size_bytes=0,
            created_ms=now_ms,
            modified_ms=now_ms,
            changed_ms=now_ms,
            checksum=b"",
            version=1,
            under_construction=0,
        )
        put_inodes(self.txn, made)
        self.link(place, made.id)
        self.resolver.remember(paths.parse(place.path), made)
        return made

    def link(self, place: Place, inode: InodeId) -> Dirent:
        """Give an inode a name at a free place.

        Raises:
            PermissionDenied, LimitExceeded.
        """
        self.refuse_reserved(place.path)
        self.require_writable(place.parent, place.parent_path)
        self._counts.grow(self.txn.connection, place.parent.id, place.parent_path, 1)
        number = DirentId(self.txn.take("dirent"))
        dirent = Dirent(number, place.parent.id, place.name, inode, self.txn.txid)
        put_dirents(self.txn, dirent)
        self.touch(place)
        return dirent

    def unlink(self, dirent: Dirent, *, by: UserId | None, keep: bool = True) -> Dirent:
        """End a name.  `by` None: it moved elsewhere and is nobody's rubbish."""
        died_ms = self.txn.now_ms if keep else NOT_KEPT
        ended = replace(dirent, died_tx=self.txn.txid, died_ms=died_ms, died_by=by)
        put_dirents(self.txn, ended)
        return ended

    def rename(self, source: Place, target: Place) -> None:
        """Give what is at `source` the free name `target` instead.

        Raises:
            PermissionDenied, LimitExceeded: the target directory does not take it.
        """
        self.unlink(source.found.dirent, by=None)
        self.touch(source)
        self.link(target, source.inode.id)
        if source.inode.is_directory:
            self.resolver.forget()

    def touch(self, place: Place) -> None:
        """Entries of the directory above changed: its times and version say so."""
        names = paths.parse(place.parent_path)
        directory = self.resolver.directory(names)
        if directory.modified_ms == self.txn.now_ms:
            return  # once a transaction is enough
        touched = self.renew(directory, modified_ms=self.txn.now_ms)
        self.resolver.remember(names, touched)

    def touch_inodes(self, directories: Collection[InodeId]) -> None:
        """As `touch`, for directories known by id."""
        found = find_inodes(self.txn.connection, sorted(directories))
        for directory in found.values():
            if directory.modified_ms != self.txn.now_ms:
                self.renew(directory, modified_ms=self.txn.now_ms)

    def reserve(self, place: Place) -> None:
        """Make sure that the directory has room for one more name, to be linked later.

        Raises:
            LimitExceeded: it has none.
            PermissionDenied: the name is reserved.
        """
        self.refuse_reserved(place.path)
        self.make_room(place.parent.id, place.parent_path, 1)

    def make_room(self, directory: InodeId, path: str, count: int) -> None:
        """Make sure that the directory has room for so many more names, to be linked later.

        Raises:
            LimitExceeded: it has not.
        """
        self._counts.grow(self.txn.connection, directory, path, count)

    def room(self, directory: InodeId) -> int:
        """How many more names the directory has room for, beside those that are linked."""
        return self._counts.room(self.txn.connection, directory)

    def renew(self, inode: Inode, **changes: Any) -> Inode:
        """Write an inode with some fields changed; its version grows."""
        renewed = replace(inode, version=inode.version + 1, changed_ms=self.txn.now_ms, **changes)
        put_inodes(self.txn, renewed)
        return renewed


def check_mode(mode: int) -> None:
    """Refuse a mode of more than rwxrwxrwx and sticky.

    Raises:
        BadRequest: it is.
    """
    if not 0 <= mode <= MODE_MAX:
        raise BadRequest(f"mode {mode:o} is not between 0 and 1777 (octal)")


def is_below(path: str, top: str) -> bool:
    """Whether `path` is `top` or below it."""
    return path == top or top == "/" or path.startswith(top + "/")


def edit_each(
    edit: Edit, items: Sequence[I], change: Callable[[I], V], *, atomic: bool
) -> Outcomes[V]:
    """Carry out a batch of edits, each under a savepoint; with `atomic` all of them or none.

    Raises:
        DfsError: an item was refused and `atomic` was asked for.
    """
    return change_each(edit.txn, items, change, atomic=atomic, forget=edit.resolver.forget)
