"""`dfs-admin ha`: what is asked of whom, what is shown, and what has to be typed."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from dfs.base.errors import NotLeader, PermissionDenied
from dfs.cli import admin
from dfs.cli.command import run_line
from dfs.cli.verbs import Streams
from dfs.client.namenode_link import NamenodeLink
from dfs.wire import routes
from dfs.wire.ha_api import (
    HaOrderReply,
    HaStatus,
    MemberLine,
    OutlookLine,
    VoterLine,
)
from tests.unit.cli.conftest import ByteBackedText, Console, Terminal
from tests.unit.cli.fake_namenode import FakeNamenode

NOWHERE = "http://127.0.0.1:1"
DONE = HaOrderReply(done=True, said=["nn-2 leads in epoch 8"])


def _member(
    name: str, url: str, machine: str, role: str, lag: int, silent_s: float, *, in_sync: bool
) -> MemberLine:
    return MemberLine(name, url, machine, role, in_sync, lag, silent_s)


class Pair:
    """Two NameNodes that know of each other: the first leads."""

    def __init__(self, first: FakeNamenode, second: FakeNamenode) -> None:
        self.first, self.second = first, second
        second.tokens = first.tokens
        self.leading = HaStatus(
            name="nn-1",
            role="leader",
            leader="nn-1",
            leader_url=first.url,
            epoch=7,
            txid=12_345,
            mode="automatic",
            why="three voters on three machines",
            lossy=False,
            preferred="nn-1",
            lease_left_s=3.21,
            why_not_serving="",
            members=[
                _member("nn-1", first.url, "rack-a", "leader", 0, 0.0, in_sync=True),
                _member("nn-2", second.url, "rack-b", "unknown", 0, 0.2, in_sync=True),
                _member("nn-3", NOWHERE, "rack-c", "standby", 1_200, 71.0, in_sync=False),
            ],
            voters=[
                VoterLine("a" * 32, "nn-1", "rack-a", 0.0),
                VoterLine("d" * 32, "dn-4", "rack-d", -1.0),
            ],
            outlook=[
                OutlookLine(
                    "rack-a",
                    "fails over",
                    "nn-2 leads within 5 to 13 s; nothing that was acknowledged is lost",
                ),
                OutlookLine("rack-c", "goes on", "nothing that the leader waits for runs there"),
            ],
            last_notes=["nn-3 is not waited for any more"],
            refused_letters=0,
            digests="",
        )
        self.following = replace(
            self.leading,
            name="nn-2",
            role="standby",
            txid=12_300,
            lease_left_s=-1.0,
            outlook=[],
            why="",
            members=[
                _member("nn-1", first.url, "rack-a", "leader", 0, 0.1, in_sync=True),
                _member("nn-2", second.url, "rack-b", "standby", 45, -1.0, in_sync=True),
            ],
        )
        self.orders: list[tuple[str, object]] = []
        self.answer = DONE
        self.tell()

    def tell(self) -> None:
        """Answer with what is said here by now."""
        for fake, status in ((self.first, self.leading), (self.second, self.following)):
            fake.serve(routes.HA_STATUS, lambda q, me, status=status: status)
            fake.serve(routes.HA_ORDER, lambda q, me, name=status.name: self._take(name, q))

    def _take(self, name: str, order: object) -> HaOrderReply:
        self.orders.append((name, order))
        return self.answer

    @property
    def ordered(self) -> list[tuple[str, str, str, str, int]]:
        """Of whom, what, about whom, the new one, the number."""
        return [(who, o.order, o.member, o.fresh, o.records) for who, o in self.orders]  # type: ignore[attr-defined]


@pytest.fixture
def pair(namenode: FakeNamenode) -> Iterator[Pair]:
    second = FakeNamenode()
    yield Pair(namenode, second)
    second.stop()


def _typing(console: Console, typed: str, *words: str) -> tuple[int, str, str]:
    """Run a command with somebody at the terminal who types that."""
    out, err = ByteBackedText(), ByteBackedText()
    around = console.around(admin.PROGRAM, Streams(Terminal(typed), out, err))
    try:
        code = run_line(around, words)
    finally:
        around.connection.close()
    return code, out.text(), err.text()


# --- status -------------------------------------------------------------------------------------


def test_status_shows_who_leads_and_everybody_else(console: Console, pair: Pair) -> None:
    ran = console.admin("ha", "status")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == "automatic failover: three voters on three machines"
    assert lines[1] == "nn-1 leads: epoch 7, record 12,345, its lease holds for 3.2s"
    members = {line.split()[0]: line.split() for line in lines[4:7]}
    assert members["nn-1"][1:4] == ["leader", "yes", "0"]
    assert members["nn-2"][1:6] == ["standby", "yes", "0", "0.2s", "ago"], "its own word"
    assert members["nn-3"][1:4] == ["standby", "no", "1,200"]
    assert f"no answer from {NOWHERE}" in ran.out
    assert "1m 11s ago" in ran.out
    assert [*("d" * 32, "dn-4", "rack-d", "never")] in [line.split() for line in lines]
    assert (
        "rack-a          fails over  nn-2 leads within 5 to 13 s; nothing that was ack" in ran.out
    )
    assert lines[-1] == "  nn-3 is not waited for any more"


def test_status_for_programs_has_what_each_said(console: Console, pair: Pair) -> None:
    found = console.admin("ha", "status", "--json").json
    assert (found["leads"], found["serves"], found["believed"]) == (True, True, pair.first.url)
    assert found["status"]["epoch"] == 7
    assert [bool(each["error"]) for each in found["namenodes"]] == [False, False, True]


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_of_status_fit_the_terminal(console, pair, monkeypatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = console.run(admin.PROGRAM, "ha", "status", terminal=True).out
    assert max(map(len, out.splitlines())) <= columns


def test_status_keeps_the_session_for_standbys_that_came_after_the_login(
    console, pair, monkeypatch
) -> None:
    told: list[list[str]] = []
    monkeypatch.setattr(NamenodeLink, "remember", lambda _link, urls: told.append(list(urls)))
    console.admin("ha", "status")
    assert told[-1][0] == pair.first.url
    assert pair.second.url in told[-1]


def test_status_says_in_capitals_that_nobody_leads(console: Console, pair: Pair) -> None:
    pair.leading = replace(
        pair.leading, role="candidate", epoch=8, why_not_serving="it does not lead"
    )
    pair.tell()
    ran = console.admin("ha", "status")
    assert ran.code == 6
    assert "NO NAMENODE LEADS; this is what nn-1 knows: epoch 8" in ran.out


def test_status_of_a_standby_does_not_say_that_whom_it_never_hears_is_silent(console, pair) -> None:
    pair.leading = replace(
        pair.leading,
        role="standby",
        voters=[VoterLine("a" * 32, "nn-1", "rack-a", -1.0)],
        members=[replace(line, silent_s=-1.0) for line in pair.leading.members],
    )
    pair.tell()
    assert "never" not in console.admin("ha", "status").out


def test_status_names_no_lag_of_one_that_a_new_leader_never_heard(console, pair) -> None:
    first, second, third = pair.leading.members
    pair.leading = replace(
        pair.leading, members=[first, second, replace(third, lag_records=361, silent_s=-1.0)]
    )
    pair.tell()
    lines = [line.split() for line in console.admin("ha", "status").out.splitlines()]
    assert ["nn-3", "standby", "no", "-", "never", "rack-c", NOWHERE] in lines


def test_status_fails_while_the_leader_does_not_serve(console: Console, pair: Pair) -> None:
    pair.leading = replace(pair.leading, why_not_serving="no majority of voters answered in time")
    pair.tell()
    assert console.admin("ha", "status").code == 6


def test_status_says_of_one_that_was_removed_to_stop_it(console: Console, pair: Pair) -> None:
    first, _, third = pair.leading.members
    pair.leading = replace(pair.leading, members=[first, third])
    pair.tell()
    words = "ha", "status", "--namenode", f"{pair.first.url},{pair.second.url}"
    assert f"nn-2 at {pair.second.url} was removed" in console.admin(*words).out


def test_status_says_in_capitals_that_records_may_be_lost(console: Console, pair: Pair) -> None:
    pair.leading = replace(pair.leading, lossy=True, preferred="nn-2")
    pair.tell()
    out = console.admin("ha", "status").out
    assert "\nLOSSY: " in out
    assert "dfs-admin ha acknowledge-loss" in out
    assert "nn-2 is preferred, but does not lead" in out


def test_status_believes_the_leader_of_the_highest_epoch(console: Console, pair: Pair) -> None:
    pair.following = replace(pair.following, role="leader", epoch=8)
    pair.tell()
    out = console.admin("ha", "status").out
    assert "nn-2 leads: epoch 8" in out
    assert "nn-1 still takes itself for the leader, of epoch 7" in out


def test_status_tells_of_tables_that_differ_and_of_refused_letters(console, pair) -> None:
    first, second, third = pair.leading.members
    second = replace(second, mistrusted="table inode differs at record 12,000")
    pair.leading = replace(pair.leading, members=[first, second, third], refused_letters=3)
    pair.tell()
    out = console.admin("ha", "status").out
    assert "nn-2 is not handed the lead: table inode differs" in out
    assert "3 letters refused" in out


def test_status_is_refused_as_every_namenode_refuses_it(console: Console, pair: Pair) -> None:
    def refuse(_q: object, _me: str) -> object:
        raise PermissionDenied("for administrators")

    pair.first.serve(routes.HA_STATUS, refuse)
    ran = console.admin("ha", "status")
    assert (ran.code, ran.err.splitlines()[0]) == (4, "dfs-admin: for administrators")


# --- orders to the leader -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "order"),
    [
        (["switchover"], ("switchover", "", "", -1)),
        (["switchover", "--to", "nn-2"], ("switchover", "nn-2", "", -1)),
        (["voter", "replace", "old", "new"], ("replace-voter", "old", "new", -1)),
        (["voter", "add", "new"], ("replace-voter", "", "new", -1)),
        (["voter", "remove", "old"], ("replace-voter", "old", "", -1)),
        (["remove", "nn-3"], ("remove", "nn-3", "", -1)),
        (["verify"], ("verify", "", "", -1)),
        (["acknowledge-loss"], ("acknowledge-loss", "", "", -1)),
    ],
)
def test_order_goes_to_who_leads_though_another_is_named(console, pair, words, order) -> None:
    ran = console.admin("ha", *words, "--namenode", f"{pair.second.url},{pair.first.url}")
    assert (ran.code, ran.out) == (0, "nn-2 leads in epoch 8\n")
    assert pair.ordered == [("nn-1", *order)]


def test_order_that_was_not_done_says_why_and_fails(console: Console, pair: Pair) -> None:
    pair.answer = HaOrderReply(done=False, said=["nn-3 lacks 1200 records"])
    ran = console.admin("ha", "switchover", "--to", "nn-3")
    assert (ran.code, ran.out) == (1, "nn-3 lacks 1200 records\n")
    assert "it was not done" in ran.err
    assert console.admin("ha", "verify", "--json").json["done"] is False


def test_order_without_a_leader_is_refused_here(console: Console, pair: Pair) -> None:
    pair.leading = replace(pair.leading, role="standby")
    pair.tell()
    ran = console.admin("ha", "switchover")
    assert ran.code == 6
    assert "no NameNode leads" in ran.err
    assert "dfs-admin ha status" in ran.err
    assert not pair.orders


@pytest.mark.parametrize("words", [["replace", "old"], ["add", "old", "new"], ["remove", "a", "b"]])
def test_wrong_number_of_voters_is_refused(console, pair, words: list[str]) -> None:
    ran = console.admin("ha", "voter", *words)
    assert ran.code == 2
    assert f"dfs-admin ha voter {words[0]}" in ran.err
    assert not pair.orders


# --- promote and force-lead ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "number", "warning"),
    [
        ("promote", "12,300", "nn-2 was in contact with nn-1 until record 12,300"),
        ("force-lead", "45", "It lacks 45 records that were acknowledged"),
    ],
)
def test_order_that_loses_records_is_done_when_the_number_was_typed(
    console, pair, verb: str, number: str, warning: str
) -> None:
    words = "ha", verb, "--namenode", pair.second.url
    code, out, err = _typing(console, f"{number}\n", *words)
    assert (code, out) == (0, "nn-2 leads in epoch 8\n")
    assert warning in err
    assert pair.ordered == [("nn-2", verb, "", "", int(number.replace(",", "")))]


@pytest.mark.parametrize("verb", ["promote", "force-lead"])
@pytest.mark.parametrize("typed", ["7\n", "yes\n", "", "-45\n"])
def test_order_that_loses_records_is_not_done_when_something_else_was_typed(
    console, pair, verb: str, typed: str
) -> None:
    code, _, err = _typing(console, typed, "ha", verb, "--namenode", pair.second.url)
    assert code == 2
    assert "nothing was done" in err
    assert not pair.orders


@pytest.mark.parametrize(("verb", "number"), [("promote", 12_300), ("force-lead", 45)])
def test_script_says_the_number_by_a_flag_or_is_refused(console, pair, verb, number) -> None:
    words = "ha", verb, "--namenode", pair.second.url
    ran = console.admin(*words, stdin=f"{number}\n")
    assert ran.code == 2
    assert f"--accept-loss {number}" in ran.err
    assert not pair.orders
    assert console.admin(*words, "--accept-loss", str(number)).code == 0
    assert pair.ordered == [("nn-2", verb, "", "", number)]


def test_gap_that_nobody_knows_is_judged_by_the_namenode(console: Console, pair: Pair) -> None:
    members = [replace(line, lag_records=-1) for line in pair.following.members]
    pair.following = replace(pair.following, members=members)
    pair.answer = HaOrderReply(done=False, said=["17 transactions are missing here; type 17"])
    pair.tell()
    code, out, err = _typing(console, "0\n", "ha", "force-lead", "--namenode", pair.second.url)
    assert (code, out) == (1, "17 transactions are missing here; type 17\n")
    assert "it does not know" in err


@pytest.mark.parametrize("verb", ["promote", "force-lead"])
def test_order_that_loses_records_is_asked_of_one_that_is_named(console, pair, verb) -> None:
    for words in ([], ["--namenode", f"{pair.first.url},{pair.second.url}"]):
        ran = console.admin("ha", verb, "--accept-loss", "45", *words)
        assert ran.code == 2
        assert "--namenode" in ran.err
    leads = console.admin("ha", verb, "--accept-loss", "45", "--namenode", pair.first.url)
    assert (leads.code, leads.err.splitlines()[0]) == (2, "dfs-admin: nn-1 leads already")
    assert not pair.orders


# --- what everybody else sees -------------------------------------------------------------------


def test_user_is_told_what_to_do_when_nobody_leads(
    console: Console, namenode: FakeNamenode
) -> None:
    def follow(_q: object, _me: str) -> object:
        raise NotLeader("nn-1 follows, and knows of no leader", details={"leader": ""})

    namenode.serve(routes.STAT, follow)
    ran = console.dfs("stat", "/")
    assert ran.code == 6
    assert ran.err.splitlines() == [
        "dfs: no NameNode leads",
        f"  {namenode.url}: nn-1 follows, and knows of no leader",
        "  hint: an election takes seconds; how it stands says: dfs-admin ha status",
    ]


def test_words_of_hdfs_are_understood(console: Console) -> None:
    assert "dfs-admin ha switchover" in console.admin("haadmin", "-failover", "a", "b").err
    assert "dfs-admin ha status" in console.admin("haadmin", "-getServiceState", "nn1").err
    assert "ha status|switchover" in console.admin("ha").err
