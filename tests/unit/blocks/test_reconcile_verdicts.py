import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dfs.base.checksum import block_hash
from dfs.base.ids import BlockId, Generation
from dfs.base.records import StockEntry
from dfs.base.states import BlockState, ReplicaState, StoredState
from dfs.blocks.reconcile import (
    PRESENT,
    STRAY,
    Expected,
    Location,
    Verdict,
    absent,
    judge,
    location_after,
    location_without,
)
from tests.builders import a_name

DATA = b"as it was written"
GOOD = (StoredState.FINAL, StoredState.FOUND, StoredState.FAILING)
ALLOCATED, COMMITTED, GARBAGE = BlockState.ALLOCATED, BlockState.COMMITTED, BlockState.GARBAGE
LIVE, SUSPECT, CORRUPT = ReplicaState.LIVE, ReplicaState.SUSPECT, ReplicaState.CORRUPT
FAILING, RETIRING = ReplicaState.FAILING, ReplicaState.RETIRING
DISPUTED = ReplicaState.DISPUTED
NOW_MS = 1_000


def has(state: BlockState = COMMITTED, *, generation: int = 5) -> Expected:
    digest = b"" if state is ALLOCATED else block_hash(DATA)
    return Expected(a_name(1, generation=generation), state, len(DATA), digest)


def said(
    state: StoredState = StoredState.FINAL,
    *,
    generation: int = 5,
    data: bytes = DATA,
    verified_ms: int = 500,
) -> StockEntry:
    name = a_name(1, generation=generation)
    return StockEntry(name, len(data), block_hash(data), state, verified_ms)


@pytest.mark.parametrize(
    ("expected", "entry", "verdict"),
    [
        (has(), said(), Verdict.LIVE),
        (has(), said(StoredState.FOUND), Verdict.LIVE),
        (has(), said(StoredState.FAILING), Verdict.FAILING),
        (has(), said(data=b"shorter"), Verdict.DISPUTED),
        (has(), said(data=DATA[::-1]), Verdict.DISPUTED),
        (has(), said(StoredState.FOUND, data=DATA[::-1]), Verdict.DISPUTED),
        (has(), said(StoredState.FAILING, data=DATA[::-1]), Verdict.DISPUTED),
        (has(), said(StoredState.CORRUPT, data=DATA[::-1]), Verdict.CORRUPT),
        (has(), said(StoredState.CORRUPT), Verdict.CORRUPT),
        (has(), said(StoredState.DELETING), Verdict.MISSING),
        (has(), said(generation=4), Verdict.STALE),
        (has(), said(StoredState.CORRUPT, generation=4), Verdict.STALE),
        (has(), said(generation=6), Verdict.FUTURE),
        (has(ALLOCATED), said(), Verdict.IN_FLIGHT),
        (has(ALLOCATED), said(StoredState.CORRUPT), Verdict.CORRUPT),
        (has(ALLOCATED), said(generation=4), Verdict.STALE),
        (has(ALLOCATED), said(generation=6), Verdict.FUTURE),
        (has(GARBAGE), said(), Verdict.GARBAGE),
        (has(GARBAGE), said(StoredState.CORRUPT), Verdict.GARBAGE),
        (has(GARBAGE), said(StoredState.DELETING), Verdict.GARBAGE),
        (has(GARBAGE), said(generation=4), Verdict.STALE),
        (None, said(), Verdict.ORPHAN),
        (None, said(StoredState.CORRUPT), Verdict.ORPHAN),
        (has(), replace(said(), name=a_name(1, file=8, generation=5)), Verdict.ORPHAN),
        (has(), replace(said(), name=a_name(1, number=1, generation=5)), Verdict.ORPHAN),
    ],
)
def test_reconcile_judges_what_a_node_says(
    expected: Expected | None, entry: StockEntry, verdict: Verdict
) -> None:
    finding = judge(entry, expected)
    assert finding.verdict is verdict
    assert finding.reason


def at(state: ReplicaState, *, generation: int = 5, verified_ms: int = 300) -> Location:
    return Location(Generation(generation), state, verified_ms)


@pytest.mark.parametrize(
    ("verdict", "before", "after"),
    [
        (Verdict.LIVE, None, at(LIVE, verified_ms=500)),
        (Verdict.LIVE, at(LIVE), at(LIVE, verified_ms=500)),
        (Verdict.LIVE, at(LIVE, verified_ms=800), at(LIVE, verified_ms=800)),
        (Verdict.LIVE, at(CORRUPT), at(LIVE, verified_ms=500)),
        (Verdict.LIVE, at(SUSPECT), at(LIVE, verified_ms=500)),
        (Verdict.LIVE, at(SUSPECT, verified_ms=500), at(SUSPECT, verified_ms=500)),
        (Verdict.LIVE, at(LIVE, generation=4, verified_ms=900), at(LIVE, verified_ms=500)),
        (Verdict.LIVE, at(FAILING), at(LIVE, verified_ms=500)),
        (Verdict.LIVE, at(DISPUTED), at(LIVE, verified_ms=500)),
        (Verdict.LIVE, at(RETIRING), at(RETIRING, verified_ms=500)),
        (Verdict.FAILING, None, at(FAILING, verified_ms=500)),
        (Verdict.FAILING, at(LIVE), at(FAILING, verified_ms=500)),
        (Verdict.FAILING, at(RETIRING), at(RETIRING, verified_ms=500)),
        (Verdict.FAILING, at(SUSPECT, verified_ms=500), at(SUSPECT, verified_ms=500)),
        (Verdict.DISPUTED, None, at(DISPUTED, verified_ms=0)),
        (Verdict.DISPUTED, at(LIVE), at(DISPUTED)),
        (Verdict.DISPUTED, at(LIVE, generation=4), at(DISPUTED, verified_ms=0)),
        (Verdict.CORRUPT, at(DISPUTED), at(CORRUPT)),
        (Verdict.CORRUPT, at(RETIRING), at(CORRUPT)),
        (Verdict.MISSING, at(RETIRING), None),
        (Verdict.CORRUPT, None, at(CORRUPT, verified_ms=0)),
        (Verdict.CORRUPT, at(LIVE), at(CORRUPT)),
        (Verdict.IN_FLIGHT, None, at(SUSPECT, verified_ms=0)),
        (Verdict.IN_FLIGHT, at(LIVE), at(LIVE)),
        (Verdict.GARBAGE, None, at(LIVE, verified_ms=0)),
        (Verdict.GARBAGE, at(CORRUPT), at(CORRUPT)),
        (Verdict.MISSING, at(LIVE), None),
        (Verdict.STALE, at(LIVE), at(LIVE)),
        (Verdict.STALE, None, None),
        (Verdict.FUTURE, at(LIVE), at(LIVE)),
        (Verdict.ORPHAN, None, None),
    ],
)
def test_reconcile_says_what_is_known_afterwards(
    verdict: Verdict, before: Location | None, after: Location | None
) -> None:
    assert location_after(verdict, said(), before, now_ms=NOW_MS) == after


