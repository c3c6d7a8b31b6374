"""Pure: which blocks are rewritten, and which of them share a new pack.

Two kinds of blocks are worth it: those of which little is in use any more, since files in them were
removed (*holed*), and small ones that files have to themselves (*small*: lone small files, packs of
a few).  A block goes into a pack with all that is in use of it, or stays: once its pack stands
nothing points at it any more.

What is planned always wins: a holed block gives more bytes back than are written for it, and small
blocks are gathered many at a time, so that no byte is written again and again for little.  Blocks
share a pack with those that want as many copies, in the order they came to be.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dfs.base.ids import BlockId
from dfs.wire.packs import PACK_FILES_MAX

GATHERED_MIN: Final = 8  # small blocks in a pack that gives no bytes back
EXTENTS_MAX: Final = 2 * PACK_FILES_MAX  # rows changed in one transaction, for one block
GATHERED_EXTENTS_MAX: Final = 2_048  # for several: the writer is held for some 50 ms


class Why(StrEnum):
    """What a rewritten block is worth it for."""

    HOLED = "holed"
    SMALL = "small"


@dataclass(frozen=True, slots=True)
class Terms:
    """What is worth rewriting.

    Attributes:
        dead_percent: a block is holed when so much of it, or more, is in no use.
        small_bytes_max: a block is small up to this length.
        age_s: blocks younger than this are left alone: their files may go as they came.
    """

    now_ms: int
    dead_percent: float
    small_bytes_max: int
    pack_bytes: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A committed block, and what files have of it.

    Attributes:
        used_bytes: of the distinct stretches that files have, living or kept for the past.
        stretches: how many those are.
        extents: how many rows point at them: copies of a file share a stretch.
        whole: whether each of those files lies in this block alone.
    """

    block: BlockId
    length_bytes: int
    copies: int
    created_ms: int
    used_bytes: int
    stretches: int
    extents: int
    whole: bool

    @property
    def dead_bytes(self) -> int:
        """What is in no use; stretches that overlap are counted twice and hide some."""
        return max(0, self.length_bytes - self.used_bytes)


@dataclass(frozen=True, slots=True)
class PackPlan:
    """Blocks that are rewritten into one pack.

    Attributes:
        used_bytes: what is written, at most.
        dead_bytes: what is given back.
    """

    blocks: tuple[BlockId, ...]
    copies: int
    used_bytes: int
    dead_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class CompactionPlan:
    """Packs to write, in this order; `left`: blocks that wait for more to share a pack with."""

    packs: tuple[PackPlan, ...]
    left: int


def why_rewrite(block: Candidate, terms: Terms) -> Why | None:
    """What that block is worth rewriting for; None when it stays as it is."""
    if not 0 < block.used_bytes <= terms.pack_bytes or block.stretches > PACK_FILES_MAX:
        return None
    if block.extents > EXTENTS_MAX or terms.now_ms - block.created_ms < terms.age_s * 1000:
        return None
    if block.dead_bytes * 100 >= terms.dead_percent * block.length_bytes:
        return Why.HOLED
    few = block.extents <= GATHERED_EXTENTS_MAX // GATHERED_MIN
    if block.length_bytes <= terms.small_bytes_max and block.whole and few:
        return Why.SMALL
    return None


def plan_packs(blocks: Sequence[Candidate], terms: Terms) -> CompactionPlan:
    """The packs worth writing, each block in one at most."""
    by_copies: dict[int, list[Candidate]] = defaultdict(list)
    for block in blocks:
        if why_rewrite(block, terms) is not None:
            by_copies[block.copies].append(block)
    packs: list[PackPlan] = []
    left = 0
    for copies in sorted(by_copies):
        ordered = sorted(by_copies[copies], key=lambda each: each.block)
        for some in _filled(ordered, terms):
            pack = _pack(some, terms)
            if pack is None:
                left += len(some)
            else:
                packs.append(pack)
    return CompactionPlan(tuple(packs), left)


def _filled(ordered: Sequence[Candidate], terms: Terms) -> Iterator[list[Candidate]]:
    """The blocks in groups that each fit into a pack."""
    some: list[Candidate] = []
    size_bytes = extents = 0
    for block in ordered:
        size_bytes += block.used_bytes
        extents += block.extents
        if some and (size_bytes > terms.pack_bytes or extents > GATHERED_EXTENTS_MAX):
            yield some
            some = []
            size_bytes, extents = block.used_bytes, block.extents
        some.append(block)
    if some:
        yield some


def _pack(some: Sequence[Candidate], terms: Terms) -> PackPlan | None:
    holed = [block for block in some if why_rewrite(block, terms) is Why.HOLED]
    if not holed and len(some) < GATHERED_MIN:
        return None
    return PackPlan(
        blocks=tuple(block.block for block in some),
        copies=some[0].copies,
        used_bytes=sum(block.used_bytes for block in some),
        dead_bytes=sum(block.dead_bytes for block in some),
        reason=_words(len(holed), len(some) - len(holed)),
    )


def _words(holed: int, small: int) -> str:
    parts = []
    if holed:
        parts.append(f"{holed} mostly empty")
    if small:
        parts.append(f"{small} small")
    return " and ".join(parts) + (" block" if holed + small == 1 else " blocks")
