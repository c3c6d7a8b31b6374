"""The folder of a local cluster: where each thing lies, and the roster of its daemons.

`cluster.json` says which daemons belong to the cluster, on which ports, and the process each was
last started as.  It is replaced whole, so a crash leaves the old or the new one.  `lock` is held
while a command changes the cluster: two `dfs-local` commands take turns.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from dfs.base.decoding import json_reader
from dfs.base.errors import LocalIoError, LocalNotFound

HOST: Final = "127.0.0.1"
NAMENODE, DATANODE = "namenode", "datanode"
_PREFIX: Final = {NAMENODE: "nn-", DATANODE: "dn-"}


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One daemon of the cluster; `pid` 0 when it was stopped on purpose or never started."""

    name: str
    role: str
    port: int  # NameNode: REST; DataNode: block service
    http_port: int
    pid: int = 0
    started: str = ""  # start time of that process: a recycled pid has another
    order: str = ""  # the last one given to it: start, stop or kill
    settled: bool = False  # it has served: others know it by its ports

    @property
    def http(self) -> str:
        """Base URL of its `/health`."""
        return f"http://{HOST}:{self.http_port}"

    @property
    def address(self) -> str:
        """`host:port` of what it is there for."""
        return f"{HOST}:{self.port}"


class Roster(msgspec.Struct, frozen=True, kw_only=True):
    """Every daemon of the cluster, NameNodes first."""

    members: tuple[Member, ...] = ()

    def of(self, role: str) -> tuple[Member, ...]:
        """Those of one role."""
        return tuple(member for member in self.members if member.role == role)

    def find(self, name: str) -> Member:
        """The daemon of that name.

        Raises:
            LocalNotFound: there is none.
        """
        for member in self.members:
            if member.name == name:
                return member
        names = ", ".join(member.name for member in self.members) or "none"
        raise LocalNotFound(f"no daemon {name!r} in this cluster", hint=f"there are: {names}")

    def with_member(self, changed: Member) -> "Roster":
        """The roster with that daemon in it, in the place of the one of its name."""
        if all(member.name != changed.name for member in self.members):
            every = (*self.members, changed)
            return Roster(members=tuple(sorted(every, key=lambda each: each.role != NAMENODE)))
        kept = (changed if member.name == changed.name else member for member in self.members)
        return Roster(members=tuple(kept))

    def next_name(self, role: str) -> str:
        """`dn-4` when dn-3 is the last: the NameNode numbers DataNodes the same way."""
        last = max((int(member.name[3:]) for member in self.of(role)), default=0)
        return f"{_PREFIX[role]}{last + 1}"

    @property
    def namenode_urls(self) -> tuple[str, ...]:
        """Where the NameNodes are."""
        return tuple(member.http for member in self.of(NAMENODE))

    def ports(self) -> set[int]:
        """Every port that belongs to a daemon."""
        return {port for member in self.members for port in (member.port, member.http_port)}


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of one local cluster."""

    root: Path

    @property
    def config(self) -> Path:
        """The settings of all its processes."""
        return self.root / "config.ini"

    @property
    def credentials(self) -> Path:
        """The admin's session, for `dfs` and `dfs-admin`."""
        return self.root / "credentials.json"

    @property
    def password(self) -> Path:
        """The admin's password."""
        return self.root / "admin-password"

    @property
    def join_token(self) -> Path:
        """The token a daemon joins with, while one does."""
        return self.root / "join-token"

    def data(self, member: Member) -> Path:
        """What the daemon stores."""
        return self.root / member.name

    def log(self, member: Member) -> Path:
        """What the daemon said."""
        return self.root / "logs" / f"{member.name}.log"

    def exists(self) -> bool:
        """Whether a cluster was made here."""
        return (self.root / "cluster.json").is_file()

    def load(self) -> Roster:
        """The roster; empty where no cluster was made.

        Raises:
            LocalIoError: the file is not readable as one.
        """
        try:
            raw = (self.root / "cluster.json").read_bytes()
        except FileNotFoundError:
            return Roster()
        try:
            return json_reader(Roster)(raw)
        except msgspec.MsgspecError as exc:
            raise LocalIoError(f"{self.root / 'cluster.json'}: {exc}") from exc

    def save(self, roster: Roster) -> None:
        """Replace the roster."""
        raw = msgspec.json.format(msgspec.json.encode(roster)) + b"\n"
        write_private(self.root / "cluster.json", raw)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other `dfs-local` commands off this cluster meanwhile."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "logs").mkdir(exist_ok=True)
        with (self.root / "lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield


def write_private(path: Path, raw: bytes) -> None:
    """Replace a file with one that only its owner reads."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(raw)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)
