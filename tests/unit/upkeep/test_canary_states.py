from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs.base.states import IllegalMoveError, ReplicaState
from dfs.upkeep.canary_states import (
    CANARY_MOVES,
    Act,
    Canary,
    CanaryEvent,
    CanaryState,
    Sighting,
    Terms,
    advance_canary,
    decide,
    is_late,
    written,
)

NOW_MS = 1_700_000_000_000
TERMS = Terms(now_ms=NOW_MS, interval_s=600.0, first_after_s=60.0, order_s=30.0, others=2)
PLACED = Canary(state=CanaryState.PLACED, path="/.dfs/canary/dn-1.1", block=7, first_ms=NOW_MS)
SPOILED = replace(
    PLACED, state=CanaryState.SPOILED, armed_ms=NOW_MS - 60_000, told_ms=NOW_MS - 59_000
)
FOUND = replace(SPOILED, state=CanaryState.FOUND, found_ms=NOW_MS - 10_000)
HEALED = replace(FOUND, state=CanaryState.HEALED, healed_ms=NOW_MS - 5_000, rounds=1)
WELL = Sighting(wanted=2, counting=2, sure=2, here=ReplicaState.LIVE, here_sure=True)


def test_the_table_of_moves_is_what_the_picture_says() -> None:
    for state in CanaryState:
        for event in CanaryEvent:
            if (state, event) in CANARY_MOVES:
                assert advance_canary(state, event) is CANARY_MOVES[state, event]
            else:
                with pytest.raises(IllegalMoveError):
                    advance_canary(state, event)


def test_a_first_canary_waits_for_its_time() -> None:
    young = Canary(first_ms=NOW_MS - 59_000)
    assert decide(young, None, TERMS).act is Act.WAIT
    assert decide(replace(young, first_ms=NOW_MS - 60_000), None, TERMS).act is Act.WRITE


def test_a_canary_with_two_sure_copies_is_spoiled_at_once() -> None:
    decision = decide(PLACED, WELL, TERMS)
    assert decision.act is Act.SPOIL
    assert (decision.canary.state, decision.canary.armed_ms) == (CanaryState.SPOILED, NOW_MS)


@pytest.mark.parametrize(
    ("seen", "terms", "why"),
    [
        (replace(WELL, sure=1), TERMS, "1 sure copies"),
        (replace(WELL, here_sure=False), TERMS, "2 needed"),
        (replace(WELL, here=ReplicaState.SUSPECT, here_sure=False), TERMS, "2 needed"),
        (replace(WELL, wanted=1, sure=1), replace(TERMS, others=0), "no other DataNode"),
        (WELL, replace(TERMS, others=0), "no other DataNode"),
        (WELL, replace(TERMS, why_not="safe mode"), "safe mode"),
    ],
)
def test_a_canary_that_could_not_be_healed_is_not_spoiled_and_says_why(
    seen: Sighting, terms: Terms, why: str
) -> None:
    decision = decide(PLACED, seen, terms)
    assert (decision.act, decision.canary) == (Act.WAIT, PLACED)
    assert why in decision.why


@pytest.mark.parametrize(
    "seen",
    [
        replace(WELL, wanted=1),  # written when its node was alone
        replace(WELL, here=None),
        replace(WELL, here=ReplicaState.RETIRING),
        replace(WELL, here=ReplicaState.MISSING),
    ],
)
def test_a_canary_without_a_good_copy_on_its_node_is_written_anew(seen: Sighting) -> None:
    assert decide(PLACED, seen, TERMS).act is Act.WRITE


def test_a_spoiled_canary_is_found_by_what_its_node_reports() -> None:
    assert decide(SPOILED, WELL, TERMS).act is Act.WAIT
    for seen in (replace(WELL, here=ReplicaState.CORRUPT), replace(WELL, found_bad=True)):
        found = decide(SPOILED, seen, TERMS).canary
        assert (found.state, found.found_ms) == (CanaryState.FOUND, NOW_MS)


def test_a_spoiled_canary_that_is_read_and_good_was_never_spoiled() -> None:
    soon = replace(WELL, read_ms=SPOILED.told_ms + 29_000)
    assert decide(SPOILED, soon, TERMS).act is Act.WAIT  # clocks may differ
    later = replace(WELL, read_ms=SPOILED.told_ms + 31_000)
    assert decide(SPOILED, later, TERMS).canary.state is CanaryState.PLACED


