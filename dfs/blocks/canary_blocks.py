"""Which blocks are canaries': damaged on purpose, so that nobody is alarmed by them."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, select

from dfs.base import paths
from dfs.base.ids import ROOT_INODE, BlockId
from dfs.base.states import BlockState
from dfs.blocks.replica_rows import chunks
from dfs.meta.tables import BLOCK, DIRENT, EXTENT

CANARY_FOLDER = f"{paths.RESERVED}/canary"


def canary_blocks(connection: Connection) -> frozenset[BlockId]:
    """The blocks of every file that is, or was and is not purged yet, in the canaries' folder."""
    folder = ROOT_INODE
    for name in paths.parse(CANARY_FOLDER):
        wanted = select(DIRENT.c.inode).where(
            DIRENT.c.parent == folder, DIRENT.c.name == name, DIRENT.c.died_tx.is_(None)
        )
        found = connection.execute(wanted).scalar()
        if found is None:
            return frozenset()
        folder = found
    blocks = (
        select(EXTENT.c.block)
        .join(DIRENT, DIRENT.c.inode == EXTENT.c.inode)
        .where(DIRENT.c.parent == folder)
    )
    return frozenset(BlockId(block) for block in connection.execute(blocks).scalars())


def committed_sizes(
    connection: Connection, blocks: Collection[BlockId], *, after: BlockId, upto: BlockId
) -> Mapping[BlockId, int]:
    """The bytes of those of the blocks that are committed and in that stretch of ids."""
    asked = [block for block in blocks if after < block <= upto]
    sizes: dict[BlockId, int] = {}
    for chunk in chunks(asked):
        wanted = select(BLOCK.c.id, BLOCK.c.length_bytes).where(
            BLOCK.c.id.in_(chunk), BLOCK.c.state == BlockState.COMMITTED
        )
        for row in connection.execute(wanted):
            sizes[BlockId(row.id)] = row.length_bytes
    return sizes
