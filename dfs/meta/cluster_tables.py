"""Nodes, accounts, keys and the database's own records as tables; what is true of each row."""

from sqlalchemy import CheckConstraint, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from dfs.meta.schema import Base, Bytes, Id, table_of


class NodeRow(Base):
    """A DataNode that joined.

    N1  id is from the `node` sequence; uuid is the node's own and unique.
    N2  first_total_bytes and first_free_bytes are those of the first registration, kept for ever.
    N4  excused_until_ms: its silence is expected until then (maintenance with an end, or a clean
        stop); 0 when it is not.
    N3  secret_hash is SHA-256 of the credential given at joining; the credential is kept nowhere.
    """

    __tablename__ = "node"
    __table_args__ = (Index("uq_node_uuid", "uuid", unique=True),)
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    uuid: Mapped[str] = mapped_column(String(32))
    secret_hash: Mapped[bytes] = mapped_column(Bytes)
    host: Mapped[str] = mapped_column(String(255))
    grpc_port: Mapped[int]
    http_port: Mapped[int]
    rack: Mapped[str] = mapped_column(String(255))
    duty: Mapped[str] = mapped_column(String(16))
    version: Mapped[str] = mapped_column(String(32))
    first_total_bytes: Mapped[int] = mapped_column(Id)
    first_free_bytes: Mapped[int] = mapped_column(Id)
    joined_ms: Mapped[int] = mapped_column(Id)
    registered_ms: Mapped[int] = mapped_column(Id)
    excused_until_ms: Mapped[int] = mapped_column(Id)


class VolumeRow(Base):
    """A data folder of a DataNode, as it last registered it."""

    __tablename__ = "volume"
    uuid: Mapped[str] = mapped_column(String(32), primary_key=True)
    node: Mapped[int] = mapped_column(Id)
    path: Mapped[str] = mapped_column(String(4096))
    total_bytes: Mapped[int] = mapped_column(Id)


