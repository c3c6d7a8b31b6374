"""From blocks back to the paths of the files they are in."""

from collections.abc import Collection

from sqlalchemy import Connection, select

from dfs.base.ids import BlockId, InodeId
from dfs.meta.tables import EXTENT
from dfs.namespace.inode_rows import in_parts
from dfs.namespace.resolve import path_of


def paths_of_blocks(connection: Connection, blocks: Collection[BlockId]) -> dict[BlockId, str]:
    """A path of each of those blocks that a file uses, a living one if there is.

    For few blocks: every path is walked up to the root.
    """
    found: dict[BlockId, str] = {}
    for part in in_parts(list(blocks)):
        wanted = (
            select(EXTENT.c.block, EXTENT.c.inode, EXTENT.c.died_tx)
            .where(EXTENT.c.block.in_(part))
            .order_by(EXTENT.c.died_tx.is_not(None), EXTENT.c.inode)
        )
        for row in connection.execute(wanted):
            if row.block not in found:
                path, alive = path_of(connection, InodeId(row.inode))
                found[row.block] = path if alive and row.died_tx is None else f"{path} (removed)"
    return found
