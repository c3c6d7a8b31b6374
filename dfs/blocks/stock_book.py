"""Writing down what stock reports say: locations, strays, and what of it is news.

Entries are judged by `reconcile.py` on a snapshot first, because most of a report says what is
known already; the writer's thread sees only what differs, and judges it again.  All of it is soft:
every NameNode learns it for itself.
"""

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.events import Emitter, Event
from dfs.base.ids import BlockId, NodeId, node_name
from dfs.base.records import StockEntry
from dfs.base.states import ReplicaState
from dfs.blocks import history
from dfs.blocks.history import BlockEvent, What
from dfs.blocks.reconcile import (
    PRESENT,
    Expected,
    Finding,
    Location,
    absent,
    judge,
    location_after,
    location_without,
)
from dfs.blocks.replica_rows import (
    expected_rows,
    location_rows,
    page_of_node,
    put_locations,
    read_expected,
    read_locations,
    to_expected,
    to_locations,
)
from dfs.blocks.stray_rows import StrayPlace, put_strays, read_frontier, read_strays
from dfs.blocks.stray_rows import page_of_node as strays_of_node
from dfs.blocks.strays import Frontier, Stray, StrayKey, counted, kind_of, sighted
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.wire.stock_sums import bucket_of

PAGE_ROWS: Final = 5_000
NAMED_MAX: Final = 10  # blocks named in one log line
REMEMBERED_MAX: Final = 1_000  # block events of one page: a lost disk needs no history a block
ACTOR: Final = "stock"

_NEWS: Final[Mapping[ReplicaState, tuple[Event, What]]] = {
    ReplicaState.CORRUPT: (Event.REPLICA_CORRUPT, What.CORRUPT),
    ReplicaState.DISPUTED: (Event.REPLICA_DISPUTED, What.DISPUTED),
}


