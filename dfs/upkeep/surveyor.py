"""Makes surveys: every committed block held against its copies, again and again.

Blocks in which nothing needs a thought are passed by inside the database; the others are judged by
`redundancy.py`, alike ones once.

It takes a share of the time at most, and comes early when somebody knows of news (`soon`) or the
nodes' standings are others than the last time.
"""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from sqlalchemy import Connection

from dfs.base.clock import Clock
from dfs.base.ids import BlockId, Generation, InodeId, NodeId
from dfs.base.records import BlockName, BlockTruth
from dfs.base.states import ReplicaState
from dfs.blocks.canary_blocks import canary_blocks, committed_sizes
from dfs.blocks.kept_rows import Page, Unusual, page_of_unusual, read_kept
from dfs.blocks.redundancy import (
    UNREADABLE,
    Assessment,
    BlockCopy,
    BlockHealth,
    KeptBlock,
    RepairClass,
    Standings,
    assess,
)
from dfs.meta.session import Reader
from dfs.upkeep.release import still_needed
from dfs.upkeep.survey import Judged, Survey, SurveyTotals, Tally, copies_owed

PAGE_BLOCKS: Final = 50_000  # a snapshot of some tens of milliseconds
URGENT_PER_CLASS_MAX: Final = 5_000
LISTED_MAX: Final = 2_000  # of damaged, missing and disputed blocks each
EXCESS_MAX: Final = 5_000
RETIRING_MAX: Final = 10_000
SHAPES_MAX: Final = 100_000
BUSY_SHARE: Final = 0.05
HURRIED_SHARE: Final = 0.25  # when there is news
PAGES_SHARE: Final = 0.5  # of the time of a survey itself: after a start every block is unusual
COPIED_CLASSES: Final = (
    RepairClass.LAST_COPY,
    RepairClass.FEW_COPIES,
    RepairClass.UNDER,
    RepairClass.MISPLACED,
)

K = TypeVar("K")


def rest_after(work_s: float, *, busy_share: float) -> float:
    """Seconds to idle so that work takes at most `busy_share` of the time."""
    assert 0 < busy_share <= 1
    return work_s * (1 - busy_share) / busy_share


class StandingsSource(Protocol):
    """What nodes' copies are worth."""

    def standings(self) -> Standings:
        """As of now."""
        ...


