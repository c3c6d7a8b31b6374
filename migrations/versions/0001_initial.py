"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BYTES = sa.LargeBinary()
ALIVE = sa.text("died_tx IS NULL")
PRESENT = sa.text("removed_ms IS NULL")
DEAD = sa.text("died_tx IS NOT NULL")
UNWRITTEN = sa.text("state = 'allocated'")
TABLES = (
    "block",
    "block_event",
    "block_key",
    "dirent",
    "extent",
    "gc_queue",
    "group",
    "health_report",
    "health_run",
    "inode",
    "join_token",
    "journal",
    "lease",
    "membership",
    "node",
    "replica",
    "retry_cache",
    "sequence",
    "session",
    "setting",
    "stray",
    "user",
    "volume",
)


def upgrade() -> None:
    """Make every table of the first schema in an empty database."""
    _make_block()
    _make_block_event()
    _make_block_key()
    _make_dirent()
    _make_extent()
    _make_gc_queue()
    _make_group()
    _make_health_report()
    _make_health_run()
    _make_inode()
    _make_join_token()
    _make_journal()
    _make_lease()
    _make_membership()
    _make_node()
    _make_replica()
    _make_retry_cache()
    _make_sequence()
    _make_session()
    _make_setting()
    _make_stray()
    _make_user()
    _make_volume()


def downgrade() -> None:
    """Back to an empty database; indexes go with their tables."""
    for table in TABLES:
        op.drop_table(table)


