"""Commands that wait for one DataNode: beats' answers carry them, in turn, until acknowledged.

Kept in memory: whoever ordered sees in the database that the work is not done, and orders again.
Numbers never repeat, not even after a restart: a DataNode remembers those it has done, and would
otherwise take a new order for an old one.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from dfs.base.entropy import SystemRandom
from dfs.base.records import BlockName, NodeCommand

QUEUED_MAX: Final = 10_000
PER_BEAT_MAX: Final = 256  # some 50 KB, and about as many deletions as a disk does between beats

_RUN_BITS: Final = 40
_COUNT_BITS: Final = 22


def command_numbers() -> Iterator[int]:
    """Numbers for the commands of one run, apart from those of every other run."""
    return itertools.count(SystemRandom().getrandbits(_RUN_BITS) << _COUNT_BITS)


class Orders:
    """The commands of one node, those first that waited longest.  Guarded by its owner's lock."""

    def __init__(self) -> None:
        self._queued: dict[tuple[str, BlockName | None], NodeCommand] = {}
        self._by_number: dict[int, tuple[str, BlockName | None]] = {}

    def __len__(self) -> int:
        return len(self._queued)

    def has(self, verb: str, block: BlockName | None) -> bool:
        """Whether the same is ordered already."""
        return (verb, block) in self._queued

    def add(self, command: NodeCommand) -> bool:
        """Queue a command; False when too many wait.  What is ordered already is not added."""
        key = (command.verb, command.block)
        if key in self._queued:
            return True
        if len(self._queued) >= QUEUED_MAX:
            return False
        self._queued[key] = command
        self._by_number[command.command] = key
        return True

    def next_batch(self) -> list[NodeCommand]:
        """What the next answer carries; it stays queued, behind what it left no room for.

        A node may never be able to do some of it (a disk takes no writes any more); the others
        have their turn all the same.
        """
        keys = list(itertools.islice(self._queued, PER_BEAT_MAX))
        batch = [self._queued[key] for key in keys]
        if len(keys) < len(self._queued):
            for key in keys:
                self._queued[key] = self._queued.pop(key)
        return batch

    def acknowledge(self, numbers: Sequence[int]) -> list[NodeCommand]:
        """Take out what was done; numbers of an earlier run mean nothing here."""
        keys = [self._by_number.pop(number) for number in numbers if number in self._by_number]
        return [self._queued.pop(key) for key in keys]
