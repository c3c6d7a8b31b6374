"""What may come next on a command line: verbs, options, their values, remote and local paths.

The words are read by the same parsers that run them.  Used by the interactive shell and, through
the hidden verb `__complete`, by bash and zsh.  What cannot be looked up is silently not offered:
a TAB is no place for an error message.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

from dfs.base.errors import BadRequest, DfsError
from dfs.base.paths import absolute, home
from dfs.base.states import InodeKind
from dfs.cli.arguments import Offer, offer_of
from dfs.cli.grammar import (
    GLOBAL_VALUED,
    VerbParser,
    add_global_flags,
    find_verb,
    parser_of,
    verb_words,
)
from dfs.cli.verbs import Program

if TYPE_CHECKING:
    from dfs.base.records import FileStatus
    from dfs.cli.connection import Connection

OFFERED_MAX: Final = 1_000  # names; nobody reads more


class Kind(StrEnum):
    """What is offered."""

    WORD = "word"
    PATH = "path"
    DIRECTORY = "dir"
    LOCAL = "local"  # "local files too"; the text says nothing


class Candidate(NamedTuple):
    """A whole word that may stand where the cursor is, and a few words on it."""

    kind: Kind
    text: str
    meaning: str = ""


Lister = Callable[[str], Iterable["FileStatus"]]


def complete(
    program: Program, words: Sequence[str], *, directory: Callable[[], str], entries: Lister
) -> Iterator[Candidate]:
    """What the last of `words` (which may be empty) may become.

    Args:
        directory: where relative remote paths begin.
        entries: what is in a remote directory, by absolute path.
    """
    before, current = words[:-1], words[-1]
    flags, rest = verb_words(before)
    if not rest or len(flags) > len(before):
        if flags and flags[-1] in GLOBAL_VALUED and len(flags) == len(before):
            yield Candidate(Kind.LOCAL, "")
            return
        yield from _verbs_and_flags(program, current)
        return
    yield from _second_words(program, rest, current)
    try:
        verb, arguments = find_verb(program, rest)
    except BadRequest:
        return
    parser = parser_of(program, verb)
    if current.startswith("-") and current != "-":
        yield from _options(parser, current)
        return
    offer, choices = _expected(parser, arguments)
    yield from _words((str(choice) for choice in choices), current)
    if offer is Offer.VERB:
        yield from _verb_names(program, current)
    if offer in (Offer.LOCAL, Offer.LOCAL_OR_REMOTE):
        yield Candidate(Kind.LOCAL, "")
    if offer in (Offer.REMOTE, Offer.LOCAL_OR_REMOTE):
        yield from remote_candidates(current, directory=directory, entries=entries)


def _verbs_and_flags(program: Program, current: str) -> Iterator[Candidate]:
    if current.startswith("-"):
        parser = VerbParser(add_help=False)
        add_global_flags(parser)
        yield from _options(parser, current)
        yield from _words(("--help", "--version"), current)
    else:
        yield from _verb_names(program, current)


def _verb_names(program: Program, current: str) -> Iterator[Candidate]:
    seen: set[str] = set()
    for verb in program.verbs.values():
        first = verb.name.partition(" ")[0]
        if first.startswith(current) and not verb.hidden and first not in seen:
            seen.add(first)
            yield Candidate(Kind.WORD, first, verb.summary)


def _second_words(program: Program, rest: Sequence[str], current: str) -> Iterator[Candidate]:
    """`add` after `users`."""
    if len(rest) != 1:
        return
    for verb in program.verbs.values():
        first, _, second = verb.name.partition(" ")
        if second and first == rest[0] and second.startswith(current):
            yield Candidate(Kind.WORD, second, verb.summary)


def _options(parser: VerbParser, current: str) -> Iterator[Candidate]:
    """Long spellings where there are some; the short ones are shown when one dash is typed."""
    for flag, action in sorted(parser.flags().items()):
        if flag.startswith(current) and action.help is not argparse.SUPPRESS:
            yield Candidate(Kind.WORD, flag, action.help or "")


def _expected(parser: VerbParser, arguments: Sequence[str]) -> tuple[Offer, Sequence[object]]:
    """What the next argument is: the value of the option before, or a positional."""
    flags = parser.flags()
    last = flags.get(arguments[-1]) if arguments else None
    if last is not None and last.nargs is None:
        return _offered(last)
    taken, skip = 0, False
    for word in arguments:
        action = flags.get(word)
        if skip or (word.startswith("-") and word != "-"):
            skip = not skip and action is not None and action.nargs is None
        else:
            taken += 1
    positionals = parser.positionals()
    if not positionals:
        return Offer.NOTHING, ()
    # The last argument may already be the target of a put or get: whoever can tell is the user.
    return _offered(_positional(positionals, taken))


def _positional(positionals: Sequence[argparse.Action], taken: int) -> argparse.Action:
    for at, action in enumerate(positionals):
        many = action.nargs in ("+", "*")
        if many and taken > at and at + 1 < len(positionals):
            return positionals[at + 1]
        if many or taken == at:
            return action
    return positionals[-1] if positionals[-1].nargs in ("+", "*") else _NO_MORE


_NO_MORE: Final = argparse.Action([], "none")


def _offered(action: argparse.Action) -> tuple[Offer, Sequence[object]]:
    return offer_of(action), tuple(action.choices or ())


def _words(words: Iterable[str], current: str) -> Iterator[Candidate]:
    return (Candidate(Kind.WORD, word) for word in words if word.startswith(current))


def remote_candidates(
    current: str,
    *,
    directory: Callable[[], str],
    entries: Lister,
    directories_only: bool = False,
) -> Iterator[Candidate]:
    """Remote names that begin like what was typed; directories end in a slash."""
    typed_parent, slash, prefix = current.rpartition("/")
    try:
        base = "/" if current.startswith("/") else directory()
        offered = 0
        for entry in entries(absolute(typed_parent + slash or ".", base)):
            name = entry.path.rpartition("/")[2]
            if not name.startswith(prefix) or (name.startswith(".") and not prefix):
                continue
            is_directory = entry.kind is InodeKind.DIRECTORY
            if is_directory:
                yield Candidate(Kind.DIRECTORY, f"{typed_parent}{slash}{name}/")
            elif not directories_only:
                yield Candidate(Kind.PATH, f"{typed_parent}{slash}{name}")
            offered += 1
            if offered >= OFFERED_MAX:
                return
    except DfsError:
        return


def unquoted(word: str) -> str:
    """What a word means that may still have an open quote, or a backslash with nothing behind."""
    for whole in (word, word.removesuffix("\\"), word + "'", word + '"'):
        with contextlib.suppress(ValueError):
            return "".join(shlex.split(whole))
    return word


def answer_shell(
    program: Program, words: Sequence[str], connection: Connection, stdout: TextIO
) -> None:
    """The hidden verb: a line for each candidate, as the scripts read them."""
    typed = words[1:] if words[:1] == ["--"] else words
    current = [unquoted(word) for word in typed]
    args = _connection_flags(current)
    shown = complete(
        program,
        current or [""],
        directory=lambda: home(connection.client(args).user),
        entries=lambda path: connection.client(args).listdir(path),
    )
    for candidate in shown:
        if candidate.text.isprintable():  # a name with a newline cannot be typed in a shell
            stdout.write(f"{candidate.kind}\t{candidate.text}\n")


def _connection_flags(words: Sequence[str]) -> argparse.Namespace:
    """`--config` and `--namenode` where they stand on the line already."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config")
    parser.add_argument("--namenode")
    try:
        return parser.parse_known_args(list(words[:-1]))[0]
    except (argparse.ArgumentError, SystemExit):
        return argparse.Namespace(config=None, namenode=None)
