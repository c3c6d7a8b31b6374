"""Removing, and bringing back.

`rm` ends one dirent, however much is below it.  The trash is nothing but the dirents that somebody
ended lately (`died_by` set, not yet expired); bringing one back gives its inode a new name and
makes the old dirent an ordinary end (`died_by` null), so no inode is ever both alive and rubbish.
"""

from typing import Any, Final

from msgspec.structs import replace
from sqlalchemy import Connection, Select, and_, or_, tuple_
from sqlalchemy.sql.elements import ColumnElement

from dfs.base import paths
from dfs.base.clock import Clock
from dfs.base.errors import (
    BadRequest,
    DirectoryNotEmpty,
    IsADirectory,
    NotInTrash,
    PathExists,
    PathNotFound,
    PermissionDenied,
)
from dfs.base.ids import ROOT_INODE, DirentId
from dfs.base.records import FileStatus, Principal
from dfs.meta.tables import DIRENT, INODE
from dfs.meta.txn import Txn
from dfs.namespace.edit import Edit, EntryCounts, edit_each, is_below
from dfs.namespace.inode_rows import Entry, entries, find_dirent, page_of_children, put_dirents
from dfs.namespace.resolve import Place, path_of
from dfs.namespace.status import StatusView
from dfs.settings.sections import LimitsConfig, NamenodeConfig
from dfs.wire.files_api import (
    Removed,
    RemoveRequest,
    TrashEntry,
    TrashReply,
    TrashRequest,
    UndeleteRequest,
)
from dfs.wire.shapes import Outcomes

TRASH_PAGE: Final = 500
TRASH_PAGES_MAX: Final = 40  # so that one request looks at 20,000 dead names at most


