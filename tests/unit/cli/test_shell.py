import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from dfs.cli import user
from dfs.cli.grammar import parse
from dfs.cli.output import Output
from dfs.cli.shell import Shell, run_session
from dfs.cli.shell_terminal import ShellCompleter, open_session
from dfs.cli.verbs import Context, Streams
from tests.unit.cli.conftest import ByteBackedText, Console, Terminal
from tests.unit.cli.fake_namenode import FakeNamenode


class Screen:
    """A shell with a keyboard made of bytes, and what it printed."""

    def __init__(self, console: Console, keys: PipeInput) -> None:
        self.out, self.err = ByteBackedText(), ByteBackedText()
        around = console.around(user.PROGRAM, Streams(Terminal(), self.out, self.err))
        _, args = parse(user.PROGRAM, ["shell"])
        self.context = Context(around, _plain(args), Output(self.out, self.err))
        self.shell = Shell(self.context)
        self._keys = keys

    def type(self, text: str) -> None:
        """Type all of it, run until the shell ends."""
        self._keys.send_text(text)
        shell = self.shell
        session = open_session(
            self.context, shell.program, shell.offered, source=self._keys, screen=DummyOutput()
        )
        run_session(shell, session)


def _plain(args: argparse.Namespace) -> argparse.Namespace:
    for name in ("config", "namenode"):
        setattr(args, name, getattr(args, name) or None)
    return args


@pytest.fixture
def screen(console: Console) -> Iterator[Screen]:
    with create_pipe_input() as keys:
        screen = Screen(console, keys)
        yield screen
        screen.context.connection.close()


def test_shell_runs_the_same_verbs_from_where_it_stands(
    screen: Screen, namenode: FakeNamenode
) -> None:
    namenode.add_directory("/user/alice/data")
    namenode.add_file("/user/alice/data/x")
    screen.type("cd data\rls\rpwd\rcd ..\rpwd\rexit\r")
    assert screen.out.text() == "x\n/user/alice/data\n/user/alice\n"


def test_shell_prompt_shows_home_as_a_tilde(screen: Screen, namenode: FakeNamenode) -> None:
    assert screen.shell.prompt() == "dfs:~> "
    namenode.add_directory("/data")
    screen.shell.run("cd /data")
    assert screen.shell.prompt() == "dfs:/data> "
    screen.shell.run("cd")
    assert screen.shell.prompt() == "dfs:~> "


def test_shell_goes_on_after_a_refusal(screen: Screen) -> None:
    screen.type("cd /missing\rls /missing\rnonsense\rls 'open\rpwd\r\x04")
    assert screen.out.text() == "/user/alice\n"
    assert screen.err.text().count("dfs: ") == 4


def test_shell_gives_up_a_line_at_control_c_and_leaves_at_control_d(screen: Screen) -> None:
    screen.type("rm -r /user\x03pwd\r\x04")
    assert screen.out.text() == "/user/alice\n"


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("cd tw", ["cd two\\ words/"]),
        ("cd 'tw", ["cd two\\ words/"]),
        ("cd no", []),
        ("ls no", ["ls notes "]),
        ("lp", ["lpwd "]),
        ("ls --rec", ["ls --recursive "]),
        ("sh", []),
        ("lcd ma", ["lcd made-here"]),
        ("put ma", ["put made-here"]),
    ],
)
def test_shell_completes_verbs_options_and_names_on_both_sides(
    screen: Screen,
    namenode: FakeNamenode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    becomes: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made-here").mkdir()
    namenode.add_directory("/user/alice/two words")
    namenode.add_file("/user/alice/notes")
    completer = ShellCompleter(screen.context, screen.shell.program, screen.shell.offered)
    found = completer.get_completions(Document(typed), CompleteEvent())
    assert [typed[: len(typed) + c.start_position] + c.text for c in found] == becomes


def test_shell_keeps_its_history_between_runs(
    screen: Screen, console: Console, tmp_path: Path
) -> None:
    screen.type("pwd\r\x04")
    history = tmp_path / ".local" / "state" / "dfs" / "shell_history"
    assert "pwd" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_shell_changes_the_local_directory(
    screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    screen.shell.run("lcd sub")
    screen.shell.run("lpwd")
    screen.shell.run("lcd nowhere")
    assert screen.out.text() == f"{tmp_path}/sub\n"
    assert "no such local directory" in screen.err.text()


def test_shell_reads_a_script_and_stops_at_the_first_failure(console: Console) -> None:
    ran = console.dfs("shell", stdin="pwd\n# a comment\nls /missing\npwd\n")
    assert ran.code == 3
    assert ran.out == "/user/alice\n"


def test_shell_c_runs_one_line(console: Console) -> None:
    ran = console.dfs("shell", "-c", "cd / ", "--quiet")
    assert ran.code == 0
    assert console.dfs("shell", "-c", "ls --json /user").json[0]["path"] == "/user/alice"


def test_shell_lists_its_own_commands_in_help(console: Console) -> None:
    ran = console.dfs("shell", "-c", "help")
    assert "lcd [PATH]" in ran.out
    assert "  shell " not in ran.out


def test_control_c_ends_the_command_and_not_the_shell(
    screen: Screen,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    screen.context.client.link.call = interrupted  # type: ignore[method-assign,assignment]
    assert screen.shell.run("ls") == 130
    assert screen.shell.run("") == 130
