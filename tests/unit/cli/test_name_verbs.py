import pytest

from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import FakeNamenode


def test_mv_renames_quietly_and_tells_programs(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_file("/user/alice/a")
    assert console.dfs("mv", "a", "b", "--json").json == [
        {"source": "/user/alice/a", "target": "/user/alice/b"}
    ]
    assert console.dfs("mv", "b", "c").out == ""
    assert "/user/alice/c" in namenode.names


def test_mv_does_not_replace_without_force(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_file("/user/alice/a")
    namenode.add_file("/user/alice/b")
    assert console.dfs("mv", "a", "b").code == 5
    assert console.dfs("mv", "a", "-f", "b").code == 0


@pytest.mark.parametrize(
    "words", [("a", "b", "c"), ("a", "c/")], ids=["several sources", "a trailing slash"]
)
def test_mv_needs_a_directory_as_target(
    console: Console, namenode: FakeNamenode, words: tuple[str, ...]
) -> None:
    namenode.add_file("/user/alice/a")
    namenode.add_file("/user/alice/b")
    ran = console.dfs("mv", *words)
    assert ran.code == 3
    assert "hint: make it first with: dfs mkdir -p /user/alice/c" in ran.err
    namenode.add_file("/user/alice/c")
    assert console.dfs("mv", *words).code == 5


def test_cp_needs_r_for_directories(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_directory("/user/alice/a")
    ran = console.dfs("cp", "a", "b")
    assert (ran.code, "add -r" in ran.err) == (5, True)
    assert console.dfs("cp", "-r", "a", "b").code == 0


def test_rm_says_the_way_back_and_undelete_takes_it(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.add_file("/user/alice/a")
    assert "dfs undelete /user/alice/a" in console.dfs("rm", "a").out
    assert "/user/alice/a" in console.dfs("trash").out
    assert console.dfs("undelete", "a").out == "back: /user/alice/a\n"
    assert console.dfs("undelete", "a").code == 5


def test_rm_skip_trash_offers_no_way_back(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_file("/user/alice/a")
    assert console.dfs("rm", "--skip-trash", "a").out == "removed /user/alice/a\n"
    assert console.dfs("undelete", "a").code == 5


def test_rm_f_forgives_what_is_not_there(console: Console, namenode: FakeNamenode) -> None:
    assert console.dfs("rm", "a").code == 3
    assert console.dfs("rm", "-f", "a").code == 0
    namenode.add_directory("/user/alice/a")
    assert console.dfs("rm", "-f", "a").code == 5


def test_undelete_needs_either_paths_or_an_entry(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_file("/user/alice/a")
    console.dfs("rm", "a")
    assert console.dfs("undelete").code == 2
    assert console.dfs("undelete", "--entry", "1", "--to", "b").out == "back: /user/alice/b\n"


def test_chmod_symbolic_depends_on_what_each_mode_was(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.add_directory("/a", mode=0o700)
    namenode.add_file("/a/tool", mode=0o700)
    namenode.add_file("/a/text", mode=0o600)
    assert console.dfs("chmod", "-R", "g=u,o+rX", "/a").code == 0
    assert [namenode.names[p].mode for p in ("/a", "/a/tool", "/a/text")] == [0o775, 0o775, 0o664]


def test_chmod_octal_is_one_request(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_file("/a")
    assert console.dfs("chmod", "640", "/a").code == 0
    assert namenode.last("/v1/fs/chmod")["mode"] == 0o640
    assert console.dfs("chmod", "u+q", "/a").code == 2


def test_chown_sets_owner_group_or_both(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_file("/a")
    console.dfs("chown", "bob:ops", "/a")
    console.dfs("chown", ":staff", "/a")
    assert (namenode.names["/a"].owner, namenode.names["/a"].group) == ("bob", "staff")
    assert console.dfs("chown", ":", "/a").code == 2


def test_setrep_wait_gives_up_after_the_timeout_with_code_6(
    console: Console, namenode: FakeNamenode
) -> None:
    status = namenode.add_file("/a", 10)
    namenode.locate_without_holders(status)
    began_s = console.clock.monotonic_s()
    ran = console.dfs("setrep", "-w", "--timeout", "30s", "3", "/a")
    assert ran.code == 6
    assert "1 file without exactly 3 copies yet, first: /a (no copy is known)" in ran.err
    assert 30 <= console.clock.monotonic_s() - began_s < 40


def test_setrep_of_more_copies_than_nodes_is_done_and_said(
    console: Console, namenode: FakeNamenode
) -> None:
    status = namenode.add_file("/a", 10)
    namenode.locate_without_holders(status)
    namenode.in_service = 4
    ran = console.dfs("setrep", "9", "/a")
    assert (ran.code, ran.out) == (0, "")
    assert "9 copies wanted, 4 DataNodes in service: the rest is owed" in ran.err
    assert console.dfs("setrep", "4", "/a").err == ""


def test_setrep_does_not_wait_for_copies_that_no_node_can_hold(
    console: Console, namenode: FakeNamenode
) -> None:
    status = namenode.add_file("/a", 10)
    namenode.locate_without_holders(status)
    namenode.in_service = 4
    began_s = console.clock.monotonic_s()
    ran = console.dfs("setrep", "--wait", "9", "/a")
    assert ran.code == 6
    assert "not waited for: 4 DataNodes in service cannot hold 9 copies of /a" in ran.err
    assert console.clock.monotonic_s() - began_s < 1
    namenode.add_file("/empty", 0)
    assert console.dfs("setrep", "--wait", "9", "/empty").code == 0


def test_setrep_wait_returns_at_once_when_nothing_is_owed(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.add_file("/empty", 0)
    assert console.dfs("setrep", "--wait", "3", "/empty").code == 0


def test_touch_sets_the_time_and_c_creates_nothing(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.add_file("/a")
    assert console.dfs("touch", "-d", "2001-09-09T01:46:40+00:00", "/a").code == 0
    assert namenode.names["/a"].modified_ms == 1_000_000_000_000
    assert console.dfs("touch", "-c", "/missing").code == 0
    assert "/missing" not in namenode.names
