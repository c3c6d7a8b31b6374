"""Rows of DataNodes, their volumes, join tokens and health reports, and the records they become."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Connection, Row, exists, func, select, text

from dfs.base.ids import NodeId
from dfs.base.records import NodeAddress, VolumeStatus
from dfs.base.states import NodeDuty, ReplicaState
from dfs.meta.cluster_tables import HEALTH_REPORT, JOIN_TOKEN, NODE, VOLUME
from dfs.meta.tables import BLOCK, REPLICA
from dfs.meta.txn import Txn
from dfs.wire.nodes_api import SweepInfo

REPORTS_DROPPED_MAX: Final = 5_000

_COMMITTED: Final = text("block.state = 'committed'")


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A DataNode as the database knows it; `registered_ms` is 0 before its first start."""

    node: NodeId
    uuid: str
    secret_hash: bytes = field(repr=False)
    joined_ms: int
    host: str = ""
    grpc_port: int = 0
    http_port: int = 0
    rack: str = "/default"
    duty: NodeDuty = NodeDuty.IN_SERVICE
    version: str = ""
    first_total_bytes: int = 0
    first_free_bytes: int = 0
    registered_ms: int = 0
    excused_until_ms: int = 0
    local: str = ""  # not kept: said with each registration, and every run hears one of each node

    @property
    def address(self) -> NodeAddress:
        """Where it is reached."""
        return NodeAddress(
            self.node, self.host, self.grpc_port, self.http_port, self.rack, self.local
        )


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A join token as the database knows it."""

    token: int
    token_hash: bytes = field(repr=False)
    uses_left: int
    expires_ms: int


def secret_hash(secret: str) -> bytes:
    """SHA-256 of a credential with 256 random bits; there is nothing to guess, so no salt."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


# ---- nodes


def load_nodes(connection: Connection) -> list[NodeRecord]:
    """Every DataNode that joined and was not removed."""
    return [_node(row) for row in connection.execute(select(NODE).order_by(NODE.c.id))]


def find_by_uuid(connection: Connection, uuid: str) -> NodeRecord | None:
    """The node that joined with that uuid."""
    row = connection.execute(select(NODE).where(NODE.c.uuid == uuid)).first()
    return None if row is None else _node(row)


def get_node(txn: Txn, node: NodeId) -> NodeRecord | None:
    """The node, if it was not removed."""
    row = txn.connection.execute(select(NODE).where(NODE.c.id == node)).first()
    return None if row is None else _node(row)


def last_at_address(connection: Connection, host: str, grpc_port: int) -> NodeRecord | None:
    """The node that registered there last, of those whose last registration was there."""
    there = (NODE.c.host == host) & (NODE.c.grpc_port == grpc_port)
    newest = select(NODE).where(there).order_by(NODE.c.registered_ms.desc(), NODE.c.id.desc())
    row = connection.execute(newest.limit(1)).first()
    return None if row is None else _node(row)


def put_node(txn: Txn, record: NodeRecord) -> None:
    """Write a node down."""
    row = asdict(record)
    row["id"] = row.pop("node")
    del row["local"]
    txn.put(NODE, row)


def drop_node(txn: Txn, node: NodeId) -> None:
    """Forget a node with its volumes and health reports; its replica rows go by and by."""
    put_volumes(txn, node, [])
    txn.drop(NODE, (node,))
    reports = select(HEALTH_REPORT.c.id).where(HEALTH_REPORT.c.node == node)
    found = txn.connection.execute(reports.limit(REPORTS_DROPPED_MAX)).scalars()
    txn.drop_soft(HEALTH_REPORT, *((report,) for report in found))


def _node(row: Row[Any]) -> NodeRecord:
    values = dict(row._mapping)
    return NodeRecord(node=NodeId(values.pop("id")), duty=NodeDuty(values.pop("duty")), **values)


def count_sole_copies(connection: Connection, node: NodeId, *, heard: Collection[NodeId]) -> int:
    """Committed blocks on that node of which no other node is known to hold a good copy.

    Args:
        heard: the nodes that are live now; a copy on any other may never come back.
    """
    other = REPLICA.alias("other")
    elsewhere = exists().where(
        other.c.block == REPLICA.c.block,
        other.c.generation == BLOCK.c.generation,
        other.c.state == ReplicaState.LIVE,
        other.c.node.in_(sorted(set(heard) - {node})),
    )
    wanted = (
        select(func.count())
        .select_from(REPLICA.join(BLOCK, BLOCK.c.id == REPLICA.c.block))
        .where(REPLICA.c.node == node, _COMMITTED, ~elsewhere)
    )
    return int(connection.execute(wanted).scalar() or 0)


