"""Names, files and blocks as tables.  Each class states what is always true of its rows.

A name is an interval: a dirent lives from the transaction that made it (`born_tx`) to the one that
ended it (`died_tx`, null while it lives).  Removing a tree of any size closes one dirent; what is
below stays as it was, out of reach, until the purge walks it.  A file is a list of extents over
immutable blocks, which are intervals in the same way.
"""

from sqlalchemy import CheckConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from dfs.meta.schema import Base, Bytes, Id, table_of


class InodeRow(Base):
    """A file or directory, whatever names point at it.

    I1  id is from the `inode` sequence and never used twice; 1 is the root directory.
    I2  mode has twelve bits at most; replication is 0 for a directory, at least 1 for a file.
    I3  `under_construction` files have a lease and no dirent; completing clears the flag once.
    I4  size is the sum of the lengths of the live extents; checksum follows from their blocks.
    I5  version grows with every change of content or attributes.
    """

    __tablename__ = "inode"
    __table_args__ = (
        CheckConstraint("kind IN ('directory', 'file')", name="kind"),
        CheckConstraint("mode BETWEEN 0 AND 1023", name="mode_bits"),  # I2
        CheckConstraint("(kind = 'file') = (replication >= 1)", name="replication"),  # I2
        CheckConstraint("size_bytes >= 0", name="size"),
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(9))
    owner: Mapped[int] = mapped_column(Id)
    group: Mapped[int] = mapped_column(Id)
    mode: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(Id)
    replication: Mapped[int]
    block_size_bytes: Mapped[int] = mapped_column(Id)
    created_ms: Mapped[int] = mapped_column(Id)
    modified_ms: Mapped[int] = mapped_column(Id)
    changed_ms: Mapped[int] = mapped_column(Id)
    checksum: Mapped[bytes] = mapped_column(Bytes)
    version: Mapped[int]
    under_construction: Mapped[int]


