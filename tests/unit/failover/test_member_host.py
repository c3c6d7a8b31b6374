"""Three members and three voters over real HTTP: who leads, and what becomes of what was told."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfs.ha.effects import Switchover
from dfs.ha.messages import JournalRecord
from dfs.ha.rows import GENESIS
from tests.unit.failover.member_rig import NAMES, Cluster
from tests.unit.failover.post_rig import eventually, threads_of

# Elections in earnest, with timers of a fifth: a machine that is fully loaded may be too slow.
pytestmark = pytest.mark.faults

Make = Callable[..., Cluster]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Cluster] = []

    def build(**shape: int) -> Cluster:
        made.append(Cluster(tmp_path, **shape))
        return made[-1]

    yield build
    for each in made:
        each.close()
    for prefix in ("member", "voter", "letters", "toy"):
        assert threads_of(prefix) == []


def is_whole(cluster: Cluster) -> bool:
    """All machines that run have the same journal."""
    heads = {each.storage.head() for each in cluster.machines.values() if each.up}
    return len(heads) == 1


def test_members_elect_a_leader_and_all_get_in_sync(make: Make) -> None:
    cluster = make()
    assert cluster.leader().name == "A", "only A has everything in the beginning"
    cluster.write(20)
    eventually(lambda: set(cluster.sync()) == set(NAMES))
    cluster.write(20)
    eventually(lambda: is_whole(cluster))
    for machine in cluster.machines.values():
        assert machine.words == cluster.acknowledged
        assert machine.failures == []


def test_nothing_that_was_told_is_lost_when_the_leader_dies_and_comes_back(make: Make) -> None:
    cluster = make()
    for _ in range(2):
        eventually(lambda: len(cluster.sync()) == 3)
        cluster.write(10)
        eventually(lambda: len(cluster.sync()) == 3)
        old = cluster.leader()
        old.stop()
        cluster.write(10)
        assert cluster.leader() is not old
        cluster.restart(old)
        eventually(lambda: is_whole(cluster))
    eventually(lambda: len(cluster.sync()) == 3)
    cluster.write(1)
    eventually(lambda: is_whole(cluster))
    for machine in cluster.machines.values():
        assert set(machine.words) >= set(cluster.acknowledged)
        assert len(machine.words) == len(set(machine.words)), "a change was made twice"
        assert machine.failures == []


def test_member_too_far_behind_gets_a_snapshot(make: Make) -> None:
    cluster = make(kept=5)
    eventually(lambda: len(cluster.sync()) == 3)
    behind = next(each for each in cluster.machines.values() if each is not cluster.leader())
    behind.stop()
    cluster.write(15)
    cluster.restart(behind)
    eventually(lambda: set(behind.words) >= set(cluster.acknowledged))
    assert any("is replaced by" in note for note in behind.namenode.notes)


def test_leader_hands_over_when_it_is_told_to(make: Make) -> None:
    cluster = make()
    eventually(lambda: len(cluster.sync()) == 3)
    old = cluster.leader()
    target = next(name for name in NAMES if name != old.name)
    old.member.tell(Switchover(target))
    eventually(lambda: cluster.machines[target].serves)
    cluster.write(5)
    eventually(lambda: old.member.known_leader == target)


def test_leader_that_cannot_commit_ends_its_process_and_another_goes_on(make: Make) -> None:
    cluster = make()
    eventually(lambda: len(cluster.sync()) == 3)
    broken = cluster.leader()
    broken.storage.broken = True
    eventually(lambda: broken.namenode.ask("never told") or broken.failures)
    assert "could not be committed: the disk is broken" in broken.failures[0]
    broken.stop()
    cluster.write(5)
    assert "never told" in cluster.leader().words, "it was on every other disk"


def test_member_whose_row_cannot_be_written_says_nothing_more(make: Make) -> None:
    cluster = make()
    eventually(lambda: len(cluster.sync()) == 3)
    leader = cluster.leader()
    other = next(each for each in cluster.machines.values() if each is not leader)
    (other.folder / "member.new").mkdir()
    leader.stop()  # the next epoch has to be written down
    eventually(lambda: other.failures)
    assert "cannot write" in other.failures[0]
    other.stop()
    (other.folder / "member.new").rmdir()
    cluster.restart(other)
    cluster.write(5)


def test_batch_begun_under_an_earlier_leadership_is_abandoned(make: Make) -> None:
    cluster = make()
    leader = cluster.leader()
    cluster.write(1)
    leader.namenode.stop()  # its writer: the test writes in its place
    stale = JournalRecord(1, 0, GENESIS, bytes(16), 0, b"")
    verdict = leader.member.propose(stale)
    assert (verdict.commit, verdict.reason) == (False, "another leadership has begun since")
    leader.member.stop()
    assert not leader.member.propose(stale).commit
