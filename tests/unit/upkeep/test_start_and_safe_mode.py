import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dfs.base.clock import ManualClock
from dfs.base.errors import JobConflict, SafeMode
from dfs.base.events import Event, RecordingEmitter
from dfs.base.ids import NodeId
from dfs.base.records import NodeView
from dfs.base.states import NodeDuty, NodeState, ReplicaState
from dfs.meta.session import Reader
from dfs.meta.tables import BLOCK, REPLICA
from dfs.meta.writer import Writer
from dfs.settings.sections import RepairConfig
from dfs.upkeep.remembered import Remembered
from dfs.upkeep.safe_mode import NodeKnowledge, SafeModeGuard
from dfs.upkeep.start_check import StartFacts, judge_start
from tests.builders import a_node

CONFIG = RepairConfig(safe_mode_percent=99.9, safe_mode_wait_s=30, forced_delete_wait_s=3600)
OVER, GOES_ON = "over", "goes on"


def verdict(blocks: int, found: int, *awaited: int, waited_s: float = 1.0) -> str:
    nodes = tuple(NodeId(node) for node in awaited)
    facts = StartFacts(blocks, found, nodes, waited_s)
    judged = judge_start(facts, wanted_percent=99.9, wait_s=30)
    return OVER if judged.over else GOES_ON


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (verdict(0, 0), OVER),
        (verdict(0, 0, 1), GOES_ON),  # somebody should be heard first
        (verdict(0, 0, 1, waited_s=30), OVER),
        (verdict(10, 10), OVER),
        (verdict(10, 10, 3), GOES_ON),
        (verdict(10, 10, 3, waited_s=30), OVER),
        (verdict(10, 9), GOES_ON),
        (verdict(10, 9, waited_s=9999), GOES_ON),
        (verdict(1000, 999), OVER),
        (verdict(10_000, 9_989), GOES_ON),
    ],
)
def test_start_is_over_when_nodes_have_reported_and_blocks_are_found(
    now: str, expected: str
) -> None:
    assert now == expected


@given(st.integers(0, 50), st.integers(0, 50), st.lists(st.integers(1, 9)), st.floats(0, 100))
def test_start_that_is_not_over_says_why(
    blocks: int, found: int, awaited: list[int], waited_s: float
) -> None:
    nodes = tuple(NodeId(node) for node in awaited)
    facts = StartFacts(max(blocks, found), found, nodes, waited_s)
    judged = judge_start(facts, wanted_percent=99.9, wait_s=30)
    assert judged.over is not bool(judged.reason)


class Nodes:
    """What safe mode hears of DataNodes."""

    def __init__(self) -> None:
        self.views: list[NodeView] = []
        self.fresh: frozenset[NodeId] = frozenset()
        self.lost: frozenset[NodeId] = frozenset()

    def joined(self, *numbers: int) -> None:
        self.views = [a_node(number, state=NodeState.JOINED) for number in numbers]

    def report(self, *numbers: int) -> None:
        self.fresh |= {NodeId(number) for number in numbers}


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
def emit() -> RecordingEmitter:
    return RecordingEmitter()


Start = Callable[[], SafeModeGuard]


@pytest.fixture
def start(
    reader: Reader, writer: Writer, clock: ManualClock, emit: RecordingEmitter, nodes: Nodes
) -> Start:
    def make() -> SafeModeGuard:
        return SafeModeGuard(
            reader,
            takes_over=False,
            known=NodeKnowledge(lambda: nodes.views, lambda: nodes.fresh, nodes.lost),
            remembered=Remembered(reader, writer),
            clock=clock,
            emit=emit,
            config=CONFIG,
        )

    return make