def test_reconcile_does_not_believe_a_verification_in_the_future() -> None:
    after = location_after(Verdict.LIVE, said(verified_ms=9_999), None, now_ms=NOW_MS)
    assert after == at(LIVE, verified_ms=NOW_MS)


def test_reconcile_keeps_the_copy_when_another_generation_of_it_is_gone() -> None:
    assert location_without(said(generation=4), at(LIVE)) == at(LIVE)
    assert location_without(said(), at(LIVE)) is None
    assert location_without(said(), None) is None


@given(
    expected=st.none() | st.sampled_from(BlockState).map(has),
    state=st.sampled_from(StoredState),
    generation=st.integers(1, 9),
    data=st.sampled_from([DATA, DATA[::-1], b""]),
    verified_ms=st.integers(0, 2_000),
    before=st.none()
    | st.builds(
        Location,
        st.integers(1, 9).map(Generation),
        st.sampled_from(ReplicaState),
        st.integers(0, 2_000),
    ),
)
def test_reconcile_counts_a_copy_as_good_only_when_it_is_what_was_written(
    expected: Expected | None,
    state: StoredState,
    generation: int,
    data: bytes,
    verified_ms: int,
    before: Location | None,
) -> None:
    entry = said(state, generation=generation, data=data, verified_ms=verified_ms)
    verdict = judge(entry, expected).verdict
    after = location_after(verdict, entry, before, now_ms=NOW_MS)
    intact = state in GOOD and data == DATA and generation == 5
    assert (verdict in (Verdict.LIVE, Verdict.FAILING)) == (
        expected is not None and expected.state is COMMITTED and intact
    )
    if verdict in (Verdict.STALE, Verdict.FUTURE, Verdict.ORPHAN):
        assert after == before, "another generation says nothing of this one"
    assert location_after(verdict, entry, after, now_ms=NOW_MS) == after, "told twice, known once"


@given(st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)))
def test_reconcile_finds_exactly_those_a_full_report_lacks(
    expected: set[int], reported: set[int]
) -> None:
    found = absent((BlockId(n) for n in sorted(expected)), sorted(reported))
    assert set(found) == expected - reported


EVERY_REPORT = [
    said(state, generation=generation, data=data, verified_ms=verified_ms)
    for state, generation, data, verified_ms in itertools.product(
        StoredState, (4, 5, 6), (DATA, DATA[::-1], b""), (200, 300, 301)
    )
]
EVERY_ROW = [
    None,
    *(at(state, generation=generation) for state in ReplicaState for generation in (4, 5)),
]


@pytest.mark.parametrize("expected", [None, *map(has, BlockState)], ids=str)
@pytest.mark.parametrize("before", EVERY_ROW, ids=str)
def test_reconcile_holds_its_promises_for_every_row_and_every_report(
    expected: Expected | None, before: Location | None
) -> None:
    for entry in EVERY_REPORT:
        verdict = judge(entry, expected).verdict
        after = location_after(verdict, entry, before, now_ms=NOW_MS)
        is_same = before is not None and before.generation == entry.name.generation
        was = before.state if before is not None and is_same else None
        assert (verdict in STRAY) == (expected is None or entry.name != expected.name)
        assert (after is not None) or verdict not in PRESENT, "what is there has a row"
        if verdict in STRAY:
            assert after == before, "a stray says nothing of the copy"
        if was is RETIRING and verdict in (Verdict.LIVE, Verdict.FAILING):
            assert after is not None
            assert after.state is RETIRING, "good news does not bring a retiring copy back"
        if was is SUSPECT and after is not None and after.state in (LIVE, FAILING):
            assert before is not None
            assert after.verified_ms > before.verified_ms, "only a newer verification absolves"
        if verdict in (Verdict.LIVE, Verdict.FAILING) and was not in (RETIRING, SUSPECT):
            assert after is not None
            assert after.state.value == verdict.value
        if verdict in (Verdict.CORRUPT, Verdict.DISPUTED):
            assert after is not None
            assert after.state.value == verdict.value
        if after is not None and after != before:
            assert after.generation == entry.name.generation
            assert after.verified_ms >= (before.verified_ms if before and is_same else 0)
        assert location_after(verdict, entry, after, now_ms=NOW_MS) == after