def test_a_canary_of_which_nobody_knows_whether_it_is_spoiled_is_given_up() -> None:
    untold = replace(SPOILED, told_ms=0, armed_ms=NOW_MS - 30_000)
    assert decide(untold, WELL, TERMS).act is Act.WAIT
    later = replace(untold, armed_ms=NOW_MS - 31_000)
    assert decide(later, WELL, TERMS).canary.state is CanaryState.IDLE
    assert decide(later, replace(WELL, found_bad=True), TERMS).canary.state is CanaryState.FOUND


def test_a_found_canary_is_healed_when_it_has_its_copies() -> None:
    assert decide(FOUND, replace(WELL, counting=1), TERMS).act is Act.WAIT
    healed = decide(FOUND, WELL, TERMS).canary
    assert (healed.state, healed.rounds, healed.round_ms) == (CanaryState.HEALED, 1, 60_000)
    assert healed.last_healed_ms == healed.healed_ms == NOW_MS


def test_a_canary_whose_last_good_copy_is_lost_is_replaced() -> None:
    lost = replace(WELL, here=ReplicaState.CORRUPT, counting=0, sure=0, lost=True)
    for canary in (FOUND, HEALED):
        gone = decide(canary, lost, TERMS)
        assert (gone.act, gone.canary.state) == (Act.NOTE, CanaryState.IDLE)
        assert decide(gone.canary, lost, TERMS).act is Act.WRITE
    assert decide(SPOILED, lost, TERMS).canary.state is CanaryState.FOUND  # it was found, so say so
    assert decide(PLACED, lost, TERMS).act is Act.WRITE


def test_the_next_round_begins_an_interval_after_the_last_was_begun() -> None:
    assert decide(HEALED, WELL, TERMS).act is Act.WAIT
    due = replace(HEALED, armed_ms=NOW_MS - 600_000)
    assert decide(due, WELL, TERMS).act is Act.WRITE
    again = written(due, path="/.dfs/canary/dn-1.2", block=9)
    assert (again.state, again.armed_ms, again.found_ms) == (CanaryState.PLACED, 0, 0)
    assert again.last_healed_ms == due.last_healed_ms


def test_a_canary_whose_block_is_gone_begins_anew_at_once() -> None:
    for canary in (PLACED, SPOILED, FOUND, HEALED):
        gone = decide(canary, None, TERMS)
        assert (gone.act, gone.canary.state) == (Act.NOTE, CanaryState.IDLE)
        assert decide(gone.canary, None, TERMS).act is Act.WRITE


def test_late_is_counted_from_the_last_round_that_ended_and_never_for_a_node_alone() -> None:
    healed = replace(SPOILED, first_ms=0, last_healed_ms=NOW_MS - 700_000)
    assert is_late(healed, TERMS, late_s=600)
    assert not is_late(healed, TERMS, late_s=800)
    assert not is_late(healed, replace(TERMS, others=0), late_s=600)
    assert is_late(replace(PLACED, first_ms=NOW_MS - 700_000), TERMS, late_s=600)


sightings = st.builds(
    Sighting,
    wanted=st.integers(1, 3),
    counting=st.integers(0, 4),
    sure=st.integers(0, 4),
    here=st.sampled_from([None, *ReplicaState]),
    here_sure=st.booleans(),
    read_ms=st.integers(NOW_MS - 100_000, NOW_MS),
    found_bad=st.booleans(),
)


@given(
    canary=st.sampled_from([Canary(first_ms=0), PLACED, SPOILED, FOUND, HEALED]),
    seen=st.none() | sightings,
    others=st.integers(0, 3),
    why_not=st.sampled_from(["", "safe mode"]),
)
def test_whatever_is_seen_nothing_is_spoiled_that_has_not_two_sure_copies(
    canary: Canary, seen: Sighting | None, others: int, why_not: str
) -> None:
    decision = decide(canary, seen, replace(TERMS, others=others, why_not=why_not))
    assert decision.canary == canary or decision.act in (Act.NOTE, Act.SPOIL)
    if decision.act is Act.SPOIL:
        assert canary.state is CanaryState.PLACED
        assert seen is not None
        assert seen.sure >= 2
        assert seen.here_sure
        assert others
        assert not why_not
