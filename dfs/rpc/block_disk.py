"""What the block service needs of the disk: `dfs.blockstore` provides it, tests may fake it."""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from dfs.base.checksum import Buffer
from dfs.base.records import BlockName, BlockTruth, StockEntry
from dfs.blockstore.format import Label
from dfs.blockstore.reader import BlockFile, Reading, Verdict


class BlockSink(Protocol):
    """A block being written; leaving the `with` without `finish` leaves nothing behind."""

    def write(self, offset: int, data: Buffer, hashes: bytes) -> None:
        """The next bytes with the hashes of their chunks."""
        ...

    def finish(self, *, length: int, hash: bytes) -> BlockTruth:  # noqa: A002 - the glossary's word
        """Make it durable and visible; it is fsynced when this returns."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class BlockDisk(Protocol):
    """Blocks by name."""

    def begin(
        self,
        name: BlockName,
        *,
        path: str,
        length_max: int,
        length: int | None,
        pack: bytes = b"",
    ) -> BlockSink:
        """Reserve room and open a block for writing."""
        ...

    def read(self, name: BlockName, ranges: Sequence[tuple[int, int]]) -> Reading:
        """Verified pieces of those ranges; of the whole block when there are none."""
        ...

    def truth(self, name: BlockName) -> BlockTruth:
        """Length and hash as stored."""
        ...

    def label(self, name: BlockName) -> Label:
        """What the block file says of itself."""
        ...

    def lend(self, name: BlockName) -> BlockFile:
        """The open file of a block that may be served, for one who verifies what he reads."""
        ...

    def entry(self, name: BlockName) -> StockEntry | None:
        """How it stands in the stock."""
        ...

    def delete(self, name: BlockName) -> bool:
        """Retire it to the purge area; False when it was not here."""
        ...

    def verify(self, name: BlockName) -> Verdict:
        """Read and hash it again now."""
        ...