class Surveyor:
    """Makes surveys and keeps the last.  `run_once` is for one thread; the rest may be shared.

    Args:
        interval_s: the least time between two surveys when there is no news.
    """

    def __init__(
        self, reader: Reader, *, source: StandingsSource, clock: Clock, interval_s: float
    ) -> None:
        self._reader = reader
        self._source = source
        self._clock = clock
        self._interval_s = interval_s
        self._news = threading.Event()
        self._ended_s = -1e9
        self._worked_s = 0.0  # of the last survey, without its rests
        self.latest = Survey()

    def soon(self) -> None:
        """There is news: let the next pass of the job be a survey, not a rest."""
        self._news.set()

    def run_once(self) -> Survey | None:
        """A survey if it is due; None while it rests."""
        at = self._source.standings()
        if not self._is_due(at):
            return None
        return self.survey_now(at)

    def survey_now(self, at: Standings | None = None) -> Survey:
        """A survey, due or not."""
        self._news.clear()
        began_s = self._clock.monotonic_s()
        at = at or self._source.standings()
        made = _Sheet(at, self.latest).fill(self._reader, self._clock)
        self._ended_s = self._clock.monotonic_s()
        self._worked_s = made.worked_s
        self.latest = made.survey(
            at_ms=self._clock.now_ms(),
            began_s=began_s,
            took_s=self._ended_s - began_s,
            number=self.latest.number + 1,
        )
        return self.latest

    def _is_due(self, at: Standings) -> bool:
        idle_s = self._clock.monotonic_s() - self._ended_s
        took_s = self._worked_s
        if self._news.is_set() or at != self.latest.at:
            return idle_s >= rest_after(took_s, busy_share=HURRIED_SHARE)
        return idle_s >= max(self._interval_s, rest_after(took_s, busy_share=BUSY_SHARE))


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What blocks of one shape are.

    Attributes:
        owed: copies to make.
        retiring: nodes that are to delete theirs.
        needed: nodes on their way out whose copies are still needed.
    """

    health: BlockHealth
    urgency: RepairClass | None
    owed: int
    is_bad: bool
    retiring: tuple[NodeId, ...]
    needed: tuple[NodeId, ...]


class _Sheet:
    """A survey that is being made."""

    def __init__(self, at: Standings, before: Survey) -> None:
        self._at = at
        self._before = before
        self.worked_s = 0.0
        self._known: dict[tuple[int, str], _Verdict] = {}
        self._blocks = self._bytes = 0
        self._health: dict[BlockHealth, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        self._class: dict[RepairClass, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        self._urgent: dict[RepairClass, list[Judged]] = {each: [] for each in COPIED_CLASSES}
        self._listed: dict[BlockHealth, list[Judged]] = defaultdict(list)
        self._bad: list[Judged] = []
        self._retiring: list[tuple[NodeId, BlockName]] = []
        self._leaving: dict[NodeId, int] = defaultdict(int)
        self._canaries: set[BlockId] = set()

    def fill(self, reader: Reader, clock: Clock) -> "_Sheet":
        """Walk over every committed block, a page to a snapshot."""
        after = BlockId(0)
        while True:
            began_s = clock.monotonic_s()
            with reader.view() as connection:
                page = page_of_unusual(connection, self._at, after=after, limit=PAGE_BLOCKS)
                if page.upto is None:
                    return self
                own = self._sizes_of_canaries(connection, after, page.upto)
                named = self._count(page.unusual, own)
                kept = read_kept(connection, [block for block, _ in named])
            self._count_page(page, own)
            for block, verdict in named:
                if block in kept:
                    self._list(kept[block], verdict)
            after = page.upto
            took_s = clock.monotonic_s() - began_s
            self.worked_s += took_s
            clock.sleep(rest_after(took_s, busy_share=PAGES_SHARE))

    def _sizes_of_canaries(
        self, connection: Connection, after: BlockId, upto: BlockId
    ) -> Mapping[BlockId, int]:
        return committed_sizes(connection, canary_blocks(connection), after=after, upto=upto)

    def _count_page(self, page: Page, own: Mapping[BlockId, int]) -> None:
        """What a page holds beside canaries; what is not unusual in it is healthy."""
        odd = [each for each in page.unusual if each.block not in own]
        blocks, size_bytes = page.blocks - len(own), page.size_bytes - sum(own.values())
        odd_bytes = sum(each.length_bytes for each in odd)
        self._add(self._health[BlockHealth.HEALTHY], blocks - len(odd), size_bytes - odd_bytes, 0)
        self._blocks += blocks
        self._bytes += size_bytes

    def _count(
        self, unusual: Sequence[Unusual], own: Mapping[BlockId, int]
    ) -> list[tuple[BlockId, _Verdict]]:
        """Count them, canaries aside; give back those that there is room to list."""
        named = []
        room = self._room()
        for each in unusual:
            verdict = self._known.get(each.shape) or self._judge(each)
            is_own = each.block in own
            if is_own and verdict.health in UNREADABLE:
                continue  # nobody misses it; another is written in its place
            if not is_own:
                self._tally(each, verdict)
            for node in verdict.needed:
                self._leaving[node] += 1
            if room.take(verdict):
                named.append((each.block, verdict))
                if is_own:
                    self._canaries.add(each.block)
        return named

    def _tally(self, each: Unusual, verdict: _Verdict) -> None:
        self._add(self._health[verdict.health], 1, each.length_bytes, verdict.owed)
        if verdict.urgency is not None:
            self._add(self._class[verdict.urgency], 1, each.length_bytes, verdict.owed)

    def _judge(self, each: Unusual) -> _Verdict:
        block = _block_of(each)
        found = assess(block, self._at)
        verdict = _verdict(block, found, self._at)
        if len(self._known) < SHAPES_MAX:
            self._known[each.shape] = verdict
        return verdict

    def _room(self) -> "_Room":
        return _Room(
            {each: URGENT_PER_CLASS_MAX - len(self._urgent[each]) for each in COPIED_CLASSES},
            {each: _listed_max(each) - len(self._listed[each]) for each in BlockHealth},
            LISTED_MAX - len(self._bad),
            RETIRING_MAX - len(self._retiring),
        )

    def _list(self, block: KeptBlock, verdict: _Verdict) -> None:
        """Into the lists it belongs to, as it is in the rows that were read last."""
        judged = Judged(block, assess(block, self._at))
        found = judged.found
        if found.repair in self._urgent and len(self._urgent[found.repair]) < URGENT_PER_CLASS_MAX:
            self._urgent[found.repair].append(judged)
        if len(self._listed[found.health]) < _listed_max(found.health):
            self._listed[found.health].append(judged)
        if (found.bad or found.disputed) and len(self._bad) < LISTED_MAX:
            self._bad.append(judged)
        if verdict.retiring and len(self._retiring) < RETIRING_MAX:
            self._retiring += [(node, block.name) for node in _retiring(block)]

    @staticmethod
    def _add(tally: list[int], blocks: int, size_bytes: int, owed: int) -> None:
        """Add blocks of so many bytes together, each of which lacks so many copies."""
        tally[0] += blocks
        tally[1] += size_bytes
        tally[2] += owed * size_bytes
        tally[3] += owed * blocks

    def survey(self, *, at_ms: int, began_s: float, took_s: float, number: int) -> Survey:
        """What was found."""
        excess = tuple(self._listed[BlockHealth.EXCESS])
        before = {judged.block.truth.block for judged in self._before.excess}
        now = {judged.block.truth.block for judged in excess}
        return Survey(
            number=number,
            at_ms=at_ms,
            began_s=began_s,
            took_s=took_s,
            totals=SurveyTotals(
                self._blocks, self._bytes, _tallies(self._health), _tallies(self._class)
            ),
            urgent=tuple(each for some in COPIED_CLASSES for each in self._urgent[some]),
            excess=excess,
            settled_excess=frozenset(now & before),
            damaged=tuple(self._listed[BlockHealth.CORRUPT]),
            missing=tuple(self._listed[BlockHealth.MISSING]),
            disputed=tuple(self._listed[BlockHealth.DISPUTED]),
            away=tuple(self._listed[BlockHealth.AWAY]),
            bad=tuple(self._bad),
            retiring=tuple(self._retiring),
            leaving=dict(self._leaving),
            canaries=frozenset(self._canaries),
            at=self._at,
        )


@dataclass(slots=True)
class _Room:
    """How many more blocks each list takes."""

    urgent: dict[RepairClass, int]
    listed: dict[BlockHealth, int]
    bad: int
    retiring: int

    def take(self, verdict: _Verdict) -> bool:
        """Whether some list takes such a block; if so it has."""
        taken = False
        if verdict.urgency in self.urgent and self.urgent[verdict.urgency] > 0:
            self.urgent[verdict.urgency] -= 1
            taken = True
        if self.listed[verdict.health] > 0:
            self.listed[verdict.health] -= 1
            taken = True
        if verdict.is_bad and self.bad > 0:
            self.bad -= 1
            taken = True
        if verdict.retiring and self.retiring > 0:
            self.retiring -= 1
            taken = True
        return taken


def _listed_max(health: BlockHealth) -> int:
    if health in (BlockHealth.HEALTHY, BlockHealth.UNDER_REPLICATED, BlockHealth.MISPLACED):
        return 0  # what is urgent has a list of its own
    return EXCESS_MAX if health is BlockHealth.EXCESS else LISTED_MAX


def _tallies(sums: Mapping[K, Sequence[int]]) -> dict[K, Tally]:
    return {key: Tally(*each) for key, each in sums.items() if each[0]}


def _block_of(each: Unusual) -> KeptBlock:
    """A block of that shape; its generation is 0, as the shape has generations less the block's."""
    wanted, said = each.shape
    copies = []
    for words in said.split():
        node, state, ahead = words.split(".")
        copies.append(BlockCopy(NodeId(int(node)), Generation(int(ahead)), ReplicaState(state), 0))
    truth = BlockTruth(each.block, Generation(0), each.length_bytes, b"")
    name = BlockName(InodeId(0), 0, each.block, Generation(0))
    return KeptBlock(truth, name, wanted, 0, tuple(copies))


def _verdict(block: KeptBlock, found: Assessment, at: Standings) -> _Verdict:
    return _Verdict(
        health=found.health,
        urgency=found.repair,
        owed=copies_owed(block, found),
        is_bad=bool(found.bad or found.disputed),
        retiring=_retiring(block),
        needed=still_needed(block, found, at),
    )


def _retiring(block: KeptBlock) -> tuple[NodeId, ...]:
    return tuple(copy.node for copy in block.copies if copy.state is ReplicaState.RETIRING)
