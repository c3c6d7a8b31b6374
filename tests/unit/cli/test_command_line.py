import io
import os
import re
import subprocess
import sys

import pytest

from dfs.base.errors import BadRequest, ErrorKind, IsADirectory, PlacementRefused
from dfs.cli import admin, user
from dfs.cli.arguments import Offer
from dfs.cli.command import run_line
from dfs.cli.errors import EXIT_MEANING, error_lines
from dfs.cli.grammar import ALWAYS_POSSIBLE, parse, parser_of, program_help
from dfs.cli.other_names import ADMIN_OPTIONS, OURS
from dfs.cli.output import Output
from dfs.cli.verbs import Program, Streams, Verb
from dfs.observe.exit_codes import EXIT_BY_KIND
from tests.unit.cli.conftest import ByteBackedText, Console, Terminal

EVERY_VERB = [
    pytest.param(program, verb, id=f"{program.name} {verb.name}")
    for program in (user.PROGRAM, admin.PROGRAM)
    for verb in program.verbs.values()
]


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_of_error_has_an_exit_code_with_a_meaning(kind: ErrorKind) -> None:
    assert EXIT_BY_KIND[kind] in EXIT_MEANING


@pytest.mark.parametrize(("program", "verb"), EVERY_VERB)
def test_verb_explains_itself(program: Program, verb: Verb) -> None:
    text = parser_of(program, verb).format_help()
    assert text.startswith(f"usage: {program.name} {verb.name}")
    assert verb.summary in text
    assert "examples:" in text
    meanings = dict(verb.own_exits or [(code, EXIT_MEANING[code]) for code in ALWAYS_POSSIBLE])
    assert all(f"  {code}  {meaning}" in text for code, meaning in meanings.items())
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize(("program", "verb"), EVERY_VERB)
def test_verb_has_a_short_summary_and_real_examples(program: Program, verb: Verb) -> None:
    assert len(verb.summary) <= 60
    assert not verb.summary.endswith(".")
    assert any(f"{program.name} {verb.name}" in example.command for example in verb.examples)


def test_help_names_every_verb_and_fits_a_terminal() -> None:
    for program in (user.PROGRAM, admin.PROGRAM):
        text = program_help(program)
        assert all(f"  {name} " in text for name in program.verbs)
        assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize("words", [("help", "ha"), ("ha", "--help"), ("ha", "-h")])
def test_help_of_the_first_word_of_verbs_of_two_lists_them(
    console: Console, words: tuple[str, ...]
) -> None:
    ran = console.admin(*words)
    assert ran.code == 0
    for verb in ("ha status", "ha switchover", "ha promote"):
        assert f"  {verb} " in ran.out
    assert "decommission" not in ran.out


@pytest.mark.parametrize("words", [("help", "ls"), ("ls", "--help"), ("--help", "ls")])
def test_help_of_a_verb_is_the_same_however_it_is_asked_for(
    console: Console, words: tuple[str, ...]
) -> None:
    ran = console.dfs(*words)
    assert ran.code == 0
    assert ran.out == parser_of(user.PROGRAM, user.PROGRAM.verbs["ls"]).format_help()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("scrub",), "scrub what?"),
        (("scrub", "stat"), "no such verb: scrub stat"),
        (("repair",), "repair what?"),
        (("replica", "restor", "7"), "no such verb: replica restor"),
    ],
)
def test_first_word_of_a_verb_of_two_says_which_second_words_there_are(
    console: Console, words: tuple[str, ...], said: str
) -> None:
    ran = console.admin(*words)
    assert (ran.code, ran.out) == (2, "")
    first, hint = ran.err.splitlines()
    assert first == f"dfs-admin: {said}"
    there = {"scrub": "status|start|pause|resume", "replica": "restore"}.get(words[0], "status|")
    assert f"there is: dfs-admin {words[0]} {there}" in hint


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no verb given"),
        (("lss",), "no such verb: lss; did you mean 'ls'?"),
        (("ls", "--nonsense"), "unrecognized arguments: --nonsense"),
        (("whoami", "else"), "unrecognized arguments: else"),
        (("mv", "one"), "the following arguments are required: TARGET"),
        (("put", "--jobs", "0", "a", "b"), "argument --jobs: not a number of at least 1: '0'"),
        (("head", "-c", "wide", "a"), "argument -c/--bytes: not a size: 'wide'"),
    ],
)
def test_wrong_usage_is_one_line_a_hint_and_code_2(
    console: Console, words: tuple[str, ...], message: str
) -> None:
    ran = console.dfs(*words)
    assert (ran.code, ran.out) == (2, "")
    first, hint = ran.err.splitlines()
    assert first.startswith(f"dfs: {message}")
    assert hint.startswith("  hint: see: dfs ")


