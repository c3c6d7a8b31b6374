"""What a file system must be able to do to be measured beside another, and keeping its daemons."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.commands import run

READY_WITHIN_S = 180.0  # a JVM on a busy machine
STOP_WITHIN_S = 20.0
POLL_S = 0.05
LARGE, TREE = "large", "tree"


class Unavailable(Exception):  # noqa: N818 - not a failure: it says what is missing
    """This peer cannot be measured here, and why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a system may put what.

    Attributes:
        installed: what `bench.peers.install` made.
        data: on the disk that is measured; new, and gone after the run.
    """

    installed: Path
    data: Path


class System(Protocol):
    """One file system that runs.  Its commands are what a person types, as words."""

    name: str
    copies: int
    durability: str  # when an answer comes: a sentence

    def version(self) -> str:
        """As it says itself."""
        ...

    def start(self) -> None:
        """Start its daemons on loopback, with folders of its own; ready when this returns."""
        ...

    def refresh(self) -> None:
        """Begin anew on the client's side: nothing it read or wrote is remembered there."""
        ...

    def stop(self) -> None:
        """End what `start` started."""
        ...

    def environment(self) -> Mapping[str, str]:
        """Of its commands."""
        ...

    def put_large(self, source: Path) -> Sequence[str]:
        """Copy a file in."""
        ...

    def get_large(self, target: Path) -> Sequence[str]:
        """Copy it out."""
        ...

    def remove_large(self) -> Sequence[str]:
        """Remove it (not measured)."""
        ...

    def put_tree(self, source: Path) -> Sequence[str]:
        """Copy a folder in."""
        ...

    def get_tree(self, target: Path) -> Sequence[str]:
        """Copy it out."""
        ...

    def list_tree(self) -> Sequence[str]:
        """List all of it."""
        ...

    def remove_tree(self) -> Sequence[str]:
        """Remove it."""
        ...


@dataclass
class Daemons:
    """The processes of one system; each writes a log of its own."""

    folder: Path
    _running: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)

    def start(
        self, name: str, words: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        """In the background, in its own process group."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )
        self._running.append((name, process))

    def log(self, name: str) -> Path:
        """What it says."""
        return self.folder / f"{name}.log"

    def wait(self, name: str, ready: Callable[[], bool]) -> None:
        """Until it is ready.

        Raises:
            RuntimeError: it ended, or takes too long; with the end of its log.
        """
        process = next(process for known, process in reversed(self._running) if known == name)
        give_up_s = time.monotonic() + READY_WITHIN_S
        while not ready():
            if process.poll() is not None or time.monotonic() > give_up_s:
                said = self.log(name).read_text(encoding="utf-8", errors="replace")[-2_000:]
                raise RuntimeError(f"{name} did not come up. It said:\n{said}")
            time.sleep(POLL_S)

    def stop(self, name: str) -> None:
        """End one and wait for its end."""
        for index, (known, process) in enumerate(self._running):
            if known == name:
                del self._running[index]
                _end(process)
                return

    def close(self) -> None:
        """End all, the last first."""
        while self._running:
            _name, process = self._running.pop()
            _end(process)


class Mounted:
    """The commands of a system that is a folder of this machine: `cp`, `ls`, `rm`."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount

    def environment(self) -> Mapping[str, str]:
        """Ours."""
        return os.environ

    def put_large(self, source: Path) -> Sequence[str]:
        """By `cp`."""
        return ["cp", str(source), str(self.mount / LARGE)]

    def get_large(self, target: Path) -> Sequence[str]:
        """By `cp`."""
        return ["cp", str(self.mount / LARGE), str(target)]

    def remove_large(self) -> Sequence[str]:
        """By `rm`."""
        return ["rm", str(self.mount / LARGE)]

    def put_tree(self, source: Path) -> Sequence[str]:
        """By `cp -r`."""
        return ["cp", "-r", str(source), str(self.mount / TREE)]

    def get_tree(self, target: Path) -> Sequence[str]:
        """By `cp -r`."""
        return ["cp", "-r", str(self.mount / TREE), str(target)]

    def list_tree(self) -> Sequence[str]:
        """By `ls -R`."""
        return ["ls", "-R", str(self.mount / TREE)]

    def remove_tree(self) -> Sequence[str]:
        """By `rm -r`."""
        return ["rm", "-r", str(self.mount / TREE)]


def listens(host: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as asking:
        return asking.connect_ex((host, port)) == 0


def unmount(mount: Path) -> None:
    """Take a mount away, and with it what the kernel remembers of it."""
    if os.path.ismount(mount):
        run(["umount", str(mount)])


def first_line(words: Sequence[str]) -> str:
    """What a command says of its version."""
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).strip().splitlines()
    return lines[0].strip() if lines else "?"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
