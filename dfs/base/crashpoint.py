"""Named places where a test may end the process at once, as a power switch would.

A daemon's composition root calls `arm` with the value of ``DFS_CRASHPOINT`` (``name`` or
``name:3`` for the third time).  Unarmed, `reach` is one comparison with None.  With
``DFS_CRASHPOINT_LOG=FILE`` every place reached is counted there, so a sweep knows what to visit.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

CRASH_EXIT_CODE: Final = 137  # what a shell reports for SIGKILL

_armed: "_Armed | None" = None


class _Armed:
    def __init__(self, name: str, nth: int, log: Path | None) -> None:
        self._name = name
        self._left = nth
        self._log = log
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        with self._lock:
            if self._log is not None:
                with self._log.open("a") as out:
                    out.write(name + "\n")
            if name != self._name:
                return
            self._left -= 1
            if self._left <= 0:
                os._exit(CRASH_EXIT_CODE)


def arm(environment: Mapping[str, str]) -> None:
    """Take the crash point to stop at, and the log of those passed, from the environment given."""
    global _armed  # noqa: PLW0603 - one switch a process is the point
    spec, log = environment.get("DFS_CRASHPOINT", ""), environment.get("DFS_CRASHPOINT_LOG", "")
    if not spec and not log:
        _armed = None
        return
    name, _, nth = spec.partition(":")
    _armed = _Armed(name, int(nth or 1), Path(log) if log else None)


def reach(name: str) -> None:
    """Say that the named place was reached; the process ends here if it is the armed one."""
    if _armed is not None:
        _armed.reach(name)
