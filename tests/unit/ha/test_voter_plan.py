"""Which voter is added next: the table, and what holds of every plan."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs.ha.voter_plan import Candidate, voter_to_add

LEADER = "v1"


def plan(
    voters: tuple[str, ...], candidates: Mapping[str, tuple[str, bool]], *, standbys: int = 1
) -> str:
    given_ = {name: Candidate(*each) for name, each in candidates.items()}
    machines = {name: each.machine for name, each in given_.items()}
    return voter_to_add(
        leader=LEADER, standbys=standbys, voters=voters, machines=machines, candidates=given_
    )


NN1, NN2, NN3 = ("m1", True), ("m2", True), ("m3", True)
DN1, DN2, DN3 = ("m1", False), ("m2", False), ("m3", False)


@pytest.mark.parametrize(
    ("voters", "candidates", "added"),
    [
        ((), {"v1": NN1, "v2": NN2}, "v1"),
        (("v1",), {"v1": NN1, "v2": NN2}, ""),
        (("v1",), {"v1": NN1, "v2": NN2, "d1": DN1, "d2": DN2}, ""),
        (("v1",), {"v1": NN1, "v2": NN2, "d3": DN3}, "v2"),
        (("v1", "v2"), {"v1": NN1, "v2": NN2, "d3": DN3}, "d3"),
        (("v1", "v2"), {"v1": NN1, "v2": NN2, "a3": DN3, "v3": NN3}, "v3"),
        (("v1", "v2", "d3"), {"v1": NN1, "v2": NN2, "d3": DN3, "d4": ("m4", False)}, ""),
    ],
    ids=["first", "two machines", "two of each", "third", "a DataNode's", "a member's", "four"],
)
def test_voters_are_added_as_machines_come(
    voters: tuple[str, ...], candidates: dict[str, tuple[str, bool]], added: str
) -> None:
    assert plan(voters, candidates) == added


def test_namenode_alone_needs_no_voters() -> None:
    assert plan((), {"v1": NN1, "d2": DN2, "d3": DN3}, standbys=0) == ""


@given(
    st.dictionaries(
        st.sampled_from([f"c{number}" for number in range(12)]),
        st.tuples(st.sampled_from([f"m{number}" for number in range(8)]), st.booleans()),
    )
)
def test_plans_end_with_one_voter_a_machine_and_an_odd_number(
    candidates: dict[str, tuple[str, bool]],
) -> None:
    candidates[LEADER] = NN1
    voters: tuple[str, ...] = ()
    while fresh := plan(voters, candidates):
        assert fresh not in voters
        voters = (*voters, fresh)
    machines = [candidates[voter][0] for voter in voters]
    assert voters[0] == LEADER
    assert len(set(machines)) == len(machines)
    there = len({machine for machine, _ in candidates.values()})
    assert len(voters) == (5 if there >= 5 else 3 if there >= 3 else 1)
