"""Voters on real disks, asked over real HTTP by a member that a test plays."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.clock import Clock, ManualClock, SystemClock
from dfs.base.errors import ForeignFolder, MetadataCorrupt
from dfs.failover.row_file import RowFile
from dfs.failover.voter_host import VoterHost, open_voter
from dfs.ha.messages import (
    Accept,
    Accepted,
    Body,
    Denied,
    Letter,
    Prepare,
    Promise,
    VoterBeat,
    VoterBeatOk,
)
from dfs.ha.rows import Hint, VoterRow, config_of, first_rows
from dfs.ha.timers import Timers
from tests.unit.failover.post_rig import Daemon, Reader, eventually, threads_of

VERSION = (1, 0)
NAMES = ("v1", "v2", "v3")
ROWS = first_rows(cluster="c", member="A", voters=NAMES)[1]
TIMERS = Timers().scaled(0.05)  # sticky for a quarter of a second


class Booth:
    """A machine with a voter: a folder, a port, a host that can be stopped and started."""

    def __init__(self, path: Path, row: VoterRow, leader: Daemon) -> None:
        self.path = path
        self.clock: Clock = SystemClock()
        self._leader = leader
        RowFile(path, VoterRow).keep(row)
        self.failures: list[str] = []
        self.daemon = Daemon()
        self.start()

    def start(self) -> None:
        self.host = VoterHost(
            open_voter(self.path, cluster="c"),
            timers=TIMERS,
            sender=self.daemon.post,
            clock=self.clock,
            on_failure=self.failures.append,
        )
        self.daemon.post.house(self.host.name, self.host.take)
        self.daemon.post.book({"A": self._leader.url, "B": self._leader.url})
        self.host.start()

    def restart(self) -> None:
        """The process ends and begins again at the same address: all but the disk is new."""
        self.host.stop()
        self.daemon.close()
        self.daemon = Daemon(port=self.daemon.server.port)
        self.start()

    def close(self) -> None:
        self.host.stop()
        self.daemon.close()


class Polls:
    """Three voters, and the members A and B as a test plays them."""

    def __init__(self, folder: Path) -> None:
        self.daemon = Daemon()
        self.readers = {name: Reader(self.daemon, name) for name in "AB"}
        self.booths = [Booth(folder / row.voter, row, self.daemon) for row in ROWS]
        self.daemon.post.book({booth.host.name: booth.daemon.url for booth in self.booths})

    def ask(self, member: str, body: Body, *voters: str) -> None:
        self.daemon.post.send([Letter("c", member, voter, body) for voter in voters or NAMES])

    def answers(self, member: str, kind: type[Body]) -> dict[str, Body]:
        letters = self.readers[member].letters
        return {each.sender: each.body for each in letters if isinstance(each.body, kind)}

    def forget(self) -> None:
        for each in self.readers.values():
            each.letters.clear()

    def elect(self, member: str, epoch: int, *voters: str) -> dict[str, Body]:
        """Ask until all of them promised: they may hold to somebody else for a while."""
        self.forget()

        def all_promised() -> bool:
            self.ask(member, Prepare(epoch, VERSION), *voters)
            found = self.answers(member, Promise)
            return {name for name, each in found.items() if each.epoch == epoch} >= set(
                voters or NAMES
            )

        eventually(all_promised)
        return self.answers(member, Promise)

    def close(self) -> None:
        for each in self.booths:
            each.close()
        self.daemon.close()


@pytest.fixture
def polls(tmp_path: Path) -> Iterator[Polls]:
    made = Polls(tmp_path)
    yield made
    made.close()
    assert threads_of("voter") == []
    assert threads_of("letters") == []


def test_leader_gets_promises_beats_and_a_sync_set_kept_on_three_disks(polls: Polls) -> None:
    polls.elect("A", 2)
    config = config_of("A", 2, ("A", "B"))
    polls.ask("A", Accept(config, ROWS[0].voters, Hint(0, 7)))
    eventually(lambda: len(polls.answers("A", Accepted)) == 3)
    polls.ask("A", VoterBeat(2, 1, VERSION, Hint(0, 9), durable=True))
    eventually(lambda: len(polls.answers("A", VoterBeatOk)) == 3)
    for booth in polls.booths:
        row = RowFile(booth.path, VoterRow).load()
        assert row == booth.host.row
        assert row is not None
        assert (row.promised, row.promised_to, row.accepted) == (2, "A", config)
        assert row.hint == Hint(0, 9)


def test_hint_that_nobody_waits_for_is_written_down_in_its_time(polls: Polls) -> None:
    polls.elect("A", 2)
    polls.ask("A", VoterBeat(2, 1, VERSION, Hint(0, 5)))
    eventually(lambda: all(_on_disk(booth).hint == Hint(0, 5) for booth in polls.booths))


def _on_disk(booth: Booth) -> VoterRow:
    row = RowFile(booth.path, VoterRow).load()
    assert row is not None
    return row


def test_voters_keep_their_promises_through_a_restart(polls: Polls) -> None:
    polls.elect("A", 5)
    for booth in polls.booths:
        booth.restart()
    polls.forget()
    polls.ask("B", Prepare(4, VERSION))
    polls.ask("B", Prepare(5, VERSION))
    eventually(lambda: len(polls.answers("B", Denied)) == 3)
    assert polls.answers("B", Promise) == {}
    polls.elect("A", 5)


def test_voter_holds_to_whom_it_may_have_heard_before_it_was_started(polls: Polls) -> None:
    polls.elect("A", 2)
    booth = polls.booths[0]
    booth.clock = clock = ManualClock()
    booth.restart()
    polls.ask("B", Prepare(3, VERSION), "v1")
    eventually(lambda: polls.answers("B", Denied))
    denied = polls.answers("B", Denied)["v1"]
    assert isinstance(denied, Denied)
    assert "A may have been here" in denied.reason
    clock.advance(TIMERS.stickiness_s)
    polls.elect("B", 3, "v1")


def test_voter_tells_its_runs_apart(polls: Polls) -> None:
    polls.elect("A", 2)
    runs = set()
    for number in (1, 2):
        polls.forget()
        polls.ask("A", VoterBeat(2, number, VERSION, Hint()), "v1")
        eventually(lambda: polls.answers("A", VoterBeatOk))
        answer = polls.answers("A", VoterBeatOk)["v1"]
        assert isinstance(answer, VoterBeatOk)
        runs.add(answer.run)
        polls.booths[0].restart()
    assert len(runs) == 2


def test_voter_whose_disk_takes_no_write_says_nothing_and_ends_its_process(polls: Polls) -> None:
    broken = polls.booths[0]
    (broken.path.parent / "v1.new").mkdir()
    polls.ask("A", Prepare(2, VERSION))
    eventually(lambda: len(polls.answers("A", Promise)) == 2)
    eventually(lambda: broken.failures)
    polls.ask("A", VoterBeat(2, 1, VERSION, Hint()))
    eventually(lambda: len(polls.answers("A", VoterBeatOk)) == 2)
    (broken.path.parent / "v1.new").rmdir()
    polls.ask("A", Prepare(3, VERSION), "v1")
    polls.elect("A", 3, "v2", "v3")
    assert {each.sender for each in polls.readers["A"].letters} == {"v2", "v3"}
    assert len(broken.failures) == 1
    assert "cannot write" in broken.failures[0]
    assert _on_disk(broken) == ROWS[0]
    assert not broken.host.take(Letter("c", "A", "v1", Prepare(4, VERSION)))


def test_machine_without_a_voter_gets_a_new_one_that_has_no_vote(
    tmp_path: Path, polls: Polls
) -> None:
    made = open_voter(tmp_path / "fresh", cluster="c").load()
    again = open_voter(tmp_path / "fresh", cluster="c").load()
    other = open_voter(tmp_path / "other", cluster="c").load()
    assert made == again
    assert made is not None
    assert other is not None
    assert made.voter != other.voter
    booth = Booth(tmp_path / "fresh", made, polls.daemon)
    polls.daemon.post.book({made.voter: booth.daemon.url})
    polls.ask("A", Prepare(2, VERSION), made.voter)
    eventually(lambda: polls.answers("A", Denied))
    denied = polls.answers("A", Denied)[made.voter]
    assert isinstance(denied, Denied)
    assert denied.reason == "this voter has no vote in this cluster"
    booth.close()


def test_voter_of_another_cluster_or_with_a_damaged_row_is_not_begun(tmp_path: Path) -> None:
    open_voter(tmp_path / "voter", cluster="c")
    with pytest.raises(ForeignFolder):
        open_voter(tmp_path / "voter", cluster="d")
    (tmp_path / "voter").write_bytes(b"")
    with pytest.raises(MetadataCorrupt):
        open_voter(tmp_path / "voter", cluster="c")
    assert (tmp_path / "voter").read_bytes() == b""


def test_voter_that_was_not_started_can_be_stopped(tmp_path: Path) -> None:
    daemon = Daemon()
    host = VoterHost(
        open_voter(tmp_path / "voter", cluster="c"),
        timers=TIMERS,
        sender=daemon.post,
        clock=SystemClock(),
        on_failure=lambda why: pytest.fail(why),
    )
    host.stop()
    daemon.close()
