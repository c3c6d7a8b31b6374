"""What a change of how many copies files want means for the blocks they use."""

from collections.abc import Sequence

from sqlalchemy import select

from dfs.base.ids import BlockId, InodeId
from dfs.blocks.wanted_copies import refresh_wanted
from dfs.meta.tables import EXTENT
from dfs.meta.txn import Txn
from dfs.namespace.inode_rows import in_parts


def refresh_block_replication(txn: Txn, inodes: Sequence[InodeId]) -> None:
    """Compute anew the wanted copies of the blocks of those files, after their own wish changed.

    For all files of a change at once: each of thousands in a pack would look at all the others.
    """
    blocks: set[BlockId] = set()
    for part in in_parts(inodes):
        wanted = select(EXTENT.c.block).where(EXTENT.c.inode.in_(part)).distinct()
        blocks.update(txn.connection.execute(wanted).scalars())
    refresh_wanted(txn, sorted(blocks))
