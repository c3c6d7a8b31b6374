"""Copies of the metadata database, for a member that cannot go on by records alone.

<data>/snapshots/<txid>-<epoch>-<xxh3_128 of the file>.sqlite    whole: the name proves it
<data>/snapshots/<...>.part                                     being made, or being fetched

A copy is of one place in the journal, whatever was written while it was made.  It holds everything
but the log of the writer: what a NameNode learned by itself is worth having too, since who takes
the lead with a map of replicas need not wait until every DataNode has reported in full.  What
became of that meanwhile, stock reports and sweeps say as they always do, and old entries of
`health_report`, `health_run` and `block_event` are trimmed by their age.

It also holds password hashes and the keys that sign block tokens, as records of the journal do:
files are for this user's eyes alone.
"""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import xxhash

from dfs.base import crashpoint
from dfs.base.durable import sync_folder
from dfs.base.errors import (
    BadRequest,
    DatabaseUnavailable,
    LocalDiskFull,
    LocalIoError,
    LocalNotFound,
    MetadataCorrupt,
)
from dfs.base.units import MiB, format_size
from dfs.ha.rows import Position
from dfs.meta.journal import check_chain, newest_place
from dfs.meta.session import Reader, copy_database, database_errors, quick_check, reader_engine
from dfs.meta.soundness import CHAIN_BYTES_AT_START
from dfs.meta.upgrade import require_current

SNAPSHOTS_FOLDER: Final = "snapshots"
KEPT_MAX: Final = 2  # one that is being fetched while the next is made
KEPT_MS: Final = 24 * 3600 * 1000
ROOM_LEFT_BYTES: Final = 64 * MiB  # for the writer, beside a copy
_PART: Final = ".part"
_NAME: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,19})-([0-9a-f]{32})\.sqlite")


class SnapshotName(NamedTuple):
    """What the name of a snapshot says; `digest` is xxh3_128 of the file, in hex."""

    txid: int
    epoch: int
    digest: str

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.txid}-{self.epoch}-{self.digest}.sqlite"


