"""Processes of this machine: started apart from the terminal, signalled only if still the same.

A pid alone says nothing, since the kernel uses it again; a pid with its start time names one
process.  Signals go through a pidfd, so nothing can come between the check and the signal.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import DaemonFailed

_POLL_S: Final = 0.05
_LAST_WORDS_BYTES: Final = 4096
_LAST_WORDS_LINES: Final = 6


def start(command: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Start a daemon that outlives this process; its pid and start time.

    It gets a session of its own, so an interrupt typed at the terminal does not reach it, and
    appends what it says to `log`.

    Raises:
        DaemonFailed: it could not be started.
    """
    with log.open("ab") as out:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as exc:
            raise DaemonFailed(f"cannot start {command[0]}: {exc.strerror}") from exc
    child.returncode = 0  # not ours to wait for: it is meant to outlive us
    return child.pid, start_time(child.pid)


def start_time(pid: int) -> str:
    """When that process started, in ticks since boot; empty when all of its threads are gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()  # the name before may hold anything
    # Fields 20 and 22 of proc(5).  The first thread of a killed process may be a zombie while
    # others still hold its files and ports.
    threads, started = int(rest[16]), rest[18]
    return "" if state == "X" or (state == "Z" and threads <= 1) else started


def is_running(pid: int, started: str) -> bool:
    """Whether exactly that process still runs."""
    return pid > 0 and started != "" and start_time(pid) == started


def send(pid: int, started: str, number: signal.Signals) -> bool:
    """Signal exactly that process; False when it is gone."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if start_time(pid) != started:
            return False
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def wait_gone(pid: int, started: str, *, within_s: float, clock: Clock) -> bool:
    """Wait for that process to end; False when it still runs after `within_s` seconds."""
    deadline_s = clock.monotonic_s() + within_s
    while is_running(pid, started):
        if clock.monotonic_s() >= deadline_s:
            return False
        clock.sleep(_POLL_S)
    _reap(pid)
    return True


def last_words(log: Path) -> str:
    """The end of a log, to explain a daemon that failed: its plain words where it said any."""
    try:
        with log.open("rb") as source:
            source.seek(max(0, source.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
            lines = source.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    said = [line for line in lines if line.startswith("dfs-")]
    return "\n".join((said or lines)[-_LAST_WORDS_LINES:])


def _reap(pid: int) -> None:
    """Let the kernel forget a child that ended; processes of earlier commands are not ours."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
