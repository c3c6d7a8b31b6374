"""A member keeps its rules; each member that lacks one is found out by the check of that rule."""

from collections.abc import Callable

import pytest

from dfs.ha.member import Member
from dfs.ha.voter import Voter
from tests.unit.ha import member_checks as rules
from tests.unit.ha.ha_mutants import MUTANTS
from tests.unit.ha.test_ha_mutants import BY_SIMULATION

Check = Callable[[type[Member]], None]

FOUND_OUT: dict[str, Check] = {
    "require late": rules.check_standby_is_required_before_it_is_published,
    "stop requiring early": rules.check_standby_is_required_until_it_is_written_out,
    "stop requiring early only": rules.check_standby_is_required_until_it_is_written_out,
    "ack before the follower": rules.check_change_waits_for_the_standby,
    "ack alone without voters": rules.check_change_made_alone_waits_for_voters,
    "ack after the end": rules.check_nothing_is_acknowledged_after_the_end,
    "count the lease from the answer": rules.check_lease_runs_from_the_beat,
    "serve without a lease": rules.check_no_service_without_a_majority,
    "keep the lease in a handover": rules.check_no_service_while_the_lead_is_handed_over,
    "read what was taken over": rules.check_reads_wait_for_the_first_record,
    "count one promise": rules.check_majority_promises_before_it_stands,
    "members forget their promise": rules.check_own_promise_is_on_the_disk_first,
    "lead without being in sync": rules.check_only_complete_members_lead,
    "ignore the hint": rules.check_member_whose_disk_lost_records_does_not_lead,
    "donors do not promise": rules.check_donor_serves_no_older_epoch,
    "followers take older leaders": rules.check_follower_takes_no_older_leader,
    "followers ack before they write": rules.check_follower_acknowledges_what_is_on_its_disk,
    "voters change in one step": rules.check_voter_is_replaced_in_two_steps,
    "snapshots truncate": rules.check_snapshot_takes_nothing_of_its_epoch,
}
BY_VOTER_CHECKS = {name for name, mutant in MUTANTS.items() if mutant.voter is not Voter}


@pytest.mark.parametrize("check", rules.CHECKS, ids=lambda check: check.__name__)
def test_member_keeps_the_rule(check: Check) -> None:
    check(Member)


@pytest.mark.parametrize("mutant", FOUND_OUT)
def test_member_without_the_rule_is_found_out(mutant: str) -> None:
    with pytest.raises(AssertionError):
        FOUND_OUT[mutant](MUTANTS[mutant].member)


def test_every_mutant_is_found_out_somewhere() -> None:
    assert set(MUTANTS) - set(FOUND_OUT) - BY_SIMULATION - BY_VOTER_CHECKS == set()
