import json

from dfs.cli.render import local_time
from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import NOW_MS, FakeNamenode


def test_ls_lists_the_home_directory_by_default(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_file("/user/alice/b.txt")
    namenode.add_directory("/user/alice/a")
    ran = console.dfs("ls")
    assert (ran.code, ran.out, ran.err) == (0, "a\nb.txt\n", "")


def test_ls_l_shows_mode_copies_owner_group_size_and_time(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.add_file("/user/alice/b.txt", 5_000)
    namenode.add_directory("/user/alice/a", mode=0o1777)
    when = local_time(NOW_MS)
    assert console.dfs("ls", "-l").out == (
        f"drwxrwxrwt  -  alice  staff     -  {when}  a\n"
        f"-rw-r--r--  2  alice  staff  5000  {when}  b.txt\n"
    )
    assert "4.88 KiB" in console.dfs("ls", "-lh").out


def test_ls_json_is_one_list_with_octal_mode_hex_bytes_and_utc_times(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.add_file("/user/alice/b.txt")
    (entry,) = console.dfs("ls", "--json").json
    assert entry["mode"] == "0644"
    assert entry["checksum"] == "01" * 16
    assert entry["modified"] == "2023-11-14T22:13:20.123Z"
    assert entry["modified_ms"] == NOW_MS


def test_ls_json_of_an_empty_directory_is_an_empty_list(console: Console) -> None:
    assert console.dfs("ls", "--json").json == []


def test_ls_goes_on_after_a_failing_path_and_exits_with_its_code(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.add_file("/b")
    ran = console.dfs("ls", "/missing", "/b")
    assert ran.code == 3
    assert ran.out == "/b\n"
    assert ran.err == "dfs: no such file or directory: /missing\n"


def test_ls_sorts_by_time_and_size_and_back(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_file("/user/alice/old-large", 9, modified_ms=NOW_MS - 5)
    namenode.add_file("/user/alice/new-small", 1, modified_ms=NOW_MS)
    assert console.dfs("ls", "-t").out.split() == ["new-small", "old-large"]
    assert console.dfs("ls", "-S").out.split() == ["old-large", "new-small"]
    assert console.dfs("ls", "-Sr").out.split() == ["new-small", "old-large"]
    assert console.dfs("ls", "-r").out.split() == ["old-large", "new-small"]


def test_ls_titles_directories_when_there_are_several(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.add_directory("/a")
    namenode.add_file("/a/1")
    namenode.add_directory("/b")
    assert console.dfs("ls", "/a", "/b").out == "/a:\n1\n\n/b:\n"


def test_ls_recursive_prints_whole_paths(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_directory("/a")
    namenode.add_file("/a/1")
    assert console.dfs("ls", "-R", "/a").out == "/a/1\n"


def test_ls_expands_patterns_and_prefers_the_name_as_written(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.add_file("/user/alice/a.csv")
    namenode.add_file("/user/alice/b.csv")
    assert console.dfs("ls", "*.csv").out.split() == ["/user/alice/a.csv", "/user/alice/b.csv"]
    namenode.add_file("/user/alice/*.csv")
    assert console.dfs("ls", "*.csv").out.split() == ["/user/alice/*.csv"]
    assert console.dfs("ls", "*.png").code == 3


def test_ls_escapes_control_characters_for_people_and_not_for_programs(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.add_file("/user/alice/a\nb\x1b[2J")
    assert console.dfs("ls").out == "a\\nb\\x1b[2J\n"
    assert console.dfs("ls", "--json").json[0]["path"] == "/user/alice/a\nb\x1b[2J"


def test_ls_on_a_terminal_lays_names_in_columns_with_directories_in_colour(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.add_directory("/user/alice/a")
    namenode.add_file("/user/alice/b")
    assert console.dfs("ls", terminal=True).out == "\x1b[1;34ma\x1b[0m  b\n"
    console.environment["NO_COLOR"] = "1"
    assert console.dfs("ls", terminal=True).out == "a  b\n"


def test_tree_draws_branches_and_counts(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_directory("/a")
    namenode.add_directory("/a/x")
    namenode.add_file("/a/x/1")
    namenode.add_file("/a/y")
    assert console.dfs("tree", "/a").out == (
        "/a\n├── x\n│   └── 1\n└── y\n\n1 directory, 2 files\n"
    )
    assert "1" not in console.dfs("tree", "-L", "1", "/a").out.splitlines()[1]
    (root,) = console.dfs("tree", "--json", "/a").json
    assert [entry["path"] for entry in root["entries"]] == ["/a/x", "/a/y"]


def test_find_asks_the_namenode_with_gnu_spellings(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.add_file("/user/alice/a.csv", 2_000)
    ran = console.dfs("find", ".", "-name", "*.csv", "-type", "f", "-size", "+1k", "-mtime", "-7")
    assert ran.out == "/user/alice/a.csv\n"
    asked = namenode.last("/v1/fs/find")
    assert asked["name"] == "*.csv"
    assert asked["kind"] == "file"
    assert asked["size_min_bytes"] == 1025
    assert asked["modified_after_ms"] == NOW_MS - 7 * 86_400_000


def test_find_print0_writes_raw_names(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_file("/user/alice/a\nb")
    assert console.dfs("find", "-type", "f", "-0").out == "/user/alice/a\nb\0"


def test_mkdir_is_silent_and_refuses_what_exists(console: Console, namenode: FakeNamenode) -> None:
    assert console.dfs("mkdir", "-p", "x/y").out == ""
    assert "/user/alice/x/y" in namenode.names
    ran = console.dfs("mkdir", "x")
    assert ran.code == 5
    assert ran.err.startswith("dfs: exists already: /user/alice/x\n  hint: ")


def test_du_shows_entries_or_with_s_the_total(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_directory("/a")
    namenode.add_file("/a/1", 10)
    namenode.add_file("/a/2", 20)
    assert console.dfs("du", "/a").out == (
        "SIZE  STORED  FILES  PATH\n  10      20      1  /a/1\n  20      40      1  /a/2\n"
    )
    assert console.dfs("du", "-s", "/a", "--json").json[0]["stored_bytes"] == 60


def test_df_shows_room_for_people_and_programs(console: Console) -> None:
    assert "750 MiB" in console.dfs("df", "-h").out
    assert console.dfs("--json", "df").json["nodes_live"] == 2


def test_quiet_prints_nothing_but_errors(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_file("/a")
    ran = console.dfs("-q", "ls", "-l", "/a", "/missing")
    assert ran.out == ""
    assert ran.err == "dfs: no such file or directory: /missing\n"


def test_errors_are_json_when_json_is_asked_for(console: Console) -> None:
    ran = console.dfs("stat", "--json", "/missing")
    assert json.loads(ran.err)["error"]["code"] == "path_not_found"
    assert ran.json == []
