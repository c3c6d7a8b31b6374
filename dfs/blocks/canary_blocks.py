"""Which blocks are canaries': damaged on purpose, so that nobody is alarmed by them."""

from sqlalchemy import Connection, select

from dfs.base import paths
from dfs.base.ids import ROOT_INODE, BlockId
from dfs.meta.tables import DIRENT, EXTENT

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
