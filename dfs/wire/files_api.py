"""The REST shapes of the catalogue: names, trees, usage."""

import msgspec

from dfs.base.records import FileStatus
from dfs.wire.shapes import Paths, Reply, Request


class PathsRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Many paths; `as_of` reads the namespace as it was after that transaction."""

    paths: Paths
    as_of: int | None = None


class ListRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A page of a directory's entries in name order, beginning after `after`."""

    path: str
    after: str = ""
    limit: int = 1_000
    as_of: int | None = None


class ListReply(Reply, frozen=True, kw_only=True):
    """`more`: ask again with `after` set to the last name."""

    entries: list[FileStatus]
    more: bool


class FindRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A page of everything below `path` that matches, parents before children, names in order.

    `name` is a shell pattern for the last component; `cursor` is the reply's `next` to go on.
    """

    path: str
    name: str = "*"
    kind: str = ""  # "file", "directory", or either
    size_min_bytes: int = 0
    size_max_bytes: int | None = None
    modified_after_ms: int | None = None
    modified_before_ms: int | None = None
    depth_max: int | None = None
    cursor: str = ""
    limit: int = 1_000


class FindReply(Reply, frozen=True, kw_only=True):
    """`next` is empty when there is no more."""

    entries: list[FileStatus]
    next: str


class MkdirRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Make directories; with `parents`, those above too, and an existing one is no error."""

    paths: Paths
    parents: bool = False
    mode: int = 0o755
    atomic: bool = False


class PairRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From, to.  A target that is a directory takes the source inside it."""

    source: str
    target: str


class MoveRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rename; `overwrite` lets a file replace a file."""

    moves: list[PairRequest]
    overwrite: bool = False
    atomic: bool = False


class CopyRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Copy on the server: the new names point at the same blocks, no byte moves."""

    copies: list[PairRequest]
    recursive: bool = False
    overwrite: bool = False
    atomic: bool = False


class RemoveRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Take names away; the trash keeps them until retention passes, unless `skip_trash`."""

    paths: Paths
    recursive: bool = False
    skip_trash: bool = False
    atomic: bool = False


class Removed(msgspec.Struct, frozen=True):
    """A name that was taken away; `entry` brings back exactly this one."""

    path: str
    entry: int
    purge_ms: int


class UndeleteRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bring back the newest thing removed at `path` (or trash `entry`), to `target` if given."""

    path: str = ""
    entry: int | None = None
    target: str = ""


class TrashRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A page of what was removed lately, newest first (administrators see everybody's)."""

    below: str = "/"
    before_entry: int | None = None
    limit: int = 1_000


class TrashEntry(msgspec.Struct, frozen=True):
    """Something that can be brought back until `purge_ms`."""

    entry: int
    path: str
    kind: str
    size_bytes: int
    owner: str
    removed_by: str
    removed_ms: int
    purge_ms: int


class TrashReply(Reply, frozen=True, kw_only=True):
    """`more`: ask again with `before_entry` set to the last entry."""

    entries: list[TrashEntry]
    more: bool


class DuRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much is below each path."""

    paths: Paths


class Usage(msgspec.Struct, frozen=True):
    """Totals below a path; `stored_bytes` is `size_bytes` times the copies asked for."""

    path: str
    files: int
    directories: int
    size_bytes: int
    stored_bytes: int


class DfReply(Reply, frozen=True, kw_only=True):
    """Room in the cluster.  `free_bytes` is raw: divide by the copies you want.

    `nodes_in_service` are heard of and neither leave nor rest: no block gets more copies than that.
    """

    total_bytes: int
    used_bytes: int
    free_bytes: int
    nodes_live: int
    nodes: int
    files: int
    directories: int
    blocks: int
    default_replication: int
    nodes_in_service: int


class ChmodRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Set the mode (0 to 0o1777)."""

    paths: Paths
    mode: int
    recursive: bool = False
    atomic: bool = False


class ChownRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Set owner, group, or both (empty: leave)."""

    paths: Paths
    owner: str = ""
    group: str = ""
    recursive: bool = False
    atomic: bool = False


class SetrepRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Set how many copies the files should have."""

    paths: Paths
    replication: int
    recursive: bool = False
    atomic: bool = False


class Touched(msgspec.Struct, frozen=True):
    """How many inodes a recursive change changed."""

    path: str
    changed: int


class TouchRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Set the modification time of existing files or directories."""

    paths: Paths
    modified_ms: int
    atomic: bool = False


class Checksum(msgspec.Struct, frozen=True):
    """`blocks` are the lengths of the file's pieces, so that anyone can compute it from a copy."""

    path: str
    algorithm: str
    checksum: bytes
    size_bytes: int
    blocks: list[int]
