"""Pure: the exit code of every command and daemon, by the kind of its error.

0 done, 1 failed, 2 usage, 3 not found, 4 not permitted or not logged in, 5 exists or conflict,
6 cluster unavailable, 7 data corrupt or missing.  One table for all of them; scripts rely on it.
"""

from collections.abc import Mapping
from typing import Final

from dfs.base.errors import DfsError, ErrorKind, LocalDiskFull, LocalIoError

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_FOUND: Final = 3
EXIT_DENIED: Final = 4
EXIT_CONFLICT: Final = 5
EXIT_UNAVAILABLE: Final = 6
EXIT_CORRUPT: Final = 7

EXIT_BY_KIND: Final[Mapping[ErrorKind, int]] = {
    ErrorKind.BAD_INPUT: EXIT_USAGE,
    ErrorKind.UNAUTHENTICATED: EXIT_DENIED,
    ErrorKind.DENIED: EXIT_DENIED,
    ErrorKind.NOT_FOUND: EXIT_NOT_FOUND,
    ErrorKind.CONFLICT: EXIT_CONFLICT,
    ErrorKind.FENCED: EXIT_UNAVAILABLE,
    ErrorKind.UNAVAILABLE: EXIT_UNAVAILABLE,
    ErrorKind.CORRUPT: EXIT_CORRUPT,
}
# The kind says "try again later", but it is this computer that failed, not the cluster.
_LOCAL: Final = (LocalDiskFull, LocalIoError)


def exit_code(err: DfsError) -> int:
    """What a process that ends with this error answers its caller."""
    return EXIT_FAILED if isinstance(err, _LOCAL) else EXIT_BY_KIND[err.kind]
