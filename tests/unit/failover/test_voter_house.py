"""The voter of a daemon and its post: told by a leader, kept on a disk, asked over real HTTP."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from msgspec.structs import asdict, replace

from dfs.base.clock import SystemClock
from dfs.base.errors import (
    BadConfig,
    ForeignFolder,
    LimitExceeded,
    LocalIoError,
    MetadataCorrupt,
    Starting,
    TokenRefused,
)
from dfs.base.events import Event, RecordingEmitter
from dfs.failover.envelope import LETTERS_PATH, Seal, write_letter
from dfs.failover.post_office import DAEMONS_MAX
from dfs.failover.row_file import RowFile
from dfs.failover.voter_house import CORRESPONDENTS_FILE, VOTER_FILE, VoterHouse
from dfs.ha.messages import Body, Denied, Letter, Prepare, Promise, VoterBeat, VoterBeatOk
from dfs.ha.rows import Hint, VoterRow, first_rows
from dfs.ha.timers import Timers
from dfs.web.front import Front
from dfs.web.http_server import HttpLimits, HttpServer
from dfs.web.letters import letters_address
from dfs.wire.ha_api import Correspondents
from tests.unit.failover.post_rig import SECRET, Daemon, Reader, eventually, threads_of

ROW = first_rows(cluster="c", member="A", voters=("v",))[1][0]
VERSION = ROW.voters.version
TIMES_S = asdict(Timers().scaled(0.02))
OTHER_TIMES_S = asdict(Timers().scaled(0.03))


class Home:
    """A machine with a house: a folder and a port that outlive its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[str] = []
        self.port = 0
        self.begin()

    def begin(self) -> None:
        """A process starts."""
        self.log = RecordingEmitter()
        clock = SystemClock()
        self.house = VoterHouse(
            self.folder, cluster="c", clock=clock, on_failure=self.failures.append, emit=self.log
        )
        self.bugs: list[Exception] = []
        front = Front(
            {LETTERS_PATH: letters_address(self.house.receive)},
            Flask("rest"),
            lambda _path, exc: self.bugs.append(exc),
        )
        limits = HttpLimits(threads=1)
        self.http = HttpServer(front, host="127.0.0.1", port=self.port, limits=limits, clock=clock)
        self.port = self.http.port
        self.http.start()
        self.house.start()

    def end(self) -> None:
        self.house.stop()
        self.http.stop(drain_s=1)
        assert self.bugs == []

    def restart(self) -> None:
        self.end()
        self.begin()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def row(self) -> VoterRow:
        row = RowFile(self.folder / VOTER_FILE, VoterRow).load()
        assert row is not None
        return row

    def events(self) -> list[Event]:
        return [event for event, _facts in self.log.events]


class Member:
    """The members A and B, as a test plays them."""

    def __init__(self) -> None:
        self.daemon = Daemon()
        self.readers = {name: Reader(self.daemon, name) for name in "AB"}
        self._numbers = itertools.count(1)

    def ask(self, home: Home, body: Body, *, member: str = "A") -> None:
        self.daemon.post.book({home.house.voter: home.url})
        self.daemon.post.send([Letter("c", member, home.house.voter, body)])

    def heard(self, kind: type[Body], *, member: str = "A") -> list[Body]:
        return [each.body for each in self.readers[member].letters if isinstance(each.body, kind)]

    def beaten(self, home: Home, epoch: int) -> VoterBeatOk:
        """How the voter answers a beat."""
        before = len(self.heard(VoterBeatOk))
        self.ask(home, VoterBeat(epoch, next(self._numbers), VERSION, Hint()))
        eventually(lambda: len(self.heard(VoterBeatOk)) > before)
        answer = self.heard(VoterBeatOk)[-1]
        assert isinstance(answer, VoterBeatOk)
        return answer


