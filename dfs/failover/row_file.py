"""The rows of failover on a disk: one file a row, replaced whole, refused when it is damaged.

What a row says binds whoever wrote it: a voter that forgot a promise elects two leaders.  So a file
that cannot be read back as it was written is never taken for an absent one, and a write that failed
is never tried again: what is on the disk then, nobody knows.  That no other process writes the same
file is up to the lock on the daemon's folder.

Whom a daemon writes letters to is kept the same way, though nothing binds it to that: who finds it
damaged may forget it (`voter_house`).

    dfs-voter 1 <xxh3_128 of this line up to here, and of all that follows>
    {"voter": ..., "cluster": ...}
"""

import os
import re
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec
import xxhash

from dfs.base import crashpoint
from dfs.base.decoding import json_reader
from dfs.base.durable import sync_folder
from dfs.base.errors import LocalIoError, MetadataCorrupt, SchemaMismatch
from dfs.ha.rows import MemberRow, VoterRow
from dfs.wire.ha_api import Correspondents

VERSION: Final = 1
ROW_BYTES_MAX: Final = 1 << 20
_NAMES: Final[dict[type, str]] = {
    VoterRow: "dfs-voter",
    MemberRow: "dfs-member",
    Correspondents: "dfs-correspondents",
}
_BINDING: Final = "it holds promises that must not be forgotten: keep the file"
_WHEN_DAMAGED: Final[dict[type, str]] = {
    VoterRow: f"{_BINDING}, elsewhere; without it this machine is another voter, which takes the"
    " place of the old one by: dfs-admin ha replace-voter",
    MemberRow: f"{_BINDING} and do not go on without it; take this machine out of the cluster and"
    " add it anew",
    Correspondents: "it holds nothing that the leader does not tell again",
}
_HEAD: Final = re.compile(rb"((dfs-[a-z]+) ([0-9]{1,9})) ([0-9a-f]{32})\n")

R = TypeVar("R", bound=VoterRow | MemberRow | Correspondents)


class RowFile(Generic[R]):
    """One row.  For one thread at a time.

    Args:
        path: its folder exists.
        kind: which of the rows this is.
    """

    def __init__(self, path: Path, kind: type[R]) -> None:
        self.path = path
        self._kind = kind
        self._name = _NAMES[kind]
        self._failed = ""

    def load(self) -> R | None:
        """The row that was kept last; None where none ever was.

        Raises:
            MetadataCorrupt: there is a file, and it is not what was written.
            SchemaMismatch: a program of another version wrote it.
            LocalIoError: the disk does not let it be read.
        """
        try:
            with self.path.open("rb") as file:
                raw = file.read(ROW_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise LocalIoError(f"cannot read {self.path}: {exc.strerror or exc}") from exc
        return self._parsed(raw)

    def keep(self, row: R) -> None:
        """Replace the row.  The order is the contract:

        1 it is on the disk under another name   (written, fsynced)
        2 it has the name                        (renamed)
        3 the name is on the disk                (the folder fsynced)

        A crash in between leaves the one before or this one, whole; nobody was told of this one.

        Raises:
            LocalIoError: it is unknown which of both is on the disk; so is every later call.
        """
        if self._failed:
            raise LocalIoError(self._failed)
        try:
            self._replace(self._written(row))
        except OSError as exc:
            self._failed = f"cannot write {self.path}: {exc.strerror or exc}"
            raise LocalIoError(self._failed) from exc

    def _replace(self, raw: bytes) -> None:
        fresh = self.path.with_name(f"{self.path.name}.new")
        fd = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as out:
            out.write(raw)
            out.flush()
            crashpoint.reach("nn.ha.row.written")
            os.fsync(fd)
        crashpoint.reach("nn.ha.row.synced")
        fresh.replace(self.path)
        crashpoint.reach("nn.ha.row.renamed")
        sync_folder(self.path.parent)
        crashpoint.reach("nn.ha.row.kept")

    def _written(self, row: R) -> bytes:
        head = f"{self._name} {VERSION}".encode()
        body = msgspec.json.encode(row) + b"\n"
        raw = b"%s %s\n%s" % (head, _digest(head, body), body)
        assert len(raw) <= ROW_BYTES_MAX
        return raw

    def _parsed(self, raw: bytes) -> R:
        found = _HEAD.match(raw)
        if found is None or len(raw) > ROW_BYTES_MAX:
            raise self._damaged("it does not begin as such a file does")
        head, name, version, digest = found.groups()
        body = raw[found.end() :]
        if name.decode() != self._name:
            raise self._damaged(f"it is a {name.decode()} and no {self._name}")
        if int(version) != VERSION:
            raise SchemaMismatch(
                f"{self.path} is of version {int(version)}; this program reads version {VERSION}",
                hint="run the version of DFS that wrote it",
            )
        if digest != _digest(head, body):
            raise self._damaged("its bytes are not those that were written")
        try:
            return json_reader(self._kind)(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise self._damaged(str(exc)) from exc

    def _damaged(self, why: str) -> MetadataCorrupt:
        return MetadataCorrupt(f"{self.path} is damaged: {why}", hint=_WHEN_DAMAGED[self._kind])


def _digest(head: bytes, body: bytes) -> bytes:
    return xxhash.xxh3_128_hexdigest(head + b"\n" + body).encode()
