"""The REST shapes of many small files at once: packs to write them in, and where they lie.

A pack is opened like a file, but has no name: what becomes visible is the files in it, all of them
in the one transaction of `CommitFilesRequest`.  Reading interns what the files share: each block,
node and token is said once, and files refer to it by its place in the list.
"""

import msgspec

from dfs.base.records import AllocatedBlock, BlockName, BlockTruth, NodeAddress, WrittenBlock
from dfs.wire.shapes import ErrorBody, Outcome, Paths, Reply, Request

# ---- writing


class NewPack(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A pack to be written: exactly one block."""

    size_bytes: int
    replication: int | None = None  # None: the cluster's default


class BeginPacksRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Begin packs; none is ever visible by itself."""

    packs: list[NewPack]


class OpenedPack(msgspec.Struct, frozen=True):
    """A pack being written: say `inode` and `lease` with every further step of it.

    Its tokens bind the path "".  Keep it alive, abandon it or ask for another block in place of
    one that no target took, as for a file.
    """

    inode: int
    lease: str
    replication: int
    min_acks: int
    block: AllocatedBlock


class PackedBlock(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A pack that is written: its block, with the receipts of those who hold it."""

    inode: int
    lease: str
    block: WrittenBlock


class PackedFile(
    Request, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """A file to make visible: a stretch of one of the request's packs, or nothing at all."""

    path: str
    pack: int = -1  # which of the request's packs; -1 for an empty file
    offset: int = 0  # in the pack
    length_bytes: int = 0
    hash: bytes = b""  # xxh3_128 of the content; an empty file has none
    mode: int = 0o644
    modified_ms: int | None = None  # None: now
    overwrite: bool = False
    parents: bool = False
    replication: int | None = None  # None: the cluster's default


class CommitFilesRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Make many small files visible in one transaction, with the packs they lie in."""

    files: list[PackedFile]
    packs: list[PackedBlock] = []


class RefusedFile(msgspec.Struct, frozen=True):
    """A file that did not become visible, by its place in the request, and why."""

    index: int
    error: ErrorBody


class CommitFilesReply(Reply, frozen=True, kw_only=True):
    """What is not in `refused` is visible.

    A refused file is a hole in its pack; a pack none of whose files stand is garbage.  `owed`: for
    each pack, how many copies fewer it has than asked for, which repair makes later.
    """

    owed: list[int]
    refused: list[RefusedFile]


# ---- reading


class LocateManyRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Many files to read; `as_of` reads the namespace as it was after that transaction."""

    paths: Paths
    as_of: int | None = None


class SharedHolder(msgspec.Struct, frozen=True, array_like=True):
    """Who has a copy: the node's place in `nodes`."""

    node: int
    state: str  # ReplicaState
    node_state: str  # NodeState


class SharedBlock(msgspec.Struct, frozen=True):
    """A block that some of the files lie in, and who holds it, the best first."""

    truth: BlockTruth
    name: BlockName
    holders: list[SharedHolder]


class Window(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of a block that `token` lets its bearer read, and nothing beside it."""

    block: int  # its place in `blocks`
    offset: int
    length_bytes: int
    token: bytes


class ManyExtent(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of a file, and the window it lies in."""

    file_offset: int
    length_bytes: int
    window: int  # its place in `windows`
    block_offset: int  # in the block, not in the window


class ManyFile(msgspec.Struct, frozen=True):
    """One of the files: what it must be when read, and where it lies.

    `checksum` is `dfs.base.checksum.file_checksum` over the extents, so what was read is checked
    against it extent by extent.
    """

    inode: int
    version: int
    size_bytes: int
    checksum: bytes
    mode: int
    modified_ms: int
    extents: list[ManyExtent]


class LocateManyReply(Reply, frozen=True, kw_only=True):
    """The files in the order asked; those beyond what one answer holds are refused for that."""

    files: list[Outcome[ManyFile]]
    blocks: list[SharedBlock]
    windows: list[Window]
    nodes: list[NodeAddress]
