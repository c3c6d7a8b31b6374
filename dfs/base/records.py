"""Pure: the frozen values that packages hand each other.

Sizes are bytes, times milliseconds since 1970 UTC (`*_ms`), hashes raw bytes; REST carries bytes
fields as base64.
"""

from dataclasses import dataclass, field

from dfs.base.ids import (
    SUPERGROUP,
    SUPERUSER,
    BlockId,
    Generation,
    GroupId,
    InodeId,
    NodeId,
    UserId,
)
from dfs.base.states import InodeKind, NodeDuty, NodeState, StoredState, VolumeState


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: resolved from a session on the server, never from a field of the request."""

    user: UserId
    name: str
    groups: frozenset[GroupId]
    address: str = ""

    @property
    def is_superuser(self) -> bool:
        """Whether permission checks pass by themselves: the admin and members of supergroup."""
        return self.user == SUPERUSER or SUPERGROUP in self.groups


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What `stat` and `ls -l` show of one file or directory."""

    path: str
    inode: InodeId
    kind: InodeKind
    owner: str
    group: str
    mode: int  # twelve bits at most: rwxrwxrwx and sticky
    size_bytes: int
    replication: int
    block_size_bytes: int
    modified_ms: int
    changed_ms: int
    checksum: bytes  # dfs.base.checksum.file_checksum; empty for a directory
    version: int  # grows with every change of content or attributes


@dataclass(frozen=True, slots=True)
class BlockTruth:
    """What every copy of a block is held against: computed by its writer, kept by the NameNode."""

    block: BlockId
    generation: Generation
    length_bytes: int
    hash: bytes  # xxh3_128


@dataclass(frozen=True, slots=True)
class BlockName:
    """A block's place on a DataNode's disk and on the wire: the file's folder, then the part."""

    file: InodeId  # the file it was first written for; the folder's name
    number: int  # which part of that file, from 0
    block: BlockId
    generation: Generation


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a DataNode is reached."""

    node: NodeId
    host: str
    grpc_port: int
    http_port: int
    rack: str = "/default"
    local: str = ""  # path of its Unix socket, for programs of the same computer

    @property
    def grpc(self) -> str:
        """`host:port` of the block service."""
        return f"{self.host}:{self.grpc_port}"

    @property
    def http(self) -> str:
        """Base URL of `/health`, `/stock` and `/metrics`."""
        return f"http://{self.host}:{self.http_port}"


@dataclass(frozen=True, slots=True)
class Holder:
    """A node that holds a replica, as a reader needs it."""

    address: NodeAddress
    state: str  # ReplicaState
    node_state: NodeState


@dataclass(frozen=True, slots=True)
class LocatedExtent:
    """A stretch of a file, the block it lies in, who holds that block, and the right to read it."""

    file_offset: int
    length_bytes: int
    block_offset: int
    truth: BlockTruth
    name: BlockName
    holders: tuple[Holder, ...]
    token: bytes


@dataclass(frozen=True, slots=True)
class LocatedFile:
    """A file and where all of it is."""

    status: FileStatus
    extents: tuple[LocatedExtent, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A DataNode that was not chosen, and why."""

    node: NodeId
    reason: str


