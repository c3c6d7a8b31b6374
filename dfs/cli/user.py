"""`dfs`: the user's command.  The table of its verbs and its main."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from dfs.cli import (
    account_commands,
    attribute_commands,
    copy_commands,
    file_commands,
    find_command,
    guide_commands,
    inspect_commands,
    name_commands,
    tree_commands,
)
from dfs.cli.command import launch
from dfs.cli.verbs import Program

FOOTER: Final = """\
paths:  relative ones begin in /user/<you>; *, ? and [..] match names in DFS when quoted from
        your own shell; "-" is standard input or output.
help:   dfs help VERB, or dfs VERB --help"""

PROGRAM: Final = Program(
    name="dfs",
    summary="Work with files in a DFS cluster.",
    verbs={
        verb.name: verb
        for module in (
            account_commands,
            tree_commands,
            find_command,
            copy_commands,
            file_commands,
            name_commands,
            attribute_commands,
            inspect_commands,
            guide_commands,
        )
        for verb in module.VERBS
    },
    footer=FOOTER,
)


def main(words: Sequence[str] | None = None) -> int:
    """Run one `dfs` command; returns its exit code."""
    return launch(PROGRAM, words, os.environ)


if __name__ == "__main__":
    sys.exit(main())
