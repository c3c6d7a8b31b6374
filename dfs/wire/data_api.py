"""The REST shapes of writing and reading files: create, allocate, complete, locate."""

import msgspec

from dfs.base.records import AllocatedBlock, FileStatus, WrittenBlock
from dfs.wire.shapes import Request


class NewFile(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file to be written.  With `size_bytes` its blocks are allocated in the same step."""

    path: str
    overwrite: bool = False
    parents: bool = False
    replication: int | None = None  # None: the cluster's default
    block_size_bytes: int | None = None
    mode: int = 0o644
    size_bytes: int | None = None  # None: a stream; allocate as it comes


class CreateRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Begin many files at once; nothing is visible until each is completed."""

    files: list[NewFile]
    first_blocks: int = 4  # allocate at most so many blocks for each now


class OpenedFile(msgspec.Struct, frozen=True):
    """A write under way: say `inode` and `lease` with every further step of it."""

    path: str
    inode: int
    lease: str
    block_size_bytes: int
    replication: int
    min_acks: int
    blocks: list[AllocatedBlock]


class AllocateItem(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`count` further blocks of a file, from `number` on, not on the nodes in `exclude`."""

    inode: int
    lease: str
    number: int
    count: int = 1
    exclude: list[int] = []


class AllocateRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Further blocks for many files."""

    items: list[AllocateItem]


class CompleteItem(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file's blocks in order, with their hashes and the receipts of those who hold them."""

    inode: int
    lease: str
    blocks: list[WrittenBlock]
    modified_ms: int | None = None


class CompleteRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Make many files visible in one transaction."""

    items: list[CompleteItem]


class Completed(msgspec.Struct, frozen=True):
    """Visible.  `owed` counts copies fewer than asked for, which repair makes later."""

    status: FileStatus
    owed: int


class LeaseItem(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A write under way."""

    inode: int
    lease: str


class LeasesRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keep writes alive, or abandon them."""

    items: list[LeaseItem]


class SuspectRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A reader's word that a replica did not read back intact; the node itself will check."""

    block: int
    generation: int
    node: int
    reason: str
