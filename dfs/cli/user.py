"""`dfs`: the user's command.  The table of its verbs and its main."""

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
paths:  relative ones begin in /user/<you>; *, ? and [..] match names in DFS when quoted from
        your own shell; "-" is standard input or output.
help:   dfs help VERB, or dfs VERB --help"""


@cache
def program() -> Program:
    """What the command can be told to do; `PROGRAM` is the same."""
    from dfs.cli.verbs import Program  # noqa: PLC0415 - start-up time

    return Program(
        name="dfs",
        summary="Work with files in a DFS cluster.",
        verbs=VerbTable(HOMES["dfs"]),
        footer=FOOTER,
    )


def __getattr__(name: str) -> object:
    """`PROGRAM` is made when somebody names it: `--version` does not."""
    if name == "PROGRAM":
        return program()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main(words: Sequence[str] | None = None) -> int:
    """Run one `dfs` command; returns its exit code."""
    return start("dfs", program, words)


if __name__ == "__main__":
    sys.exit(main())
