"""Computers of a test that can be cut off from each other: network namespaces at one bridge.

All of it lies in a namespace of its own, without a way out: no address of it can be reached from
elsewhere, nor the other way round, and several networks may be up at once.  Each namespace lasts as
long as a process that waits for this one, so that nothing is left behind however this one ends.

A cut is silent, as where a cable is: a host is told a wrong hardware address for the other, its
packets go to nobody, and neither side hears of it.  Connections that are open hang, new ones time
out, and what TCP kept back arrives once it is healed.  A cut may be made in one direction.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

HOSTS_MAX: Final = 250 * 250
_NOBODY: Final = "02:00:00:00:00:00"  # no host has it
_ENDS_WITHIN_S: Final = 20.0
_NETWORK: Final = 0x40000000  # CLONE_NEWNET


class Host:
    """One computer: a network interface of its own, and a loopback."""

    def __init__(self, number: int) -> None:
        high, low = divmod(number, 250)
        self.address = f"10.77.{high}.{low + 1}"
        self.hardware = f"02:00:0a:4d:{high:02x}:{low + 1:02x}"
        self.namespace = _Namespace()
        self._started: list[subprocess.Popen[Any]] = []

    def command(self, arguments: Iterable[str | os.PathLike[str]]) -> list[str]:
        """The words that run a command on it.  The process is the command's own."""
        return [*self.namespace.prefix, *map(os.fspath, arguments)]

    def popen(
        self, arguments: Iterable[str | os.PathLike[str]], **more: Any
    ) -> subprocess.Popen[Any]:
        """Start a command on it, which is killed with the network.  As `subprocess.Popen`."""
        started = subprocess.Popen(self.command(arguments), **more)
        self._started.append(started)
        return started

    def enter(self) -> None:
        """Move the thread that calls here, and those it starts: what they connect is of this host.

        Raises:
            OSError: this process may not.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/proc/{self.namespace.pid}/ns/net").open("rb") as there:
            if libc.setns(there.fileno(), _NETWORK):
                raise OSError(ctypes.get_errno(), "no way into the network namespace")

    def close(self) -> None:
        """Kill what was started on it, and let go of it."""
        for started in self._started:
            started.kill()
            started.wait(_ENDS_WITHIN_S)
            for pipe in (started.stdin, started.stdout, started.stderr):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        self.namespace.close()


class Network:
    """Hosts that all reach each other, until they are cut."""

    def __init__(self, count: int) -> None:
        assert 1 <= count <= HOSTS_MAX
        self._cuts: set[tuple[Host, Host]] = set()
        self._stack = contextlib.ExitStack()
        self.hosts: list[Host] = []
        with self._stack:
            bridge = _Namespace()
            self._stack.callback(bridge.close)
            bridge.ip(["link add bridge type bridge", "link set bridge up"])
            for number in range(count):
                host = Host(number)
                self._stack.callback(host.close)
                self.hosts.append(host)
                _connect(bridge, host, f"to-{number}")
            self._stack = self._stack.pop_all()

    def cut(self, one: Host, other: Host, *, one_way: bool = False) -> None:
        """Let nothing pass between the two; with `one_way`, from the first to the second."""
        for source, target in _directions(one, other, one_way=one_way):
            to = f"neigh replace {target.address} lladdr {_NOBODY} dev eth0 nud permanent"
            source.namespace.ip([to])
            self._cuts.add((source, target))

    def heal(self, one: Host, other: Host, *, one_way: bool = False) -> None:
        """Undo `cut`; nothing where nothing was cut."""
        for pair in _directions(one, other, one_way=one_way):
            if pair in self._cuts:
                source, target = pair
                source.namespace.ip([f"neigh del {target.address} dev eth0"])
                self._cuts.remove(pair)

    def isolate(self, one: Host) -> None:
        """Cut a host off from every other one."""
        for other in self.hosts:
            if other is not one:
                self.cut(one, other)

    def rejoin(self, one: Host) -> None:
        """Heal every cut of a host."""
        for other in self.hosts:
            if other is not one:
                self.heal(one, other)

    def heal_all(self) -> None:
        """Have all reach each other again."""
        for source, target in list(self._cuts):
            self.heal(source, target, one_way=True)

    def close(self) -> None:
        """End what runs in it, and the network."""
        self._stack.close()


class _Namespace:
    """A network namespace, there for as long as a process in it waits for our end of a pipe."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if not self._holder.stdout.readline():  # it says that it is inside
            self.close()
            raise OSError("no network namespace was made")

    @property
    def pid(self) -> int:
        """Of a process in it."""
        return self._holder.pid

    @property
    def prefix(self) -> list[str]:
        """The words before a command that is to run in it."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--"]

    def ip(self, lines: Sequence[str]) -> None:
        """Carry out commands of `ip`.

        Raises:
            OSError: one is refused.
        """
        text = "".join(f"{line}\n" for line in lines)
        done = subprocess.run(
            [*self.prefix, "ip", "-batch", "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise OSError(f"ip refused one of {lines}: {done.stderr.strip()}")

    def close(self) -> None:
        """Let go of it; it ends with the last process in it."""
        for pipe in (self._holder.stdin, self._holder.stdout):
            assert pipe is not None
            pipe.close()
        self._holder.wait(_ENDS_WITHIN_S)


@contextlib.contextmanager
def network(count: int) -> Iterator[Network]:
    """So many hosts, gone at the end; skips the test where this system makes none."""
    if reason := why_not():
        pytest.skip(reason)
    made = Network(count)
    try:
        yield made
    finally:
        made.close()


def why_not() -> str:
    """Why there can be no such network here; empty when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program, package in (
        ("ip", "iproute2"),
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
    ):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: {package})"
    try:
        Network(1).close()
    except OSError as exc:
        return f"this system makes no network namespaces with bridges: {exc}"
    return ""


def _connect(bridge: _Namespace, host: Host, name: str) -> None:
    bridge.ip(
        [
            f"link add {name} type veth peer name eth0 netns {host.namespace.pid}",
            f"link set {name} master bridge up",
        ]
    )
    host.namespace.ip(
        [
            "link set lo up",
            f"link set eth0 address {host.hardware}",
            f"address add {host.address}/16 dev eth0",
            "link set eth0 up",
        ]
    )


def _directions(one: Host, other: Host, *, one_way: bool) -> list[tuple[Host, Host]]:
    assert one is not other
    return [(one, other)] if one_way else [(one, other), (other, one)]
