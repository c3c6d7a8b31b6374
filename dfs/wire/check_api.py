"""The REST shapes of checking: fsck, the numbered invariants of the metadata, and explanations."""

import msgspec

from dfs.base.records import Refusal
from dfs.wire.shapes import Reply, Request


class CopyCheck(msgspec.Struct, frozen=True):
    """One node's copy of a block, and what is known of both.

    Attributes:
        place: in words what the copy is good for now.
        verified_ms: when it was last read and hashed; 0 for never.
    """

    node: int
    state: str  # ReplicaState
    node_state: str  # NodeState; empty for a node that is not known any more
    verified_ms: int
    place: str


class BlockCheck(msgspec.Struct, frozen=True):
    """A block of a file and how well it is kept."""

    block: int
    generation: int
    number: int
    file_offset: int
    length_bytes: int
    wanted: int
    health: str  # BlockHealth
    reason: str
    copies: list[CopyCheck]


class FileCheck(msgspec.Struct, frozen=True):
    """A file: the worst health of its blocks, and those blocks that were asked for."""

    path: str
    size_bytes: int
    replication: int
    health: str
    blocks: list[BlockCheck]
    reserved: bool = False  # below /.dfs: the cluster's own, broken on purpose now and then


class FsckTotals(msgspec.Struct, frozen=True):
    """What a page looked at.

    A block that several files share - those of a pack, a file and its copies - counts once for all
    of what is below the path.
    """

    files: int = 0
    directories: int = 0
    size_bytes: int = 0
    blocks: int = 0
    bad_copies: int = 0  # copies known to be bad, of blocks of any health
    files_by_health: dict[str, int] = {}
    blocks_by_health: dict[str, int] = {}


class FsckRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A page of everything below a path.  `cursor` is the reply's `next` to go on.

    `healthy`: name files that are well too; `blocks`: name blocks that are well too.
    """

    path: str = "/"
    cursor: str = ""
    healthy: bool = False
    blocks: bool = False


class FsckReply(Reply, frozen=True, kw_only=True):
    """`next` is empty when there is no more.  What is reserved is not in `totals`."""

    files: list[FileCheck]
    totals: FsckTotals
    reserved: FsckTotals
    next: str
    under_construction: int  # files of the whole cluster that are being written
    strays: int  # block files on DataNodes that are copies of nothing known


class InvariantRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A page of one check of the metadata; `number` empty answers which there are."""

    number: str = ""
    after: int = 0


class InvariantInfo(msgspec.Struct, frozen=True):
    """A check of the metadata, numbered as in the tables' own words."""

    number: str
    rule: str


class InvariantReply(Reply, frozen=True, kw_only=True):
    """`next` is 0 when there is no more."""

    invariants: list[InvariantInfo]
    violations: list[str]
    next: int


class ExplainRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why `what` (write, read or repair) goes where it goes for that path; a page of blocks."""

    what: str
    path: str
    user: str = ""  # whose rights; empty for the caller's own
    first_block: int = 0
    limit: int = 100


class Explained(msgspec.Struct, frozen=True):
    """One decision, or the part of it that is about one block.

    Attributes:
        title: "a new block", or the block meant.
        verdict: in a sentence what is done.
        chosen: nodes in the order they are used, each with its reason.
        refused: the other nodes, each with its reason.
        notes: what else holds it back.
    """

    title: str
    verdict: str
    chosen: list[Refusal]
    refused: list[Refusal]
    notes: list[str] = []
    is_well: bool = False  # there is nothing to be done


class ExplainReply(Reply, frozen=True, kw_only=True):
    """`blocks` in all; `explained` are those of the page (one, for a write)."""

    path: str
    what: str
    summary: str
    refusal: str  # why nothing of it would be done at all; empty when it would
    blocks: int
    explained: list[Explained]
