"""What is on the disk when a voter or a member speaks: all that its words rest on."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dfs.base.clock import SystemClock
from dfs.failover.member_host import MemberHost, Surroundings
from dfs.failover.row_file import RowFile
from dfs.failover.voter_host import VoterHost, open_voter
from dfs.ha.effects import Note, StandDown
from dfs.ha.ground import Conduct
from dfs.ha.messages import Ack, Append, Beat, JournalRecord, Letter, Prepare, Promise
from dfs.ha.rows import (
    GENESIS,
    NO_CONFIG,
    NO_VOTERS,
    START,
    MemberRow,
    Position,
    VoterRow,
    first_rows,
)
from dfs.ha.timers import Timers
from tests.unit.failover.member_rig import Storage
from tests.unit.failover.post_rig import eventually
from tests.unit.ha.paper_disk import make_record

MEMBER, (VOTER,) = first_rows(cluster="c", member="A", voters=("v",))
ALONE, _ = first_rows(cluster="c", member="A", voters=())
RECORD = make_record(START, 2, ["x"])


class Disk(Storage):
    """Puts records down when it is let to."""

    def __init__(self) -> None:
        super().__init__({}, kept=10)
        self.may_write = threading.Event()
        self.writes = threading.Event()

    def apply(self, records: tuple[JournalRecord, ...]) -> Position:
        self.writes.set()
        assert self.may_write.wait(20)
        return super().apply(records)


class Outside:
    """Hears everything that leaves a host, and looks at its row each time."""

    def __init__(self, row: RowFile[MemberRow] | RowFile[VoterRow]) -> None:
        self._row = row
        self.letters: list[Letter] = []
        self.heard: list[tuple[str, int]] = []  # what left, and what was promised on the disk
        self.led = threading.Event()

    def send(self, letters: Sequence[Letter]) -> None:
        for letter in letters:
            self._note(type(letter.body).__name__)
            self.letters.append(letter)

    def lead(self, epoch: int) -> None:
        self._note(f"lead in {epoch}")
        self.led.set()

    def stand_down(self, why: StandDown) -> None:
        self._note(f"stand down from {why.epoch}")

    def acknowledge(self, txid: int) -> None:
        self._note(f"acknowledge {txid}")

    def confirm_reads(self, number: int) -> None:
        raise AssertionError(number)

    def note(self, note: Note) -> None:
        assert note.text

    def _note(self, what: str) -> None:
        row = self._row.load()
        assert row is not None
        self.heard.append((what, row.promised))

    def promises(self) -> list[int]:
        return [each.body.epoch for each in self.letters if isinstance(each.body, Promise)]

    def acks(self) -> list[Position]:
        return [each.body.head for each in self.letters if isinstance(each.body, Ack)]


class Bench:
    """One host at a time, and what leaves it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.disk = Disk()
        self.failures: list[str] = []
        self._hosts: list[MemberHost | VoterHost] = []

    def voter(self) -> tuple[VoterHost, Outside]:
        path = self._folder / "voter"
        RowFile(path, VoterRow).keep(VOTER)
        outside = Outside(RowFile(path, VoterRow))
        host = VoterHost(
            open_voter(path, cluster="c"),
            timers=Timers(),
            sender=outside,
            clock=SystemClock(),
            on_failure=self.failures.append,
        )
        return self._begun(host), outside

    def member(self, row: MemberRow) -> tuple[MemberHost, Outside]:
        path = self._folder / "member"
        RowFile(path, MemberRow).keep(row)
        outside = Outside(RowFile(path, MemberRow))
        around = Surroundings(
            journal=self.disk,
            service=outside,
            sender=outside,
            clock=SystemClock(),
            on_failure=self.failures.append,
        )
        file = RowFile(path, MemberRow)
        host = MemberHost(file, around, timers=Timers(), conduct=Conduct())
        return self._begun(host), outside

    def _begun(self, host):
        self._hosts.append(host)
        host.start()
        return host

    def close(self) -> None:
        self.disk.may_write.set()
        for host in self._hosts:
            host.stop()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def to_member(body: Beat | Append) -> Letter:
    return Letter("c", "B", "A", body)


def test_voter_promises_what_is_on_its_disk(bench: Bench) -> None:
    host, outside = bench.voter()
    for epoch in (2, 5):  # of the leader that it has: it holds to no other yet
        host.take(Letter("c", "A", "v", Prepare(epoch, (1, 0))))
        eventually(lambda epoch=epoch: outside.promises()[-1:] == [epoch])
    assert outside.heard == [("Promise", 2), ("Promise", 5)]


def test_member_answers_an_epoch_when_it_is_on_its_disk(bench: Bench) -> None:
    host, outside = bench.member(MEMBER)
    host.take(to_member(Beat(4, START, NO_CONFIG, MEMBER.voters)))
    eventually(outside.acks)
    assert outside.heard[0] == ("Ack", 4)
    assert bench.failures == []


def test_leader_that_hears_of_another_stands_down_when_that_is_on_its_disk_and_then_answers(
    bench: Bench,
) -> None:
    host, outside = bench.member(ALONE)
    assert outside.led.wait(20)
    outside.heard.clear()
    host.take(to_member(Beat(9, START, NO_CONFIG, NO_VOTERS)))
    eventually(lambda: any(what.startswith("stand down") for what, _ in outside.heard))
    assert outside.heard[0] == ("stand down from 1", 9)


def test_follower_acknowledges_a_record_that_is_on_its_disk_and_not_before(bench: Bench) -> None:
    host, outside = bench.member(MEMBER)
    host.take(to_member(Beat(2, START, NO_CONFIG, MEMBER.voters)))
    eventually(outside.acks)
    host.take(to_member(Append(2, START, (RECORD,), RECORD.position)))
    assert bench.disk.writes.wait(20)
    host.take(to_member(Beat(2, RECORD.position, NO_CONFIG, MEMBER.voters)))
    before = len(outside.acks())
    eventually(lambda: len(outside.acks()) > before)
    assert RECORD.position not in outside.acks()
    bench.disk.may_write.set()
    eventually(lambda: RECORD.position in outside.acks())
    assert bench.disk.head() == RECORD.position


def test_batch_of_a_lead_that_is_over_is_not_committed_in_the_next(bench: Bench) -> None:
    host, outside = bench.member(ALONE)
    assert outside.led.wait(20)
    verdict = host.propose(JournalRecord(1, 0, GENESIS, bytes(16), 0, b""))
    assert (verdict.commit, verdict.reason) == (False, "another leadership has begun since")
    assert bench.failures == []
