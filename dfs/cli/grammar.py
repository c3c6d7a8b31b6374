"""How one command line becomes a verb with its arguments, and what its help says.

Only the parser of the verb that was typed is built, so that `--help` and `--version` answer at
once.  Global flags may stand before or after the verb.  Nothing here talks to a cluster.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final, NoReturn

from dfs.base.errors import BadRequest
from dfs.cli.errors import EXIT_MEANING
from dfs.cli.verbs import Program, Verb
from dfs.observe.exit_codes import EXIT_DONE, EXIT_USAGE

ALWAYS_POSSIBLE: Final = (EXIT_DONE, EXIT_USAGE)
HELP_COLUMN: Final = 26
COMPLETE_VERB: Final = "__complete"  # what completion scripts call; no verb for people


class VerbParser(argparse.ArgumentParser):
    """An argument parser that raises `BadRequest` instead of leaving the process.

    How wide the terminal is it asks when help is wanted, and not before: that takes time to load.
    """

    short: tuple[argparse.Action, ...] | None = None  # what its usage names; None: everything

    def format_usage(self) -> str:
        """How the command is written, the flags that every verb takes left out."""
        self.formatter_class = _formatter
        formatter = self._get_formatter()
        named = self._actions if self.short is None else self.short
        formatter.add_usage(self.usage, named, self._mutually_exclusive_groups)
        return formatter.format_help()

    def format_help(self) -> str:
        """All that `--help` prints."""
        self.usage = self.format_usage().removeprefix("usage: ").rstrip()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            BadRequest: always.
        """
        # The `--` is `parse`'s own.
        words = message.replace("unrecognized arguments: -- ", "unrecognized arguments: ")
        raise BadRequest(words, hint=f"see: {help_command(self.prog)}")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments meant; options and paths may be mixed in any order.

        Raises:
            BadRequest: they do not fit the verb.
        """
        options, positionals = self._sorted_out(words)
        try:
            return self.parse_args([*options, *(("--", *positionals) if positionals else ())])
        except argparse.ArgumentError as exc:
            self.error(str(exc))

    def _sorted_out(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """Options with their values, and the rest.

        `parse_intermixed_args` would do, but forgets `--` and takes `-1k` for an option.
        """
        options: list[str] = []
        positionals: list[str] = []
        left = list(words)
        while left:
            word = left.pop(0)
            if word == "--":
                return options, positionals + left
            if not word.startswith("-") or word == "-":
                positionals.append(word)
            elif left and self._wants_value(word):
                joint = "=" if word in self.flags() and len(word) > 2 else ""
                options.append(word + joint + left.pop(0))
            else:
                options.append(word)
        return options, positionals

    def _wants_value(self, word: str) -> bool:
        """Whether the next word is this option's value: `-n`, `--lines`, `-rn`, but not `-n5`."""
        flags = self.flags()
        if word in flags:
            return flags[word].nargs is None
        if word.startswith("--"):
            return False
        for at, letter in enumerate(word[1:], start=1):
            action = flags.get(f"-{letter}")
            if action is None or action.nargs is None:
                return action is not None and at == len(word) - 1
        return False

    def flags(self) -> dict[str, argparse.Action]:
        """Every option string and its action."""
        return dict(self._option_string_actions)

    def positionals(self) -> list[argparse.Action]:
        """The positional arguments in order."""
        return self._get_positional_actions()


class ShowHelp(Exception):  # noqa: N818 - not an error
    """Help was asked for; the text is the argument."""


class _HelpAction(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **_: object) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show this help")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        raise ShowHelp(parser.format_help())


def help_command(prog: str) -> str:
    """`dfs help ls` for the parser called `dfs ls`."""
    program, _, verb = prog.partition(" ")
    return f"{program} help {verb}".rstrip()


def add_global_flags(parser: argparse.ArgumentParser) -> None:
    """The flags every verb takes; they may stand before it too."""
    flags = parser.add_argument_group("options everywhere")
    flags.add_argument("--config", metavar="FILE", help="settings file (also DFS_CONFIG)")
    flags.add_argument(
        "--namenode", metavar="URL[,URL]", help="where the NameNode is (also DFS_NAMENODE)"
    )
    flags.add_argument("--json", action="store_true", help="print one JSON document")
    flags.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
    flags.add_argument("-v", "--verbose", action="store_true", help="say more")


GLOBAL_VALUED: Final = frozenset({"--config", "--namenode"})


def parser_of(program: Program, verb: Verb) -> VerbParser:
    """The parser of one verb, with its help."""
    parser = VerbParser(
        prog=f"{program.name} {verb.name}",
        description="\n\n".join(filter(None, (verb.summary + ".", verb.description))),
        epilog=_epilog(verb),
        formatter_class=_unmeasured,
        add_help=False,
        allow_abbrev=False,
    )
    parser.register("action", "show_help", _HelpAction)
    parser._positionals.title = "arguments"  # argparse has no public word for it
    verb.arguments(parser)
    if verb.may_be_stale:
        parser.add_argument(
            "--stale-ok",
            action="store_true",
            help="let a standby answer if who leads does not; says how far behind it is",
        )
    parser.short = tuple(parser._actions)
    add_global_flags(parser)
    names = ("--help",) if verb.human_flag else ("-h", "--help")
    parser.add_argument(*names, action="show_help")
    return parser


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=HELP_COLUMN)