def count_short_elsewhere(
    connection: Connection, node: NodeId, *, serving: Collection[NodeId]
) -> int:
    """Committed blocks on that node that have fewer good copies on the others than they should.

    Args:
        serving: the nodes whose copies count.
    """
    other = REPLICA.alias("other")
    elsewhere = (
        select(func.count())
        .where(
            other.c.block == REPLICA.c.block,
            other.c.generation == BLOCK.c.generation,
            other.c.state.in_((ReplicaState.LIVE, ReplicaState.SUSPECT)),
            other.c.node.in_(sorted(set(serving) - {node})),
        )
        .scalar_subquery()
    )
    wanted = (
        select(func.count())
        .select_from(REPLICA.join(BLOCK, BLOCK.c.id == REPLICA.c.block))
        .where(REPLICA.c.node == node, _COMMITTED, elsewhere < BLOCK.c.replication)
    )
    return int(connection.execute(wanted).scalar() or 0)


# ---- volumes


def volume_owners(connection: Connection, volumes: Sequence[str]) -> dict[str, NodeId]:
    """Which node registered each of those volumes."""
    wanted = select(VOLUME.c.uuid, VOLUME.c.node).where(VOLUME.c.uuid.in_(volumes))
    return {row.uuid: NodeId(row.node) for row in connection.execute(wanted)}


def put_volumes(txn: Txn, node: NodeId, volumes: Sequence[VolumeStatus]) -> None:
    """Write down a node's volumes as they are now; those it has no more are forgotten."""
    before = txn.connection.execute(select(VOLUME.c.uuid).where(VOLUME.c.node == node)).scalars()
    gone = set(before) - {volume.volume for volume in volumes}
    txn.drop(VOLUME, *((uuid,) for uuid in sorted(gone)))
    txn.put(
        VOLUME,
        *(
            {
                "uuid": volume.volume,
                "node": node,
                "path": volume.path,
                "total_bytes": volume.total_bytes,
            }
            for volume in volumes
        ),
    )


# ---- join tokens


def put_token(txn: Txn, record: TokenRecord) -> None:
    """Write a join token down."""
    row = asdict(record)
    row["id"] = row.pop("token")
    txn.put(JOIN_TOKEN, row)


def find_token(connection: Connection, token_hash: bytes) -> TokenRecord | None:
    """The join token with that hash."""
    wanted = select(JOIN_TOKEN).where(JOIN_TOKEN.c.token_hash == token_hash)
    row = connection.execute(wanted).first()
    return None if row is None else TokenRecord(*row)


def spend_token(txn: Txn, token: str) -> bool:
    """Use a join token once; whether it was good for that."""
    found = find_token(txn.connection, secret_hash(token))
    if found is None or not found.uses_left or found.expires_ms <= txn.now_ms:
        return False
    put_token(txn, replace(found, uses_left=found.uses_left - 1))
    return True


def drop_expired_tokens(txn: Txn) -> None:
    """Forget join tokens that are good for nothing any more."""
    spent = (JOIN_TOKEN.c.expires_ms <= txn.now_ms) | (JOIN_TOKEN.c.uses_left == 0)
    found = txn.connection.execute(select(JOIN_TOKEN.c.id).where(spent)).scalars()
    txn.drop(JOIN_TOKEN, *((token,) for token in found))


# ---- health reports


def put_reports(txn: Txn, reports: Sequence[SweepInfo], *, keep: int) -> None:
    """Store reports under fresh ids (theirs are ignored) and keep the newest `keep` of each node.

    Reports stay out of the journal, so their ids come from the table itself.
    """
    newest = txn.connection.execute(select(func.max(HEALTH_REPORT.c.id))).scalar() or 0
    rows = [
        {"id": number, "node": r.node, "at_ms": r.at_ms, "ok": int(r.ok), "detail": r.detail}
        for number, r in enumerate(reports, newest + 1)
    ]
    txn.put_soft(HEALTH_REPORT, *rows)
    for node in {report.node for report in reports}:
        beyond = (
            select(HEALTH_REPORT.c.id)
            .where(HEALTH_REPORT.c.node == node)
            .order_by(HEALTH_REPORT.c.at_ms.desc(), HEALTH_REPORT.c.id.desc())
            .offset(keep)
            .limit(REPORTS_DROPPED_MAX)
        )
        found = txn.connection.execute(beyond).scalars()
        txn.drop_soft(HEALTH_REPORT, *((report,) for report in found))


def read_reports(connection: Connection, *, node: int | None, limit: int) -> list[SweepInfo]:
    """Stored reports, newest first, of one node or of all."""
    wanted = select(HEALTH_REPORT).order_by(HEALTH_REPORT.c.id.desc()).limit(limit)
    if node is not None:
        wanted = wanted.where(HEALTH_REPORT.c.node == node)
    return [
        SweepInfo(row.id, row.node, row.at_ms, bool(row.ok), row.detail)
        for row in connection.execute(wanted)
    ]
