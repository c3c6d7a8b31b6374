"""What the other tests of cut networks stand on: a cut is silent, has a direction, and heals."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster_rig import wait_until
from tests.netns import Host, Network, network

PORT = 7000
SILENT_S = 1.0  # what came within that, on one computer, would have come
SERVER = """
import socket, sys
listening = socket.create_server(("", int(sys.argv[1])))
print("listening", flush=True)
while True:
    connection, _ = listening.accept()
    while data := connection.recv(100):
        print(data.decode(), end="", flush=True)
        connection.sendall(data)
"""
CLIENT = """
import socket, sys, threading
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))
connection.settimeout(None)
print("connected", flush=True)
def say():
    for line in sys.stdin:
        connection.sendall(line.encode())
threading.Thread(target=say, daemon=True).start()
while data := connection.recv(100):
    print(data.decode(), end="", flush=True)
"""


class Told:
    """A program on a host, and the lines it has printed so far."""

    def __init__(self, host: Host, text: str, *arguments: str) -> None:
        self.lines: list[str] = []
        self.process = host.popen(
            [sys.executable, "-c", text, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def say(self, line: str) -> None:
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def wait_for(self, line: str) -> None:
        wait_until(lambda: line in self.lines, f"{line!r}, not only {self.lines}")

    def stays_silent(self, line: str) -> bool:
        self._reading.join(SILENT_S)
        return line not in self.lines


@pytest.fixture
def three() -> Iterator[Network]:
    with network(3) as made:
        yield made


@pytest.fixture
def server(three: Network) -> Told:
    """On the last host; it echoes one connection after the other."""
    started = Told(three.hosts[2], SERVER, str(PORT))
    started.wait_for("listening")
    return started


def connected(three: Network, number: int) -> Told:
    client = connecting(three, number)
    client.wait_for("connected")
    return client


def connecting(three: Network, number: int, within_s: float = 30) -> Told:
    address = three.hosts[2].address
    return Told(three.hosts[number], CLIENT, address, str(PORT), str(within_s))


@pytest.fixture
def client(three: Network, server: Told) -> Told:
    """On the first host, connected."""
    return connected(three, 0)


def test_an_open_connection_hangs_while_it_is_cut_and_goes_on_when_healed(
    three: Network, server: Told, client: Told
) -> None:
    client.say("before")
    client.wait_for("before")
    three.cut(three.hosts[0], three.hosts[2])
    client.say("meanwhile")
    assert client.stays_silent("meanwhile")
    assert "meanwhile" not in server.lines
    assert client.process.poll() is None, client.lines
    three.heal(three.hosts[0], three.hosts[2])
    client.wait_for("meanwhile")


def test_a_connection_cannot_be_opened_over_a_cut_and_nothing_says_why(
    three: Network, server: Told
) -> None:
    three.cut(three.hosts[0], three.hosts[2])
    late = connecting(three, 0, within_s=SILENT_S)
    assert late.process.wait(30) == 1
    wait_until(lambda: any("TimeoutError" in line for line in late.lines), str(late.lines))


@pytest.mark.parametrize("isolated", [False, True], ids=["one pair", "one from all"])
def test_a_cut_leaves_the_others_alone(three: Network, server: Told, *, isolated: bool) -> None:
    if isolated:
        three.isolate(three.hosts[0])
    else:
        three.cut(three.hosts[0], three.hosts[2])
    other = connected(three, 1)
    other.say("hello")
    other.wait_for("hello")


def test_a_cut_of_one_direction_lets_the_other_pass(
    three: Network, server: Told, client: Told
) -> None:
    client.say("before")
    client.wait_for("before")
    three.cut(three.hosts[2], three.hosts[0], one_way=True)
    client.say("heard")
    server.wait_for("heard")
    assert client.stays_silent("heard")
    three.heal_all()
    client.wait_for("heard")


def test_a_host_that_was_cut_off_from_all_rejoins(
    three: Network, server: Told, client: Told
) -> None:
    three.isolate(three.hosts[2])
    client.say("late")
    assert client.stays_silent("late")
    three.rejoin(three.hosts[2])
    client.wait_for("late")
    three.rejoin(three.hosts[2])  # nothing is cut any more, and nothing is refused


def test_networks_side_by_side_do_not_meet(three: Network, server: Told) -> None:
    with network(1) as other:
        address = three.hosts[2].address
        lost = Told(other.hosts[0], CLIENT, address, str(PORT), "0.3")
        assert lost.process.wait(30) == 1
        assert "connected" not in lost.lines


def interfaces() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def is_held(pid: int | str) -> bool:
    """Whether that process still keeps a namespace."""
    return Path(f"/proc/{pid}/ns/net").exists()


def fail_in(made: Network, started: list[subprocess.Popen], holders: list[int]) -> None:
    holders += [host.namespace.pid for host in made.hosts]
    started.append(made.hosts[0].popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
    raise ZeroDivisionError


def test_a_failed_test_leaves_neither_processes_nor_interfaces_behind(three: Network) -> None:
    before, started = interfaces(), []
    holders: list[int] = []
    with pytest.raises(ZeroDivisionError), network(2) as made:
        fail_in(made, started, holders)
    assert started[0].returncode is not None
    assert len(holders) == 2
    assert not any(map(is_held, holders))
    assert interfaces() == before


def test_a_program_that_is_killed_leaves_no_namespace_behind(three: Network) -> None:
    text = "from tests.netns import Network\nmade = Network(2)\n"
    text += "print(*[host.namespace.pid for host in made.hosts], flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as killed:
        holders = killed.stdout.readline().split()
        assert len(holders) == 2
        assert all(map(is_held, holders))
        killed.kill()
    wait_until(lambda: not any(map(is_held, holders)), "the namespaces end")
