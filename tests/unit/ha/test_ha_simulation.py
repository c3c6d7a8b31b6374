"""Three hundred histories of clusters that everything happens to; one seed is one history.

make ha-sim               ten thousand
HA_SEEDS=17-18 pytest ... that one
"""

from collections import Counter

import pytest

from dfs.ha.effects import Switchover
from tests.unit.ha.paper_cluster_ha import Faults, Shape, World, world_of

SEEDS_PER_CASE = 10
CASES = 30
HAS_TO_HAPPEN = {
    "elections": 300,
    "crashes": 300,
    "commits": 30_000,
    "reads": 5_000,
    "installs": 30,
    "streams": 1_000,
    "ha.standby_joined": 300,
    "ha.standby_dropped": 100,
    "ha.handover": 50,
    "ha.voters_changed": 15,
    "abandoned": 300,
}
_happened: Counter[str] = Counter()
_cases_done: set[int] = set()


def live(seed: int) -> World:
    world = world_of(seed)
    try:
        return world.live()
    except AssertionError as exc:
        raise AssertionError(f"seed {seed}: {exc}") from exc


@pytest.mark.parametrize("case", range(CASES))
def test_no_history_breaks_an_invariant(case: int) -> None:
    for seed in range(case * SEEDS_PER_CASE, (case + 1) * SEEDS_PER_CASE):
        _happened.update(live(seed).oracle.count)
    _cases_done.add(case)


def test_histories_reach_what_they_are_about() -> None:
    if len(_cases_done) < CASES:
        pytest.skip("looks at all histories, and some were not run here")
    short = {what: _happened[what] for what, n in HAS_TO_HAPPEN.items() if _happened[what] < n}
    assert short == {}


@pytest.mark.parametrize("seed", range(5))
def test_history_is_a_function_of_its_seed(seed: int) -> None:
    first, second = live(seed), live(seed)
    assert first.oracle.count == second.oracle.count
    assert first.oracle.acked == second.oracle.acked


def test_killed_leader_is_replaced_in_time() -> None:
    """With default timers within 12 seconds; nothing else goes wrong."""
    calm = Faults(
        lost=0, doubled=0, late=0, stale=0, crash_in_step=0, every_s=1e9, drift=0.01, unsound=0
    )
    for seed in range(10):
        world = World(seed, shape=Shape(timers=Shape().timers.scaled(2.5)), faults=calm)
        world.go(20.0)
        first = world.leader()
        assert first is not None
        first.crash()
        world.go(32.0)
        second = world.leader()
        assert second is not None
        assert second is not first
        assert second.serves()


def test_switchover_interrupts_for_less_than_a_second() -> None:
    calm = Faults(
        lost=0, doubled=0, late=0, stale=0, crash_in_step=0, every_s=1e9, drift=0.01, unsound=0
    )
    world = World(1, shape=Shape(timers=Shape().timers.scaled(2.5)), faults=calm)
    world.go(20.0)
    for turn in range(20):
        leader = world.leader()
        assert leader is not None
        to = next(name for name in world.members if name != leader.name)
        leader.tell(Switchover(to))
        world.go(21.0 + turn * 10)
        assert world.machines[to].serves(), f"turn {turn}"
        world.go(30.0 + turn * 10)
