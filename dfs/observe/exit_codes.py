"""Pure: the exit code of every command and daemon, by the kind of what went wrong.

The codes are part of the contract with scripts: they are added to, never renumbered.
"""

from collections.abc import Mapping
from typing import Final

from dfs.base.errors import DfsError, ErrorKind

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
DENIED: Final = 4
CONFLICT: Final = 5
UNAVAILABLE: Final = 6
CORRUPT: Final = 7
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE
TERMINATED: Final = 143  # 128 + SIGTERM

CODE_OF_KIND: Final[Mapping[ErrorKind, int]] = {
    ErrorKind.BAD_INPUT: USAGE,
    ErrorKind.UNAUTHENTICATED: DENIED,
    ErrorKind.DENIED: DENIED,
    ErrorKind.NOT_FOUND: NOT_FOUND,
    ErrorKind.CONFLICT: CONFLICT,
    ErrorKind.FENCED: UNAVAILABLE,
    ErrorKind.UNAVAILABLE: UNAVAILABLE,
    ErrorKind.CORRUPT: CORRUPT,
}

MEANING: Final[Mapping[int, str]] = {
    DONE: "done",
    FAILED: "failed",
    USAGE: "wrong usage or input",
    NOT_FOUND: "not found",
    DENIED: "not permitted, or not logged in",
    CONFLICT: "exists already, or in conflict",
    UNAVAILABLE: "cluster (or local disk) unavailable",
    CORRUPT: "data corrupt or missing",
    INTERRUPTED: "interrupted",
}


def exit_code(error: DfsError) -> int:
    """The code a command exits with when that error ends it."""
    return CODE_OF_KIND[error.kind]
