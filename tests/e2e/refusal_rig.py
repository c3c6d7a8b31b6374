"""The console commands as a user runs them against a cluster of real processes, for refusals."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster_rig import RigCluster

COMMAND_S = 60


@dataclass(frozen=True)
class Ran:
    """How one command ended."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        """Standard output, as text."""
        return self.raw.decode(errors="replace")

    def refused(self, code: int, *words: str) -> "Ran":
        """Assert the exit code, the words of the message, and that nothing of ours leaked."""
        assert self.code == code, (self.code, self.out, self.err)
        for word in words:
            assert word in self.err, self.err
        for leak in ("Traceback", "bug of DFS", "internal error"):
            assert leak not in self.err
        return self

    def done(self) -> "Ran":
        """Assert that it succeeded."""
        assert self.code == 0, (self.code, self.out, self.err)
        return self


class User:
    """Somebody at a terminal: commands with one environment.

    Args:
        here: the working directory of the commands.
    """

    def __init__(self, variables: dict[str, str], here: Path) -> None:
        self.variables = variables
        self.here = here

    def __call__(self, *words: str, stdin: str | bytes = "", **extra: str) -> Ran:
        """Run `dfs` with those words."""
        return self.module("dfs.cli.user", *words, stdin=stdin, **extra)

    def admin(self, *words: str) -> Ran:
        """Run `dfs-admin`."""
        return self.module("dfs.cli.admin", *words)

    def module(self, module: str, *words: str, stdin: str | bytes = "", **extra: str) -> Ran:
        """Run one of our programs."""
        ran = subprocess.run(
            [sys.executable, "-m", module, *words],
            env=self.variables | extra,
            cwd=self.here,
            input=stdin if isinstance(stdin, bytes) else stdin.encode(),
            capture_output=True,
            timeout=COMMAND_S,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr.decode())

    def other(self, name: str, *, without_session: bool = False) -> "User":
        """Somebody else on the same computer, registered now."""
        kept = {"DFS_CREDENTIALS": str(self.here / f"{name}.json")}
        made = User(self.variables | kept, self.here)
        if not without_session:
            made("register", name, "--password-stdin", stdin=password_of(name)).done()
        return made


def password_of(name: str) -> str:
    """A password that is long enough."""
    return f"{name}-has-a-long-password\n"


def admin_of(cluster: RigCluster, here: Path) -> User:
    """The administrator of a cluster."""
    here.mkdir(exist_ok=True)
    return User(cluster.variables, here)


def content(size: int) -> bytes:
    """Bytes that differ from chunk to chunk."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@contextlib.contextmanager
def small_disk(at: Path, size: str) -> Iterator[Path]:
    """A file system of that size; for root only."""
    at.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def may_mount() -> bool:
    """Whether this user, on this machine, can make a small disk."""
    if os.geteuid() != 0:
        return False
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return tried.returncode == 0
