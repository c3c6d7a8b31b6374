"""The real process among several NameNodes: its voter, whom it finds, and when it beats."""

import http.client
import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import asdict

from dfs.failover.envelope import ENVELOPE_BYTES_MAX, LETTERS_PATH
from dfs.ha.messages import Accept, Accepted, Body, Letter, Prepare, Promise
from dfs.ha.rows import Hint, VoterSet, config_of
from dfs.ha.timers import Timers
from dfs.wire.ha_api import Correspondents
from dfs.wire.nodes_api import BEAT_NOW_PATH
from tests.fake_namenode import JOIN_TOKEN, FakeNamenode
from tests.unit.daemons.daemon_rig import CONFIG, Daemon
from tests.unit.failover import post_rig
from tests.unit.failover.post_rig import SECRET, Reader, eventually

CLUSTER = "c" * 32
SELDOM = CONFIG.replace("heartbeat_interval_s = 50ms", "heartbeat_interval_s = 10m").replace(
    "[liveness]", "[liveness]\nstale_after_s = 20m\ndead_after_s = 30m"
)


class Leader:
    """The member A, as a test plays it."""

    def __init__(self) -> None:
        self.post = post_rig.Daemon()
        self.reader = Reader(self.post, "A")

    def correspondents(self, version: int) -> Correspondents:
        times_s = asdict(Timers().scaled(0.02))
        return Correspondents(version, SECRET, {"A": self.post.url}, {"A": "m1"}, times_s)

    def ask(self, daemon: Daemon, voter: str, body: Body, kind: type[Body]) -> Body:
        """The answer of that kind; a voter that holds to somebody else is asked again."""
        self.reader.letters.clear()
        self.post.post.book({voter: f"http://{daemon.http}"})

        def answered() -> list[Body]:
            self.post.post.send([Letter(CLUSTER, "A", voter, body)])
            return [each.body for each in self.reader.letters if isinstance(each.body, kind)]

        eventually(answered)
        return answered()[0]


@pytest.fixture
def leader() -> Iterator[Leader]:
    made = Leader()
    yield made
    made.post.close()


def metrics(daemon: Daemon) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{daemon.http}/metrics", timeout=10) as answer:
        lines = [line.split() for line in answer.read().decode().splitlines() if line[0] != "#"]
    return {name: float(value) for name, value in lines if "{" not in name}


def test_voter_answers_after_a_restart_though_no_namenode_is_there(
    tmp_path: Path, namenode: FakeNamenode, start, leader: Leader
) -> None:
    namenode.correspondents = leader.correspondents(3)
    folder = tmp_path / "disk"
    daemon = start(folder, "--join-token", JOIN_TOKEN).ready()
    namenode.wait(lambda: namenode.beats and namenode.beats[-1].correspondents == 3)
    registration = namenode.registrations[0]
    assert registration.machine == socket.gethostname()
    voter = registration.voter
    accept = Accept(config_of("A", 2, ("A",)), VoterSet(2, 0, (voter,)), Hint(0, 7))
    leader.ask(daemon, voter, accept, Accepted)
    assert daemon.ask("/health")["voter"] == {
        "uuid": voter,
        "promised": 2,
        "correspondents": 3,
        "failed": "",
    }
    daemon.end(signal.SIGKILL)
    namenode.close()

    again = start(folder).ready()
    health = again.ask("/health")
    assert (health["voter"]["uuid"], health["voter"]["promised"]) == (voter, 2)
    promise = leader.ask(again, voter, Prepare(5, (2, 0)), Promise)
    assert isinstance(promise, Promise)
    assert promise.accepted == config_of("A", 2, ("A",))
    shown = metrics(again)
    assert shown["dfs_voter_promised_epoch"] == 5
    assert shown["dfs_letters_received"] >= 1
    assert (shown["dfs_letters_refused"], shown["dfs_letters_undeliverable"]) == (0, 0)
    assert again.end() == 0


