"""The shell's terminal: prompt, history file, completion menu.  Loaded only by the shell."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.shortcuts import CompleteStyle

from dfs.cli.shell_completion import Candidate, Kind, complete, remote_candidates, unquoted
from dfs.client.credentials import default_state_folder

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output

    from dfs.cli.verbs import Context, Program

HISTORY_FILE: Final = "shell_history"
SPECIAL: Final = frozenset(" \t\n'\"\\#;&|<>()$`*?[]{}~!")


class ShellCompleter(Completer):
    """Offers what may come next; remote names are asked for when TAB is pressed."""

    def __init__(self, context: Context, program: Program, own: Collection[str]) -> None:
        self._context = context
        self._program = program
        self._own = own
        self._files = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        """See prompt_toolkit."""
        words, typed = words_before(document.text_before_cursor)
        for candidate in self._candidates(words):
            if candidate.kind is Kind.LOCAL:
                yield from self._files.get_completions(Document(words[-1]), event)
                continue
            space = "" if candidate.kind is Kind.DIRECTORY else " "
            yield Completion(
                quoted(candidate.text) + space,
                start_position=-len(typed),
                display=_last_name(candidate),
                display_meta=candidate.meaning,
            )

    def _candidates(self, words: list[str]) -> Iterator[Candidate]:
        if len(words) == 1:
            own = sorted(word for word in self._own if word.startswith(words[0]))
            yield from (Candidate(Kind.WORD, word) for word in own)
        if words[0] in ("cd", "lcd") and len(words) == 2:
            yield from self._directories(words)
            return
        context = self._context
        yield from complete(
            self._program, words, directory=context.directory, entries=context.client.listdir
        )

    def _directories(self, words: list[str]) -> Iterator[Candidate]:
        if words[0] == "lcd":
            yield Candidate(Kind.LOCAL, "")
            return
        context = self._context
        yield from remote_candidates(
            words[1],
            directory=context.directory,
            entries=context.client.listdir,
            directories_only=True,
        )


def words_before(text: str) -> tuple[list[str], str]:
    """The words up to the cursor; of the last also what was typed of it, quotes and all."""
    at = _last_break(text) + 1
    typed = text[at:]
    return [*shlex.split(text[:at]), unquoted(typed)], typed


def _last_break(text: str) -> int:
    """Where the last word's leading space is; spaces behind a backslash or in quotes are none."""
    quote, at, last = "", 0, -1
    while at < len(text):
        char = text[at]
        if char == "\\" and quote != "'":
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            last = at
        at += 1
    return last


def quoted(text: str) -> str:
    """The text as one word of a line."""
    return "".join(f"\\{char}" if char in SPECIAL else char for char in text)


def _last_name(candidate: Candidate) -> str:
    if candidate.kind is Kind.WORD:
        return candidate.text
    slash = "/" if candidate.kind is Kind.DIRECTORY else ""
    return candidate.text.rstrip("/").rpartition("/")[2] + slash


def open_session(
    context: Context,
    program: Program,
    own: Collection[str],
    *,
    source: Input | None = None,
    screen: Output | None = None,
) -> PromptSession[str]:
    """The line editor.

    Args:
        program: whose verbs are completed.
        own: the verbs of the shell itself.
        source: with `screen`, stands in for the terminal in tests.
    """
    return PromptSession(
        history=_history(context.environment),
        completer=ShellCompleter(context, program, own),
        complete_in_thread=True,
        complete_style=CompleteStyle.MULTI_COLUMN,
        complete_while_typing=False,  # remote names are looked up when asked for, not at each key
        auto_suggest=AutoSuggestFromHistory(),
        input=source,
        output=screen,
    )


def _history(environment: Mapping[str, str]) -> History:
    """In the user's state folder; in memory where that cannot be written."""
    file = default_state_folder(environment) / HISTORY_FILE
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(file))
