"""`dfs-admin`: the administrator's command.  The table of its verbs and its main."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from dfs.cli.start import start
from dfs.cli.verb_table import VerbTable

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
            {
                "admin_nodes": ("report", "nodes", "node remove", "join-token", "sweeps"),
                "admin_duties": (
                    "node decommission",
                    "node maintenance",
                    "node recommission",
                    "node trust",
                ),
                "admin_safety": (
                    "safemode",
                    "safemode enter",
                    "safemode leave",
                    "safemode wait",
                    "safemode accept-regression",
                ),
                "admin_health": ("health",),
                "admin_fsck": ("fsck",),
                "admin_explain": ("explain write", "explain read", "explain repair"),
                "admin_scrub": ("scrub status", "scrub start", "scrub pause", "scrub resume"),
                "admin_repair": (
                    "repair status",
                    "repair pause",
                    "repair resume",
                    "repair budget",
                    "replica restore",
                ),
                "admin_history": ("history",),
                "admin_balance": ("rebalance", "rebalance status", "rebalance stop"),
                "admin_compact": ("compact status", "compact start", "compact stop"),
                "admin_accounts": (
                    "users",
                    "users add",
                    "users remove",
                    "users enable",
                    "users disable",
                    "users passwd",
                    "groups",
                    "groups add",
                    "groups remove",
                    "sessions",
                    "audit",
                ),
                "guide_commands": ("completion", "help"),
            },
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