def _make_block() -> None:
    op.create_table(
        "block",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("generation", ID, nullable=False),
        sa.Column("length_bytes", ID, nullable=False),
        sa.Column("hash", BYTES, nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("file", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("replication", sa.Integer(), nullable=False),
        sa.Column("created_ms", ID, nullable=False),
        sa.Column("acked", sa.String(length=255), nullable=False),
        sa.CheckConstraint("state != 'committed' OR length(hash) = 16", name=op.f("ck_block_hash")),
        sa.CheckConstraint(
            "state IN ('allocated', 'committed', 'garbage')", name=op.f("ck_block_state")
        ),
        sa.CheckConstraint("generation >= 1", name=op.f("ck_block_generation")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_block")),
    )
    op.create_index(
        "ix_block_unwritten", "block", ["file"], sqlite_where=UNWRITTEN, postgresql_where=UNWRITTEN
    )


def _make_block_event() -> None:
    op.create_table(
        "block_event",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("block", ID, nullable=False),
        sa.Column("generation", ID, nullable=False),
        sa.Column("at_ms", ID, nullable=False),
        sa.Column("what", sa.String(length=24), nullable=False),
        sa.Column("node", ID, nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_block_event")),
    )
    op.create_index("ix_block_event_block", "block_event", ["block"])
    op.create_index("ix_block_event_at_ms", "block_event", ["at_ms"])


def _make_block_key() -> None:
    op.create_table(
        "block_key",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("secret", BYTES, nullable=False),
        sa.Column("created_ms", ID, nullable=False),
        sa.Column("expires_ms", ID, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_block_key")),
    )


def _make_dirent() -> None:
    op.create_table(
        "dirent",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("parent", ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("inode", ID, nullable=False),
        sa.Column("born_tx", ID, nullable=False),
        sa.Column("died_tx", ID, nullable=True),
        sa.Column("died_ms", ID, nullable=True),
        sa.Column("died_by", ID, nullable=True),
        sa.CheckConstraint(
            "died_tx IS NULL OR died_tx >= born_tx", name=op.f("ck_dirent_interval")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dirent")),
    )
    op.create_index(
        "ix_dirent_dead_name",
        "dirent",
        ["parent", "name"],
        sqlite_where=DEAD,
        postgresql_where=DEAD,
    )
    op.create_index(
        "ix_dirent_died", "dirent", ["died_ms"], sqlite_where=DEAD, postgresql_where=DEAD
    )
    op.create_index("ix_dirent_inode", "dirent", ["inode"])
    op.create_index(
        "uq_dirent_live_name",
        "dirent",
        ["parent", "name"],
        unique=True,
        sqlite_where=ALIVE,
        postgresql_where=ALIVE,
    )


def _make_extent() -> None:
    op.create_table(
        "extent",
        sa.Column("inode", ID, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("file_offset", ID, nullable=False),
        sa.Column("block", ID, nullable=False),
        sa.Column("block_offset", ID, nullable=False),
        sa.Column("length_bytes", ID, nullable=False),
        sa.Column("born_tx", ID, nullable=False),
        sa.Column("died_tx", ID, nullable=True),
        sa.CheckConstraint(
            "file_offset >= 0 AND block_offset >= 0", name=op.f("ck_extent_offsets")
        ),
        sa.CheckConstraint("length_bytes > 0", name=op.f("ck_extent_length")),
        sa.PrimaryKeyConstraint("inode", "seq", name=op.f("pk_extent")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_extent_block", "extent", ["block"])


def _make_gc_queue() -> None:
    op.create_table(
        "gc_queue",
        sa.Column("block", ID, autoincrement=False, nullable=False),
        sa.Column("generation", ID, nullable=False),
        sa.Column("not_before_ms", ID, nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("block", name=op.f("pk_gc_queue")),
    )
    op.create_index("ix_gc_queue_not_before_ms", "gc_queue", ["not_before_ms"])


def _make_group() -> None:
    op.create_table(
        "group",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_ms", ID, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_group")),
    )
    op.create_index("uq_group_name", "group", ["name"], unique=True)


def _make_health_report() -> None:
    op.create_table(
        "health_report",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("node", ID, nullable=False),
        sa.Column("at_ms", ID, nullable=False),
        sa.Column("ok", sa.Integer(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_health_report")),
    )
    op.create_index("ix_health_report_node_at_ms", "health_report", ["node", "at_ms"])


def _make_health_run() -> None:
    op.create_table(
        "health_run",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("at_ms", ID, nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("report", BYTES, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_health_run")),
    )
    op.create_index("ix_health_run_at_ms", "health_run", ["at_ms"])


def _make_inode() -> None:
    op.create_table(
        "inode",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=9), nullable=False),
        sa.Column("owner", ID, nullable=False),
        sa.Column("group", ID, nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("size_bytes", ID, nullable=False),
        sa.Column("replication", sa.Integer(), nullable=False),
        sa.Column("block_size_bytes", ID, nullable=False),
        sa.Column("created_ms", ID, nullable=False),
        sa.Column("modified_ms", ID, nullable=False),
        sa.Column("changed_ms", ID, nullable=False),
        sa.Column("checksum", BYTES, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("under_construction", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(kind = 'file') = (replication >= 1)", name=op.f("ck_inode_replication")
        ),
        sa.CheckConstraint("kind IN ('directory', 'file')", name=op.f("ck_inode_kind")),
        sa.CheckConstraint("mode BETWEEN 0 AND 1023", name=op.f("ck_inode_mode_bits")),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_inode_size")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inode")),
    )


def _make_join_token() -> None:
    op.create_table(
        "join_token",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("token_hash", BYTES, nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=False),
        sa.Column("expires_ms", ID, nullable=False),
        sa.CheckConstraint("uses_left >= 0", name=op.f("ck_join_token_uses_left")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_join_token")),
    )


def _make_journal() -> None:
    op.create_table(
        "journal",
        sa.Column("txid", ID, autoincrement=False, nullable=False),
        sa.Column("epoch", ID, nullable=False),
        sa.Column("prev_hash", BYTES, nullable=False),
        sa.Column("hash", BYTES, nullable=False),
        sa.Column("at_ms", ID, nullable=False),
        sa.Column("changes", BYTES, nullable=False),
        sa.PrimaryKeyConstraint("txid", name=op.f("pk_journal")),
    )
    op.create_index("ix_journal_at_ms", "journal", ["at_ms"])


def _make_lease() -> None:
    op.create_table(
        "lease",
        sa.Column("inode", ID, autoincrement=False, nullable=False),
        sa.Column("secret", sa.String(length=64), nullable=False),
        sa.Column("parent", ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("path", sa.String(length=4096), nullable=False),
        sa.Column("user", ID, nullable=False),
        sa.Column("overwrite", sa.Integer(), nullable=False),
        sa.Column("created_ms", ID, nullable=False),
        sa.PrimaryKeyConstraint("inode", name=op.f("pk_lease")),
    )
    op.create_index("uq_lease_parent_name", "lease", ["parent", "name"], unique=True)


def _make_membership() -> None:
    op.create_table(
        "membership",
        sa.Column("user", ID, nullable=False),
        sa.Column("group", ID, nullable=False),
        sa.PrimaryKeyConstraint("user", "group", name=op.f("pk_membership")),
        sqlite_with_rowid=False,
    )


def _make_node() -> None:
    op.create_table(
        "node",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.String(length=32), nullable=False),
        sa.Column("secret_hash", BYTES, nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("grpc_port", sa.Integer(), nullable=False),
        sa.Column("http_port", sa.Integer(), nullable=False),
        sa.Column("rack", sa.String(length=255), nullable=False),
        sa.Column("duty", sa.String(length=16), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("first_total_bytes", ID, nullable=False),
        sa.Column("first_free_bytes", ID, nullable=False),
        sa.Column("joined_ms", ID, nullable=False),
        sa.Column("registered_ms", ID, nullable=False),
        sa.Column("excused_until_ms", ID, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node")),
    )
    op.create_index("uq_node_uuid", "node", ["uuid"], unique=True)


def _make_replica() -> None:
    op.create_table(
        "replica",
        sa.Column("block", ID, nullable=False),
        sa.Column("node", ID, nullable=False),
        sa.Column("generation", ID, nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("verified_ms", ID, nullable=False),
        sa.CheckConstraint(
            "state IN ('live', 'suspect', 'failing', 'retiring', 'corrupt', 'disputed', 'missing')",
            name=op.f("ck_replica_state"),
        ),
        sa.CheckConstraint("generation >= 1", name=op.f("ck_replica_generation")),
        sa.PrimaryKeyConstraint("block", "node", name=op.f("pk_replica")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_replica_node", "replica", ["node"])
    op.create_index(
        "ix_replica_unusual",
        "replica",
        ["state"],
        sqlite_where=sa.text("state != 'live'"),
        postgresql_where=sa.text("state != 'live'"),
    )


def _make_retry_cache() -> None:
    op.create_table(
        "retry_cache",
        sa.Column("caller", sa.String(length=80), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("answer", BYTES, nullable=False),
        sa.Column("txid", ID, nullable=False),
        sa.Column("at_ms", ID, nullable=False),
        sa.PrimaryKeyConstraint("caller", "request", name=op.f("pk_retry_cache")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_retry_cache_at_ms", "retry_cache", ["at_ms"])


def _make_sequence() -> None:
    op.create_table(
        "sequence",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("next", ID, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sequence")),
    )


def _make_session() -> None:
    op.create_table(
        "session",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("token_hash", BYTES, nullable=False),
        sa.Column("user", ID, nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("bound", sa.Integer(), nullable=False),
        sa.Column("created_ms", ID, nullable=False),
        sa.Column("last_used_ms", ID, nullable=False),
        sa.Column("expires_ms", ID, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
    )
    op.create_index("ix_session_user", "session", ["user"])
    op.create_index("uq_session_token_hash", "session", ["token_hash"], unique=True)


def _make_setting() -> None:
    op.create_table(
        "setting",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_setting")),
    )


def _make_stray() -> None:
    op.create_table(
        "stray",
        sa.Column("node", ID, nullable=False),
        sa.Column("block", ID, nullable=False),
        sa.Column("generation", ID, nullable=False),
        sa.Column("file", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("length_bytes", ID, nullable=False),
        sa.Column("kind", sa.String(length=6), nullable=False),
        sa.Column("first_ms", ID, nullable=False),
        sa.Column("last_ms", ID, nullable=False),
        sa.Column("sightings", sa.Integer(), nullable=False),
        sa.CheckConstraint("kind IN ('stale', 'future', 'orphan')", name=op.f("ck_stray_kind")),
        sa.PrimaryKeyConstraint("node", "block", "generation", name=op.f("pk_stray")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_stray_first_ms", "stray", ["first_ms"])


def _make_user() -> None:
    op.create_table(
        "user",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("primary_group", ID, nullable=False),
        sa.Column("disabled", sa.Integer(), nullable=False),
        sa.Column("must_change_password", sa.Integer(), nullable=False),
        sa.Column("created_ms", ID, nullable=False),
        sa.Column("removed_ms", ID, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
    )
    op.create_index(
        "uq_user_present_name",
        "user",
        ["name"],
        unique=True,
        sqlite_where=PRESENT,
        postgresql_where=PRESENT,
    )


def _make_volume() -> None:
    op.create_table(
        "volume",
        sa.Column("uuid", sa.String(length=32), nullable=False),
        sa.Column("node", ID, nullable=False),
        sa.Column("path", sa.String(length=4096), nullable=False),
        sa.Column("total_bytes", ID, nullable=False),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_volume")),
    )
