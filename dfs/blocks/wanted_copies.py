"""How many copies a block should have: as many as the most demanding file that uses it.

Files share blocks (packs, server-side copies), so the wish of one file says nothing by itself.
"""

from collections.abc import Collection

from sqlalchemy import func, select

from dfs.base.ids import BlockId
from dfs.blocks.replica_rows import chunks
from dfs.meta.tables import BLOCK, EXTENT, INODE
from dfs.meta.txn import Txn


def refresh_wanted(txn: Txn, blocks: Collection[BlockId]) -> None:
    """Compute anew how many copies those blocks should have; what no file uses stays as it is."""
    for part in chunks(blocks):
        wanted = (
            select(EXTENT.c.block, func.max(INODE.c.replication))
            .join(INODE, INODE.c.id == EXTENT.c.inode)
            .where(EXTENT.c.block.in_(part))
            .group_by(EXTENT.c.block)
        )
        wishes: dict[int, int] = {row[0]: row[1] for row in txn.connection.execute(wanted)}
        rows = txn.connection.execute(select(BLOCK).where(BLOCK.c.id.in_(part))).mappings()
        txn.put(
            BLOCK,
            *(
                {**row, "replication": wishes[row["id"]]}
                for row in rows
                if row["replication"] != wishes.get(row["id"], row["replication"])
            ),
        )