def test_letters_may_be_as_long_as_an_envelope_and_no_longer(
    tmp_path: Path, namenode: FakeNamenode, start, leader: Leader
) -> None:
    namenode.correspondents = leader.correspondents(1)
    daemon = start(tmp_path / "disk", "--join-token", JOIN_TOKEN).ready()
    namenode.wait(lambda: namenode.beats and namenode.beats[-1].correspondents == 1)

    def refusal(said_bytes: int, body: bytes) -> str:
        connection = http.client.HTTPConnection(daemon.http, timeout=30)
        connection.putrequest("POST", LETTERS_PATH)
        connection.putheader("Content-Length", str(said_bytes))
        connection.endheaders(body)
        code = json.load(connection.getresponse())["error"]["code"]
        connection.close()
        return str(code)

    longest = b"DFSL\1" + bytes(ENVELOPE_BYTES_MAX - 5)
    assert refusal(ENVELOPE_BYTES_MAX, longest) == "token_refused"
    assert refusal(ENVELOPE_BYTES_MAX + 1, b"") == "limit_exceeded"
    assert metrics(daemon)["dfs_letters_refused"] == 1


def test_letters_are_refused_until_somebody_told_whose_they_may_be(
    tmp_path: Path, namenode: FakeNamenode, start
) -> None:
    daemon = start(tmp_path / "disk", "--join-token", JOIN_TOKEN).ready()
    request = urllib.request.Request(f"http://{daemon.http}{LETTERS_PATH}", data=b"DFSL")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert json.load(refused.value)["error"]["code"] == "starting"


def test_namenode_that_was_added_later_is_found_by_a_datanode_that_starts_anew(
    tmp_path: Path, namenode: FakeNamenode, start
) -> None:
    added = FakeNamenode()
    try:
        added.leader = namenode.url
        namenode.namenodes = [namenode.url, added.url]
        daemon = start(tmp_path / "disk", "--join-token", JOIN_TOKEN).ready()
        added.wait(lambda: added.asked_in_vain >= 2)
        health = daemon.ask("/health")
        assert health["leader"] == namenode.url
        assert [each["following"] for each in health["namenodes"]] == [False, True]
        eventually(lambda: (tmp_path / "disk" / "namenodes.json").exists())
        daemon.end(signal.SIGKILL)
        namenode.close()
        with added.moved:
            added.epoch, added.leader = 2, None
        again = start(tmp_path / "disk").ready()
        added.wait(lambda: added.beats)
        assert added.beats[-1].epoch == 2
        eventually(lambda: again.ask("/health")["leader"] == added.url)
    finally:
        added.close()


def test_whoever_reaches_its_port_may_have_it_beat_now(
    tmp_path: Path, namenode: FakeNamenode, start
) -> None:
    daemon = start(tmp_path / "disk", "--join-token", JOIN_TOKEN, settings=SELDOM).ready()
    namenode.wait(lambda: namenode.registrations)
    for number in (1, 2):
        eventually(lambda: daemon.ask(BEAT_NOW_PATH)["beats"])
        namenode.wait(lambda: len(namenode.beats) >= number)  # noqa: B023 - called at once


def test_datanode_whose_voter_is_damaged_serves_its_blocks_without_one(
    tmp_path: Path, namenode: FakeNamenode, start
) -> None:
    folder = tmp_path / "disk"
    start(folder, "--join-token", JOIN_TOKEN).ready().end()
    (folder / "voter.row").write_bytes(b"dfs-voter 1 rubbish\n")
    daemon = start(folder).ready()
    namenode.wait(lambda: len(namenode.registrations) >= 2)
    assert namenode.registrations[-1].voter == ""
    health = daemon.ask("/health")
    assert health["status"] == "degraded"
    assert "voter.row is damaged" in health["voter"]["failed"]
    assert (folder / "voter.row").read_bytes() == b"dfs-voter 1 rubbish\n"
    assert "voter.failed" in daemon.log.read_text()
    assert daemon.end() == 0
