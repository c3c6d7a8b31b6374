"""`dfs-admin`: the administrator's command.  The table of its verbs and its main."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from dfs.cli import (
    admin_accounts,
    admin_balance,
    admin_duties,
    admin_explain,
    admin_fsck,
    admin_health,
    admin_history,
    admin_nodes,
    admin_repair,
    admin_safety,
    admin_scrub,
    guide_commands,
)
from dfs.cli.command import launch
from dfs.cli.verbs import Program

FOOTER: Final = """\
Log in first, as an administrator: dfs login admin
help:   dfs-admin help VERB, or dfs-admin VERB --help"""

PROGRAM: Final = Program(
    name="dfs-admin",
    summary="Look after a DFS cluster.",
    verbs={
        verb.name: verb
        for verb in (
            *admin_nodes.VERBS,
            *admin_duties.VERBS,
            *admin_safety.VERBS,
            *admin_health.VERBS,
            *admin_fsck.VERBS,
            *admin_explain.VERBS,
            *admin_scrub.VERBS,
            *admin_repair.VERBS,
            *admin_history.VERBS,
            *admin_balance.VERBS,
            *admin_accounts.VERBS,
            *guide_commands.ADMIN_VERBS,
        )
    },
    footer=FOOTER,
)


def main(words: Sequence[str] | None = None) -> int:
    """Run one `dfs-admin` command; returns its exit code."""
    return launch(PROGRAM, words, os.environ)


if __name__ == "__main__":
    sys.exit(main())
