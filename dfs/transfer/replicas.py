"""Which replica of a block a reader asks first, and what becomes of one that fails it.

Every reader of blocks - of stretches (`replica_reader.py`), of many small files at once - takes
what one replica gives and goes on to the next; this is what they have in common: the order, the
load, whom to blame and what the NameNode is told.  What is read, and what is right, they know.
"""

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from dfs.base.entropy import Random
from dfs.base.errors import BlockNotFound, DfsError, ErrorKind, TokenRefused
from dfs.base.ids import NodeId
from dfs.base.records import BlockName, Holder
from dfs.transfer.node_memory import NodeMemory
from dfs.transfer.source_choice import order_sources

SuspectSink = Callable[[BlockName, NodeId, str], None]
T = TypeVar("T")


class Replicas:
    """What one client knows of the replicas it reads.  Safe to share between threads.

    Args:
        here: names and addresses of this computer, whose replicas are preferred.
        suspect: told of every replica that gave wrong bytes, or none where it should have some.
    """

    def __init__(
        self,
        memory: NodeMemory,
        *,
        rng: Random,
        here: frozenset[str],
        suspect: SuspectSink,
    ) -> None:
        self._memory = memory
        self._rng = rng
        self._here = here
        self.suspect = suspect

    def ordered(self, holders: Sequence[Holder]) -> list[Holder]:
        """The holders in the order to try them."""
        return order_sources(
            holders,
            here=self._here,
            failures=self._memory.failures(),
            load=self._memory.load(),
            rng=self._rng,
        )

    def hand_on(
        self, node: NodeId, pieces: Generator[T, None, None], take: Callable[[T], None]
    ) -> DfsError | None:
        """Take what a replica gives; why it did not give the rest, or None when it gave all.

        What `take` raises is no replica's fault: it is raised here as well.
        """
        with self._memory.busy(node), contextlib.closing(pieces):
            while True:
                try:
                    piece = next(pieces)
                except StopIteration:
                    return None
                except DfsError as exc:
                    return exc
                take(piece)

    def gave(self, node: NodeId) -> None:
        """What was read of it is right."""
        self._memory.succeeded(node)

    def failed(self, name: BlockName, node: NodeId, failure: DfsError) -> None:
        """It did not give what it should have; a token that was refused is not its fault."""
        if isinstance(failure, TokenRefused):
            return
        self._memory.failed(node, failure)
        if is_proof(failure) or isinstance(failure, BlockNotFound):
            self.suspect(name, node, failure.message)


def is_proof(failure: DfsError | None) -> bool:
    """Whether it says that the copy is bad, not just out of reach."""
    return failure is not None and failure.kind is ErrorKind.CORRUPT
