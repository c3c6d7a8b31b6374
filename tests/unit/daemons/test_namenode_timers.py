"""The times of failover: one set, which the settings and the core each state."""

import pytest

from dfs.base.errors import BadConfig
from dfs.daemons.namenode_ballot import timers_of
from dfs.ha.timers import Timers
from dfs.settings.sections import HaConfig


def test_times_of_a_cluster_that_sets_none_are_those_of_the_core() -> None:
    assert timers_of(HaConfig()) == Timers()


def test_times_that_contradict_each_other_are_refused_with_their_section() -> None:
    with pytest.raises(BadConfig, match=r"\[ha\]"):
        timers_of(HaConfig(lease_s=9.0))