def test_a_verb_with_a_dash_is_told_from_an_unknown_one(console: Console) -> None:
    ran = console.dfs("-ls", "/")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "dfs: no such option: -ls\n  hint: verbs have no dash: dfs ls\n"


def test_the_same_hint_is_said_once(console: Console) -> None:
    lines = console.dfs("cat", "/nope", "/nix").err.splitlines()
    assert len([line for line in lines if line.startswith("dfs: ")]) == 2
    out = ByteBackedText()
    words = Output(out, out)
    for path in ("/a", "/b"):
        words.error(IsADirectory(f"is a directory: {path}"))
    assert out.text().count("hint:") == 1
    assert out.text().count("dfs: ") == 2


def test_global_flags_may_stand_before_or_after_the_verb() -> None:
    for words in (["--json", "ls", "/a"], ["ls", "--json", "/a"], ["ls", "/a", "--json"]):
        verb, args = parse(user.PROGRAM, words)
        assert (verb.name, args.json, args.paths) == ("ls", True, ["/a"])
    _, args = parse(user.PROGRAM, ["--namenode", "http://h:1", "ls"])
    assert args.namenode == "http://h:1"


def test_options_and_paths_mix_in_any_order() -> None:
    _, args = parse(user.PROGRAM, ["put", "a", "-f", "b", "--jobs", "2", "c"])
    assert (args.sources, args.target, args.force, args.jobs) == (["a", "b"], "c", True, 2)


def test_two_dashes_end_the_options() -> None:
    _, args = parse(user.PROGRAM, ["rm", "--", "-f"])
    assert (args.paths, args.force) == (["-f"], False)


def test_short_options_may_be_joined_with_each_other_and_with_a_value() -> None:
    _, args = parse(user.PROGRAM, ["ls", "-lhR"])
    assert (args.long, args.human, args.recursive) == (True, True, True)
    for words in (["head", "-n5", "a"], ["head", "-n", "5", "a"], ["head", "-vn", "5", "a"]):
        _, args = parse(user.PROGRAM, words)
        assert (args.lines, args.paths) == (5, ["a"])


def test_a_lone_dash_is_a_path() -> None:
    _, args = parse(user.PROGRAM, ["put", "-", "x"])
    assert args.sources == ["-"]


def test_values_may_begin_with_a_dash() -> None:
    _, args = parse(user.PROGRAM, ["find", "-size", "-1k", "--mtime", "-7d"])
    assert (args.size, args.mtime) == ("-1k", "-7d")


def test_verbs_of_two_words_are_told_from_those_of_one() -> None:
    assert parse(admin.PROGRAM, ["users"])[0].name == "users"
    assert parse(admin.PROGRAM, ["users", "add", "bob"])[0].name == "users add"
    with pytest.raises(BadRequest):
        parse(admin.PROGRAM, ["users", "ad", "bob"])


def test_no_password_is_ever_taken_from_the_command_line() -> None:
    for program in (user.PROGRAM, admin.PROGRAM):
        for verb in program.verbs.values():
            flags = parser_of(program, verb).flags()
            secret = [flag for flag in flags if "password" in flag and flags[flag].nargs != 0]
            assert secret == []


def test_placement_refusal_lists_every_node_with_its_reason() -> None:
    error = PlacementRefused(
        "no DataNode can take the block",
        details={"refusals": [{"node": 3, "reason": "disk full"}]},
    )
    assert error_lines("dfs", error) == [
        "dfs: no DataNode can take the block",
        "  dn-3: disk full",
        "  hint: see: dfs-admin nodes",
    ]


def test_unknown_config_key_is_named(console: Console, tmp_path: object) -> None:
    with open(f"{tmp_path}/bad.ini", "w") as config:  # noqa: PTH123
        config.write("[client]\njbos = 3\n")
    ran = console.dfs("--config", f"{tmp_path}/bad.ini", "ls")
    assert ran.code == 2
    assert "did you mean 'jobs'" in ran.err


