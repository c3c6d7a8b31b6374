"""How many copies a block should have: as many as the most demanding file that uses it."""

from sqlalchemy import func, select

from dfs.base.ids import InodeId
from dfs.meta.tables import BLOCK, EXTENT, INODE
from dfs.meta.txn import Txn
from dfs.namespace.inode_rows import in_parts


def refresh_block_replication(txn: Txn, inode: InodeId) -> None:
    """Recompute the wanted copies of the blocks of one file, after its own wish changed.

    A block may be shared (a server-side copy), so the highest wish of all its files counts.
    """
    connection = txn.connection
    blocks = list(
        connection.execute(
            select(EXTENT.c.block).where(EXTENT.c.inode == inode).distinct()
        ).scalars()
    )
    for part in in_parts(blocks):
        wanted = (
            select(EXTENT.c.block, func.max(INODE.c.replication))
            .join(INODE, INODE.c.id == EXTENT.c.inode)
            .where(EXTENT.c.block.in_(part))
            .group_by(EXTENT.c.block)
        )
        wishes = {block: wish for block, wish in connection.execute(wanted)}  # noqa: C416
        rows = connection.execute(select(BLOCK).where(BLOCK.c.id.in_(part))).mappings()
        txn.put(
            BLOCK,
            *(
                {**row, "replication": wishes[row["id"]]}
                for row in rows
                if row["replication"] != wishes[row["id"]]
            ),
        )
