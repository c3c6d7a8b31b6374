"""How much memory processes took at most."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dfs.base.units import KiB


def peak_bytes(pid: int) -> int:
    """The largest resident set of a running process so far (Linux, VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * KiB
    return 0


def run_dfs(words: Sequence[str], environment: Mapping[str, str], *, admin: bool = False) -> int:
    """Run `dfs` (or `dfs-admin`) as a process of its own; its largest resident set in bytes.

    Raises:
        RuntimeError: it did not end with 0.
    """
    module = "dfs.cli.admin" if admin else "dfs.cli.user"
    child = subprocess.Popen(
        [sys.executable, "-m", module, *words],
        env=dict(environment),
        stdout=subprocess.DEVNULL,
    )
    _pid, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"dfs {' '.join(words)} ended with {child.returncode}")
    return usage.ru_maxrss * KiB