class Trash:
    """Removes names and brings them back."""

    def __init__(
        self,
        *,
        clock: Clock,
        counts: EntryCounts,
        config: NamenodeConfig,
        limits: LimitsConfig,
    ) -> None:
        self._clock = clock
        self._counts = counts
        self._keep_ms = int(config.trash_keep_s * 1000)
        self._limits = limits
        self._status = StatusView()

    def remove(self, txn: Txn, who: Principal, body: RemoveRequest) -> Outcomes[Removed]:
        """Take names away; `recursive` for directories that have entries."""
        edit = Edit(txn, who, self._counts)

        def one(path: str) -> Removed:
            place = edit.resolver.place(path)
            self._check_removable(edit, place, recursive=body.recursive)
            dirent = place.found.dirent
            edit.unlink(dirent, by=who.user, keep=not body.skip_trash)
            edit.touch(place)
            if place.inode.is_directory:
                edit.resolver.forget()
            purge_ms = txn.now_ms if body.skip_trash else txn.now_ms + self._keep_ms
            return Removed(path=place.path, entry=dirent.id, purge_ms=purge_ms)

        return edit_each(edit, body.paths, one, atomic=body.atomic)

    def _check_removable(self, edit: Edit, place: Place, *, recursive: bool) -> None:
        inode = place.inode
        if inode.id == ROOT_INODE:
            raise BadRequest("the root directory cannot be removed")
        edit.require_removable(place)
        if not inode.is_directory or recursive:
            return
        if page_of_children(edit.txn.connection, inode.id, limit=1):
            raise DirectoryNotEmpty(f"directory is not empty: {place.path}")
        raise IsADirectory(f"is a directory: {place.path}")

    def undelete(self, txn: Txn, who: Principal, body: UndeleteRequest) -> FileStatus:
        """Bring back what was removed: the newest of that path, or exactly that trash entry.

        Raises:
            NotInTrash: there is no such thing, or its time is over.
            PathExists, PathNotFound, PermissionDenied: it cannot go back there.
        """
        edit = Edit(txn, who, self._counts)
        entry, path = self._find(edit, body)
        _require_own(who, entry)
        place = edit.resolver.place(body.target or path)
        if place.entry is not None and place.inode.is_directory and body.target:
            place = edit.resolver.place(paths.join(place.path, entry.dirent.name))
        if place.entry is not None:
            raise PathExists(
                f"already there: {place.path}",
                hint="name another target to bring it back to (dfs undelete --to PATH)",
            )
        put_dirents(txn, replace(entry.dirent, died_by=None))
        edit.link(place, entry.inode.id)
        return self._status.one(txn.connection, place.path, entry.inode)

    def _find(self, edit: Edit, body: UndeleteRequest) -> tuple[Entry, str]:
        connection, now_ms = edit.txn.connection, edit.txn.now_ms
        if body.entry is not None:
            entry = find_dirent(connection, DirentId(body.entry))
            if entry is None or not self._in_trash(entry, now_ms):
                raise NotInTrash(f"trash has no entry {body.entry}")
            above, _ = path_of(connection, entry.dirent.parent)
            return entry, paths.join(above, entry.dirent.name)
        place = self._place(edit, body.path)
        found = entries(
            connection,
            lambda every: every.where(
                DIRENT.c.parent == place.parent.id,
                DIRENT.c.name == place.name,
                self._in_trash_sql(now_ms),
            ).order_by(DIRENT.c.died_tx.desc(), DIRENT.c.id.desc()),
            limit=1,
        )
        if not found:
            raise NotInTrash(f"nothing named {place.path} was removed lately")
        return found[0], place.path

    @staticmethod
    def _place(edit: Edit, path: str) -> Place:
        try:
            return edit.resolver.place(path)
        except PathNotFound as exc:
            raise NotInTrash(
                f"the directory of {path} is not there",
                hint="bring the directory back first, or name the trash entry and a target",
            ) from exc

    def trash(self, connection: Connection, who: Principal, body: TrashRequest) -> TrashReply:
        """A page of what was removed lately, newest first; others' only for superusers."""
        limit = max(1, min(body.limit, self._limits.page_entries_max))
        found: list[TrashEntry] = []
        last = body.before_entry
        for _ in range(TRASH_PAGES_MAX):
            page = self._page(connection, who, before=last)
            for entry in page:
                last = entry.dirent.id
                shown = self._shown(connection, entry)
                if is_below(shown.path, body.below):
                    found.append(shown)
                if len(found) == limit:
                    return TrashReply(entries=found, more=True)
            if len(page) < TRASH_PAGE:
                return TrashReply(entries=found, more=False)
        return TrashReply(entries=found, more=True)

    def _page(self, connection: Connection, who: Principal, *, before: int | None) -> list[Entry]:
        """The next removed names, newest first, behind the dirent `before`."""

        def wanted(every: Select[Any]) -> Select[Any]:
            rows = every.where(self._in_trash_sql(self._clock.now_ms()))
            if not who.is_superuser:
                rows = rows.where(or_(DIRENT.c.died_by == who.user, INODE.c.owner == who.user))
            last = None if before is None else find_dirent(connection, DirentId(before))
            if last is not None:
                mark = tuple_(DIRENT.c.died_ms, DIRENT.c.id)
                rows = rows.where(mark < (last.dirent.died_ms, last.dirent.id))
            return rows.order_by(DIRENT.c.died_ms.desc(), DIRENT.c.id.desc())

        return entries(connection, wanted, limit=TRASH_PAGE)

    def _shown(self, connection: Connection, entry: Entry) -> TrashEntry:
        dirent, inode = entry.dirent, entry.inode
        assert dirent.died_ms is not None
        assert dirent.died_by is not None
        above, _ = path_of(connection, dirent.parent)
        return TrashEntry(
            entry=dirent.id,
            path=paths.join(above, dirent.name),
            kind=inode.kind,
            size_bytes=inode.size_bytes,
            owner=self._status.owner(connection, inode.owner),
            removed_by=self._status.owner(connection, dirent.died_by),
            removed_ms=dirent.died_ms,
            purge_ms=dirent.died_ms + self._keep_ms,
        )

    def _in_trash(self, entry: Entry, now_ms: int) -> bool:
        died_ms = entry.dirent.died_ms
        rubbish = entry.dirent.died_by is not None and died_ms is not None
        return rubbish and (died_ms or 0) > now_ms - self._keep_ms

    def _in_trash_sql(self, now_ms: int) -> ColumnElement[bool]:
        return and_(
            DIRENT.c.died_tx.is_not(None),
            DIRENT.c.died_by.is_not(None),
            DIRENT.c.died_ms > now_ms - self._keep_ms,
        )


def _require_own(who: Principal, entry: Entry) -> None:
    own = who.user in (entry.dirent.died_by, entry.inode.owner)
    if not (own or who.is_superuser):
        raise PermissionDenied(f"{entry.dirent.name} was removed by somebody else")
