"""Whatever becomes of a journal's work, a member hears of it once."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from dfs.base.errors import LocalIoError
from dfs.failover.journal_works import JournalWorks, Stretch, Work
from dfs.ha.effects import (
    Applied,
    ApplyFailed,
    ApplyRecords,
    Event,
    FetchSnapshot,
    InstallSnapshot,
    MakeSnapshot,
    SnapshotFetched,
    SnapshotMade,
    StreamEnded,
    StreamRecords,
)
from dfs.ha.messages import Append, JournalRecord, SnapshotOffer
from dfs.ha.rows import START, Position
from tests.unit.failover.post_rig import eventually, threads_of
from tests.unit.ha.paper_disk import make_record

RECORD = make_record(START, 1, ["x"])
HEAD = RECORD.position
OFFER = SnapshotOffer(1, HEAD, "s")
APPLY, STREAM = ApplyRecords((RECORD,)), StreamRecords("B", 1, START)
INSTALL, FETCH, MAKE = (
    InstallSnapshot("s", HEAD, aside=True),
    FetchSnapshot(OFFER, "A"),
    MakeSnapshot("B", 1),
)


@dataclass
class OneRecord:
    """A journal that has, or gets, one record; `broken` lets nothing be done."""

    broken: bool = False
    has_start: bool = True
    asides: list[bool] = field(default_factory=list)

    def _try(self) -> None:
        if self.broken:
            raise LocalIoError("broken")

    def head(self) -> Position:
        return HEAD

    def apply(self, records: tuple[JournalRecord, ...]) -> Position:
        self._try()
        return records[-1].position

    def read(self, after: Position, *, bytes_max: int) -> Stretch | None:
        self._try()
        assert after == START
        assert bytes_max > 0
        return Stretch((RECORD,), HEAD) if self.has_start else None

    def make_snapshot(self) -> tuple[Position, str]:
        self._try()
        return HEAD, "s"

    def fetch_snapshot(self, offer: SnapshotOffer, source: str) -> None:
        self._try()
        assert (offer, source) == (OFFER, "A")

    def install_snapshot(self, name: str, *, aside: bool) -> Position:
        self._try()
        assert name == "s"
        self.asides.append(aside)
        return HEAD


class Bench:
    def __init__(self) -> None:
        self.journal = OneRecord()
        self.told: list[Event] = []
        self.sent: list[tuple[str, Append]] = []
        self.works = JournalWorks(
            self.journal,
            tell=self.told.append,
            send=lambda to, append: self.sent.append((to, append)),
        )
        self.works.start()

    def do(self, work: Work) -> Event:
        self.works.begin(work)
        eventually(lambda: self.told)
        return self.told.pop()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.works.stop()
    assert made.told == []
    assert threads_of("member") == []


def test_what_is_done_is_told(bench: Bench) -> None:
    assert bench.do(APPLY) == Applied(HEAD)
    assert bench.do(STREAM) == StreamEnded("B", 1, found=True)
    assert bench.sent == [("B", Append(1, START, (RECORD,), HEAD))]
    assert bench.do(MAKE) == SnapshotMade("B", 1, HEAD, "s")
    assert bench.do(FETCH) == SnapshotFetched("s", sound=True)
    assert bench.do(INSTALL) == Applied(HEAD)
    assert bench.journal.asides == [True]


def test_what_fails_is_told(bench: Bench) -> None:
    bench.journal.broken = True
    assert bench.do(APPLY) == ApplyFailed("broken")
    assert bench.do(INSTALL) == ApplyFailed("broken", snapshot="s")
    assert bench.do(FETCH) == SnapshotFetched("s", sound=False)
    bench.works.begin(MAKE)  # nobody waits for it
    assert bench.do(FETCH) == SnapshotFetched("s", sound=False)


def test_journal_that_cannot_be_read_now_calls_for_no_snapshot(bench: Bench) -> None:
    bench.journal.broken = True
    assert bench.do(STREAM) == StreamEnded("B", 1, found=True)
    assert bench.sent == []


def test_journal_without_that_position_says_so(bench: Bench) -> None:
    bench.journal.has_start = False
    assert bench.do(STREAM) == StreamEnded("B", 1, found=False)
    assert bench.sent == []