def keep(writer: Writer, block: int, **states: ReplicaState) -> None:
    """A committed block with a copy of that state on each of those nodes (`n1=...`)."""
    row = {
        "id": block,
        "generation": 1,
        "length_bytes": 1,
        "hash": b"h" * 16,
        "state": "committed",
        "file": 1,
        "number": block,
        "replication": 2,
        "created_ms": 0,
        "acked": "",
    }
    copies = [
        {
            "block": block,
            "node": int(node.removeprefix("n")),
            "generation": 1,
            "state": state,
            "verified_ms": 0,
        }
        for node, state in states.items()
    ]

    def write(txn):  # type: ignore[no-untyped-def]
        txn.put(BLOCK, row)
        txn.put(REPLICA, *copies)

    writer.submit(write)


LIVE = ReplicaState.LIVE


def step(guard: SafeModeGuard, clock: ManualClock, seconds: float = 1.0) -> bool:
    """Let time pass, look, and say whether it is on."""
    clock.advance(seconds)
    guard.run_once()
    return guard.is_on()


def test_empty_cluster_is_not_in_safe_mode(start: Start, emit: RecordingEmitter) -> None:
    assert start().refusal() is None
    assert not emit.events


def test_safe_mode_ends_as_soon_as_every_node_has_reported(
    start: Start, writer: Writer, nodes: Nodes, clock: ManualClock, emit: RecordingEmitter
) -> None:
    keep(writer, 1, n1=LIVE, n2=LIVE)
    nodes.joined(1, 2)
    guard = start()
    assert isinstance(guard.refusal(), SafeMode)
    nodes.report(1)
    assert step(guard, clock)
    assert "dn-2" in guard.why()
    nodes.report(2)
    assert not step(guard, clock)
    assert [event for event, _ in emit.events] == [
        Event.SAFE_MODE_ENTERED,
        Event.SAFE_MODE_LEFT,
    ]


def test_change_finds_out_by_itself_that_the_start_is_over(
    start: Start, writer: Writer, nodes: Nodes, clock: ManualClock
) -> None:
    keep(writer, 1, n1=LIVE)
    nodes.joined(1)
    guard = start()
    nodes.report(1)
    clock.advance(0.2)
    assert guard.refusal() is None


def test_safe_mode_goes_on_while_blocks_are_not_found(
    start: Start, writer: Writer, nodes: Nodes, clock: ManualClock
) -> None:
    keep(writer, 1, n1=LIVE)
    keep(writer, 2, n2=LIVE)
    nodes.joined(1, 2)
    guard = start()
    nodes.report(1)
    assert step(guard, clock, 31)
    assert step(guard, clock, 100_000)
    assert "1 are found" in guard.why()
    assert "dn-2" in guard.why()
    assert guard.why_no_deletes()
    assert guard.why_no_repair(None)
    nodes.report(2)
    assert not step(guard, clock)


def test_node_that_stays_away_is_waited_for_so_long_when_others_have_its_blocks(
    start: Start, writer: Writer, nodes: Nodes, clock: ManualClock
) -> None:
    keep(writer, 1, n1=LIVE, n2=LIVE)
    nodes.joined(1, 2)
    guard = start()
    nodes.report(1)
    assert step(guard, clock, 29)
    assert not step(guard, clock, 1)


@pytest.mark.parametrize("why", ["excused", "maintenance", "decommissioned", "lost", "never"])
def test_node_that_is_not_expected_is_not_waited_for(
    start: Start, writer: Writer, nodes: Nodes, clock: ManualClock, why: str
) -> None:
    keep(writer, 1, n1=LIVE)
    away = a_node(2, state=NodeState.JOINED)
    changes = {
        "excused": replace(away, is_excused=True),
        "maintenance": replace(away, duty=NodeDuty.MAINTENANCE),
        "decommissioned": replace(away, duty=NodeDuty.DECOMMISSIONED),
        "never": replace(away, registered_ms=0),
    }
    nodes.views = [a_node(1), changes.get(why, away)]
    nodes.lost = frozenset({NodeId(2)}) if why == "lost" else frozenset()
    guard = start()
    nodes.report(1)
    assert not step(guard, clock)


