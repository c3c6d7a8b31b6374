"""Inodes and dirents as records, and the statements that find them."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

import msgspec
from msgspec.structs import astuple
from sqlalchemy import Connection, FromClause, Select, and_, bindparam, or_, select
from sqlalchemy.sql.elements import ColumnElement

from dfs.base.ids import ROOT_INODE, DirentId, GroupId, InodeId, UserId
from dfs.base.states import InodeKind
from dfs.meta.prepared import ByKeys, Prepared
from dfs.meta.tables import DIRENT, INODE
from dfs.meta.txn import Txn

IN_MAX: Final = 500  # values in one IN (...)
ALONG_MAX: Final = 16  # names looked up in one question; SQLite joins 64 tables at most


class Inode(msgspec.Struct, frozen=True):
    """A row of `inode`; see `InodeRow` for what is always true of it."""

    id: InodeId
    kind: str
    owner: UserId
    group: GroupId
    mode: int
    size_bytes: int
    replication: int
    block_size_bytes: int
    created_ms: int
    modified_ms: int
    changed_ms: int
    checksum: bytes
    version: int
    under_construction: int

    @property
    def is_directory(self) -> bool:
        """Whether it has entries rather than content."""
        return self.kind == InodeKind.DIRECTORY


class Dirent(msgspec.Struct, frozen=True):
    """A row of `dirent`; see `DirentRow`."""

    id: DirentId
    parent: InodeId
    name: str
    inode: InodeId
    born_tx: int
    died_tx: int | None = None
    died_ms: int | None = None
    died_by: UserId | None = None


class Entry(msgspec.Struct, frozen=True):
    """A name and what it names.  The root's dirent is id 0 with no name."""

    dirent: Dirent
    inode: Inode


_DIRENT_WIDTH: Final = len(Dirent.__struct_fields__)
_INODE_WIDTH: Final = len(Inode.__struct_fields__)
_ENTRY_WIDTH: Final = _DIRENT_WIDTH + _INODE_WIDTH
assert tuple(column.key for column in INODE.columns) == Inode.__struct_fields__
assert tuple(column.key for column in DIRENT.columns) == Dirent.__struct_fields__

_LIVE: Final = DIRENT.c.died_tx.is_(None)
_ENTRIES: Final = select(DIRENT, INODE).join(INODE, INODE.c.id == DIRENT.c.inode)
_CHILD: Final = _ENTRIES.where(
    DIRENT.c.parent == bindparam("parent"), DIRENT.c.name == bindparam("name")
)
_CHILD_LIVE: Final = Prepared(_CHILD.where(_LIVE))
_PAGE: Final = (
    _ENTRIES.where(DIRENT.c.parent == bindparam("parent"), DIRENT.c.name > bindparam("after"))
    .order_by(DIRENT.c.name)
    .limit(bindparam("count"))
)
_PAGE_LIVE: Final = Prepared(_PAGE.where(_LIVE))
_INODES: Final = ByKeys(select(INODE), INODE.c.id)
_CHILDREN: Final = ByKeys(
    _ENTRIES.where(DIRENT.c.parent == bindparam("parent"), _LIVE), DIRENT.c.name
)
_NEWEST: Final = Prepared(
    select(DIRENT)
    .where(DIRENT.c.inode == bindparam("inode"))
    .order_by(DIRENT.c.died_tx.is_not(None), DIRENT.c.died_tx.desc(), DIRENT.c.id.desc())
    .limit(1)
)


def _as_of(statement: Select[Any], txid: int) -> Select[Any]:
    return statement.where(and_(DIRENT.c.born_tx <= txid, or_(_LIVE, DIRENT.c.died_tx > txid)))


def _entry(row: Sequence[Any]) -> Entry:
    return Entry(Dirent(*row[:_DIRENT_WIDTH]), Inode(*row[_DIRENT_WIDTH:]))


def put_inodes(txn: Txn, *inodes: Inode) -> None:
    """Write inodes whole."""
    txn.put_images(INODE, [astuple(inode) for inode in inodes])


def put_dirents(txn: Txn, *dirents: Dirent) -> None:
    """Write dirents whole."""
    txn.put_images(DIRENT, [astuple(dirent) for dirent in dirents])


