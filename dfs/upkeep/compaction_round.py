"""Pure: one round of compaction as it goes on: how far the look is, what is planned, what is done.

All of it is lost with the process, and nothing is lost by that: the next round looks again.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dfs.base.ids import BlockId
from dfs.upkeep.compaction_plan import (
    Candidate,
    CompactionPlan,
    PackPlan,
    Terms,
    Why,
    plan_packs,
    why_rewrite,
)

POOL_MAX: Final = 50_000  # blocks worth it that are held in memory before packs are planned
LOOK_FIRST: Final = 10  # blocks in the first step of a look: a pack may have 8,192 files
LOOK_MAX: Final = 20_000
LOOK_S: Final = 0.1  # a step should take about so long


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at blocks adds up to; bytes are of one copy."""

    packs: int = 0
    packed_files: int = 0
    pack_total_bytes: int = 0
    hole_bytes: int = 0
    holed_blocks: int = 0
    win_bytes: int = 0
    small_blocks: int = 0
    small_bytes: int = 0

    def plus(self, block: Candidate, why: Why | None) -> "Seen":
        """With that block too."""
        shared, holed, small = block.stretches > 1, why is Why.HOLED, why is Why.SMALL
        return Seen(
            packs=self.packs + shared,
            packed_files=self.packed_files + (block.stretches if shared else 0),
            pack_total_bytes=self.pack_total_bytes + (block.length_bytes if shared else 0),
            hole_bytes=self.hole_bytes + block.dead_bytes,
            holed_blocks=self.holed_blocks + holed,
            win_bytes=self.win_bytes + (block.dead_bytes if holed else 0),
            small_blocks=self.small_blocks + small,
            small_bytes=self.small_bytes + (block.length_bytes if small else 0),
        )

    def less(self, other: "Seen") -> "Seen":
        """Without what the other adds up to."""
        left = (getattr(self, name) - getattr(other, name) for name in self.__dataclass_fields__)
        return Seen(*left)

    def with_pack(self, files: int, size_bytes: int) -> "Seen":
        """With a new pack, of which all is in use."""
        return replace(
            self,
            packs=self.packs + 1,
            packed_files=self.packed_files + files,
            pack_total_bytes=self.pack_total_bytes + size_bytes,
        )


@dataclass(slots=True)
class Round:
    """See the module.

    Attributes:
        upto: the last block of the round; what came to be since is of another.
        look_blocks: how many to look at in the next step.
        after: the last block looked at.
        planned: packs that wait to be written.
    """

    terms: Terms
    began_s: float
    upto: BlockId
    after: BlockId = BlockId(0)
    seen: Seen = Seen()
    planned: deque[PackPlan] = field(default_factory=deque)
    packs: int = 0
    packs_done: int = 0
    plan_bytes: int = 0
    done_bytes: int = 0
    failures: int = 0
    look_blocks: int = LOOK_FIRST
    packing_began_s: float = 0.0
    _pool: list[Candidate] = field(default_factory=list)
    _going: dict[BlockId, Candidate] = field(default_factory=dict)

    @property
    def is_looked_through(self) -> bool:
        """Whether every block was looked at."""
        return self.after >= self.upto

    @property
    def share(self) -> float:
        """How much of the look is behind, 0 to 1."""
        return self.after / self.upto if self.upto else 1.0

    def take(self, blocks: Iterable[Candidate], upto: BlockId | None, *, now_s: float) -> None:
        """What a step of the look found; packs are planned when it was the last, or enough."""
        for block in blocks:
            why = why_rewrite(block, self.terms)
            self.seen = self.seen.plus(block, why)
            if why is not None:
                self._pool.append(block)
        self.after = self.upto if upto is None else upto
        if self.is_looked_through or len(self._pool) >= POOL_MAX:
            self._plan(plan_packs(self._pool, self.terms), now_s)

    def pace(self, took_s: float) -> None:
        """A step of the look took so long: the next one looks at more blocks, or at fewer."""
        if took_s < LOOK_S / 2:
            self.look_blocks = min(LOOK_MAX, 2 * self.look_blocks)
        elif took_s > 2 * LOOK_S:
            self.look_blocks = max(1, int(self.look_blocks * LOOK_S / took_s))

    def _plan(self, plan: CompactionPlan, now_s: float) -> None:
        if plan.packs and not self.packs:
            self.packing_began_s = now_s
        pool = {block.block: block for block in self._pool}
        self._pool.clear()
        self._going.update((b, pool[b]) for pack in plan.packs for b in pack.blocks)
        self.planned.extend(plan.packs)
        self.packs += len(plan.packs)
        self.plan_bytes += sum(pack.used_bytes for pack in plan.packs)

    def note(self, pack: PackPlan, *, done: bool, left_out: Collection[BlockId] = ()) -> None:
        """A pack is written, or was given up; those blocks of it stay as they were."""
        blocks = [self._going.pop(block) for block in pack.blocks]
        if done:
            self._note_gone([block for block in blocks if block.block not in left_out])
        self.packs_done += 1
        self.done_bytes += pack.used_bytes
        self.failures = 0 if done else self.failures + 1

    def _note_gone(self, blocks: Sequence[Candidate]) -> None:
        """What was seen is so no more: those are one pack now."""
        before = Seen()
        for block in blocks:
            before = before.plus(block, why_rewrite(block, self.terms))
        self.seen = self.seen.less(before).with_pack(
            sum(block.stretches for block in blocks), sum(block.used_bytes for block in blocks)
        )

    def rate(self, now_s: float) -> float:
        """Bytes a second since the first pack was begun."""
        took_s = now_s - self.packing_began_s
        return self.done_bytes / took_s if self.done_bytes and took_s > 0 else 0.0
