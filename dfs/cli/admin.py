"""`dfs-admin`: the administrator's command.  The table of its verbs and its main."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from dfs.cli.start import start
from dfs.cli.verb_table import HOMES, VerbTable

if TYPE_CHECKING:
    from dfs.cli.verbs import Program

    PROGRAM: Program

FOOTER: Final = """\
Log in first, as an administrator: dfs login admin
help:   dfs-admin help VERB, or dfs-admin VERB --help"""


@cache
def program() -> Program:
    """What the command can be told to do; `PROGRAM` is the same."""
    from dfs.cli.verbs import Program  # noqa: PLC0415 - start-up time

    return Program(
        name="dfs-admin",
        summary="Look after a DFS cluster.",
        verbs=VerbTable(
            HOMES["dfs-admin"],
            attribute={"guide_commands": "ADMIN_VERBS"},
        ),
        footer=FOOTER,
    )


def __getattr__(name: str) -> object:
    """`PROGRAM` is made when somebody names it: `--version` does not."""
    if name == "PROGRAM":
        return program()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main(words: Sequence[str] | None = None) -> int:
    """Run one `dfs-admin` command; returns its exit code."""
    return start("dfs-admin", program, words)


if __name__ == "__main__":
    sys.exit(main())
