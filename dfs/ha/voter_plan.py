"""Pure: which voter to add next, where nobody has said otherwise.

P1  one voter a machine: two of one machine die together, and count as one
P2  three voters from three machines on, five from five on: an even number tolerates no more
    failures than one less does
P3  without a standby there are no voters: a NameNode alone asks nobody.  With one, the first is
    the leader's own: it loses nothing by waiting for itself
P4  with two machines only the leader's votes: a majority of two is both, and the death of either
    would stop the service
P5  nobody is taken away by itself: who is silent may be on the other side of a cut
"""

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

FEW, MANY = 3, 5


class Candidate(NamedTuple):
    """A voter that could be asked: where it runs, and whether a NameNode hosts it."""

    machine: str
    of_member: bool


def voter_to_add(
    *,
    leader: str,
    standbys: int,
    voters: Sequence[str],
    machines: Mapping[str, str],
    candidates: Mapping[str, Candidate],
) -> str:
    """The voter that should join the voters now; empty when there is none.

    Args:
        leader: the voter in the leader's process.
        standbys: NameNodes that follow, in sync or not.
        machines: where each voter in force runs, as far as is known.
        candidates: voters that were heard lately, those in force among them.
    """
    if not standbys:
        return ""
    if not voters:
        return leader
    covered = {machines.get(voter, voter) for voter in voters}
    there = covered | {each.machine for each in candidates.values()}
    if len(voters) >= voters_wanted(len(there)):
        return ""
    return _best(candidates, covered, set(voters))


def voters_wanted(machines: int) -> int:
    """How many voters so many machines should have (P2, P4)."""
    return MANY if machines >= MANY else FEW if machines >= FEW else 1


def _best(candidates: Mapping[str, Candidate], covered: Set[str], voters: Set[str]) -> str:
    """Machines of NameNodes first: one that lives and has no vote of its own is an odd thing."""
    fit = [
        (not each.of_member, voter)
        for voter, each in candidates.items()
        if each.machine not in covered and voter not in voters
    ]
    return min(fit)[1] if fit else ""
