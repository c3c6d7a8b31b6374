"""Pure: the frozen values that packages hand each other.

Sizes are bytes, times milliseconds since 1970 UTC (`*_ms`), hashes raw bytes; REST carries bytes
fields as base64.  Structs rather than dataclasses: making the class takes a fortieth of the time,
and every command makes all of these; making a value takes a tenth.
"""

import msgspec

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


class Principal(msgspec.Struct, frozen=True):
    """Who asks: resolved from a session on the server, never from a field of the request."""

    user: UserId
    name: str
    groups: frozenset[GroupId]
    address: str = ""

    @property
    def is_superuser(self) -> bool:
        """Whether permission checks pass by themselves: the admin and members of supergroup."""
        return self.user == SUPERUSER or SUPERGROUP in self.groups


class FileStatus(msgspec.Struct, frozen=True):
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


class BlockTruth(msgspec.Struct, frozen=True):
    """What every copy of a block is held against: computed by its writer, kept by the NameNode."""

    block: BlockId
    generation: Generation
    length_bytes: int
    hash: bytes  # xxh3_128


class BlockName(msgspec.Struct, frozen=True):
    """A block's place on a DataNode's disk and on the wire: the file's folder, then the part."""

    file: InodeId  # the file it was first written for; the folder's name
    number: int  # which part of that file, from 0
    block: BlockId
    generation: Generation


class NodeAddress(msgspec.Struct, frozen=True):
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


class Holder(msgspec.Struct, frozen=True):
    """A node that holds a replica, as a reader needs it."""

    address: NodeAddress
    state: str  # ReplicaState
    node_state: NodeState


class LocatedExtent(msgspec.Struct, frozen=True):
    """A stretch of a file, the block it lies in, who holds that block, and the right to read it."""

    file_offset: int
    length_bytes: int
    block_offset: int
    truth: BlockTruth
    name: BlockName
    holders: tuple[Holder, ...]
    token: bytes


class LocatedFile(msgspec.Struct, frozen=True):
    """A file and where all of it is."""

    status: FileStatus
    extents: tuple[LocatedExtent, ...]


class Refusal(msgspec.Struct, frozen=True):
    """A DataNode that was not chosen, and why."""

    node: NodeId
    reason: str


class AllocatedBlock(msgspec.Struct, frozen=True):
    """A block that a client may now write, on those targets, with that token."""

    name: BlockName
    length_max_bytes: int
    targets: tuple[NodeAddress, ...]
    token: bytes
    refusals: tuple[Refusal, ...] = ()


class Receipt(msgspec.Struct, frozen=True):
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


class WrittenBlock(msgspec.Struct, frozen=True):
    """What a client says of a block when it completes the file."""

    truth: BlockTruth
    receipts: tuple[Receipt, ...]


class VolumeStatus(msgspec.Struct, frozen=True):
    """One data folder of a DataNode."""

    volume: str  # uuid
    path: str
    state: VolumeState
    total_bytes: int
    free_bytes: int  # of the file system, above the reserve
    used_bytes: int  # by block files
    blocks: int
    errors: int = 0


class NodeUsage(msgspec.Struct, frozen=True):
    """What a beat says of a node, as of `at_ms`."""

    total_bytes: int
    free_bytes: int
    used_bytes: int
    uptime_s: float
    in_flight: int
    verified_bytes: int = 0
    at_ms: int = 0


class ScrubStatus(msgspec.Struct, frozen=True):
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


class DiskBalance(msgspec.Struct, frozen=True):
    """How far a DataNode is with levelling its own disks."""

    running: bool = False
    moved_bytes: int = 0
    left_bytes: int = 0
    error: str = ""


class NodeCondition(msgspec.Struct, frozen=True):
    """What a node says of itself beside space: how healthy it thinks it is."""

    now_ms: int = 0  # its clock when it spoke
    doubtful: bool = False  # so many bad blocks that memory or code is the likelier culprit
    quarantined: int = 0  # files in quarantine
    scrub: ScrubStatus = msgspec.field(default_factory=ScrubStatus)
    disks: DiskBalance = msgspec.field(default_factory=DiskBalance)


class NodeView(msgspec.Struct, frozen=True):
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
    condition: NodeCondition = msgspec.field(default_factory=NodeCondition)

    @property
    def node(self) -> NodeId:
        """Its id."""
        return self.address.node


class StockEntry(msgspec.Struct, frozen=True):
    """One block file as its DataNode reports it."""

    name: BlockName
    length_bytes: int
    hash: bytes
    state: StoredState
    verified_ms: int
    path: str = ""  # of the file, as it was when the block was written
    volume: str = ""


class NodeCommand(msgspec.Struct, frozen=True):
    """What a NameNode asks of a DataNode in answer to a beat; carries the epoch it was given in."""

    command: int  # id; acknowledged in a later beat
    verb: str  # `dfs.nodes.orders.Order`
    epoch: int
    block: BlockName | None = None
    reason: str = ""
    value: int = 0  # what the verb says it is


class CommandFailure(msgspec.Struct, frozen=True):
    """A command that a DataNode could not do, and why."""

    command: int
    code: str
    why: str


class BlockKey(msgspec.Struct, frozen=True):
    """A key of the ring that signs block tokens and receipts."""

    key_id: int
    secret: bytes
    created_ms: int
    expires_ms: int

    def __repr__(self) -> str:
        """All but the secret."""
        return (
            f"BlockKey(key_id={self.key_id}, "
            f"created_ms={self.created_ms}, expires_ms={self.expires_ms})"
        )
