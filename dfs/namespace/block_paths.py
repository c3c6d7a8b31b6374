"""From blocks back to the paths of the files they are in."""

from collections.abc import Collection
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select

from dfs.base import paths
from dfs.base.ids import ROOT_INODE, BlockId, InodeId
from dfs.meta.tables import DIRENT, EXTENT
from dfs.namespace.inode_rows import in_parts
from dfs.namespace.resolve import path_of

FILES_LOOKED_AT: Final = 8
FILES_COUNTED_MAX: Final = 10_000


class BlockFiles(NamedTuple):
    """The files that a block is in.

    Attributes:
        paths: of some, those that live; of some that were removed when none of these does.
        total: how many there are, removed ones too; `FILES_COUNTED_MAX` + 1 for more than that.
        removed: whether `paths` are of files that were removed.
    """

    paths: list[str]
    total: int
    removed: bool


def paths_of_blocks(connection: Connection, blocks: Collection[BlockId]) -> dict[BlockId, str]:
    """A path of each of those blocks that a file uses, a living one if there is, and how many more.

    For few blocks: paths are walked up to the root.  A pack has thousands of files, of which only
    some are looked at.
    """
    named = ((block, _words(files_of_block(connection, block))) for block in dict.fromkeys(blocks))
    return {block: words for block, words in named if words}


def files_of_block(connection: Connection, block: BlockId) -> BlockFiles:
    """The files that a block is in, some of them by their paths."""
    used = select(EXTENT.c.inode).where(EXTENT.c.block == block)
    inodes = dict.fromkeys(connection.execute(used.limit(FILES_LOOKED_AT)).scalars())
    found = [path_of(connection, InodeId(inode)) for inode in inodes]
    living = [path for path, alive in found if alive]
    total = connection.execute(
        select(func.count()).select_from(used.limit(FILES_COUNTED_MAX + 1).subquery())
    ).scalar_one()
    return BlockFiles(
        living or [path for path, _ in found], total, removed=not living and total > 0
    )


def _words(files: BlockFiles) -> str:
    if not files.paths:
        return ""
    shown = files.paths[0] + (" (removed)" if files.removed else "")
    if files.total > FILES_COUNTED_MAX:
        return f"{shown} and more than {FILES_COUNTED_MAX:,} others"
    if files.total > 1:
        return f"{shown} and {files.total - 1:,} {'others' if files.total > 2 else 'other'}"
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
