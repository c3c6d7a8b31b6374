"""From blocks back to the paths of the files they are in."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, func, select

from dfs.base import paths
from dfs.base.ids import ROOT_INODE, BlockId, InodeId
from dfs.meta.tables import DIRENT, EXTENT
from dfs.namespace.inode_rows import in_parts
from dfs.namespace.resolve import path_of

FILES_LOOKED_AT: Final = 8  # for one that lives
FILES_COUNTED_MAX: Final = 10_000


def paths_of_blocks(connection: Connection, blocks: Collection[BlockId]) -> dict[BlockId, str]:
    """A path of each of those blocks that a file uses, a living one if there is, and how many more.

    For few blocks: paths are walked up to the root.  A pack has thousands of files, of which only
    some are looked at.
    """
    named = ((block, _words(connection, block)) for block in dict.fromkeys(blocks))
    return {block: words for block, words in named if words}


def _words(connection: Connection, block: BlockId) -> str:
    used = select(EXTENT.c.inode).where(EXTENT.c.block == block)
    shown = ""
    for inode in connection.execute(used.limit(FILES_LOOKED_AT)).scalars().all():
        path, alive = path_of(connection, InodeId(inode))
        if alive:
            shown = path
            break
        shown = shown or f"{path} (removed)"
    files = connection.execute(
        select(func.count()).select_from(used.limit(FILES_COUNTED_MAX + 1).subquery())
    ).scalar_one()
    if files > FILES_COUNTED_MAX:
        return f"{shown} and more than {FILES_COUNTED_MAX:,} others"
    if files > 1:
        return f"{shown} and {files - 1:,} {'others' if files > 2 else 'other'}"
    return shown


def paths_of_inodes(connection: Connection, inodes: Collection[InodeId]) -> dict[InodeId, str]:
    """The path that each of those has, or had last; for many at once, a level a statement.

    One that leads nowhere any more begins with ``/?``.
    """
    named: dict[InodeId, tuple[InodeId, str]] = {}
    asked = set(inodes) - {ROOT_INODE}
    for _ in range(paths.DEPTH_MAX + 1):
        if not asked:
            break
        found = _newest_names(connection, asked)
        named |= found
        asked = {parent for parent, _ in found.values()} - named.keys() - {ROOT_INODE}
    return {inode: _joined(named, inode) for inode in inodes}


def _newest_names(
    connection: Connection, inodes: Collection[InodeId]
) -> dict[InodeId, tuple[InodeId, str]]:
    """Directory and name of each: the living name, or the one that ended last."""
    found: dict[InodeId, tuple[InodeId, str]] = {}
    order = DIRENT.c.died_tx.is_(None), DIRENT.c.died_tx, DIRENT.c.id
    for part in in_parts(sorted(inodes)):
        columns = DIRENT.c.inode, DIRENT.c.parent, DIRENT.c.name
        rows = connection.execute(select(*columns).where(DIRENT.c.inode.in_(part)).order_by(*order))
        found.update((InodeId(inode), (InodeId(parent), name)) for inode, parent, name in rows)
    return found


def _joined(named: dict[InodeId, tuple[InodeId, str]], inode: InodeId) -> str:
    names: list[str] = []
    at = inode
    while at != ROOT_INODE and len(names) <= paths.DEPTH_MAX:
        if at not in named:
            names.append("?")
            break
        at, name = named[at]
        names.append(name)
    return paths.build(tuple(reversed(names)))
