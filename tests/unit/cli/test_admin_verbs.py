import pytest

from dfs.base.states import NodeState
from dfs.cli import admin
from dfs.cli.admin_nodes import health_words
from tests.builders import a_node
from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import FakeNamenode


def test_nodes_lists_each_datanode_with_its_state(console: Console, namenode: FakeNamenode) -> None:
    namenode.nodes = [a_node(1), a_node(2, state=NodeState.DEAD, silent_s=700.0, reachable=False)]
    ran = console.admin("nodes")
    assert ran.code == 0
    first, second = ran.out.splitlines()[1:]
    assert first.startswith("dn-1  live ")
    assert "11m 40s ago" in second
    assert second.startswith("dn-2  dead, no answer to sweeps ")
    assert [node["node"] for node in console.admin("nodes", "--json").json] == ["dn-1", "dn-2"]


def test_nodes_says_how_to_let_one_in_when_there_are_none(console: Console) -> None:
    ran = console.admin("nodes")
    assert (ran.out, ran.code) == ("", 0)
    assert "dfs-admin join-token" in ran.err


def test_nodes_leaves_out_on_a_narrow_terminal_what_one_can_do_without(
    console: Console, namenode: FakeNamenode, monkeypatch: pytest.MonkeyPatch
) -> None:
    namenode.nodes = [a_node(1)]
    monkeypatch.setenv("COLUMNS", "80")
    heading, row = console.run(admin.PROGRAM, "nodes", terminal=True).out.splitlines()
    assert max(len(heading), len(row)) <= 80
    assert "LAST BEAT" in heading
    assert "RACK" not in heading
    assert "RACK" in console.admin("nodes").out


def test_report_shows_names_room_and_nodes(console: Console, namenode: FakeNamenode) -> None:
    namenode.nodes = [a_node(1)]
    ran = console.admin("report")
    assert "c0ffee" in ran.out
    assert "250 MiB used (25%), 750 MiB free of 0.977 GiB" in ran.out
    assert "1 live" in ran.out
    assert set(console.admin("report", "--json").json) == {"cluster", "room", "nodes"}


def test_node_remove_takes_both_spellings_and_refuses_others(console: Console) -> None:
    assert console.admin("node", "remove", "3").code == 3
    assert console.admin("node", "remove", "dn-3").err.startswith("dfs-admin: no such DataNode: dn")
    assert console.admin("node", "remove", "three").code == 2


def test_join_token_is_alone_on_standard_output(console: Console, namenode: FakeNamenode) -> None:
    ran = console.admin("join-token", "--uses", "3", "--life", "2h")
    assert ran.out == "dfsj_secret\n"
    assert "3 DataNodes" in ran.err
    assert namenode.last("/v1/nodes/join-token") == {"uses": 3, "life_s": 7200.0}


def test_users_add_shows_the_one_time_password_once(
    console: Console, namenode: FakeNamenode
) -> None:
    assert console.admin("users", "add", "bob").out == (
        "added bob; one-time password: once-only-pass\n"
    )
    assert console.admin("users", "add", "bob").code == 5
    ran = console.admin("users", "add", "eve", "--password-stdin", stdin="a chosen password\n")
    assert ran.out == "added eve\n"
    assert namenode.passwords["eve"] == "a chosen password"


@pytest.mark.parametrize("word", ["enable", "disable"])
def test_users_state_is_changed_and_said(console: Console, word: str) -> None:
    assert console.admin("users", word, "alice").out == f"alice is {word}d\n"
    assert console.admin("users", word, "nobody").code == 3


def test_users_remove_and_passwd(console: Console, namenode: FakeNamenode) -> None:
    console.admin("users", "passwd", "alice", "--password-stdin", stdin="set by the admin\n")
    assert namenode.passwords["alice"] == "set by the admin"
    assert console.admin("users", "remove", "alice").out == "removed alice\n"
    assert console.admin("users", "remove", "alice").code == 3


def test_users_groups_and_sessions_are_tables(console: Console) -> None:
    assert console.admin("users").out.splitlines()[0].split()[0] == "NAME"
    assert console.admin("groups").out.splitlines()[1].split() == ["supergroup", "alice"]
    assert "127.0.0.1" in console.admin("sessions").out
    assert console.admin("sessions", "--json").json[0]["bound"] is True


def test_groups_add_and_remove_change_members(console: Console, namenode: FakeNamenode) -> None:
    assert console.admin("groups", "add", "ops", "alice", "bob").out == (
        "alice, bob added to ops\n"
    )
    console.admin("groups", "remove", "ops", "bob")
    assert namenode.groups["ops"] == ["alice"]


def test_audit_lines_cannot_break_the_line(console: Console) -> None:
    ran = console.admin("audit")
    assert ran.out.splitlines()[1].endswith("fs.remove  ok       /a\\nb count=2")
    assert console.admin("audit", "--json").json[0]["path"] == "/a\nb"


def test_sweeps_show_what_was_answered(console: Console, namenode: FakeNamenode) -> None:
    assert "dn-3  FAILED  connection refused" in console.admin("sweeps", "dn-3").out
    assert namenode.last("/v1/nodes/sweeps") == {"node": 3, "limit": 100}


def test_health_is_told_in_words_and_whole_where_it_is_none() -> None:
    volumes = '[{"path": "/d", "state": "failed", "blocks": 7}]'
    detail = f'{{"uptime_s": 5, "used_bytes": 1, "free_bytes": 2, "volumes": {volumes}}}'
    assert health_words(detail) == "up 5.0s, 7 blocks, 1 B used, 2 B free, /d failed"
    assert health_words("connection refused") == "connection refused"
    assert health_words('{"volumes": 7}') == '{"volumes": 7}'
