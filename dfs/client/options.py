"""Pure: what put and get can be asked, how they tell of their progress, and what they report."""

from typing import Protocol

import msgspec

from dfs.base.errors import DfsError
from dfs.base.ids import NodeId


class PutOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How files go in.  None means: as the configuration says.

    Args:
        recursive: take directories too.
        overwrite: a file may replace a file (atomically, when the new one is complete).
        parents: make missing directories above the target.
        replication: copies wanted; None is the cluster's default.
        block_size_bytes: where files are cut.
        jobs: files moved at once.
        resume: skip files that are there already, and go on with a large one that was interrupted.
        write_mode: `pipeline` or `fan-out`.
        pack: put small files many to a block.  Never done where `block_size_bytes` is given.
    """

    recursive: bool = False
    overwrite: bool = False
    parents: bool = False
    replication: int | None = None
    block_size_bytes: int | None = None
    jobs: int | None = None
    resume: bool = False
    write_mode: str | None = None
    pack: bool = True


class GetOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How files come out.

    Args:
        recursive: take directories too.
        overwrite: replace local files that exist.
        jobs: files moved at once; None is the configured number.
    """

    recursive: bool = False
    overwrite: bool = False
    jobs: int | None = None


class Progress(Protocol):
    """Who watches a transfer.  Called from several threads; must be quick and must not raise."""

    def started(self, files: int, size_bytes: int) -> None:
        """So much is to be moved; for a stream of unknown length `size_bytes` is 0."""
        ...

    def advanced(self, size_bytes: int) -> None:
        """So many bytes more are on their way; what has to be sent again counts once."""
        ...

    def file_done(self, path: str, size_bytes: int, error: DfsError | None) -> None:
        """That file is there, or failed."""
        ...

    def note(self, text: str) -> None:
        """Something a person should know that is no failure (a skipped socket, a lost replica)."""
        ...


class SilentProgress:
    """Watches nothing."""

    def started(self, files: int, size_bytes: int) -> None:
        """See `Progress`."""

    def advanced(self, size_bytes: int) -> None:
        """See `Progress`."""

    def file_done(self, path: str, size_bytes: int, error: DfsError | None) -> None:
        """See `Progress`."""

    def note(self, text: str) -> None:
        """See `Progress`."""


class TransferReport(msgspec.Struct):
    """What a put or a get did.

    Args:
        files: moved and complete.
        directories: made, or found there.
        size_bytes: content of the files moved.
        skipped: there already (resume), or of a sort that cannot be taken (see the notes).
        failed: `(path, why)` of every file that is not there; the others are.
        owed: copies fewer than asked for, which repair makes later.
        homeless: the paths in `failed` whose reason is a directory above, which is there too.
    """

    files: int = 0
    directories: int = 0
    size_bytes: int = 0
    skipped: int = 0
    failed: list[tuple[str, DfsError]] = msgspec.field(default_factory=list)
    owed: int = 0
    homeless: set[str] = msgspec.field(default_factory=set)

    @property
    def ok(self) -> bool:
        """Whether everything asked for is there."""
        return not self.failed

    def worst(self) -> DfsError | None:
        """The first failure, for an exit code."""
        return self.failed[0][1] if self.failed else None


class ReplicaVerdict(msgspec.Struct, frozen=True):
    """What one DataNode's disk said of one block of a file when it was read again.

    Args:
        number: the extent's place in the file, from 0.
        intact: held, and length and hash are the NameNode's truth.
        reason: why not, else empty.
        reached: whether the node answered; if not, the copy is neither proved nor bad.
    """

    path: str
    number: int
    block: int
    generation: int
    length_bytes: int
    node: NodeId
    intact: bool
    reason: str = ""
    reached: bool = True
