"""Pure: sums over a stock of blocks, so that two sides that hold the same need not list it.

Blocks fall into 256 buckets by the low byte of their id.  A bucket has a count and the sum, modulo
2^63, of xxh3_64 over each block's facts; so the order in which blocks are added does not matter.  A
DataNode sums up what it holds, the NameNode what it believes of that node, and only buckets whose
sums differ are told block by block.

What is summed up is what a verdict depends on, and no more: a bad copy's length and hash are left
out, and so are times of verification.  Two stocks that differ have equal sums by chance once in
2^63 comparisons of a bucket; the next change in the bucket tells them apart again.
"""

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final

import xxhash

from dfs.base.records import StockEntry
from dfs.base.states import StoredState

BUCKETS: Final = 256
_FACTS: Final = struct.Struct(">QQQQQB")
_DIGEST: Final = xxhash.xxh3_64_intdigest
_SUM_MASK: Final = 2**63 - 1  # the widest number that a request may carry
_LOW_BYTE: Final = BUCKETS - 1


class Condition(IntEnum):
    """What kind of copy it is, as far as sums tell."""

    GOOD = 0
    FAILING = 1
    BAD = 2
    UNSETTLED = 3  # said by nobody who holds a block: such a bucket is told each time


_BAD: Final = Condition.BAD
# Copies on their way out are in no sum: they are gone as far as anybody is concerned.
_CONDITIONS: Final = {
    StoredState.FINAL: Condition.GOOD,
    StoredState.FOUND: Condition.GOOD,
    StoredState.FAILING: Condition.FAILING,
    StoredState.CORRUPT: Condition.BAD,
}


def bucket_of(block: int) -> int:
    """The bucket a block falls into."""
    return block & _LOW_BYTE


# File, number, block, generation, length in bytes, hash, condition.
Facts = tuple[int, int, int, int, int, bytes, Condition]


class StockSums:
    """Counts and sums of every bucket, growing block by block."""

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.sums = [0] * BUCKETS

    def add(self, copies: Iterable[Facts]) -> None:
        """Add copies.  After a restart a NameNode does this for every copy: hence no frills."""
        counts, sums, pack, digest_of = self.counts, self.sums, _FACTS.pack, _DIGEST
        for file, number, block, generation, length_bytes, digest, condition in copies:
            facts = (
                pack(file, number, block, generation, length_bytes, condition) + digest
                if condition != _BAD
                else pack(file, number, block, generation, 0, condition)
            )
            bucket = block & _LOW_BYTE
            counts[bucket] += 1
            sums[bucket] = (sums[bucket] + digest_of(facts)) & _SUM_MASK

    def add_entries(self, entries: Iterable[StockEntry]) -> None:
        """Add what a DataNode holds."""
        self.add(
            (
                entry.name.file,
                entry.name.number,
                entry.name.block,
                entry.name.generation,
                entry.length_bytes,
                entry.hash,
                _CONDITIONS[entry.state],
            )
            for entry in entries
            if entry.state in _CONDITIONS
        )

    def differing(self, counts: Sequence[int], sums: Sequence[int]) -> list[int]:
        """The buckets in which the other side has something else."""
        return [
            bucket
            for bucket in range(BUCKETS)
            if self.counts[bucket] != counts[bucket] or self.sums[bucket] != sums[bucket]
        ]
