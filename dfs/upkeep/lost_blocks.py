"""Who is told, and when: a block lost its last good copy, or has all its copies again.

Surveys say how things are; this remembers how they were, so that each loss and each recovery is
said once, in the log and in the block's history.  A block is *hurt* from the survey that finds it
lost, or short of copies with a bad one among them, until one finds it whole.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.events import Emitter, Event
from dfs.base.ids import BlockId
from dfs.blocks.history import NOBODY, BlockEvent, What, note, read
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import BlockHealth, KeptBlock, Standings, assess
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.upkeep.survey import Judged, Survey

ACTOR: Final = "survey"
_WHOLE: Final = frozenset({BlockHealth.HEALTHY, BlockHealth.EXCESS})


@dataclass(frozen=True, slots=True)
class News:
    """What a survey changed: blocks lost that were not before, and blocks whole again."""

    lost: tuple[BlockId, ...] = ()
    healed: tuple[BlockId, ...] = ()


class LostBlocks:
    """See the module.  For one thread."""

    def __init__(self, writer: Writer, reader: Reader, *, emit: Emitter) -> None:
        self._writer = writer
        self._reader = reader
        self._emit = emit
        self._lost: set[BlockId] = set()
        self._hurt: set[BlockId] = set()

    def take(self, survey: Survey, at: Standings) -> News:
        """Compare a survey with the ones before it."""
        lost = {judged.block.truth.block: judged for judged in survey.lost}
        hurt = set(lost) | {
            judged.block.truth.block for judged in survey.bad if judged.found.repair is not None
        }
        new = [lost[block] for block in sorted(set(lost) - self._lost)]
        said = self._say_lost(new) if new else ()
        healed = self._healed(self._hurt - hurt, at)
        self._lost = set(lost)
        self._hurt |= hurt
        return News(said, healed)

    def _say_lost(self, new: Sequence[Judged]) -> tuple[BlockId, ...]:
        with self._reader.view() as connection:
            news = [
                judged
                for judged in new
                if not _ended_in_loss(read(connection, judged.block.truth.block))
            ]
        if not news:
            return ()
        events = [_event(judged.block, What.LOST, judged.found.reason) for judged in news]
        self._note(events)
        for judged in news:
            self._emit.emit(
                Event.BLOCK_LOST,
                block=judged.block.truth.block,
                health=judged.found.health,
                why=judged.found.reason,
            )
        return tuple(judged.block.truth.block for judged in news)

    def _healed(self, candidates: set[BlockId], at: Standings) -> tuple[BlockId, ...]:
        """Those whole again; those deleted meanwhile are forgotten, the others wait."""
        if not candidates:
            return ()
        with self._reader.view() as connection:
            kept = read_kept(connection, sorted(candidates))
        whole = [block for block in kept.values() if assess(block, at).health in _WHOLE]
        self._hurt -= {block.truth.block for block in whole} | (candidates - set(kept))
        self._note([_event(block, What.HEALED, "") for block in whole])
        for block in whole:
            self._emit.emit(
                Event.BLOCK_HEALED,
                block=block.truth.block,
                copies=len(assess(block, at).sure),
            )
        return tuple(block.truth.block for block in whole)

    def _note(self, events: Sequence[BlockEvent]) -> None:
        if events:

            def work(txn: Txn) -> None:
                note(txn, events)

            self._writer.submit(work)


def _ended_in_loss(events: Iterable[BlockEvent]) -> bool:
    """Whether it was said already that the block is lost, by an earlier run."""
    lost = False
    for event in events:
        if event.what in (What.LOST, What.HEALED):
            lost = event.what is What.LOST
    return lost


def _event(block: KeptBlock, what: What, detail: str) -> BlockEvent:
    return BlockEvent(block.truth.block, block.truth.generation, what, NOBODY, ACTOR, detail)