def test_blocks_lost_before_the_start_do_not_hold_it_up(
    start: Start, writer: Writer, nodes: Nodes, clock: ManualClock
) -> None:
    keep(writer, 1, n1=LIVE)
    keep(writer, 2)
    keep(writer, 3, n1=ReplicaState.MISSING)
    keep(writer, 4, n1=ReplicaState.CORRUPT)
    nodes.joined(1)
    guard = start()
    nodes.report(1)
    assert not step(guard, clock)


def test_safe_mode_by_hand_outlives_a_restart(
    start: Start, clock: ManualClock, emit: RecordingEmitter
) -> None:
    guard = start()
    guard.enter("alice")
    again = start()
    assert again.is_on()
    refusal = again.refusal()
    assert refusal is not None
    assert "alice" in refusal.message
    again.leave("bob", force=False)
    assert not again.is_on()
    assert not again.why_no_deletes()
    assert not start().is_on()


def test_leaving_early_needs_force_and_forbids_deletions_for_a_while(
    start: Start, writer: Writer, nodes: Nodes, clock: ManualClock
) -> None:
    keep(writer, 1, n1=LIVE)
    nodes.joined(1)
    guard = start()
    with pytest.raises(JobConflict, match="too little"):
        guard.leave("alice", force=False)
    assert guard.is_on()
    guard.leave("alice", force=True)
    assert guard.refusal() is None
    assert not guard.why_no_repair(None)
    nodes.report(1)
    again = start()
    step(again, clock)
    assert "by force" in again.why_no_deletes()
    clock.advance(3600)
    assert not again.why_no_deletes()


def test_leaving_what_is_over_is_no_error(start: Start) -> None:
    guard = start()
    guard.leave("alice", force=False)
    guard.leave("alice", force=True)
    assert not guard.why_no_deletes()


class SetClock(ManualClock):
    """A wall clock that somebody sets."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


def forced(reader: Reader, writer: Writer, clock: ManualClock, nodes: Nodes) -> SafeModeGuard:
    """Left by force while a block is not found."""
    keep(writer, 1, n1=LIVE)
    nodes.joined(1)
    guard = SafeModeGuard(
        reader,
        takes_over=False,
        known=NodeKnowledge(lambda: nodes.views, lambda: nodes.fresh, nodes.lost),
        remembered=Remembered(reader, writer),
        clock=clock,
        emit=RecordingEmitter(),
        config=CONFIG,
    )
    guard.leave("alice", force=True)
    return guard


@pytest.mark.parametrize("days", [-365, 365])
def test_clock_that_is_set_neither_ends_nor_prolongs_the_hold_on_deletions(
    reader: Reader, writer: Writer, nodes: Nodes, days: int
) -> None:
    clock = SetClock()
    guard = forced(reader, writer, clock, nodes)
    clock.ahead_ms = days * 86_400_000
    assert "by force" in guard.why_no_deletes()
    clock.advance(3600)
    assert not guard.why_no_deletes()


def test_look_under_way_does_not_take_back_that_somebody_left_by_force(
    reader: Reader, writer: Writer, clock: ManualClock, nodes: Nodes
) -> None:
    keep(writer, 1, n1=LIVE)
    nodes.joined(1)
    looking, go_on = threading.Event(), threading.Event()

    def views() -> list[NodeView]:
        if threading.current_thread().name == "looker":
            looking.set()
            assert go_on.wait(10)
        return nodes.views

    guard = SafeModeGuard(
        reader,
        takes_over=False,
        known=NodeKnowledge(views, lambda: nodes.fresh, nodes.lost),
        remembered=Remembered(reader, writer),
        clock=clock,
        emit=RecordingEmitter(),
        config=CONFIG,
    )
    clock.advance(1)
    looker = threading.Thread(target=guard.run_once, name="looker")
    leaver = threading.Thread(target=lambda: guard.leave("alice", force=True))
    looker.start()
    assert looking.wait(10)
    leaver.start()
    go_on.set()
    leaver.join(10)
    looker.join(10)
    assert not guard.is_on()