def find_inode(connection: Connection, inode: InodeId) -> Inode | None:
    """The inode of that id."""
    return next((Inode(*row) for row in _INODES.run(connection, (inode,))), None)


def find_inodes(connection: Connection, inodes: Sequence[InodeId]) -> dict[InodeId, Inode]:
    """Those inodes that exist, by id."""
    return {row[0]: Inode(*row) for row in _INODES.run(connection, inodes)}


def find_child(
    connection: Connection, parent: InodeId, name: str, *, as_of: int | None = None
) -> Entry | None:
    """The entry of that name in a directory: the live one, or the one alive after `as_of`."""
    if as_of is None:
        rows = _CHILD_LIVE.run(connection, parent=parent, name=name)
    else:
        past = _as_of(_CHILD, as_of)
        rows = [*map(tuple, connection.execute(past, {"parent": parent, "name": name}))]
    return _entry(rows[0]) if rows else None


def find_along(connection: Connection, names: Sequence[str]) -> tuple[Inode, list[Entry | None]]:
    """The root, and the live entry of each name on the way from it, in one question.

    None from the first name on that is not there.  Of a longer way than `ALONG_MAX`, its beginning.
    """
    names = names[:ALONG_MAX]
    values = {f"name_{at}": name for at, name in enumerate(names)}
    (row,) = _along(len(names)).run(connection, **values)
    starts = range(_INODE_WIDTH, len(row), _ENTRY_WIDTH)
    found = [None if row[at] is None else _entry(row[at : at + _ENTRY_WIDTH]) for at in starts]
    return Inode(*row[:_INODE_WIDTH]), found


@cache
def _along(steps: int) -> Prepared:
    root = INODE.alias("root")
    wanted: list[FromClause] = [root]
    above: ColumnElement[Any] = root.c.id
    way: FromClause = root
    for at in range(steps):
        dirent, inode = DIRENT.alias(f"dirent_{at}"), INODE.alias(f"inode_{at}")
        named = dirent.c.name == bindparam(f"name_{at}")
        way = way.outerjoin(
            dirent, and_(dirent.c.parent == above, named, dirent.c.died_tx.is_(None))
        )
        way = way.outerjoin(inode, inode.c.id == dirent.c.inode)
        wanted += [dirent, inode]
        above = inode.c.id
    return Prepared(select(*wanted).select_from(way).where(root.c.id == ROOT_INODE))


def find_children(
    connection: Connection, parent: InodeId, names: Sequence[str]
) -> dict[str, Entry]:
    """Those live entries of a directory that have one of the names."""
    found = map(_entry, _CHILDREN.run(connection, names, parent=parent))
    return {entry.dirent.name: entry for entry in found}


def page_of_children(
    connection: Connection,
    parent: InodeId,
    *,
    after: str = "",
    limit: int,
    as_of: int | None = None,
) -> list[Entry]:
    """The next entries of a directory in name order (by code point)."""
    if as_of is None:
        rows = _PAGE_LIVE.run(connection, parent=parent, after=after, count=limit)
    else:
        values = {"parent": parent, "after": after, "count": limit}
        rows = [*map(tuple, connection.execute(_as_of(_PAGE, as_of), values))]
    return [_entry(row) for row in rows]


def find_dirent(connection: Connection, dirent: DirentId) -> Entry | None:
    """A name by its id, alive or dead."""
    row = connection.execute(_ENTRIES.where(DIRENT.c.id == dirent)).first()
    return None if row is None else _entry(row)


def entries(connection: Connection, statement_filter: Any, *, limit: int) -> list[Entry]:
    """Names that match, with what they name, in the filter's own order."""
    return [_entry(row) for row in connection.execute(statement_filter(_ENTRIES).limit(limit))]


def newest_dirent_of(connection: Connection, inode: InodeId) -> Dirent | None:
    """The name an inode has, or had last: the live one first, then the one removed last."""
    return next((Dirent(*row) for row in _NEWEST.run(connection, inode=inode)), None)


def in_parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The values in pieces that fit one statement."""
    return (values[start : start + IN_MAX] for start in range(0, len(values), IN_MAX))