def read_name(text: str) -> SnapshotName:
    """What a name says.

    Raises:
        BadRequest: it is no name of a snapshot.
    """
    found = _NAME.fullmatch(text)
    if found is None:
        raise BadRequest(f"no snapshot has the name {text[:80]!r}")
    name = SnapshotName(int(found[1]), int(found[2]), found[3])
    if str(name) != text:
        raise BadRequest(f"no snapshot has the name {text[:80]!r}")
    return name


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write there.

    Raises:
        OSError: it cannot be told.
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Shelf:
    """The folder of snapshots.  Safe to share between threads; one makes or takes in at a time.

    Args:
        data: the data folder.
        room: see `free_bytes`.
    """

    def __init__(self, data: Path, *, room: Callable[[Path], int] = free_bytes) -> None:
        self.folder = data / SNAPSHOTS_FOLDER
        self._room = room

    def clear(self) -> None:
        """Remove everything: at a start nobody knows of it any more.

        Raises:
            LocalIoError: the disk does not allow it.
        """
        try:
            if self.folder.is_dir():
                for each in self.folder.iterdir():
                    each.unlink()
        except OSError as exc:
            raise LocalIoError(f"cannot clear {self.folder}: {exc.strerror or exc}") from exc

    def forget(self, *, now_ms: int) -> None:
        """Remove snapshots that nobody can want any more.

        Raises:
            LocalIoError: the disk does not allow it.
        """
        # One from the future was made before the wall clock was put back, nobody knows how long.
        self._keep([each for each in self._whole() if abs(_made_ms(each) - now_ms) < KEPT_MS])

    def find(self, name: str) -> Path:
        """The whole snapshot of that name.

        Raises:
            BadRequest: it is no name of one.
            LocalNotFound: there is none, or none any more.
        """
        file = self.folder / str(read_name(name))
        if not file.is_file():
            raise LocalNotFound(f"there is no snapshot {name}", hint="ask for another one")
        return file

    def copy(self, database: Path) -> tuple[Position, str]:
        """Copy a database, in use or not; as of when, and the name of the copy.

        The order is the contract:

        1 there is room for it
        2 the copy is whole on the disk     (checked by SQLite, hashed, fsynced)
        3 it has its name                   (renamed, the folder fsynced)

        Raises:
            LocalDiskFull: there is no room.
            LocalIoError: the disk failed.
            DatabaseUnavailable, MetadataCorrupt: the database could not be read or copied.
        """
        part = self.begin("copy", _size_of(database))
        crashpoint.reach("nn.ha.snapshot.copying")
        try:
            copy_database(database, part)
            position = _position_in(part)
            name = str(SnapshotName(position.txid, position.epoch, _digest_of(part)))
            self._finish(part, name)
        finally:
            _remove(part)
        self._make_way(name)
        crashpoint.reach("nn.ha.snapshot.made")
        return position, name

    def begin(self, name: str, size_bytes: int) -> Path:
        """An empty file for a snapshot to be; there is room for so much in it.

        Raises:
            LocalDiskFull: there is no room.
            LocalIoError: the disk failed.
        """
        part = self.folder / f"{name}{_PART}"
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            _remove(part)
            self.require_room(size_bytes)
            part.touch(mode=0o600, exist_ok=False)
        except OSError as exc:
            raise LocalIoError(f"cannot write {part}: {exc.strerror or exc}") from exc
        return part

    def require_room(self, size_bytes: int) -> None:
        """Refuse what would leave the writer without room.

        Raises:
            LocalDiskFull: there is no room.
            OSError: it cannot be told.
        """
        free = self._room(self.folder)
        if free < size_bytes + ROOM_LEFT_BYTES:
            raise LocalDiskFull(
                f"a snapshot takes {format_size(size_bytes)}, and {self.folder} has "
                f"{format_size(free)} left",
                hint="free space on the NameNode's disk",
            )

    def take_in(self, part: Path, name: str, position: Position) -> None:
        """Prove a snapshot that was fetched, and give it its name.

        Raises:
            MetadataCorrupt: it is not the one of that name, is damaged, or of another position.
            SchemaMismatch: a program of another version wrote it.
            LocalIoError: the disk failed.
        """
        prove(part, name, position)
        self._finish(part, name)
        self._make_way(name)
        crashpoint.reach("nn.ha.snapshot.fetched")

    def _finish(self, part: Path, name: str) -> None:
        try:
            fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            part.replace(self.folder / name)
            sync_folder(self.folder)
        except OSError as exc:
            raise LocalIoError(f"cannot keep {name}: {exc.strerror or exc}") from exc

    def _whole(self) -> list[Path]:
        """The oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted((f for f in self.folder.iterdir() if _NAME.fullmatch(f.name)), key=_made_ms)

    def _make_way(self, name: str) -> None:
        """Keep that one, which is new whatever the wall clock said, and those made last."""
        others = [each for each in self._whole() if each.name != name]
        self._keep([self.folder / name, *others[1 - KEPT_MAX :]])

    def _keep(self, those: list[Path]) -> None:
        try:
            for each in set(self._whole()) - set(those):
                each.unlink(missing_ok=True)
        except OSError as exc:
            raise LocalIoError(f"cannot tidy {self.folder}: {exc.strerror or exc}") from exc


def prove(file: Path, name: str, position: Position) -> None:
    """Hold a snapshot that came from elsewhere against all that is known of it.

    Raises:
        BadRequest: that is no name of one.
        MetadataCorrupt: it is not the one of that name, is damaged, or of another position.
        SchemaMismatch: a program of another version wrote it.
        LocalIoError, DatabaseUnavailable: the disk does not let it be read.
    """
    said = read_name(name)
    if (said.txid, said.epoch) != (position.txid, position.epoch):
        raise MetadataCorrupt(f"{name} is no snapshot of transaction {position.txid}")
    if _digest_of(file) != said.digest:
        raise MetadataCorrupt(f"{file} is not the snapshot {name}")
    quick_check(file)
    require_current(file)
    found = _position_in(file)
    if found != position:
        raise MetadataCorrupt(f"{name} holds another past than the leader's {position.txid}")


def _position_in(file: Path) -> Position:
    """Where the journal of a copy ends; its newest records are sound."""
    reader = Reader(reader_engine(file, connections=1))
    try:
        with database_errors(f"reading {file}"), reader.view() as connection:
            place = newest_place(connection)
            check_chain(connection, bytes_max=CHAIN_BYTES_AT_START)
    finally:
        reader.close()
    if place is None:
        raise DatabaseUnavailable(f"{file} has no record yet")
    return Position(*place)


def _digest_of(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, xxhash.xxh3_128).hexdigest()
    except OSError as exc:
        raise LocalIoError(f"cannot read {file}: {exc.strerror or exc}") from exc


def _size_of(database: Path) -> int:
    log = database.with_name(f"{database.name}-wal")
    try:
        return database.stat().st_size + (log.stat().st_size if log.exists() else 0)
    except OSError as exc:
        raise LocalIoError(f"cannot read {database}: {exc.strerror or exc}") from exc


def _made_ms(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns // 1_000_000
    except OSError:
        return 0  # gone meanwhile


def _remove(part: Path) -> None:
    for beside in ("", "-journal", "-wal", "-shm"):
        part.with_name(f"{part.name}{beside}").unlink(missing_ok=True)
