"""`dfs shell`: the same verbs in a loop, with a place to stand, completion and history.

On a terminal prompt_toolkit reads the lines; otherwise they come from standard input, as a script,
which stops at the first command that fails.  ^C ends the command, not the shell; ^D ends the shell.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dfs.base.errors import BadRequest, DfsError, LocalIoError, LocalNotFound
from dfs.base.paths import home, printable
from dfs.cli.command import run_line
from dfs.cli.errors import EXIT_INTERRUPTED
from dfs.cli.name_commands import need_directory
from dfs.cli.output import is_terminal
from dfs.cli.verbs import Program
from dfs.observe.exit_codes import EXIT_DONE, exit_code

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from dfs.cli.verbs import Context

NOT_IN_A_SHELL: Final = frozenset({"shell", "completion"})
SHELL_HELP: Final = """
in the shell:
  cd [PATH]       Stand in another directory of DFS (without PATH: at home)
  pwd             Show where you stand in DFS
  lcd [PATH]      Stand in another local directory
  lpwd            Show where you stand locally
  exit            Leave, as ^D does
"""


class Shell:
    """The loop's state: where it stands, and what the last command came to."""

    def __init__(self, context: Context) -> None:
        self.context = context
        verbs = context.program.verbs
        self.program: Program = context.program._replace(
            verbs={name: verb for name, verb in verbs.items() if name not in NOT_IN_A_SHELL},
            footer=SHELL_HELP.strip("\n"),
        )
        self.around = context.around._replace(program=self.program, inherited=context.args)
        self.code = EXIT_DONE
        self.leaving = False
        self.own: Mapping[str, Callable[[Sequence[str]], None]] = {
            "cd": self._cd,
            "pwd": self._pwd,
            "lcd": self._lcd,
            "lpwd": self._lpwd,
            "exit": self._exit,
            "quit": self._exit,
        }
        self.offered = self.own.keys() - {"quit"}  # one way out is enough to offer

    def run(self, line: str) -> int:
        """Run one line; its exit code."""
        self.code = self._run(line)
        return self.code

    def _run(self, line: str) -> int:
        try:
            words = shlex.split(line, comments=True)
        except ValueError as exc:
            return self._refuse(BadRequest(f"cannot read this line: {exc}".lower()))
        if not words:
            return self.code
        if words[0] == self.program.name:
            words = words[1:] or ["help"]  # typed out of habit
        own = self.own.get(words[0])
        if own is None:
            return run_line(self.around, words)
        try:
            own(words[1:])
        except DfsError as exc:
            return self._refuse(exc)
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        return EXIT_DONE

    def _refuse(self, error: DfsError) -> int:
        self.context.out.error(error)
        return exit_code(error)

    def where(self) -> str:
        """The remote directory for the prompt; a question mark while it cannot be known."""
        try:
            return self.context.directory()
        except DfsError:
            return "?"

    def prompt(self) -> str:
        """``dfs:/data> ``, the home as ``~``."""
        place = self.where()
        with contextlib.suppress(DfsError):
            own = home(self.context.client.user) if place != "?" else place
            if place == own or place.startswith(own + "/"):
                place = "~" + place.removeprefix(own)
        return f"dfs:{printable(place)}> "

    # --- its own verbs --------------------------------------------------------------------------

    def _cd(self, words: Sequence[str]) -> None:
        target = _one(words, "cd")
        path = self.context.remote(target) if target else home(self.context.client.user)
        need_directory(self.context, path)
        self.context.place.directory = path

    def _pwd(self, words: Sequence[str]) -> None:
        _none(words, "pwd")
        self.context.out.line(self.context.directory())

    def _lcd(self, words: Sequence[str]) -> None:
        target = Path(_one(words, "lcd") or "~").expanduser()
        try:
            os.chdir(target)
        except FileNotFoundError:
            raise LocalNotFound(f"no such local directory: {target}") from None
        except OSError as exc:
            raise LocalIoError(f"{target}: {exc.strerror}") from exc

    def _lpwd(self, words: Sequence[str]) -> None:
        _none(words, "lpwd")
        self.context.out.line(str(Path.cwd()))

    def _exit(self, words: Sequence[str]) -> None:
        _none(words, "exit")
        self.leaving = True


def _one(words: Sequence[str], verb: str) -> str:
    if len(words) > 1:
        raise BadRequest(f"{verb} takes one path", hint="quote a path with spaces")
    return words[0] if words else ""


def _none(words: Sequence[str], verb: str) -> None:
    if words:
        raise BadRequest(f"{verb} takes no argument")


def run_shell(context: Context) -> int:
    """Run lines until there are no more; the code of the last one."""
    shell = Shell(context)
    if context.args.command is not None:
        return shell.run(context.args.command)
    if not is_terminal(context.stdin):
        return _run_script(shell, context.stdin)
    from dfs.cli.shell_terminal import open_session  # noqa: PLC0415 - start-up time

    context.out.line("DFS shell: help lists the commands, TAB completes, ^D leaves")
    return run_session(shell, open_session(context, shell.program, shell.offered))


def _run_script(shell: Shell, lines: Iterator[str]) -> int:
    for line in lines:
        if shell.run(line) != EXIT_DONE or shell.leaving:
            break
    return shell.code


def run_session(shell: Shell, session: PromptSession[str]) -> int:
    """Ask for lines and run them until ^D or exit."""
    while not shell.leaving:
        try:
            line = session.prompt(shell.prompt())
        except KeyboardInterrupt:
            continue  # the line is given up, as in every shell
        except EOFError:
            break
        shell.run(line)
    return EXIT_DONE
