"""The REST shapes of DataNodes and the cluster: join, register, beat, stock, sweeps."""

from typing import Final

import msgspec

from dfs.base.records import (
    BlockName,
    CommandFailure,
    NodeCommand,
    NodeCondition,
    NodeUsage,
    NodeView,
    StockEntry,
    VolumeStatus,
)
from dfs.wire.ha_api import Correspondents
from dfs.wire.shapes import Reply, Request

# Of a DataNode's HTTP port: asks it to beat every NameNode now.
BEAT_NOW_PATH: Final = "/beat-now"


class JoinTokenRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many DataNodes the token lets in, and for how long (none: the configured life)."""

    uses: int = 1
    life_s: float | None = None


class JoinTokenReply(Reply, frozen=True, kw_only=True):
    """A token that lets DataNodes join, said once."""

    token: str
    uses: int
    expires_ms: int


class JoinRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A DataNode's first word: its own uuid and the join token."""

    token: str
    uuid: str


class JoinReply(Reply, frozen=True, kw_only=True):
    """The node's id and its credential, said once."""

    node: int
    secret: str
    cluster: str


class NodeRegistration(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A DataNode's word at each start: where it is and what disks it has."""

    cluster: str
    host: str
    grpc_port: int
    http_port: int
    rack: str
    version: str
    restarts: int
    clean_stop: bool
    epoch: int = 0  # highest it has seen
    txid: int = 0  # newest transaction of that epoch it has seen
    usage: NodeUsage
    volumes: list[VolumeStatus]
    local: str = ""  # path of the socket for programs of its computer; "" without
    voter: str = ""  # uuid of the voter in its process; "" without
    machine: str = ""  # where it runs; "" for its host


class KeyItem(msgspec.Struct, frozen=True):
    """A block key on its way to a DataNode."""

    key_id: int
    secret: bytes
    created_ms: int
    expires_ms: int


class Beat(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A DataNode's word every few seconds."""

    usage: NodeUsage
    volumes: list[VolumeStatus]
    epoch: int  # highest it has seen
    txid: int = 0  # newest transaction of that epoch it has seen
    keys: list[int]  # ids of the block keys it has
    acknowledged: list[int] = []  # commands done since the last beat
    failed: list[CommandFailure] = []  # commands that could not be done
    condition: NodeCondition = NodeCondition()
    quarantine_due: list[BlockName] = []  # files in quarantine that are past their grace
    leaving: bool = False  # stopping in order: the silence that follows is expected
    correspondents: int = 0  # version of those it knows


class BeatReply(Reply, frozen=True, kw_only=True):
    """What the NameNode wants of it; `keys` only when some are missing there."""

    epoch: int
    txid: int = 0  # newest committed transaction
    now_ms: int
    registered: bool  # false: register again
    block_tokens: bool
    keys: list[KeyItem] = []
    commands: list[NodeCommand] = []
    namenodes: list[str] = []  # all of the cluster, by their base URLs
    correspondents: Correspondents | None = None  # when it knows older ones


class StockReport(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a node holds: a page of a full report, or what changed since the last report.

    Reports of one node are numbered by `sequence`; a gap makes the NameNode ask for a full one.  A
    full report is one `report` number in several pages, the last of them marked.  One that follows
    `StockDigests` of the same number has only the buckets that differed, and names them.
    """

    epoch: int
    sequence: int
    full: bool
    page: int = 0
    last_page: bool = True
    entries: list[StockEntry]
    gone: list[StockEntry] = []
    buckets: list[int] = []  # of a full report: those it has all of; none named: every one


class StockDigests(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The sums over all that a node holds (`dfs.wire.stock_sums`): a full report begins with them.

    Both lists have one number for each of the 256 buckets.
    """

    epoch: int
    sequence: int
    counts: list[int]
    sums: list[int]


class StockBuckets(Reply, frozen=True, kw_only=True):
    """Buckets that the NameNode knows otherwise; none: the full report is done.

    `full_wanted`: the node is to register first, and to begin again.
    """

    buckets: list[int]
    full_wanted: bool = False


class StockReply(Reply, frozen=True, kw_only=True):
    """`full_wanted`: a gap was seen, send a full report."""

    accepted: int
    full_wanted: bool = False


class NodesReply(Reply, frozen=True, kw_only=True):
    """Every DataNode."""

    nodes: list[NodeView]


class SweepInfo(msgspec.Struct, frozen=True):
    """What one DataNode's `/health` said in a sweep."""

    report: int
    node: int
    at_ms: int
    ok: bool
    detail: str


class SweepsReply(Reply, frozen=True, kw_only=True):
    """Stored health reports, newest first."""

    reports: list[SweepInfo]


class SweepsRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Newest reports, of one node or of all."""

    node: int | None = None
    limit: int = 100


class RemoveNodeRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Forget a dead DataNode and the replicas it held."""

    name: str
    force: bool = False


class ClusterReply(Reply, frozen=True, kw_only=True):
    """What a client needs to know before it starts."""

    cluster: str
    version: str
    epoch: int
    txid: int
    now_ms: int
    role: str  # leader or standby
    leader: str  # its base URL; empty when nobody is known to lead
    namenodes: list[str]
    default_replication: int
    block_size_bytes: int
    batch_items_max: int
    page_entries_max: int


class AuditRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The newest audit lines, of one user or of all."""

    user: str = ""
    limit: int = 100


class AuditReply(Reply, frozen=True, kw_only=True):
    """Audit lines as they were written, newest first."""

    lines: list[dict[str, object]]