@pytest.fixture
def member() -> Iterator[Member]:
    made = Member()
    yield made
    made.daemon.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    RowFile(tmp_path / VOTER_FILE, VoterRow).keep(ROW)
    made = Home(tmp_path)
    yield made
    made.end()
    assert threads_of("voter") == []
    eventually(lambda: threads_of("letters") == [])


def told(member: Member, version: int = 1, **differently: object) -> Correspondents:
    url = member.daemon.url
    urls = {"A": url, "B": url}
    return replace(Correspondents(version, SECRET, urls, {"A": "m1"}, TIMES_S), **differently)


def test_house_takes_nothing_in_and_runs_no_voter_until_somebody_told_it_to_whom(
    home: Home, member: Member
) -> None:
    house = home.house
    assert (house.version, house.correspondents, house.state()) == (0, None, None)
    with pytest.raises(Starting):
        house.receive(b"")
    house.sender.send([Letter("c", house.voter, "A", Prepare(2, VERSION))])
    assert threads_of("voter") == []

    assert house.learn(told(member))
    assert (house.version, house.correspondents) == (1, told(member))
    member.ask(home, Prepare(2, VERSION))
    eventually(lambda: member.heard(Promise))
    assert house.row == home.row
    assert (house.row.promised, house.row.promised_to) == (2, "A")
    state = house.state()
    assert state is not None
    assert (state.received, state.refused) == (1, 0)
    assert home.events() == [Event.CORRESPONDENTS_LEARNT]


def test_voter_is_the_same_after_a_restart_and_another_in_another_folder(tmp_path: Path) -> None:
    homes = []
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        homes.append(Home(tmp_path / name))
    voters = [home.house.voter for home in homes]
    assert voters[0] != voters[1]
    for home in homes:
        home.restart()
    assert [home.house.voter for home in homes] == voters
    for home in homes:
        home.end()


def test_voter_answers_after_a_restart_before_any_leader_told_it_anything(
    home: Home, member: Member
) -> None:
    home.house.learn(told(member))
    home.restart()
    assert home.house.version == 1
    assert member.beaten(home, 3).epoch == 3
    assert home.events() == []


def test_correspondents_that_are_not_newer_are_ignored(home: Home, member: Member) -> None:
    assert home.house.learn(told(member, 5))
    for version in (4, 5):
        assert not home.house.learn(told(member, version, urls={}))
    assert home.house.correspondents == told(member, 5)
    home.restart()
    assert not home.house.learn(told(member, 5, urls={}))
    assert home.house.learn(told(member, 6))


@pytest.mark.parametrize(
    ("differently", "refusal"),
    [
        ({"times_s": TIMES_S | {"beat_s": 100.0}}, BadConfig),
        ({"times_s": {"beet_s": 1.0}}, BadConfig),
        ({"secret": b"short"}, BadConfig),
        ({"urls": {f"v{n}": f"http://h{n}" for n in range(DAEMONS_MAX + 1)}}, LimitExceeded),
    ],
)
def test_correspondents_that_cannot_be_lived_by_change_nothing(
    home: Home, member: Member, differently: dict[str, object], refusal: type[Exception]
) -> None:
    home.house.learn(told(member))
    before = (home.folder / CORRESPONDENTS_FILE).read_bytes()
    with pytest.raises(refusal):
        home.house.learn(told(member, 2, **differently))
    assert home.house.correspondents == told(member)
    assert (home.folder / CORRESPONDENTS_FILE).read_bytes() == before
    assert member.beaten(home, 2).epoch == 2


def test_voter_begins_again_when_the_times_change_and_not_when_the_addresses_do(
    home: Home, member: Member
) -> None:
    home.house.learn(told(member))
    first = member.beaten(home, 2).run
    home.house.learn(told(member, 2, machines={}))
    assert member.beaten(home, 2).run == first
    home.house.learn(told(member, 3, times_s=asdict(Timers())))
    assert member.beaten(home, 2).run != first
    member.ask(home, Prepare(3, VERSION), member="B")
    eventually(lambda: member.heard(Denied, member="B"))
    assert len(threads_of("voter")) == 1