def test_nobody_answering_is_code_6(console: Console) -> None:
    ran = console.dfs("--namenode", "http://127.0.0.1:9", "ls", "/")
    assert ran.code == 6
    assert "hint: is it running" in ran.err


class _Closed(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO())

    def write(self, _text: str) -> int:
        raise BrokenPipeError

    def fileno(self) -> int:
        raise OSError


class _Interrupting(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO())

    def write(self, _text: str) -> int:
        raise KeyboardInterrupt


def test_a_closed_pipe_ends_quietly_and_an_interrupt_with_130(console: Console) -> None:
    for stdout, code in ((_Closed(), 141), (_Interrupting(), 130)):
        err = ByteBackedText()
        around = console.around(user.PROGRAM, Streams(Terminal(), stdout, err))
        assert run_line(around, ["whoami"]) == code
        assert err.text() == ""
        around.connection.close()


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("dfs-admin setrep 2 /x", "`setrep` is a verb of `dfs`: dfs setrep ..."),
        ("dfs fsck /", "`fsck` is a verb of `dfs-admin`: dfs-admin fsck ..."),
        ("dfs -report", "`report` is a verb of `dfs-admin`: dfs-admin report ..."),
        ("dfs scrub status", "`scrub status` is a verb of `dfs-admin`: dfs-admin scrub status ..."),
        ("dfs repair", "`repair` is a verb of `dfs-admin`: dfs-admin repair status|pause"),
        ("dfs copyFromLocal a b", "in place of `copyFromLocal`: dfs put LOCAL REMOTE"),
        ("dfs -copyToLocal a b", "in place of `copyToLocal`: dfs get REMOTE LOCAL"),
        ("dfs-admin touchz /x", "in place of `touchz`: dfs touch PATH"),
        ("dfs version", "in place of `version`: dfs --version"),
        ("dfs dfsadmin -report", "it is: dfs-admin report ..."),
        ("dfs fs -getmerge a b", "in place of `getmerge`: dfs cat FIRST SECOND > LOCAL"),
        ("dfs dfs", "see: dfs --help"),
    ],
)
def test_verb_of_the_other_program_or_of_hdfs_is_told_what_it_is_here(
    console: Console, line: str, hint: str
) -> None:
    name, *words = line.split()
    ran = console.run({"dfs": user, "dfs-admin": admin}[name].PROGRAM, *words)
    assert (ran.code, ran.out) == (2, "")
    first, second = ran.err.splitlines()
    assert first.startswith(f"{name}: no such ")
    assert second.startswith(f"  hint: {hint}")


@pytest.mark.parametrize("program", [user.PROGRAM, admin.PROGRAM], ids=lambda p: p.name)
def test_every_hint_names_a_command_there_is(program: Program) -> None:
    """And no word with a hint is a verb of ours."""
    verbs = {each.name: each.verbs for each in (user.PROGRAM, admin.PROGRAM)}
    for word, said in {**OURS, **ADMIN_OPTIONS}.items():
        assert word not in program.verbs
        for name, verb in re.findall(r"(dfs(?:-admin)?) (?!and\b)([a-z]+)", said):
            assert any(f"{known} ".startswith(f"{verb} ") for known in verbs[name]), said


def _python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("program", ["user", "admin"])
@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_version_and_help_load_nothing_slow(program: str, flag: str) -> None:
    slow = ("grpc", "rich", "prompt_toolkit", "urllib3", "msgspec", "requests", "dfs.client")
    script = (
        f"import sys; from dfs.cli.{program} import main; code = main([{flag!r}]); "
        f"print([m for m in {slow!r} if m in sys.modules], code)"
    )
    assert _python("-c", script).stdout.splitlines()[-1] == "[] 0"


def test_a_reader_that_goes_away_leaves_no_message() -> None:
    ran = subprocess.run(
        f"{sys.executable} -m dfs.cli.user --help | head -1",
        shell=True,  # noqa: S602 - the shell's pipe is the point
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        check=False,
    )
    assert ran.stderr == ""
    assert ran.stdout == "usage: dfs [option ...] VERB [argument ...]\n"


def test_every_path_argument_says_what_a_tab_offers() -> None:
    for name in ("ls", "cat", "rm", "put", "get", "mv"):
        positionals = parser_of(user.PROGRAM, user.PROGRAM.verbs[name]).positionals()
        assert all(getattr(a, "dfs_completes", Offer.NOTHING) for a in positionals), name
