from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import ALICE_PASSWORD, FakeNamenode


def test_register_logs_in_and_later_commands_use_the_session(
    console: Console, namenode: FakeNamenode
) -> None:
    del console.environment["DFS_TOKEN"]
    ran = console.dfs("register", "bob", "--password-stdin", stdin="a long password\n")
    assert ran.code == 0
    assert ran.out.startswith("registered and logged in as bob (until ")
    assert console.dfs("whoami").out == "bob\n"


def test_register_refuses_a_name_that_is_taken(console: Console) -> None:
    ran = console.dfs("register", "alice", "--password-stdin", stdin="a long password\n")
    assert ran.code == 5


def test_login_says_how_to_replace_a_one_time_password(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.must_change.add("alice")
    ran = console.dfs("login", "alice", "--password-stdin", stdin=f"{ALICE_PASSWORD}\n")
    assert ran.code == 0
    assert "dfs passwd" in ran.err


def test_login_refuses_a_wrong_password_with_code_4(console: Console) -> None:
    ran = console.dfs("login", "alice", "--password-stdin", stdin="wrong\n")
    assert ran.code == 4
    assert ran.err.startswith("dfs: unknown user or wrong password\n")


def test_login_never_waits_for_a_password_without_a_terminal(console: Console) -> None:
    ran = console.dfs("login", "alice")
    assert ran.code == 2
    assert "--password-stdin" in ran.err


def test_passwd_reads_the_old_and_the_new_one_in_scripts(
    console: Console, namenode: FakeNamenode
) -> None:
    words = f"{ALICE_PASSWORD}\nanother long one\n"
    ran = console.dfs("passwd", "--password-stdin", stdin=words)
    assert ran.out == "password changed; 1 other session ended\n"
    assert namenode.passwords["alice"] == "another long one"


def test_passwd_refuses_strangers_before_it_asks(console: Console) -> None:
    del console.environment["DFS_TOKEN"]
    ran = console.dfs("passwd")  # without a terminal: asking would be an error of its own
    assert ran.code == 4
    assert ran.err.startswith("dfs: not logged in")


def test_whoami_says_more_to_programs(console: Console) -> None:
    assert console.dfs("whoami", "--json").json["groups"] == ["staff"]


def test_logout_forgets_the_session(console: Console) -> None:
    del console.environment["DFS_TOKEN"]
    console.dfs("login", "alice", "--password-stdin", stdin=f"{ALICE_PASSWORD}\n")
    assert console.dfs("logout").out == "logged out\n"
    ran = console.dfs("ls")
    assert ran.code == 4
    assert ran.err.endswith("hint: log in with: dfs login NAME\n")
