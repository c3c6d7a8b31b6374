"""The names of what happens.  One name labels the log line, the audit line and the counter.

Names are API: a rename is a line in CHANGELOG.md.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol


class Event(StrEnum):
    """`subject.happened`."""

    DAEMON_STARTED = "daemon.started"
    DAEMON_STOPPING = "daemon.stopping"
    DAEMON_STOPPED = "daemon.stopped"
    BUG_UNHANDLED = "bug.unhandled"
    CLUSTER_CREATED = "cluster.created"
    REQUEST_SERVED = "request.served"
    REQUEST_REFUSED = "request.refused"
    JOB_FINISHED = "job.finished"
    JOB_FAILED = "job.failed"

    USER_REGISTERED = "user.registered"
    USER_REMOVED = "user.removed"
    USER_CHANGED = "user.changed"
    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_REFUSED = "login.refused"
    SESSION_ENDED = "session.ended"
    PASSWORD_CHANGED = "password.changed"
    NAMESPACE_CHANGED = "namespace.changed"
    FILE_COMPLETED = "file.completed"
    LEASE_EXPIRED = "lease.expired"
    TRASH_PURGED = "trash.purged"

    MEMBER_JOINED = "member.joined"
    HA_ORDERED = "ha.ordered"
    HA_NOTED = "ha.noted"
    STANDBY_FAULT = "standby.fault"

    NODE_JOINED = "node.joined"
    NODE_REGISTERED = "node.registered"
    NODE_STALE = "node.stale"
    NODE_LOST = "node.lost"
    NODE_BACK = "node.back"
    NODE_SWEPT = "node.swept"
    NODE_UNREACHABLE = "node.unreachable"
    NODE_CHANGED = "node.changed"
    KEYS_ROTATED = "keys.rotated"
    STOCK_RECEIVED = "stock.received"
    REPLICA_SUSPECT = "replica.suspect"
    REPLICA_CORRUPT = "replica.corrupt"
    REPLICA_DISPUTED = "replica.disputed"
    REPLICA_MISSING = "replica.missing"
    REPLICA_UNKNOWN = "replica.unknown"
    STRAY_DELETED = "stray.deleted"
    COMMAND_FAILED = "command.failed"
    REPLICA_COPIED = "replica.copied"
    REPLICA_COPY_FAILED = "replica.copy_failed"
    REPLICA_RETIRED = "replica.retired"
    REPLICA_RESTORED = "replica.restored"
    BLOCK_LOST = "block.lost"
    BLOCK_HEALED = "block.healed"
    REPAIR_CHANGED = "repair.changed"
    STORM_FROZEN = "storm.frozen"
    STORM_OVER = "storm.over"
    SAFE_MODE_ENTERED = "safe_mode.entered"
    SAFE_MODE_LEFT = "safe_mode.left"
    METADATA_REGRESSED = "metadata.regressed"
    METADATA_ACCEPTED = "metadata.accepted"
    BALANCE_CHANGED = "balance.changed"
    COMPACTION_CHANGED = "compaction.changed"
    PACK_REWRITTEN = "pack.rewritten"
    PACK_NOT_REWRITTEN = "pack.not_rewritten"
    HEALTH_CHANGED = "health.changed"
    CANARY_ARMED = "canary.armed"
    CANARY_HEALED = "canary.healed"
    DATABASE_FAILED = "database.failed"
    DATABASE_UPGRADED = "database.upgraded"
    SNAPSHOT_MADE = "snapshot.made"
    SNAPSHOT_FETCHED = "snapshot.fetched"
    SNAPSHOT_INSTALLED = "snapshot.installed"

    BLOCK_STORED = "block.stored"
    BLOCK_REFUSED = "block.refused"
    BLOCK_DELETED = "block.deleted"
    BLOCK_CORRUPT = "block.corrupt"
    BLOCK_QUARANTINED = "block.quarantined"
    BLOCK_TRANSIENT = "block.transient"
    BLOCK_RESTORED = "block.restored"
    NODE_DOUBTFUL = "node.doubtful"
    SCRUB_CHANGED = "scrub.changed"
    SCRUB_PASSED = "scrub.passed"
    DISKS_LEVELLED = "disks.levelled"
    VOLUME_OPENED = "volume.opened"
    VOLUME_WALKED = "volume.walked"
    VOLUME_FAILED = "volume.failed"
    LOCAL_SOCKET_MISSING = "local_socket.missing"
    CATALOG_REBUILT = "catalog.rebuilt"
    NAMENODE_UNREACHABLE = "namenode.unreachable"
    NAMENODE_REACHED = "namenode.reached"
    NAMENODES_CHANGED = "namenodes.changed"
    COMMAND_FENCED = "command.fenced"
    VOTER_FAILED = "voter.failed"
    CORRESPONDENTS_LEARNT = "correspondents.learnt"
    CORRESPONDENTS_REFUSED = "correspondents.refused"
    CORRESPONDENTS_FORGOTTEN = "correspondents.forgotten"


class Emitter(Protocol):
    """Where events go; `dfs.observe.logs.Log` is the one in use."""

    def emit(self, event: Event, **fields: object) -> None:
        """Record that it happened, with its facts (ids and numbers, never objects)."""
        ...


class SilentEmitter:
    """Takes events and keeps them nowhere: for tools and tests."""

    def emit(self, event: Event, **fields: object) -> None:
        """See `Emitter`."""


class RecordingEmitter:
    """Keeps events for tests to look at."""

    def __init__(self) -> None:
        self.events: list[tuple[Event, Mapping[str, object]]] = []

    def emit(self, event: Event, **fields: object) -> None:
        """See `Emitter`."""
        self.events.append((event, fields))
