"""Changes to names and attributes: mkdir, move, chmod, chown, setrep, touch.

Each runs inside the caller's transaction, with its permissions checked there.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from dfs.accounts.account_rows import find_group, find_user
from dfs.accounts.permissions import may_set_group, may_set_owner
from dfs.base import paths
from dfs.base.errors import (
    BadRequest,
    IsADirectory,
    LimitExceeded,
    MoveIntoItself,
    NotADirectory,
    PathExists,
    PathNotFound,
    PermissionDenied,
)
from dfs.base.ids import ROOT_INODE, InodeId
from dfs.base.records import FileStatus, Principal
from dfs.meta.txn import Txn
from dfs.namespace.edit import Edit, EntryCounts, check_mode, edit_each, is_below
from dfs.namespace.inode_rows import Inode
from dfs.namespace.replication import refresh_block_replication
from dfs.namespace.resolve import Place
from dfs.namespace.status import StatusView
from dfs.namespace.walk import walk
from dfs.settings.sections import ReplicationConfig
from dfs.wire.files_api import (
    ChmodRequest,
    ChownRequest,
    MkdirRequest,
    MoveRequest,
    PairRequest,
    SetrepRequest,
    Touched,
    TouchRequest,
)
from dfs.wire.shapes import Outcomes

RECURSIVE_MAX: Final = 100_000  # inodes one recursive change may touch in its one transaction


class Changes:
    """Edits names and attributes."""

    def __init__(self, *, counts: EntryCounts, replication: ReplicationConfig) -> None:
        self._counts = counts
        self._replication = replication
        self._status = StatusView()

    def mkdir(self, txn: Txn, who: Principal, body: MkdirRequest) -> Outcomes[FileStatus]:
        """Make directories; with `parents`, what is missing above, and an existing one is fine."""
        edit = Edit(txn, who, self._counts)
        check_mode(body.mode)

        def one(path: str) -> FileStatus:
            names = paths.parse(path)
            if body.parents:
                made = self._make_all(edit, names, body.mode)
            else:
                made = edit.make_directory(_place_to_make(edit, path), mode=body.mode)
            return self._status.one(txn.connection, paths.build(names), made)

        return edit_each(edit, body.paths, one, atomic=body.atomic)

    def move(self, txn: Txn, who: Principal, body: MoveRequest) -> Outcomes[FileStatus]:
        """Rename each source to its target, or into it where that is a directory."""
        edit = Edit(txn, who, self._counts)

        def one(pair: PairRequest) -> FileStatus:
            source = edit.resolver.place(pair.source)
            target = into_directory(edit, source, edit.resolver.place(pair.target))
            if source.path != target.path:
                self._move(edit, source, target, overwrite=body.overwrite)
            return self._status.one(txn.connection, target.path, source.inode)

        return edit_each(edit, body.moves, one, atomic=body.atomic)

    def _move(self, edit: Edit, source: Place, target: Place, *, overwrite: bool) -> None:
        if source.inode.id == ROOT_INODE:
            raise BadRequest("the root directory cannot be moved")
        if source.inode.is_directory and is_below(target.path, source.path):
            raise MoveIntoItself(f"{source.path} cannot move below itself ({target.path})")
        edit.require_removable(source)
        edit.require_writable(target.parent, target.parent_path)
        make_way(edit, target, overwrite=overwrite, by_directory=source.inode.is_directory)
        edit.rename(source, target)

    def chmod(self, txn: Txn, who: Principal, body: ChmodRequest) -> Outcomes[Touched]:
        """Set modes; only owners and superusers may."""
        edit = Edit(txn, who, self._counts)
        check_mode(body.mode)

        def change(inode: Inode, path: str) -> Inode:
            edit.require_owned(inode, path)
            return edit.renew(inode, mode=body.mode)

        return self._recursive(edit, body.paths, change, body.recursive, body.atomic)

    def chown(self, txn: Txn, who: Principal, body: ChownRequest) -> Outcomes[Touched]:
        """Set owner (superusers only) or group (owners too, to a group they are in)."""
        edit = Edit(txn, who, self._counts)
        owner = find_user(txn.connection, body.owner) if body.owner else None
        group = find_group(txn.connection, body.group) if body.group else None

        def change(inode: Inode, path: str) -> Inode:
            edit.require_owned(inode, path)
            away = owner not in (None, inode.owner) and not may_set_owner(who)
            if away or (
                group is not None and not may_set_group(who, owner=inode.owner, group=group)
            ):
                raise PermissionDenied(
                    f"only a superuser may give {path} away, or to a group one is not in"
                )
            return edit.renew(
                inode,
                owner=inode.owner if owner is None else owner,
                group=inode.group if group is None else group,
            )

        return self._recursive(edit, body.paths, change, body.recursive, body.atomic)

    def setrep(self, txn: Txn, who: Principal, body: SetrepRequest) -> Outcomes[Touched]:
        """Set how many copies files should have; directories are passed over when recursive."""
        edit = Edit(txn, who, self._counts)
        if not 1 <= body.replication <= self._replication.maximum:
            raise BadRequest(
                f"replication {body.replication} is not between 1 and {self._replication.maximum}"
            )

        def change(inode: Inode, path: str) -> Inode | None:
            if inode.is_directory:
                if body.recursive:
                    return None
                raise IsADirectory(f"a directory has no replication: {path}")
            edit.require_owned(inode, path)
            if inode.replication == body.replication:
                return None
            return edit.renew(inode, replication=body.replication)

        return self._recursive(
            edit,
            body.paths,
            change,
            body.recursive,
            body.atomic,
            after=lambda changed: refresh_block_replication(txn, changed),
        )

    def touch(self, txn: Txn, who: Principal, body: TouchRequest) -> Outcomes[FileStatus]:
        """Set modification times of what exists."""
        edit = Edit(txn, who, self._counts)

        def one(path: str) -> FileStatus:
            place = edit.resolver.place(path)
            edit.require_owned(place.inode, place.path)
            renewed = edit.renew(place.inode, modified_ms=body.modified_ms)
            edit.resolver.forget()
            return self._status.one(txn.connection, place.path, renewed)

        return edit_each(edit, body.paths, one, atomic=body.atomic)

    def _make_all(self, edit: Edit, names: tuple[str, ...], mode: int) -> Inode:
        made = edit.make_directories(names, mode=mode)
        if not made.is_directory:
            raise NotADirectory(f"not a directory: {paths.build(names)}")
        return made

    def _recursive(
        self,
        edit: Edit,
        targets: list[str],
        change: Callable[[Inode, str], Inode | None],
        recursive: bool,  # noqa: FBT001 - private, always named by its field
        atomic: bool,  # noqa: FBT001
        after: Callable[[Sequence[InodeId]], None] = lambda _changed: None,
    ) -> Outcomes[Touched]:
        def one(path: str) -> Touched:
            place = edit.resolver.place(path)
            changed = [
                inode.id
                for inode, where in self._affected(edit, place, recursive=recursive)
                if change(inode, where) is not None
            ]
            after(changed)
            edit.resolver.forget()
            return Touched(path=place.path, changed=len(changed))

        return edit_each(edit, targets, one, atomic=atomic)

    def _affected(
        self, edit: Edit, place: Place, *, recursive: bool
    ) -> Iterator[tuple[Inode, str]]:
        yield place.inode, place.path
        if not (recursive and place.inode.is_directory):
            return
        below = walk(edit.txn.connection, place.inode, place.path)
        for count, step in enumerate(below, start=2):
            if count > RECURSIVE_MAX:
                raise LimitExceeded(
                    f"more than {RECURSIVE_MAX} files and directories below {place.path}",
                    hint="do it for its subdirectories one by one",
                )
            yield step.entry.inode, step.path


def _place_to_make(edit: Edit, path: str) -> Place:
    try:
        return edit.resolver.place(path)
    except PathNotFound as exc:
        raise PathNotFound(exc.message, hint="make those above it too: -p") from exc


def into_directory(edit: Edit, source: Place, target: Place) -> Place:
    """Where `source` goes: `target` itself, or its own name inside where that is a directory.

    Raises:
        PathNotFound: there is no source.
    """
    moved = source.inode
    if target.entry is not None and target.inode.is_directory:
        if target.inode.id == moved.id:
            raise MoveIntoItself(f"{source.path} cannot go into itself")
        return edit.resolver.place(paths.join(target.path, source.name))
    return target


def make_way(edit: Edit, target: Place, *, overwrite: bool, by_directory: bool) -> None:
    """Take away the file at `target`, into the trash, where that is allowed.

    Raises:
        PathExists, IsADirectory, PermissionDenied.
    """
    if target.entry is None:
        return
    if target.inode.is_directory:
        raise PathExists(f"a directory is already there: {target.path}")
    if not overwrite or by_directory:
        raise PathExists(f"already there: {target.path}")
    edit.require_removable(target)
    edit.unlink(target.found.dirent, by=edit.who.user)
