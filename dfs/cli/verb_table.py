"""The verbs of a program by name, each loaded from its module when it is first wanted.

A command runs one verb; loading the others would take longer than running it.  The names are
written down here a second time, beside the modules they live in: a test compares.  Those of both
programs stand here, so that each can tell what is a verb of the other.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dfs.cli.verbs import Verb

# Of each program: modules of `dfs.cli` and the verbs of each, in the order that help shows them.
HOMES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "dfs": {
        "account_commands": ("register", "login", "logout", "whoami", "passwd"),
        "tree_commands": ("ls", "tree", "mkdir", "du", "df"),
        "find_command": ("find",),
        "copy_commands": ("put", "get"),
        "file_commands": ("cat", "head", "tail"),
        "name_commands": ("mv", "cp", "rm", "undelete", "trash"),
        "attribute_commands": ("chmod", "chown", "setrep", "touch"),
        "inspect_commands": ("stat", "locate", "checksum", "verify"),
        "guide_commands": ("shell", "completion", "help"),
    },
    "dfs-admin": {
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
        "admin_ha": (
            "ha status",
            "ha switchover",
            "ha promote",
            "ha force-lead",
            "ha voter",
            "ha remove",
            "ha verify",
            "ha acknowledge-loss",
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
}


class VerbTable(Mapping[str, "Verb"]):
    """See the module.

    Args:
        homes: modules of `dfs.cli`, and the verbs of each, in the order that help shows them.
        attribute: where a module keeps its verbs, if not in `VERBS`, by module.
    """

    def __init__(
        self, homes: Mapping[str, tuple[str, ...]], *, attribute: Mapping[str, str] | None = None
    ) -> None:
        self._homes = {name: module for module, names in homes.items() for name in names}
        self._attribute = attribute or {}
        self._known: dict[str, Verb] = {}

    def __getitem__(self, name: str) -> Verb:
        """The verb of that name."""
        if name not in self._known:
            self._load(self._homes[name])
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is such a verb; loads nothing."""
        return name in self._homes

    def __iter__(self) -> Iterator[str]:
        """The names; loads nothing."""
        return iter(self._homes)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._homes)

    def _load(self, module: str) -> None:
        loaded = importlib.import_module(f"dfs.cli.{module}")
        verbs: tuple[Verb, ...] = getattr(loaded, self._attribute.get(module, "VERBS"))
        self._known.update((verb.name, verb) for verb in verbs)
