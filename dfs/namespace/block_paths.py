"""From blocks back to the paths of the files they are in."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, func, select

from dfs.base.ids import BlockId, InodeId
from dfs.meta.tables import EXTENT
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