def test_letters_under_the_secret_of_before_are_refused(home: Home, member: Member) -> None:
    home.house.learn(told(member))
    old, fresh = Seal(SECRET), Seal(b"t" * 32)
    home.house.learn(told(member, 2, secret=b"t" * 32))
    raw = write_letter(Letter("c", "A", home.house.voter, Prepare(2, VERSION)))
    with pytest.raises(TokenRefused):
        home.house.receive(old.close([raw]))
    home.house.receive(fresh.close([raw]))
    state = home.house.state()
    assert state is not None
    assert (state.received, state.refused) == (1, 1)
    member.daemon.post.use(fresh, patience_s=5.0)
    assert member.beaten(home, 4).epoch == 4


def test_damaged_correspondents_are_forgotten_and_learnt_again(home: Home, member: Member) -> None:
    home.house.learn(told(member, 7))
    member.ask(home, Prepare(5, VERSION))
    eventually(lambda: home.row.promised == 5)
    home.end()
    file = home.folder / CORRESPONDENTS_FILE
    file.write_bytes(file.read_bytes()[:-2])
    home.begin()
    assert home.events() == [Event.CORRESPONDENTS_FORGOTTEN]
    assert home.house.version == 0
    assert home.house.row.promised == 5
    assert home.house.learn(told(member, 7))
    home.restart()
    assert home.house.version == 7


def test_damaged_promises_are_refused_and_so_are_those_of_another_cluster(tmp_path: Path) -> None:
    RowFile(tmp_path / VOTER_FILE, VoterRow).keep(ROW)

    def make(cluster: str) -> VoterHouse:
        return VoterHouse(tmp_path, cluster=cluster, clock=SystemClock(), on_failure=pytest.fail)

    with pytest.raises(ForeignFolder):
        make("another")
    (tmp_path / VOTER_FILE).write_bytes(b"dfs-voter 1 \n")
    with pytest.raises(MetadataCorrupt, match="damaged"):
        make("c")


def test_correspondents_that_the_disk_did_not_take_are_not_lived_by_and_may_be_told_again(
    home: Home, member: Member
) -> None:
    home.house.learn(told(member))
    blocked = home.folder / f"{CORRESPONDENTS_FILE}.new"
    blocked.mkdir()
    with pytest.raises(LocalIoError):
        home.house.learn(told(member, 2))
    assert home.house.version == 1
    blocked.rmdir()
    assert home.house.learn(told(member, 2))


def test_voter_whose_disk_failed_stays_silent_whatever_it_is_told(
    home: Home, member: Member
) -> None:
    home.house.learn(told(member))
    blocked = home.folder / f"{VOTER_FILE}.new"
    blocked.mkdir()
    member.ask(home, Prepare(2, VERSION))
    eventually(lambda: home.failures)
    blocked.rmdir()
    home.house.learn(told(member, 2, times_s=OTHER_TIMES_S))
    assert home.house.version == 2
    assert threads_of("voter") == []
    assert len(home.failures) == 1
    home.restart()
    assert member.beaten(home, 4).epoch == 4
    assert member.heard(Promise) == []


def test_resident_gets_its_letters_though_it_moved_in_before_anybody_was_known(
    home: Home, member: Member
) -> None:
    letters: list[Letter] = []

    def take(letter: Letter) -> bool:
        letters.append(letter)
        return True

    home.house.house("N", take)
    home.house.learn(told(member))
    letter = Letter("c", "A", "N", Prepare(2, VERSION))
    member.daemon.post.book({"N": home.url})
    member.daemon.post.send([letter])
    eventually(lambda: letters == [letter])
    home.house.sender.send([Letter("c", "N", "A", Prepare(9, VERSION))])
    eventually(lambda: member.heard(Prepare))