class DirentRow(Base):
    """A name in a directory, for as long as it lasted.

    D1  at most one live dirent per (parent, name).
    D2  died_tx is null (alive) or at least born_tx; died_ms and died_by are set with it.
    D3  a directory inode has at most one live dirent; a file inode has at most one too.
    D4  parent is a directory inode; the root has no dirent.
    """

    __tablename__ = "dirent"
    __table_args__ = (
        Index(  # D1
            "uq_dirent_live_name",
            "parent",
            "name",
            unique=True,
            sqlite_where=text("died_tx IS NULL"),
            postgresql_where=text("died_tx IS NULL"),
        ),
        Index(
            "ix_dirent_dead_name",
            "parent",
            "name",
            sqlite_where=text("died_tx IS NOT NULL"),
            postgresql_where=text("died_tx IS NOT NULL"),
        ),
        Index(
            "ix_dirent_died",
            "died_ms",
            sqlite_where=text("died_tx IS NOT NULL"),
            postgresql_where=text("died_tx IS NOT NULL"),
        ),
        Index("ix_dirent_inode", "inode"),
        CheckConstraint("died_tx IS NULL OR died_tx >= born_tx", name="interval"),  # D2
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    parent: Mapped[int] = mapped_column(Id)
    name: Mapped[str] = mapped_column(String(255))
    inode: Mapped[int] = mapped_column(Id)
    born_tx: Mapped[int] = mapped_column(Id)
    died_tx: Mapped[int | None] = mapped_column(Id)
    died_ms: Mapped[int | None] = mapped_column(Id)
    died_by: Mapped[int | None] = mapped_column(Id)


class ExtentRow(Base):
    """A stretch of a file: `length_bytes` of a block, from `block_offset`, at `file_offset`.

    E1  seq is never used twice in one inode.
    E2  the live extents of a complete file cover [0, size) without gap or overlap.
    E3  the stretch lies inside the block; the block is committed.
    """

    __tablename__ = "extent"
    __table_args__ = (
        Index("ix_extent_block", "block"),
        CheckConstraint("length_bytes > 0", name="length"),
        CheckConstraint("file_offset >= 0 AND block_offset >= 0", name="offsets"),
        Base.keyed_table,
    )
    inode: Mapped[int] = mapped_column(Id, primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    file_offset: Mapped[int] = mapped_column(Id)
    block: Mapped[int] = mapped_column(Id)
    block_offset: Mapped[int] = mapped_column(Id)
    length_bytes: Mapped[int] = mapped_column(Id)
    born_tx: Mapped[int] = mapped_column(Id)
    died_tx: Mapped[int | None] = mapped_column(Id)


class BlockRow(Base):
    """The truth about a block: what every replica is held against.

    B1  id and generation are from their sequences and never used twice.
    B2  state moves allocated -> committed -> garbage only; hash is 16 bytes once committed.
    B3  a committed block is referenced by an extent; when the last one goes it becomes garbage.
    B5  acked names the nodes whose receipts it was committed with, for its history.
    B4  (file, number) names its place on disk; number is unique among a file's blocks but for
        replaced attempts, which stay allocated until the file completes or is abandoned.
    B6  `file` of a pack is the inode it was written under, which is gone once it is committed.
    """

    __tablename__ = "block"
    __table_args__ = (
        CheckConstraint("state IN ('allocated', 'committed', 'garbage')", name="state"),  # B2
        CheckConstraint("generation >= 1", name="generation"),
        CheckConstraint("state != 'committed' OR length(hash) = 16", name="hash"),  # B2
        Index(
            "ix_block_unwritten",
            "file",
            sqlite_where=text("state = 'allocated'"),
            postgresql_where=text("state = 'allocated'"),
        ),
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(Id)
    length_bytes: Mapped[int] = mapped_column(Id)
    hash: Mapped[bytes] = mapped_column(Bytes)
    state: Mapped[str] = mapped_column(String(9))
    file: Mapped[int] = mapped_column(Id)
    number: Mapped[int]
    replication: Mapped[int]
    created_ms: Mapped[int] = mapped_column(Id)
    acked: Mapped[str] = mapped_column(String(255))


class ReplicaRow(Base):
    """A copy of a block that a node acknowledged or reported.

    R1  (block, node) is unique: a node holds a block at most once.
    R2  generation is that of the copy; one lower than the block's is stale and never counted.
    R3  holders acknowledged at commit, copies made by repair and copies retired are journaled;
        what stock reports change here is not.
    R4  a retiring copy stays so until its node says that it is gone, or it is restored.
    """

    __tablename__ = "replica"
    __table_args__ = (
        Index("ix_replica_node", "node"),
        Index(  # the few that somebody must look at, among millions that are well
            "ix_replica_unusual",
            "state",
            sqlite_where=text("state != 'live'"),
            postgresql_where=text("state != 'live'"),
        ),
        CheckConstraint("generation >= 1", name="generation"),  # R2
        CheckConstraint(
            "state IN ('live', 'suspect', 'failing', 'retiring', 'corrupt', 'disputed', 'missing')",
            name="state",
        ),
        Base.keyed_table,
    )
    block: Mapped[int] = mapped_column(Id, primary_key=True)
    node: Mapped[int] = mapped_column(Id, primary_key=True)
    generation: Mapped[int] = mapped_column(Id)
    state: Mapped[str] = mapped_column(String(8))
    verified_ms: Mapped[int] = mapped_column(Id)


class LeaseRow(Base):
    """The right of one client to write one file that is not visible yet.

    L1  one lease per inode under construction.
    L2  one live write per (parent, name): a second client waits or takes over after the soft limit.
    L3  a pack being written has no name: its lease's parent is its own inode, name and path are "".
    """

    __tablename__ = "lease"
    __table_args__ = (Index("uq_lease_parent_name", "parent", "name", unique=True),)  # L2
    inode: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    secret: Mapped[str] = mapped_column(String(64))
    parent: Mapped[int] = mapped_column(Id)
    name: Mapped[str] = mapped_column(String(255))
    path: Mapped[str] = mapped_column(String(4096))
    user: Mapped[int] = mapped_column(Id)
    overwrite: Mapped[int]
    created_ms: Mapped[int] = mapped_column(Id)


class GcRow(Base):
    """A garbage block whose replicas may be deleted after `not_before_ms`.

    G1  the block is in state garbage and no extent points at it.
    """

    __tablename__ = "gc_queue"
    __table_args__ = (Index("ix_gc_queue_not_before_ms", "not_before_ms"),)
    block: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(Id)
    not_before_ms: Mapped[int] = mapped_column(Id)
    reason: Mapped[str] = mapped_column(String(64))


class StrayRow(Base):
    """A block file that a node reported and that is no copy of what the NameNode knows.

    S1  soft: learned from stock reports, dropped when a report lacks it.
    S2  kind says why it is none: `stale` (an older generation), `future` (a newer one, or a block
        not handed out yet), `orphan` (nothing of that name is known).
    S3  sightings counts the full reports that had it, first_ms and last_ms frame them.
    """

    __tablename__ = "stray"
    __table_args__ = (
        Index("ix_stray_first_ms", "first_ms"),
        CheckConstraint("kind IN ('stale', 'future', 'orphan')", name="kind"),  # S2
        Base.keyed_table,
    )
    node: Mapped[int] = mapped_column(Id, primary_key=True)
    block: Mapped[int] = mapped_column(Id, primary_key=True)
    generation: Mapped[int] = mapped_column(Id, primary_key=True)
    file: Mapped[int] = mapped_column(Id)
    number: Mapped[int]
    length_bytes: Mapped[int] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(String(6))
    first_ms: Mapped[int] = mapped_column(Id)
    last_ms: Mapped[int] = mapped_column(Id)
    sightings: Mapped[int]


class BlockEventRow(Base):
    """Something out of the ordinary that happened to a block: for its history.

    V1  soft and trimmed by age and number; ids grow with time.
    """

    __tablename__ = "block_event"
    __table_args__ = (
        Index("ix_block_event_block", "block"),
        Index("ix_block_event_at_ms", "at_ms"),
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    block: Mapped[int] = mapped_column(Id)
    generation: Mapped[int] = mapped_column(Id)
    at_ms: Mapped[int] = mapped_column(Id)
    what: Mapped[str] = mapped_column(String(24))
    node: Mapped[int] = mapped_column(Id)
    actor: Mapped[str] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(String(255))


INODE = table_of(InodeRow)
DIRENT = table_of(DirentRow)
EXTENT = table_of(ExtentRow)
BLOCK = table_of(BlockRow)
REPLICA = table_of(ReplicaRow)
LEASE = table_of(LeaseRow)
GC_QUEUE = table_of(GcRow)
STRAY = table_of(StrayRow)
BLOCK_EVENT = table_of(BlockEventRow)
