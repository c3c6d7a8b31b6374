"""Where passwords come from: a terminal without echo, or lines of standard input.  Never argv."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from dfs.base.errors import BadRequest
from dfs.cli.output import is_terminal

if TYPE_CHECKING:
    from dfs.cli.verbs import Context

PASSWORD_CHARACTERS_MAX: Final = 4_096


def password_argument(parser: argparse.ArgumentParser, *, lines: str = "the password") -> None:
    """The flag of scripts."""
    parser.add_argument(
        "--password-stdin", action="store_true", help=f"read {lines} from standard input"
    )


def read_password(context: Context, prompt: str) -> str:
    """The next password: asked for on a terminal, or the next line of standard input.

    Raises:
        BadRequest: there is nobody to ask, or nothing was said.
    """
    if context.args.password_stdin:
        line = context.stdin.readline(PASSWORD_CHARACTERS_MAX)
        password = line.rstrip("\r\n")
    elif is_terminal(context.stdin):
        password = _prompted(prompt)
    else:
        raise BadRequest(
            "no terminal to ask for the password", hint="pipe it in with --password-stdin"
        )
    if not password:
        raise BadRequest("no password given")
    return password


def read_new_password(context: Context, prompt: str) -> str:
    """A password nobody knows yet; on a terminal it is asked for twice.

    Raises:
        BadRequest: as `read_password`, or the two differ.
    """
    password = read_password(context, prompt)
    if not context.args.password_stdin and password != _prompted("Again: "):
        raise BadRequest("the two passwords differ; nothing was changed")
    return password


def _prompted(prompt: str) -> str:
    from getpass import getpass  # noqa: PLC0415 - start-up time

    try:
        return getpass(prompt)
    except EOFError:
        raise BadRequest("no password given") from None
