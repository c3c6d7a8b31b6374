"""The simulator finds the mutants that break what it can see; the rest have checks of their own.

Rules that another rule stands behind (stickiness behind the pre-vote, the permit's end behind the
next beat) take thousands of histories to fail; `test_voter_rules` and `test_member_rules` put each
to the very situation.
"""

import pytest

from tests.unit.ha.ha_mutants import MUTANTS
from tests.unit.ha.paper_cluster_ha import World

HISTORIES_MAX = 60
BY_SIMULATION = {
    "voters take older epochs",
    "voters forget promises",
    "voters forget all",
    "voters answer before they write",
    "lead without being in sync",
    "ignore the hint",
    "ack before the follower",
    "stop requiring early",
    "stop requiring early only",
    "require late",
    "serve without a lease",
    "keep the lease in a handover",
    "snapshots truncate",
    "followers take older leaders",
    "followers ack before they write",
}


@pytest.mark.parametrize("name", sorted(BY_SIMULATION))
def test_simulator_finds(name: str) -> None:
    mutant = MUTANTS[name]
    for seed in range(HISTORIES_MAX):
        world = World(seed, shape=mutant.shape(), faults=mutant.faults())
        try:
            world.live()
        except AssertionError as exc:
            if not str(exc).startswith("live"):
                return
    pytest.fail(f"{HISTORIES_MAX} histories passed")
