import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from dfs.base.records import FileStatus
from dfs.cli import admin, user
from dfs.cli.shell_completion import Kind, complete
from dfs.cli.shell_terminal import quoted, words_before
from dfs.cli.verbs import Program
from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import FakeNamenode


@pytest.fixture
def names(namenode: FakeNamenode) -> FakeNamenode:
    namenode.add_directory("/user/alice/data")
    namenode.add_file("/user/alice/draft.txt")
    namenode.add_file("/user/alice/.hidden")
    namenode.add_file("/user/alice/data/two words")
    return namenode


def offered(namenode: FakeNamenode, *words: str, program: Program = user.PROGRAM) -> list[str]:
    def entries(path: str) -> Iterable[FileStatus]:
        return namenode._children(path)

    found = complete(program, words, directory=lambda: "/user/alice", entries=entries)
    return [c.text if c.kind is not Kind.LOCAL else "<local>" for c in found]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("who",), ["whoami"]),
        (("--na",), ["--namenode"]),
        (("--config", ""), ["<local>"]),
        (("--json", "tou"), ["touch"]),
        (("ls", "--rec"), ["--recursive"]),
        (("ls", "d"), ["data/", "draft.txt"]),
        (("ls", ""), ["data/", "draft.txt"]),
        (("ls", "."), [".hidden"]),
        (("ls", "data/"), ["data/two words"]),
        (("ls", "/user/al"), ["/user/alice/"]),
        (("ls", "/missing/x"), []),
        (("ls", "-l", "/u"), ["/user/"]),
        (("put", ""), ["<local>"]),
        (("put", "a", "dr"), ["<local>", "draft.txt"]),
        (("put", "--jobs", ""), []),
        (("get", "dr"), ["draft.txt"]),
        (("find", "-type", ""), ["d", "f"]),
        (("find", "--type", "f", "dr"), ["draft.txt"]),
        (("checksum", "--compare", ""), ["<local>"]),
        (("chmod", "u"), []),
        (("chmod", "640", "dr"), ["draft.txt"]),
        (("completion", "z"), ["zsh"]),
        (("help", "whoa"), ["whoami"]),
        (("nonsense", ""), []),
    ],
    ids=" ".join,
)
def test_completion_offers_what_may_stand_there(
    names: FakeNamenode, words: tuple[str, ...], expected: list[str]
) -> None:
    assert offered(names, *words) == expected


def test_completion_knows_verbs_of_two_words(names: FakeNamenode) -> None:
    assert offered(names, "users", "re", program=admin.PROGRAM) == ["remove"]
    assert offered(names, "no", program=admin.PROGRAM) == ["nodes", "node"]


def test_hidden_verb_answers_scripts_in_lines(console: Console, names: FakeNamenode) -> None:
    assert console.dfs("__complete", "--", "ls", "d").out == "dir\tdata/\npath\tdraft.txt\n"


def test_hidden_verb_is_silent_when_nobody_answers(console: Console) -> None:
    ran = console.dfs("__complete", "--", "--namenode", "http://127.0.0.1:9", "ls", "d")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_hidden_verb_reads_words_as_they_are_typed(console: Console, names: FakeNamenode) -> None:
    for typed in ("data/two\\ w", "'data/two w", '"data/two w', "data/two\\"):
        assert console.dfs("__complete", "--", "ls", typed).out == "path\tdata/two words\n"


def test_hidden_verb_offers_no_name_a_shell_cannot_hold(
    console: Console, names: FakeNamenode
) -> None:
    names.add_file("/user/alice/draft\n2")
    assert console.dfs("__complete", "--", "ls", "dr").out == "path\tdraft.txt\n"


@pytest.mark.parametrize(
    ("text", "words", "typed"),
    [
        ("", [""], ""),
        ("ls", ["ls"], "ls"),
        ("ls ", ["ls", ""], ""),
        ("ls a\\ b", ["ls", "a b"], "a\\ b"),
        ("ls 'a b", ["ls", "a b"], "'a b"),
        ('ls "a b" c', ["ls", "a b", "c"], "c"),
        ("ls a\\", ["ls", "a"], "a\\"),
    ],
)
def test_words_before_the_cursor_are_read_as_the_shell_reads_them(
    text: str, words: list[str], typed: str
) -> None:
    assert words_before(text) == (words, typed)


def test_quoted_words_are_read_back(names: FakeNamenode) -> None:
    for name in ("two words", "it's", 'a"b', "a\\b", "$x;*"):
        assert words_before("ls " + quoted(name))[0] == ["ls", name]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize("program", ["dfs", "dfs-admin"])
def test_completion_script_is_one_the_shell_can_read(
    console: Console, tmp_path: Path, shell: str, program: str
) -> None:
    run = console.dfs if program == "dfs" else console.admin
    script = run("completion", shell).out
    assert f"{program} __complete" in script
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    (tmp_path / "script").write_text(script)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_bash_completes_a_remote_path_with_spaces(tmp_path: Path, console: Console) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    stub = tmp_path / "dfs"
    stub.write_text("#!/bin/sh\nprintf 'path\\ttwo words\\ndir\\tdata/\\n'\n")
    stub.chmod(0o755)
    script = console.dfs("completion", "bash").out
    driver = script + (
        '\nCOMP_WORDS=(dfs ls ""); COMP_CWORD=2; _dfs_complete; printf "[%s]" "${COMPREPLY[@]}"'
    )
    ran = subprocess.run(
        ["bash", "-c", driver],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert ran.stdout == "[two\\ words ][data/]"
