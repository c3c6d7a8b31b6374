"""How a daemon starts, waits and ends: signals, exit codes, the one line an operator reads.

The composition roots decide what runs; this module decides when to stop and what the process
answers.  The first SIGTERM or SIGINT asks for a drain, the second ends the process at once, as a
crash would: every daemon recovers from that.
"""

import argparse
import errno
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final, Protocol

from dfs.base.errors import BadConfig, DfsError, PortInUse
from dfs.observe.exit_codes import EXIT_FAILED, EXIT_USAGE, exit_code
from dfs.settings.sections import PORT_MAX
from dfs.wire.heap import keep_buffers

SWITCH_S: Final = 0.0005
SIGNAL_LOOK_S: Final = 0.25  # how soon a signal is heard that another thread got
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class BugLog(Protocol):
    """Where an exception that nobody expected is written with its stack."""

    def exception(self, where: str, exc: BaseException) -> None:
        """Record it."""
        ...


def allow_open_files(count: int) -> int:
    """Let this process have so many files and sockets open, as far as it may; how many it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return count
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def tune_interpreter() -> None:
    """What a process that serves many threads for months sets otherwise than a script.

    The buffers of transfers are kept; and no thread computes for longer than half a millisecond
    while others wait for a turn.  Python's own number is 5 ms: a request waits for a turn at each
    of its steps, so beside one job that computes a quarter of them was answered; now it is half.
    """
    keep_buffers()
    sys.setswitchinterval(SWITCH_S)


class StopRequest:
    """Whether the daemon was asked to stop; install it in the main thread.

    Args:
        end_now: what a second signal calls; ends the process without cleaning up.
    """

    def __init__(self, *, end_now: Callable[[int], object] = os._exit) -> None:
        self._asked = threading.Event()
        self._end_now = end_now
        self.signal_name = ""

    def install(self) -> None:
        """Take SIGTERM and SIGINT of this process."""
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

    def ask(self, reason: str) -> None:
        """Ask for the stop from inside, for instance after a fault that cannot heal."""
        self.signal_name = self.signal_name or reason
        self._asked.set()

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until a stop is asked for; True when it was.

        The kernel may give a signal to any thread, and only the main one runs Python's handler:
        who waits without a time-out in it would not be woken.
        """
        if timeout_s is not None:
            return self._asked.wait(timeout_s)
        while not self._asked.wait(SIGNAL_LOOK_S):
            pass
        return True

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._asked.is_set():
            self._end_now(EXIT_FAILED)
        self.ask(signal.Signals(number).name)


def watch_threads(log: BugLog, stop: StopRequest, *, vital: tuple[str, ...]) -> list[str]:
    """A bug in a thread is logged; where the thread is vital, the daemon stops to be restarted.

    Args:
        vital: how the names of threads begin without which the daemon would only seem to live.

    Returns:
        The names of vital threads that ended, as they end.
    """
    dead: list[str] = []

    def on_bug(bug: threading.ExceptHookArgs) -> None:
        name = bug.thread.name if bug.thread is not None else "thread"
        log.exception(name, bug.exc_value or bug.exc_type())
        if name.startswith(vital):
            dead.append(name)
            stop.ask(f"bug in {name}")

    threading.excepthook = on_bug
    return dead


def run_guarded(program: str, body: Callable[[], int], *, bugs: BugLog | None = None) -> int:
    """Run a daemon or one of its commands; the exit code of the process.

    A refusal or fault of ours is one line on stderr with its hint.  Anything else is a bug: its
    stack goes to the log when there is one, never to the terminal.
    """
    if not __debug__:
        say(program, "refuses to run under python -O: its assertions guard the data")
        return EXIT_USAGE
    try:
        return body()
    except DfsError as err:
        say(program, err.message, err.hint)
        return exit_code(err)
    except KeyboardInterrupt:
        return EXIT_FAILED
    except Exception as exc:  # noqa: BLE001 - the last edge before the terminal
        if bugs is not None:
            bugs.exception(program, exc)
        say(program, f"internal error: {type(exc).__name__}: {exc}", "please report it")
        return EXIT_FAILED


def say(program: str, message: str, hint: str = "") -> None:
    """One line for the operator on stderr."""
    tail = f" ({hint})" if hint else ""
    sys.stderr.write(f"{program}: {message}{tail}".replace("\n", " ") + "\n")
    sys.stderr.flush()


def announce(line: str) -> None:
    """One line on stdout, flushed at once: scripts wait for it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def port_argument(text: str) -> int:
    """A port on the command line, for argparse's `type`; 0 means any free one."""
    if not (text.isascii() and text.isdigit() and int(text) <= PORT_MAX):
        raise argparse.ArgumentTypeError(f"not a port (0 to {PORT_MAX}): {text!r}")
    return int(text)


def require_listenable(host: str, port: int) -> None:
    """Refuse an address that could not be listened on, before anything is made for it.

    Raises:
        PortInUse: another process listens there.
        BadConfig: the host is no address of this machine.
    """
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            probe.bind(address)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise PortInUse(f"another process listens on {host}:{port}") from None
        raise BadConfig(
            f"cannot listen on {host}:{port}: {exc.strerror or exc}",
            hint="give an address of this machine with --host",
        ) from None


def parse_arguments(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> argparse.Namespace | int:
    """What was asked; an exit code instead when the answer was help or a usage message."""
    try:
        return parser.parse_args(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_USAGE