@dataclass(frozen=True, slots=True)
class Missing:
    """What a full report lacked: how many copies went, and whether some were too young to tell."""

    count: int
    some_young: bool


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the blocks of a report, before it: rows, as they compare at no cost."""

    expected: list[tuple[Any, ...]]
    locations: list[tuple[Any, ...]]
    strays: dict[StrayKey, Stray]
    frontier: Frontier


@dataclass(frozen=True, slots=True)
class _Judged:
    """The entries of one report, judged against one snapshot."""

    findings: tuple[tuple[StockEntry, Finding], ...]
    before: dict[BlockId, Location]
    changes: dict[BlockId, Location | None]
    strays_before: dict[StrayKey, Stray]
    strays: dict[StrayKey, Stray | None]
    went: tuple[tuple[StockEntry, What], ...]  # copies that are gone for good

    @property
    def touched(self) -> frozenset[BlockId]:
        """The blocks of which something else is known now."""
        return frozenset(self.changes) | {key.block for key in self.strays}


class StockBook:
    """See the module.  Safe to share between threads."""

    def __init__(self, writer: Writer, reader: Reader, *, clock: Clock, emit: Emitter) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._emit = emit

    # ---- entries

    def take(
        self,
        node: NodeId,
        entries: Sequence[StockEntry],
        gone: Sequence[StockEntry] = (),
        *,
        in_full: bool,
    ) -> list[BlockId]:
        """Write down what entries change; the blocks whose copy is on the node after all.

        Args:
            node: whose report it is.
            entries: what it holds.
            gone: what it holds no more.
            in_full: whether they are of a full report.
        """
        now_ms = self._clock.now_ms()
        with self._reader.view() as connection:
            known = _look_up(connection, node, entries, gone)
        judged = _judge_all(known, node, entries, gone, now_ms=now_ms, in_full=in_full)
        blocks = judged.touched
        if blocks:
            touched = [entry for entry in entries if entry.name.block in blocks]
            went = [entry for entry in gone if entry.name.block in blocks]

            def write(txn: Txn) -> _Judged:
                now = _look_up(txn.connection, node, touched, went)
                again = judged  # of the same, the same would be said
                if now != known:
                    again = _judge_all(now, node, touched, went, now_ms=now_ms, in_full=in_full)
                put_locations(txn, node, again.changes)
                put_strays(txn, {(node, key): stray for key, stray in again.strays.items()})
                history.note(txn, _events(node, again)[:REMEMBERED_MAX])
                return again

            written = self._writer.submit(write)
            self._say_bad(node, written)
            self._say_went(node, written)
            self._say_strange(node, written)
            crashpoint.reach("nn.stock.taken")
        return [entry.name.block for entry, found in judged.findings if found.verdict in PRESENT]

    def _say_bad(self, node: NodeId, judged: _Judged) -> None:
        """Once for each copy that turned bad; a copy that was bad before is no news."""
        for entry, finding in judged.findings:
            state = _turned(judged, entry)
            if state is not None and state in _NEWS:
                self._emit.emit(
                    _NEWS[state][0],
                    node=node_name(node),
                    block=entry.name.block,
                    generation=entry.name.generation,
                    why=finding.reason,
                )

    def _say_went(self, node: NodeId, judged: _Judged) -> None:
        """What was wanted gone is news; so is what nobody wanted gone."""
        for entry, what in judged.went:
            if what is What.RETIRED:
                self._emit.emit(
                    Event.REPLICA_RETIRED,
                    node=node_name(node),
                    block=entry.name.block,
                    generation=entry.name.generation,
                    why="one copy too many",
                )
        lost = [entry.name.block for entry, what in judged.went if what is What.MISSING]
        if lost:
            self._emit.emit(
                Event.REPLICA_MISSING,
                node=node_name(node),
                count=len(lost),
                first_blocks=lost[:NAMED_MAX],
            )

    def _say_strange(self, node: NodeId, judged: _Judged) -> None:
        """Once for the strays that were not known, or were of another kind."""
        new = [
            (stray, finding)
            for entry, finding in judged.findings
            if (stray := judged.strays.get(StrayKey(entry.name.block, entry.name.generation)))
            and _is_new(stray, judged.strays_before.get(stray.key))
        ]
        if new:
            counts = Counter(stray.kind.value for stray, _ in new)
            self._emit.emit(
                Event.REPLICA_UNKNOWN,
                node=node_name(node),
                **counts,
                first_blocks=[stray.name.block for stray, _ in new[:NAMED_MAX]],
                why=new[0][1].reason,
            )

    # ---- the end of a full report

    def drop_missing(
        self, node: NodeId, reported: "array[int]", *, buckets: frozenset[int], before_ms: int
    ) -> Missing:
        """Forget copies that a full report lacked.

        Args:
            node: whose report it was.
            reported: the blocks it had.
            buckets: those it was about; empty for all.
            before_ms: a copy verified (or committed) later may have missed its page.
        """
        listed = sorted(reported)
        after, count, some_young = 0, 0, False
        named: list[BlockId] = []
        while True:
            with self._reader.view() as connection:
                page = page_of_node(connection, node, after=after, limit=PAGE_ROWS)
            if not page:
                break
            after = max(page)
            expected = [block for block in page if not buckets or bucket_of(block) in buckets]
            lost = {block: page[block] for block in absent(expected, listed)}
            old = {block: at for block, at in lost.items() if at.verified_ms < before_ms}
            some_young = some_young or len(old) < len(lost)
            count += self._write_missing(node, old)
            named += list(old)[: NAMED_MAX - len(named)]
        if count:
            self._emit.emit(
                Event.REPLICA_MISSING, node=node_name(node), count=count, first_blocks=named
            )
        return Missing(count, some_young)

    def _write_missing(self, node: NodeId, lost: dict[BlockId, Location]) -> int:
        if not lost:
            return 0

        def write(txn: Txn) -> int:
            now = read_locations(txn.connection, node, lost)
            same = {block: None for block, location in now.items() if location == lost[block]}
            put_locations(txn, node, same)
            told = list(same)[:REMEMBERED_MAX]
            known = read_expected(txn.connection, told)
            history.note(txn, [_missing(node, block, lost[block], known) for block in told])
            return len(same)

        return self._writer.submit(write)

    def close_strays(self, node: NodeId, *, began_ms: int) -> None:
        """Count the sightings of a full report that began then; forget what it lacked."""
        after = StrayPlace()
        while True:
            with self._reader.view() as connection:
                page = strays_of_node(connection, node, after=after, limit=PAGE_ROWS)
            if not page:
                return
            after = StrayPlace(node, page[-1].name.block, page[-1].name.generation)
            self._write_counted(node, page, began_ms)

    def _write_counted(self, node: NodeId, page: Sequence[Stray], began_ms: int) -> None:
        def write(txn: Txn) -> None:
            now = read_strays(txn.connection, node, [stray.name.block for stray in page])
            put_strays(
                txn,
                {
                    (node, stray.key): counted(now[stray.key], began_ms=began_ms)
                    for stray in page
                    if stray.key in now
                },
            )

        self._writer.submit(write)


def _look_up(
    connection: Connection,
    node: NodeId,
    entries: Sequence[StockEntry],
    gone: Sequence[StockEntry],
) -> _Known:
    blocks = {entry.name.block for entry in (*entries, *gone)}
    return _Known(
        expected_rows(connection, blocks),
        location_rows(connection, node, blocks),
        read_strays(connection, node, blocks),
        read_frontier(connection),
    )


def _judge_all(
    known: _Known,
    node: NodeId,
    entries: Sequence[StockEntry],
    gone: Sequence[StockEntry],
    *,
    now_ms: int,
    in_full: bool,
) -> _Judged:
    """Judge entries one after the other, so that a later word on a block follows the earlier."""
    expected, before = to_expected(known.expected), to_locations(known.locations)
    strays_before, frontier = known.strays, known.frontier
    now: dict[BlockId, Location | None] = dict(before)
    strays: dict[StrayKey, Stray | None] = dict(strays_before)
    findings = []
    for entry in gone:
        block = entry.name.block
        now[block] = location_without(entry, now.get(block))
        _forget_stray(strays, entry)
    for entry in entries:
        block = entry.name.block
        finding = judge(entry, expected.get(block))
        now[block] = location_after(finding.verdict, entry, now.get(block), now_ms=now_ms)
        kind = kind_of(finding.verdict, entry.name, frontier)
        if kind is not None:
            key = StrayKey(block, entry.name.generation)
            strays[key] = sighted(
                entry, kind, strays.get(key), node=node, now_ms=now_ms, in_full=in_full
            )
        elif strays:
            _forget_stray(strays, entry)
        findings.append((entry, finding))
    return _Judged(
        tuple(findings),
        before,
        {block: after for block, after in now.items() if after != before.get(block)},
        strays_before,
        {
            key: strays.get(key)
            for key in (*strays_before, *strays)
            if strays.get(key) != strays_before.get(key)
        },
        tuple(
            (entry, what)
            for entry in gone
            if now[entry.name.block] is None
            and (what := _what_went(entry, before, expected.get(entry.name.block)))
        ),
    )


def _what_went(
    entry: StockEntry, before: Mapping[BlockId, Location], known: Expected | None
) -> What | None:
    """None when what is gone was not the copy that is known."""
    location = before.get(entry.name.block)
    if location is None or location.generation != entry.name.generation:
        return None
    if known is not None and known.name != entry.name:
        return None
    return history.what_went(location.state, None if known is None else known.state)


def _forget_stray(strays: dict[StrayKey, Stray | None], entry: StockEntry) -> None:
    """It is none, or gone; one of that number that lies elsewhere stays."""
    key = StrayKey(entry.name.block, entry.name.generation)
    known = strays.get(key)
    if known is not None and known.name == entry.name:
        del strays[key]


def _missing(
    node: NodeId, block: BlockId, lost: Location, known: Mapping[BlockId, Expected]
) -> BlockEvent:
    """A full report lacked the copy."""
    state = known[block].state if block in known else None
    what = history.what_went(lost.state, state)
    what = What.MISSING if what is What.PURGED else what  # it need not be in the purge area
    return BlockEvent(block, lost.generation, what, node, ACTOR)


def _turned(judged: _Judged, entry: StockEntry) -> ReplicaState | None:
    """The state that the entry's copy has now and had not before; None when it has it still."""
    after = judged.changes.get(entry.name.block)
    before = judged.before.get(entry.name.block)
    if after is None or after.generation != entry.name.generation:
        return None
    return None if before is not None and before.state is after.state else after.state


def _events(node: NodeId, judged: _Judged) -> list[BlockEvent]:
    """What of it belongs into the blocks' histories."""
    events = []
    for entry, finding in judged.findings:
        state = _turned(judged, entry)
        before = judged.before.get(entry.name.block)
        doubted = before is not None and before.state is ReplicaState.SUSPECT
        if state is not None and state in _NEWS:
            what = _NEWS[state][1]
        elif state is ReplicaState.LIVE and doubted and before and before.verified_ms:
            what = What.VERIFIED
        else:
            continue
        events.append(
            BlockEvent(entry.name.block, entry.name.generation, what, node, ACTOR, finding.reason)
        )
    events += [
        BlockEvent(entry.name.block, entry.name.generation, what, node, ACTOR)
        for entry, what in judged.went
    ]
    return events


def _is_new(stray: Stray, before: Stray | None) -> bool:
    return before is None or before.kind is not stray.kind
