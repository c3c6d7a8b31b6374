"""Running commands as a person types them, and how much memory processes took at most."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import dfs
from dfs.base.units import KiB

POLL_S = 0.02
_RESET_PEAK = "5"  # to clear_refs: begin VmHWM anew (Linux 4.0)


def peak_bytes(pid: int) -> int:
    """The largest resident set of a running process so far (Linux, VmHWM); 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * KiB
    return 0


def forget_peak(pid: int) -> None:
    """Count the largest resident set of a process from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK, encoding="ascii")


@cache
def program(name: str = "dfs") -> tuple[str, ...]:
    """The installed command where it is of this source tree, else its module."""
    script = Path(sys.executable).with_name(name)
    if script.is_file():
        ask = [sys.executable, "-c", "import dfs; print(dfs.__file__)"]
        said = subprocess.run(ask, cwd="/", capture_output=True, text=True, check=False)
        if said.stdout.strip() == dfs.__file__:
            return (str(script),)
    module = {"dfs": "dfs.cli.user", "dfs-admin": "dfs.cli.admin"}[name]
    return (sys.executable, "-m", module)


def run(words: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a command to its end; what it prints is dropped.

    Raises:
        RuntimeError: it did not end with 0; with what it said.
    """
    done = subprocess.run(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-800:]
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {said}")


def run_dfs(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run `dfs`."""
    run([*program(), *words], environment)


def peak_of(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `dfs`; its largest resident set in bytes, looked at until it ends.

    `ru_maxrss` would not do: it is never less than what the measuring process held.

    Raises:
        RuntimeError: it did not end with 0.
    """
    child = subprocess.Popen([*program(), *words], env=dict(environment), stdout=subprocess.DEVNULL)
    peak = 0
    while child.poll() is None:
        peak = max(peak, peak_bytes(child.pid))
        time.sleep(POLL_S)
    if child.returncode != 0:
        raise RuntimeError(f"dfs {' '.join(words)} ended with {child.returncode}")
    return peak


def end_in_order() -> None:
    """Let a SIGTERM end this process as Ctrl-C would: what was started is ended, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def settle() -> None:
    """Let nothing that was written before be written during what is measured next."""
    os.sync()