class JoinTokenRow(Base):
    """A token that lets DataNodes join.

    J1  only its SHA-256 is kept; uses_left goes down to 0 and the token is good for nothing then.
    """

    __tablename__ = "join_token"
    __table_args__ = (CheckConstraint("uses_left >= 0", name="uses_left"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    token_hash: Mapped[bytes] = mapped_column(Bytes)
    uses_left: Mapped[int]
    expires_ms: Mapped[int] = mapped_column(Id)


class BlockKeyRow(Base):
    """A key of the ring that signs block tokens and receipts.

    K1  the newest signs; older ones verify until they expire.  Journaled, so a standby has them.
    """

    __tablename__ = "block_key"
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    secret: Mapped[bytes] = mapped_column(Bytes)
    created_ms: Mapped[int] = mapped_column(Id)
    expires_ms: Mapped[int] = mapped_column(Id)


class UserRow(Base):
    """An account.

    U1  id is from the `user` sequence and never used twice, so a new account of an old name owns
        nothing of the old one's.  1 is the administrator made with the cluster.
    U2  removed accounts keep their row (removed_ms set), so that their files show an owner.
    U3  no two present accounts have one name.
    """

    __tablename__ = "user"
    __table_args__ = (
        Index(  # U3
            "uq_user_present_name",
            "name",
            unique=True,
            sqlite_where=text("removed_ms IS NULL"),
            postgresql_where=text("removed_ms IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(64))
    password_hash: Mapped[str] = mapped_column(String(255))
    primary_group: Mapped[int] = mapped_column(Id)
    disabled: Mapped[int]
    must_change_password: Mapped[int]
    created_ms: Mapped[int] = mapped_column(Id)
    removed_ms: Mapped[int | None] = mapped_column(Id)


class GroupRow(Base):
    """A group of users.  1 is `supergroup`, whose members pass every permission check."""

    __tablename__ = "group"
    __table_args__ = (Index("uq_group_name", "name", unique=True),)
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(64))
    created_ms: Mapped[int] = mapped_column(Id)


class MembershipRow(Base):
    """A user is in a group."""

    __tablename__ = "membership"
    __table_args__ = (Base.keyed_table,)
    user: Mapped[int] = mapped_column(Id, primary_key=True)
    group: Mapped[int] = mapped_column(Id, primary_key=True)


class SessionRow(Base):
    """Somebody is logged in.

    S1  only the SHA-256 of the token is kept, unique.
    S2  last_used_ms is written at most once a minute and not journaled.
    """

    __tablename__ = "session"
    __table_args__ = (
        Index("uq_session_token_hash", "token_hash", unique=True),
        Index("ix_session_user", "user"),
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    token_hash: Mapped[bytes] = mapped_column(Bytes)
    user: Mapped[int] = mapped_column(Id)
    address: Mapped[str] = mapped_column(String(64))
    bound: Mapped[int]
    created_ms: Mapped[int] = mapped_column(Id)
    last_used_ms: Mapped[int] = mapped_column(Id)
    expires_ms: Mapped[int] = mapped_column(Id)


class JournalRow(Base):
    """One committed batch: what every row it touched looks like afterwards.

    T1  txid has no gap and no repeat; hash chains each record to the one before it.
    T2  a record stands in the same transaction as the changes it tells of.
    """

    __tablename__ = "journal"
    __table_args__ = (Index("ix_journal_at_ms", "at_ms"),)
    txid: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(Id)
    prev_hash: Mapped[bytes] = mapped_column(Bytes)
    hash: Mapped[bytes] = mapped_column(Bytes)
    at_ms: Mapped[int] = mapped_column(Id)
    changes: Mapped[bytes] = mapped_column(Bytes)


class RetryRow(Base):
    """What a request was answered, so that the same request asked again is not done again.

    Q1  (caller, request) is unique; written in the transaction that did the work.
    """

    __tablename__ = "retry_cache"
    __table_args__ = (Index("ix_retry_cache_at_ms", "at_ms"), Base.keyed_table)
    caller: Mapped[str] = mapped_column(String(80), primary_key=True)
    request: Mapped[str] = mapped_column(String(64), primary_key=True)
    answer: Mapped[bytes] = mapped_column(Bytes)
    txid: Mapped[int] = mapped_column(Id)
    at_ms: Mapped[int] = mapped_column(Id)


class HealthReportRow(Base):
    """What a DataNode's `/health` said when the NameNode swept it.  Not journaled."""

    __tablename__ = "health_report"
    __table_args__ = (Index("ix_health_report_node_at_ms", "node", "at_ms"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    node: Mapped[int] = mapped_column(Id)
    at_ms: Mapped[int] = mapped_column(Id)
    ok: Mapped[int]
    detail: Mapped[str] = mapped_column(Text)


class HealthRunRow(Base):
    """What the health check of the whole cluster said once.  Not journaled."""

    __tablename__ = "health_run"
    __table_args__ = (Index("ix_health_run_at_ms", "at_ms"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    at_ms: Mapped[int] = mapped_column(Id)
    status: Mapped[str] = mapped_column(String(8))
    report: Mapped[bytes] = mapped_column(Bytes)


class SequenceRow(Base):
    """The next unused number of a kind.

    C1  next only grows, and is written in the transaction that used the numbers below it.
    """

    __tablename__ = "sequence"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    next: Mapped[int] = mapped_column(Id)


class SettingRow(Base):
    """A fact about the cluster: its id, its epoch, when it was made."""

    __tablename__ = "setting"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


NODE = table_of(NodeRow)
VOLUME = table_of(VolumeRow)
JOIN_TOKEN = table_of(JoinTokenRow)
BLOCK_KEY = table_of(BlockKeyRow)
USER = table_of(UserRow)
GROUP = table_of(GroupRow)
MEMBERSHIP = table_of(MembershipRow)
SESSION = table_of(SessionRow)
JOURNAL = table_of(JournalRow)
RETRY_CACHE = table_of(RetryRow)
HEALTH_REPORT = table_of(HealthReportRow)
HEALTH_RUN = table_of(HealthRunRow)
SEQUENCE = table_of(SequenceRow)
SETTING = table_of(SettingRow)
