"""A voter keeps its rules; and each voter that lacks one is found out by the check of that rule."""

from collections.abc import Callable

import pytest

from dfs.ha.voter import Voter
from tests.unit.ha import ha_mutants as broken
from tests.unit.ha import voter_checks as rules

Check = Callable[[type[Voter]], None]

FOUND_OUT: list[tuple[type[Voter], Check]] = [
    (broken.TakesOlderEpochs, rules.check_older_epochs_are_refused),
    (broken.ForgetsPromises, rules.check_promise_outlives_the_process),
    (broken.ForgetsAll, rules.check_promise_outlives_the_process),
    (broken.PromisesTwice, rules.check_epoch_is_promised_once),
    (broken.ForgetsTheLease, rules.check_no_vote_for_a_lease_after_a_start),
    (broken.LeavesAHoleInStickiness, rules.check_beats_turn_the_voter_to_the_leader),
    (broken.IsNotSticky, rules.check_voter_holds_to_a_leader_that_it_hears),
    (broken.KeepsPermits, rules.check_permits_end_with_the_next_beat),
    (broken.KeepsPermitsOverARestart, rules.check_permits_end_with_the_process),
    (broken.AnswersBeforeItWrites, rules.check_promise_outlives_the_process),
    (broken.KeepsHintsInMemory, rules.check_hint_is_on_the_disk_when_that_is_asked),
    (broken.LetsSyncSetsGoBack, rules.check_sync_sets_only_move_on),
    (broken.ReadsLettersForOthers, rules.check_lost_disk_is_another_voter),
]


@pytest.mark.parametrize("check", rules.CHECKS, ids=lambda check: check.__name__)
def test_voter_keeps_the_rule(check: Check) -> None:
    check(Voter)


@pytest.mark.parametrize(("kind", "check"), FOUND_OUT, ids=lambda each: each.__name__)
def test_voter_without_the_rule_is_found_out(kind: type[Voter], check: Check) -> None:
    with pytest.raises(AssertionError):
        check(kind)


def test_every_broken_voter_is_put_to_a_check() -> None:
    broken_voters = {mutant.voter for mutant in broken.MUTANTS.values()} - {Voter}
    assert broken_voters <= {kind for kind, _ in FOUND_OUT}
