"""`--stale-ok`: a standby may answer, and nobody takes that for the leader's word."""

from collections.abc import Iterator, Mapping

import pytest

from dfs.base.errors import NotLeader
from dfs.cli import user
from dfs.cli.command import run_line
from dfs.cli.verbs import Streams
from dfs.wire.http_link import STALE_HEADER, STALE_OK_HEADER
from tests.route_server import Headed, RouteServer
from tests.unit.cli.conftest import ByteBackedText, Console, Terminal
from tests.unit.cli.fake_namenode import FakeNamenode

READS = ("ls", "tree", "du", "find", "stat", "trash")


@pytest.fixture
def standby(namenode: FakeNamenode, console: Console) -> Iterator[str]:
    """What the fake has, seen by one that does not lead; the console knows of it alone."""

    def answer(path: str, raw: bytes, headers: Mapping[str, str]) -> object:
        if headers.get(STALE_OK_HEADER) != "1":
            raise NotLeader("it follows", details={"leader": "", "namenodes": []})
        return Headed(namenode._answer(path, raw, headers), {STALE_HEADER: "3 412"})

    server = RouteServer(answer)
    console.environment["DFS_NAMENODE"] = server.url
    yield server.url
    server.close()


@pytest.mark.parametrize("verb", READS)
def test_read_is_answered_by_a_standby_and_says_so_once(console, standby, verb: str) -> None:
    ran = console.dfs(verb, "--stale-ok", "/")
    note = f"note: answered by a standby ({standby}), 3 records and 0.4 s behind"
    assert ran.err.splitlines()[:1] == [note]
    assert ran.err.count("note:") == 1


def test_read_that_asks_for_no_stale_answer_gets_none(console: Console, standby: str) -> None:
    ran = console.dfs("ls", "/")
    assert (ran.code, ran.out) == (6, "")
    assert "no NameNode leads" in ran.err


def test_note_is_beside_the_json_not_in_it(console: Console, standby: str) -> None:
    ran = console.dfs("ls", "--stale-ok", "--json", "/")
    assert isinstance(ran.json, list)
    assert ran.err.startswith("note: answered by a standby")


def test_quiet_command_says_nothing(console: Console, standby: str) -> None:
    assert console.dfs("ls", "--stale-ok", "--quiet", "/").err == ""


def test_leader_is_not_called_a_standby(console: Console) -> None:
    assert console.dfs("ls", "--stale-ok", "/").err == ""


def test_change_takes_no_such_flag(console: Console) -> None:
    ran = console.dfs("mkdir", "--stale-ok", "/a")
    assert ran.code == 2
    assert "--stale-ok" in ran.err


def test_each_command_of_a_shell_says_it(console: Console, standby: str) -> None:
    out, err = ByteBackedText(), ByteBackedText()
    around = console.around(user.PROGRAM, Streams(Terminal(), out, err))
    for _ in range(2):
        run_line(around, ["ls", "--stale-ok", "/"])
    around.connection.close()
    assert err.text().count("note: answered by a standby") == 2
