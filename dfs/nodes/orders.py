"""Commands that wait for one DataNode: beats' answers carry them, in turn, until acknowledged.

Kept in memory: whoever ordered sees in the database that the work is not done, and orders again.
Numbers never repeat, not even after a restart: a DataNode remembers those it has done, and would
otherwise take a new order for an old one.

A command that its DataNode could not do is taken out, and the same is not taken in again for a
while, longer each time: whoever keeps ordering it does no harm.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from dfs.base.entropy import SystemRandom
from dfs.base.ids import NodeId
from dfs.base.records import BlockName, NodeCommand

QUEUED_MAX: Final = 10_000
PER_BEAT_MAX: Final = 256  # some 50 KB, and about as many deletions as a disk does between beats

BACKOFF_FIRST_S: Final = 30.0
BACKOFF_CAP_S: Final = 3600.0
REFUSED_MAX: Final = 10_000  # commands remembered as refused

_RUN_BITS: Final = 40
_COUNT_BITS: Final = 22


class Order(StrEnum):
    """What a NameNode can order of a DataNode.  The comment says what `block` and `value` are."""

    DELETE = "delete"  # retire exactly this generation, good or bad, to the purge area
    REPORT = "report"  # send a full stock report
    VERIFY = "verify"  # read and hash this block before any other
    QUARANTINE = "quarantine"  # this copy is not the truth: move it aside, refuse it
    PURGE_BAD = "purge_bad"  # retire this block's files in quarantine; a good copy stays
    RESTORE = "restore"  # bring this generation back from the purge area
    SCRUB = "scrub"  # verify everything now; value: the number of the pass
    SCRUB_PAUSE = "scrub_pause"  # value: until when, in ms since 1970
    SCRUB_RESUME = "scrub_resume"
    TRUST = "trust"  # an operator looked: close the circuit breaker
    LEVEL_DISKS = "level_disks"  # value: threshold in thousandths of the mean use
    LEVEL_STOP = "level_stop"
    SPOIL_CANARY = "spoil_canary"  # flip a byte of this block, which must be a canary


# What costs a copy, or sets it aside: told only while there is no reason for caution.
HARMING: Final = frozenset(
    {
        Order.DELETE.value,
        Order.PURGE_BAD.value,
        Order.QUARANTINE.value,
        Order.SPOIL_CANARY.value,
    }
)


class Ordering(Protocol):
    """Who passes orders on to DataNodes (`NodeRegistry`), for all that only give them."""

    def enqueue(
        self,
        node: NodeId,
        verb: str,
        block: BlockName | None = None,
        *,
        reason: str = "",
        value: int = 0,
    ) -> bool:
        """Order something; False when it is not taken in now."""
        ...

    def cancel(self, node: NodeId, verb: str, block: BlockName | None = None) -> bool:
        """Order it no more; whether it was waiting.  The node may have been told already."""
        ...


def command_numbers() -> Iterator[int]:
    """Numbers for the commands of one run, apart from those of every other run."""
    return itertools.count(SystemRandom().getrandbits(_RUN_BITS) << _COUNT_BITS)


_Key = tuple[str, BlockName | None]


@dataclass(frozen=True, slots=True)
class _Refused:
    """Not before then, and how long that wait was."""

    until_s: float
    wait_s: float


class Orders:
    """The commands of one node, those first that waited longest.  Guarded by its owner's lock."""

    def __init__(self) -> None:
        self._queued: dict[_Key, NodeCommand] = {}
        self._by_number: dict[int, _Key] = {}
        self._refused: dict[_Key, _Refused] = {}

    def __len__(self) -> int:
        return len(self._queued)

    def has(self, verb: str, block: BlockName | None) -> bool:
        """Whether the same is ordered already."""
        return (verb, block) in self._queued

    def add(self, command: NodeCommand, *, now_s: float) -> bool:
        """Queue a command; False when too many wait, or it was refused lately.

        What is ordered already is not added, but for its value: the newest counts.
        """
        key = (command.verb, command.block)
        queued = self._queued.get(key)
        if queued is not None:
            if queued.value == command.value:
                return True
            self._forget(key)
        refused = self._refused.get(key)
        if len(self._queued) >= QUEUED_MAX or (refused and now_s < refused.until_s):
            return False
        self._queued[key] = command
        self._by_number[command.command] = key
        return True

    def next_batch(self, *, deletions: bool = True) -> list[NodeCommand]:
        """What the next answer carries; it stays queued, behind what it left no room for.

        A node may never be able to do some of it (a disk takes no writes any more); the others
        have their turn all the same.

        Args:
            deletions: false: what harms a copy waits, though it was ordered when it might.
        """
        told = (key for key in self._queued if deletions or key[0] not in HARMING)
        keys = list(itertools.islice(told, PER_BEAT_MAX))
        batch = [self._queued[key] for key in keys]
        if len(keys) < len(self._queued):
            for key in keys:
                self._queued[key] = self._queued.pop(key)
        return batch

    def acknowledge(self, numbers: Sequence[int]) -> list[NodeCommand]:
        """Take out what was done; numbers of an earlier run mean nothing here."""
        keys = [self._by_number.pop(number) for number in numbers if number in self._by_number]
        for key in keys:
            self._refused.pop(key, None)
        return [self._queued.pop(key) for key in keys]

    def refuse(self, numbers: Sequence[int], *, now_s: float) -> list[NodeCommand]:
        """Take out what could not be done; the same is not taken in for a while."""
        refused = []
        for number in numbers:
            key = self._by_number.pop(number, None)
            if key is None:
                continue
            refused.append(self._queued.pop(key))
            before = self._refused.pop(key, None)
            wait_s = min(BACKOFF_CAP_S, before.wait_s * 2) if before else BACKOFF_FIRST_S
            self._refused[key] = _Refused(now_s + wait_s, wait_s)
        while len(self._refused) > REFUSED_MAX:
            del self._refused[next(iter(self._refused))]
        return refused

    def cancel(self, verb: str, block: BlockName | None) -> bool:
        """Order it no more; whether it was waiting.  It may have been told already."""
        was = (verb, block) in self._queued
        if was:
            self._forget((verb, block))
        return was

    def _forget(self, key: _Key) -> None:
        del self._by_number[self._queued.pop(key).command]
