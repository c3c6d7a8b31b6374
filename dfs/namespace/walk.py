"""Walking trees: in order and in pages, or all at once for totals."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, and_, case, func, literal, not_, select
from sqlalchemy.sql.elements import ColumnElement

from dfs.accounts.permissions import Access
from dfs.base import paths
from dfs.base.errors import BadRequest
from dfs.base.ids import ROOT_INODE, InodeId
from dfs.base.records import Principal
from dfs.base.states import InodeKind
from dfs.meta.tables import DIRENT, INODE
from dfs.namespace.inode_rows import Entry, Inode, find_child, page_of_children

WALK_PAGE: Final = 500
_RESERVED: Final = and_(
    DIRENT.c.parent == ROOT_INODE, DIRENT.c.name == paths.RESERVED.removeprefix("/")
)


class _Level(msgspec.Struct):
    inode: InodeId
    path: str
    after: str
    depth: int
    page: list[Entry]  # read and not told yet, backwards
    has_more: bool = True  # behind the page, as far as is known


class Step(msgspec.Struct, frozen=True):
    """One thing met on a walk; `depth` 1 is a direct child of where it began."""

    path: str
    entry: Entry
    depth: int


def walk(
    connection: Connection,
    top: Inode,
    path: str,
    *,
    after: tuple[str, ...] = (),
    depth_max: int | None = None,
    may_enter: Callable[[Inode], bool] | None = None,
) -> Iterator[Step]:
    """Everything below a directory, parents before children, names in order.

    What is reserved is passed over, unless the walk begins in there.

    Args:
        after: go on behind this entry (names relative to `top`), present or gone since.
        depth_max: how many levels to go down.
        may_enter: asked of each directory below before it is read, also on the way to `after`;
            False passes it over.
    """
    levels = _resume(connection, top, path, after, may_enter or _anywhere)
    if depth_max is not None:
        levels = levels[:depth_max]
    while levels:
        level = levels[-1]
        if not level.page and level.has_more:
            _turn_page(connection, level)
        if not level.page:
            levels.pop()
            continue
        entry = level.page.pop()
        level.after = entry.dirent.name
        where = paths.join(level.path, entry.dirent.name)
        if where == paths.RESERVED:
            continue
        yield Step(where, entry, level.depth)
        deeper = entry.inode.is_directory and (depth_max is None or level.depth < depth_max)
        if deeper and (may_enter or _anywhere)(entry.inode):
            levels.append(_Level(entry.inode.id, where, "", level.depth + 1, []))


def _turn_page(connection: Connection, level: _Level) -> None:
    page = page_of_children(connection, level.inode, after=level.after, limit=WALK_PAGE)
    level.page = page[::-1]
    level.has_more = len(page) == WALK_PAGE


def _anywhere(inode: Inode) -> bool:  # noqa: ARG001 - every directory is open
    return True


def _resume(
    connection: Connection,
    top: Inode,
    path: str,
    after: tuple[str, ...],
    may_enter: Callable[[Inode], bool],
) -> list[_Level]:
    """The stack of a walk that stands behind the entry `after`."""
    levels = [_Level(top.id, path, "", 1, [])]
    for name in after:
        level = levels[-1]
        level.after = name
        entry = find_child(connection, level.inode, name)
        if entry is None or not entry.inode.is_directory or not may_enter(entry.inode):
            break
        levels.append(_Level(entry.inode.id, paths.join(level.path, name), "", level.depth + 1, []))
    return levels


def names_below(top: str, cursor: str) -> tuple[str, ...]:
    """The names of a cursor below `top`, for `after`.

    Raises:
        BadRequest: it is not below it.
    """
    if not cursor:
        return ()
    above, names = paths.parse(top), paths.parse(cursor)
    if names[: len(above)] != above:
        raise BadRequest(f"the cursor {cursor!r} is not below {top!r}")
    return names[len(above) :]


class Totals(msgspec.Struct, frozen=True):
    """What is below a directory, itself included."""

    files: int
    directories: int
    size_bytes: int
    stored_bytes: int
    unreadable: int  # directories below that the caller may not list


def totals_below(connection: Connection, top: InodeId, who: Principal) -> Totals:
    """Count a whole tree in one statement (a recursive query over the live names)."""
    tree = select(literal(top).label("inode")).cte("tree", recursive=True)
    below = select(DIRENT.c.inode).where(
        DIRENT.c.parent == tree.c.inode, DIRENT.c.died_tx.is_(None), not_(_RESERVED)
    )
    tree = tree.union_all(below)
    is_file = INODE.c.kind == InodeKind.FILE
    closed = case((is_file, 0), (_may_list(who), 0), else_=1)
    row = connection.execute(
        select(
            func.sum(case((is_file, 1), else_=0)),
            func.sum(case((is_file, 0), else_=1)),
            func.sum(INODE.c.size_bytes),
            func.sum(INODE.c.size_bytes * INODE.c.replication),
            func.sum(closed),
        ).select_from(tree.join(INODE, INODE.c.id == tree.c.inode))
    ).one()
    return Totals(*(int(value or 0) for value in row))


def _may_list(who: Principal) -> ColumnElement[Any]:
    """`permissions.allows(READ and EXECUTE)` as SQL, for questions about whole trees."""
    if who.is_superuser:
        return literal(1) == 1
    bits = int(Access.READ | Access.EXECUTE)

    def granted(shift: int) -> ColumnElement[Any]:
        return INODE.c.mode.op("&")(bits << shift) == bits << shift

    return case(
        (INODE.c.owner == who.user, granted(6)),
        (INODE.c.group.in_(sorted(who.groups)), granted(3)),
        else_=granted(0),
    )