def _unmeasured(prog: str) -> argparse.HelpFormatter:
    """For what argparse asks of each argument that is added; nothing is shown."""
    return argparse.HelpFormatter(prog, max_help_position=HELP_COLUMN, width=4 * HELP_COLUMN)


def _epilog(verb: Verb) -> str:
    lines: list[str] = []
    if verb.examples:
        lines.append("examples:")
        for example in verb.examples:
            lines += [f"  {example.command}", f"      {example.meaning}"]
        lines.append("")
    lines.append("exit codes:")
    lines += [f"  {code}  {meaning}" for code, meaning in exits_of(verb)]
    return "\n".join(lines)


def exits_of(verb: Verb) -> tuple[tuple[int, str], ...]:
    """The exit codes of a verb and what they mean, by number."""
    if verb.own_exits:
        return verb.own_exits
    return tuple((code, EXIT_MEANING[code]) for code in sorted({*ALWAYS_POSSIBLE, *verb.exits}))


def verb_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line cut before its verb: the global flags, and the rest."""
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "-":
        at += 2 if words[at] in GLOBAL_VALUED else 1
    return list(words[:at]), list(words[at:])


def refuse_dashed_verb(program: Program, flags: Sequence[str]) -> None:
    """Tell whoever writes `dfs -ls`, as with HDFS, that a verb has no dash, and what it is here.

    Raises:
        BadRequest: one of the flags before the verb is a verb with a dash.
    """
    for word in flags:
        if word.startswith("--") or len(word) < 3 or not word.startswith("-"):
            continue
        bare = word[1:]
        if bare in program.verbs:
            hint = f"verbs have no dash: {program.name} {bare}"
        else:
            hint = _elsewhere(program, [bare])
        if hint:
            raise BadRequest(f"no such option: {word}", hint=hint)


def find_verb(program: Program, words: Sequence[str]) -> tuple[Verb, list[str]]:
    """The verb at the head of `words` (two words where there is one), and what follows it.

    Raises:
        BadRequest: there is no such verb; what is meant is named, or the nearest one.
        ShowHelp: the first word of verbs of two, and `--help`.
    """
    for length in (2, 1):
        verb = program.verbs.get(" ".join(words[:length]))
        if verb is not None and len(words) >= length:
            return verb, list(words[length:])
    parts = _second_words(program, words[0])
    if parts and words[1:2] in (["-h"], ["--help"]):
        raise ShowHelp(help_of_first_word(program, words[0]))
    if parts:
        said = f"no such verb: {' '.join(words[:2])}" if words[1:] else f"{words[0]} what?"
        raise BadRequest(said, hint=f"there is: {program.name} {words[0]} {'|'.join(parts)}")
    hint = _elsewhere(program, words)
    if hint:
        raise BadRequest(f"no such verb: {words[0]}", hint=hint)
    raise BadRequest(
        f"no such verb: {words[0]}{_nearest(program, words[0])}", hint=f"see: {program.name} --help"
    )


def _elsewhere(program: Program, words: Sequence[str]) -> str:
    """Where those words are understood, or what we call it; empty when nobody knows them."""
    from dfs.cli.other_names import hint_for  # noqa: PLC0415 - start-up time

    return hint_for(program.name, words)


def _second_words(program: Program, word: str) -> list[str]:
    """What may follow the first word of verbs of two."""
    pairs = [name.split(" ") for name, verb in program.verbs.items() if not verb.hidden]
    return [pair[1] for pair in pairs if len(pair) > 1 and pair[0] == word]


def _nearest(program: Program, word: str) -> str:
    import difflib  # noqa: PLC0415 - start-up time

    known = [name for name, verb in program.verbs.items() if not verb.hidden]
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def parse(program: Program, words: Sequence[str]) -> tuple[Verb, argparse.Namespace]:
    """The verb and the arguments of a command line that has a verb.

    Raises:
        BadRequest: the command line says nothing that can be done.
        ShowHelp: it asks for help.
    """
    before, rest = verb_words(words)
    verb, after = find_verb(program, rest)
    return verb, parser_of(program, verb).parse([*before, *after])


def help_of_first_word(program: Program, word: str) -> str:
    """The verbs of two words that begin with that one; empty where there are none."""
    verbs = [program.verbs[f"{word} {second}"] for second in _second_words(program, word)]
    if not verbs:
        return ""
    width = max(len(verb.name) for verb in verbs) + 2
    lines = [f"usage: {program.name} {word} VERB [argument ...]", ""]
    lines += [f"  {verb.name:<{width}}{verb.summary}" for verb in verbs]
    return "\n".join([*lines, "", f"More: {program.name} {verbs[0].name} --help", ""])


def program_help(program: Program) -> str:
    """What `--help` prints: every verb under its heading."""
    shown = [verb for verb in program.verbs.values() if not verb.hidden]
    width = max(len(verb.name) for verb in shown) + 2
    lines = [f"usage: {program.name} [option ...] VERB [argument ...]", "", program.summary]
    for group in dict.fromkeys(verb.group for verb in shown):
        lines += ["", f"{group}:"]
        lines += [f"  {v.name:<{width}}{v.summary}" for v in shown if v.group == group]
    flags = VerbParser(prog=program.name, add_help=False, formatter_class=_formatter)
    add_global_flags(flags)
    flags.add_argument("--version", action="store_true", help="print the version and leave")
    lines += ["", *flags.format_help().split("\n\n", 1)[1].rstrip().splitlines()]
    return "\n".join([*lines, "", program.footer]).rstrip() + "\n"
