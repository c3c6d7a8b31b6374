"""What must be true of a metadata database at any time, whatever was done to it.

The numbers are those of the invariants in `dfs.meta.tables`.
"""

from collections import Counter, defaultdict
from pathlib import Path

from sqlalchemy import Connection, create_engine, delete, select

from dfs.base.checksum import EMPTY_BLOCK_HASH
from dfs.base.ids import ROOT_INODE, TxId
from dfs.meta.cluster_tables import HEALTH_REPORT, HEALTH_RUN, JOURNAL, RETRY_CACHE, SESSION
from dfs.meta.journal import check_chain, read_groups, records_after
from dfs.meta.schema import Base
from dfs.meta.tables import (
    BLOCK,
    BLOCK_EVENT,
    DIRENT,
    EXTENT,
    GC_QUEUE,
    INODE,
    LEASE,
    REPLICA,
    STRAY,
)

assert EMPTY_BLOCK_HASH
NOT_REPLAYED = {
    t.name
    for t in (
        *(JOURNAL, HEALTH_REPORT, HEALTH_RUN, RETRY_CACHE, SESSION),
        *(REPLICA, STRAY, BLOCK_EVENT),
    )
}


def check_metadata(connection: Connection) -> None:
    """Assert every invariant that spans rows."""
    inodes = {row.id: row for row in connection.execute(select(INODE))}
    dirents = connection.execute(select(DIRENT)).all()
    extents = connection.execute(select(EXTENT)).all()
    blocks = {row.id: row for row in connection.execute(select(BLOCK))}
    leases = {row.inode for row in connection.execute(select(LEASE))}
    live = [row for row in dirents if row.died_tx is None]
    rubbish = [row for row in dirents if row.died_by is not None]
    pieces = _by_inode(extents)
    named = Counter(row.inode for row in [*live, *rubbish])
    assert max(named.values(), default=0) <= 1, "D3: an inode has one name, or lies in the trash"
    for row in dirents:
        if row.died_tx is None or row.died_by is not None:
            assert row.inode in inodes, f"dirent {row.id} names inode {row.inode}, which is gone"
        assert row.parent not in inodes or inodes[row.parent].kind == "directory", "D4"
    for number, inode in inodes.items():
        building = bool(inode.under_construction)
        assert building == (number in leases), f"I3: inode {number}"
        if number != ROOT_INODE and not building:
            assert named[number] == 1, f"inode {number} has no name"
        if inode.kind == "file" and not building:
            _check_extents(inode, pieces[number])
    for row in extents:
        assert row.inode in inodes, f"extent of inode {row.inode}, which is gone"
        assert blocks[row.block].state == "committed", "E3"
        assert row.block_offset + row.length_bytes <= blocks[row.block].length_bytes, "E3"
    used = {row.block for row in extents}
    queued = set(connection.execute(select(GC_QUEUE.c.block)).scalars())
    for number, block in blocks.items():
        if block.state == "committed":
            assert number in used, f"B3: block {number} is committed and nobody points at it"
        if block.state == "garbage":
            assert number not in used, f"G1: block {number}"
            assert number in queued, f"garbage block {number} is in no queue"
    check_chain(connection)


def _by_inode(extents) -> dict[int, list]:
    found = defaultdict(list)
    for row in extents:
        found[row.inode].append(row)
    return found


def _check_extents(inode, extents) -> None:
    at = 0
    for row in sorted(extents, key=lambda row: row.file_offset):
        if row.died_tx is None:
            assert row.file_offset == at, f"E2: a gap or overlap in inode {inode.id}"
            at += row.length_bytes
    assert at == inode.size_bytes, f"I4: inode {inode.id}"


def check_replay(connection: Connection, folder: Path) -> None:
    """Assert that the journal alone, applied to empty tables, gives the same tables."""
    replayed = create_engine(f"sqlite:///{folder / 'replayed.sqlite'}")
    Base.metadata.create_all(replayed)
    with replayed.begin() as copy:
        for record in records_after(connection, TxId(0), limit=1_000_000):
            for table_name, columns, rows in read_groups(record.changes):
                table = Base.metadata.tables[table_name]
                keys = [column.key for column in table.primary_key]
                for row in rows:
                    values = dict(zip(columns or keys, row, strict=True))
                    match = [table.c[key] == values[key] for key in keys]
                    copy.execute(delete(table).where(*match))
                    if columns is not None:
                        copy.execute(table.insert(), values)
        for table in Base.metadata.sorted_tables:
            if table.name not in NOT_REPLAYED:
                order = list(table.primary_key)
                want = connection.execute(select(table).order_by(*order)).all()
                have = copy.execute(select(table).order_by(*order)).all()
                assert have == want, f"table {table.name} differs after replay"
    replayed.dispose()
