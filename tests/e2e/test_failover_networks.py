"""Machines of a cluster are cut off from each other, under eight clients that reach them all."""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.ha_load import at_work
from tests.ha_rig import HaRig, running_rig
from tests.netns import network

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

CUT_S = 4.0  # four times what a voter waits for its leader
PAIRS = ((1, 2), (2, 3), (1, 3))
DIRECTIONS = (*PAIRS, (2, 1), (3, 2), (3, 1))


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HaRig]:
    with (
        network(4) as four,
        running_rig(tmp_path_factory.mktemp("ha") / "cluster", network=four) as r,
    ):
        yield r


def cut_each(rig: HaRig, root: str, cuts: list[Callable[[], None]]) -> None:
    """One cut after the other, each healed and everybody in sync before the next."""
    with at_work(rig, root) as load:
        for cut in cuts:
            rig.await_sync()
            cut()
            time.sleep(CUT_S)  # for as long as it lasts
            load.await_more(30)
            rig.heal()
            load.await_more(30)
    rig.await_sync()
    rig.check_tables()


def test_each_pair_of_machines_may_be_cut_off_from_each_other(rig: HaRig) -> None:
    cut_each(rig, "/pairs", [lambda a=a, b=b: rig.cut(a, b) for a, b in PAIRS])


def test_each_machine_may_hear_another_that_does_not_hear_it(rig: HaRig) -> None:
    cuts = [lambda a=a, b=b: rig.cut(a, b, one_way=True) for a, b in DIRECTIONS]
    cut_each(rig, "/one-way", cuts)


def isolate_leader(rig: HaRig) -> None:
    leader = rig.await_leader()
    rig.isolate(int(leader[3:]))


def test_a_leader_that_is_cut_off_from_everybody_is_succeeded(rig: HaRig) -> None:
    cut_each(rig, "/alone", [lambda: isolate_leader(rig)] * 3)


def mute_leader(rig: HaRig) -> None:
    """Nobody hears it; it hears everybody."""
    leader = int(rig.await_leader()[3:])
    for other in {1, 2, 3} - {leader}:
        rig.cut(leader, other, one_way=True)


def deafen_leader(rig: HaRig) -> None:
    """It hears nobody; everybody hears it."""
    leader = int(rig.await_leader()[3:])
    for other in {1, 2, 3} - {leader}:
        rig.cut(other, leader, one_way=True)


def test_a_leader_that_is_not_heard_or_hears_nobody_is_succeeded(rig: HaRig) -> None:
    cuts = [lambda: mute_leader(rig), lambda: deafen_leader(rig)]
    cut_each(rig, "/half-deaf", cuts * 2)
