import signal
import sys
from pathlib import Path

import pytest

from dfs.base.clock import SystemClock
from dfs.base.errors import DaemonFailed
from dfs.local import processes

CLOCK = SystemClock()
WAITS = "import signal; print('up', flush=True); signal.pause()"
# Its first thread has ended, as that of a killed process does before the others close the files.
HEADLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print("up", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
DEAF = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"


def _start(tmp_path: Path, code: str) -> tuple[int, str]:
    log = tmp_path / "log"
    pid, started = processes.start([sys.executable, "-c", code], log=log, environment={})
    while "up" not in processes.last_words(log):
        assert processes.is_running(pid, started)
        CLOCK.sleep(0.01)
    return pid, started


def _end(pid: int, started: str) -> None:
    processes.send(pid, started, signal.SIGKILL)
    assert processes.wait_gone(pid, started, within_s=10, clock=CLOCK)


def test_process_is_running_until_it_is_killed(tmp_path: Path) -> None:
    pid, started = _start(tmp_path, WAITS)
    assert processes.is_running(pid, started)
    _end(pid, started)
    assert not processes.is_running(pid, started)


def test_process_is_running_until_the_last_of_its_threads_is_gone(tmp_path: Path) -> None:
    pid, started = _start(tmp_path, HEADLESS)
    deadline_s = CLOCK.monotonic_s() + 10
    while "(zombie)" not in Path(f"/proc/{pid}/status").read_text():
        assert CLOCK.monotonic_s() < deadline_s
        CLOCK.sleep(0.01)
    assert processes.is_running(pid, started)
    _end(pid, started)


def test_process_is_not_signalled_when_its_pid_was_used_again(tmp_path: Path) -> None:
    pid, started = _start(tmp_path, WAITS)
    another = str(int(started) - 1)  # the start time an earlier owner of this pid had
    assert not processes.is_running(pid, another)
    assert not processes.send(pid, another, signal.SIGKILL)
    assert processes.is_running(pid, started)
    _end(pid, started)


def test_send_says_false_when_the_process_is_gone(tmp_path: Path) -> None:
    pid, started = _start(tmp_path, WAITS)
    _end(pid, started)
    assert not processes.send(pid, started, signal.SIGTERM)


def test_wait_gone_gives_up_when_the_process_goes_on(tmp_path: Path) -> None:
    pid, started = _start(tmp_path, DEAF)
    assert processes.send(pid, started, signal.SIGTERM)
    assert not processes.wait_gone(pid, started, within_s=0.2, clock=CLOCK)
    _end(pid, started)


def test_child_outlives_the_terminal_by_a_session_of_its_own(tmp_path: Path) -> None:
    pid, started = _start(tmp_path, WAITS)
    session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3]
    assert int(session) == pid
    _end(pid, started)


def test_start_names_what_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(DaemonFailed, match="no-such-program"):
        processes.start(["/no-such-program"], log=tmp_path / "log", environment={})


def test_last_words_are_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert processes.last_words(log) == ""
    log.write_text("".join(f"line {n}\n" for n in range(1_000)))
    assert processes.last_words(log).splitlines()[-1] == "line 999"
    assert len(processes.last_words(log).splitlines()) <= 6
