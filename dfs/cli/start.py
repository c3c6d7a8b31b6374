"""Where the commands begin: nothing is loaded before it is known to be wanted.

`--version` alone is answered here; the rest goes on in `command.py`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING

from dfs import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dfs.cli.verbs import Program


# Between two looks for garbage.  Python's own number (700) has a command that lives for a second
# walk through its modules fifty times while they load.
_NEW_OBJECTS = 50_000


def start(name: str, program: Callable[[], Program], words: Sequence[str] | None) -> int:
    """Run one command; its exit code.  Without `words`, those of the process."""
    gc.set_threshold(_NEW_OBJECTS)
    given = sys.argv[1:] if words is None else list(words)
    if given == ["--version"]:
        with contextlib.suppress(OSError):  # else the long way says what is wrong with the stream
            sys.stdout.write(f"{name} {__version__}\n")
            sys.stdout.flush()
            return 0
    from dfs.cli.command import launch  # noqa: PLC0415 - start-up time

    return launch(program(), given, os.environ)