@dataclass(frozen=True, slots=True)
class AllocatedBlock:
    """A block that a client may now write, on those targets, with that token."""

    name: BlockName
    length_max_bytes: int
    targets: tuple[NodeAddress, ...]
    token: bytes
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """A DataNode's signed word that it holds the block, fsynced.

    `signature` is HMAC-SHA256 over the other fields under block key `key_id`, so a client cannot
    invent a replica when it completes a file.
    """

    block: BlockId
    generation: Generation
    length_bytes: int
    hash: bytes
    node: NodeId
    epoch: int
    key_id: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class WrittenBlock:
    """What a client says of a block when it completes the file."""

    truth: BlockTruth
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class VolumeStatus:
    """One data folder of a DataNode."""

    volume: str  # uuid
    path: str
    state: VolumeState
    total_bytes: int
    free_bytes: int  # of the file system, above the reserve
    used_bytes: int  # by block files
    blocks: int
    errors: int = 0


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """What a beat says of a node, as of `at_ms`."""

    total_bytes: int
    free_bytes: int
    used_bytes: int
    uptime_s: float
    in_flight: int
    verified_bytes: int = 0
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class ScrubStatus:
    """How far a DataNode's scrubber is, over all its volumes.

    A *pass* verifies everything held once.  Counts of what was found are since the process started.
    """

    state: str = "idle"  # "running", "idle" (nothing due), "paused", "doubtful" (breaker open)
    paused_until_ms: int = 0
    run: int = 0  # the newest pass that was ordered, and whether it is done
    run_done: bool = True
    total_blocks: int = 0
    total_bytes: int = 0
    pass_blocks: int = 0  # of the totals, verified in the pass under way
    pass_bytes: int = 0
    covered_blocks: int = 0  # of the totals, verified within the SLO
    covered_bytes: int = 0
    unverified_blocks: int = 0  # never re-read since they were written
    oldest_ms: int = 0  # the verification (or birth) that is longest ago; 0 when nothing is held
    rate_bytes_per_s: float = 0.0  # over the last minute
    eta_s: float = 0.0  # to the end of the pass under way; to the SLO's when none is
    verified_bytes: int = 0  # since the process started; only grows
    last_verified_ms: int = 0
    found: int = 0
    transients: int = 0
    suspects: int = 0  # waiting to be looked at first
    last_pass_ms: int = 0
    last_quick_ms: int = 0


@dataclass(frozen=True, slots=True)
class DiskBalance:
    """How far a DataNode is with levelling its own disks."""

    running: bool = False
    moved_bytes: int = 0
    left_bytes: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class NodeCondition:
    """What a node says of itself beside space: how healthy it thinks it is."""

    now_ms: int = 0  # its clock when it spoke
    doubtful: bool = False  # so many bad blocks that memory or code is the likelier culprit
    quarantined: int = 0  # files in quarantine
    scrub: ScrubStatus = field(default_factory=ScrubStatus)
    disks: DiskBalance = field(default_factory=DiskBalance)


@dataclass(frozen=True, slots=True)
class NodeView:
    """One DataNode as placement, health and reports see it."""

    address: NodeAddress
    state: NodeState
    duty: NodeDuty
    usage: NodeUsage
    first_total_bytes: int
    first_free_bytes: int
    registered_ms: int
    silent_s: float
    replicas: int = 0
    reachable: bool = True  # whether the last sweep got an answer from it
    writable_volumes: int = 1
    volumes: tuple[VolumeStatus, ...] = ()
    version: str = ""
    # Its silence is expected until then: maintenance with an end, or a clean stop.  0: it is not.
    excused_until_ms: int = 0
    is_excused: bool = False  # as of now, whatever its duty
    excused_s: float = 0.0  # the part of its silence that was expected
    skew_s: float = 0.0  # its clock ahead of ours, when it last spoke
    condition: NodeCondition = field(default_factory=NodeCondition)

    @property
    def node(self) -> NodeId:
        """Its id."""
        return self.address.node


@dataclass(frozen=True, slots=True)
class StockEntry:
    """One block file as its DataNode reports it."""

    name: BlockName
    length_bytes: int
    hash: bytes
    state: StoredState
    verified_ms: int
    path: str = ""  # of the file, as it was when the block was written
    volume: str = ""


@dataclass(frozen=True, slots=True)
class NodeCommand:
    """What a NameNode asks of a DataNode in answer to a beat; carries the epoch it was given in."""

    command: int  # id; acknowledged in a later beat
    verb: str  # `dfs.nodes.orders.Order`
    epoch: int
    block: BlockName | None = None
    reason: str = ""
    value: int = 0  # what the verb says it is


@dataclass(frozen=True, slots=True)
class CommandFailure:
    """A command that a DataNode could not do, and why."""

    command: int
    code: str
    why: str


@dataclass(frozen=True, slots=True)
class BlockKey:
    """A key of the ring that signs block tokens and receipts."""

    key_id: int
    secret: bytes = field(repr=False)
    created_ms: int
    expires_ms: int
