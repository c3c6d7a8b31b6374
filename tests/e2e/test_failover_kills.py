"""NameNodes are killed and handed the lead, under eight clients that note what they are told."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dfs.base.errors import DfsError
from tests.ha_load import at_work, show
from tests.ha_rig import LEASE_S, HaRig, running_rig

FAILOVER_MAX_S = 30.0  # on a machine that does other things, too


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HaRig]:
    with running_rig(tmp_path_factory.mktemp("ha") / "cluster") as made:
        yield made


def others(rig: HaRig, name: str) -> list[str]:
    return [each for each in rig.namenodes if each != name]


@pytest.mark.timeout(300)
def test_a_killed_leader_is_succeeded_and_nothing_acknowledged_is_lost(rig: HaRig) -> None:
    with at_work(rig, "/killed") as load:
        first = rig.leader()
        began_s = time.monotonic()
        rig.kill(first)
        successor = rig.await_leader(among=others(rig, first), within_s=FAILOVER_MAX_S)
        show(f"{successor} leads {time.monotonic() - began_s:.2f} s after {first} was killed")
        load.await_more()
        rig.start(first)
        assert rig.await_sync() != first
    rig.check_tables()


def switch_over_under_load(rig: HaRig, root: str, times: int) -> None:
    took: list[float] = []
    with at_work(rig, root) as load:
        for _ in range(times):
            leader = rig.await_sync()
            heir = others(rig, leader)[len(took) % 2]
            began_s = time.monotonic()
            reply = rig.switch_over(heir)
            assert reply.done, reply.said
            assert rig.await_leader(among=[heir], within_s=FAILOVER_MAX_S) == heir
            took.append(time.monotonic() - began_s)
            load.await_more(50)
    show(f"switchovers took {[round(each, 2) for each in took]} s")
    rig.check_tables()


@pytest.mark.timeout(300)
def test_the_lead_is_handed_back_and_forth_under_load(rig: HaRig) -> None:
    switch_over_under_load(rig, "/handed", 3)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_twenty_switchovers_under_load_lose_nothing(rig: HaRig) -> None:
    switch_over_under_load(rig, "/handed-often", 20)


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_leader_that_was_frozen_tells_nothing_stale_and_follows(rig: HaRig) -> None:
    with at_work(rig, "/frozen") as load:
        for _ in range(3):
            leader = rig.await_sync()
            rig.freeze(leader)
            began_s = time.monotonic()
            rig.await_leader(among=others(rig, leader), within_s=FAILOVER_MAX_S)
            load.await_more(50)
            time.sleep(max(0.0, 3 * LEASE_S - (time.monotonic() - began_s)))  # three leases
            rig.thaw(leader)
            assert rig.await_sync() != leader
    rig.check_tables()


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("which", ["all but one", "all"])
def test_namenodes_with_their_voters_that_die_together_come_back_with_everything(
    rig: HaRig, which: str
) -> None:
    with at_work(rig, f"/together-{which[-3:]}") as load:
        for _ in range(3):
            leader = rig.await_sync()
            spared = [] if which == "all" else others(rig, leader)[:1]
            victims = [name for name in rig.daemons if name not in spared]
            rig.kill(*victims)
            begun = {name: rig.launch(name) for name in victims}
            for name, said in begun.items():
                rig.await_ready(name, said)
            load.await_more()
    rig.await_sync()
    rig.check_tables()


def attempt_a_change(rig: HaRig, name: str) -> None:
    with contextlib.suppress(DfsError), rig.client() as client:
        client.mkdir(name)


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("after_s", [0.0, 3 * LEASE_S])
def test_a_leader_that_waits_for_dead_voters_ends_when_it_is_told_to(
    rig: HaRig, after_s: float
) -> None:
    rig.start_all()
    leader = rig.await_sync()
    rig.kill(*(name for name in rig.daemons if name != leader))
    with ThreadPoolExecutor(1) as beside:
        asked = beside.submit(attempt_a_change, rig, f"/waits-{after_s:.0f}")
        time.sleep(after_s + 0.3)
        rig.stop(leader)
        rig.start_all()
        asked.result()
    rig.await_sync()
    rig.check_tables()
