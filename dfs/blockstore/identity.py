"""Whose data folder this is: VERSION, the lock, node.json, and the few numbers that outlive a run.

Owns the small files at the top of a data folder.  Decides whether a folder may be opened: a folder
served by another process, of another version, or with things in it that are not ours is refused.
Every small file is replaced whole (write beside, fsync, rename, fsync the folder), so a crash
leaves the old one or the new one.
"""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from dfs.base import crashpoint
from dfs.base.decoding import json_reader
from dfs.base.entropy import new_id
from dfs.base.errors import FolderInUse, ForeignFolder
from dfs.blockstore.disk import Disk
from dfs.blockstore.layout import BUCKETS, Layout

FORMAT_VERSION: Final = "dfs-datanode 1\n"
_MOUNT_LEFTOVER: Final = "lost+found"
_NEW_SUFFIX: Final = ".new"

T = TypeVar("T")


class NodeIdentity(msgspec.Struct, frozen=True):
    """Who a DataNode is, once it has joined a cluster."""

    cluster: str
    uuid: str
    node: int
    secret: str

    def __repr__(self) -> str:
        """Without the secret: it must not reach a log."""
        return f"NodeIdentity(cluster={self.cluster!r}, uuid={self.uuid!r}, node={self.node})"


class FolderCard(msgspec.Struct, frozen=True):
    """What node.json says.  `cluster`, `node` and `secret` are empty until the node has joined."""

    uuid: str  # the DataNode's, the same in all its folders
    volume: str  # this folder's own
    cluster: str = ""
    node: int = 0
    secret: str = ""

    def identity(self) -> NodeIdentity | None:
        """The node's identity, or None before it joined."""
        return NodeIdentity(self.cluster, self.uuid, self.node, self.secret) if self.node else None

    def owner(self) -> tuple[str, str, int]:
        """What all folders of one DataNode share."""
        return (self.cluster, self.uuid, self.node)


class _Starts(msgspec.Struct, frozen=True):
    starts: int = 0


class _Epoch(msgspec.Struct, frozen=True):
    epoch: int = 0
    txid: int = 0


class _Namenodes(msgspec.Struct, frozen=True):
    urls: tuple[str, ...] = ()


def write_small(disk: Disk, path: Path, content: bytes) -> None:
    """Replace a small file so that a crash leaves the old or the new one, whole."""
    fresh = path.with_name(path.name + _NEW_SUFFIX)
    fd = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, content)
        disk.fsync(fd)
    finally:
        os.close(fd)
    crashpoint.reach("dn.identity.written")
    fresh.replace(path)
    crashpoint.reach("dn.identity.renamed")
    disk.fsync_folder(path.parent)
    crashpoint.reach("dn.identity.dirsynced")


class FolderIdentity:
    """One data folder, locked by this process until `release`.

    Raises, on making one:
        FolderInUse: another process, or this one, has it open.
        ForeignFolder: it is no data folder and not empty, or of a version unknown here.
        OSError: the disk fails.
    """

    def __init__(self, layout: Layout, *, disk: Disk, node_uuid: str) -> None:
        self.layout = layout
        self._disk = disk
        layout.root.mkdir(parents=True, exist_ok=True)
        _must_format(layout)  # a folder that is not ours gets no lock file
        self._lock_fd = _lock(layout)
        try:
            is_new = _must_format(layout)  # again: another process may have formatted it since
            if is_new:
                _format(layout, disk, node_uuid)
            _check_version(layout)
            _check_one_file_system(layout)
            self.card = _read(layout.card, FolderCard)
            self.was_clean = is_new or layout.clean.exists()
            self.is_new = is_new
        except BaseException:
            self.release()
            raise

    def begin(self) -> int:
        """Count a start and withdraw the clean-stop marker; returns how many starts there were."""
        starts = _read_or(self.layout.starts, _Starts()).starts + 1
        write_small(self._disk, self.layout.starts, msgspec.json.encode(_Starts(starts)))
        self.layout.clean.unlink(missing_ok=True)
        self._disk.fsync_folder(self.layout.root)
        crashpoint.reach("dn.identity.begun")
        return starts

    def adopt(self, identity: NodeIdentity) -> None:
        """Write down which cluster and node the folder belongs to from now on."""
        card = FolderCard(
            identity.uuid, self.card.volume, identity.cluster, identity.node, identity.secret
        )
        if card != self.card:
            write_small(self._disk, self.layout.card, msgspec.json.encode(card))
            self.card = card

    @property
    def reached(self) -> tuple[int, int]:
        """The highest epoch written down here, and the newest transaction of it."""
        found = _read_or(self.layout.epoch, _Epoch())
        return found.epoch, found.txid

    def remember_reached(self, epoch: int, txid: int) -> None:
        """Write an epoch and a transaction of it down, durably."""
        write_small(self._disk, self.layout.epoch, msgspec.json.encode(_Epoch(epoch, txid)))

    @property
    def namenodes(self) -> tuple[str, ...]:
        """The NameNodes written down here."""
        return _read_or(self.layout.namenodes, _Namenodes()).urls

    def remember_namenodes(self, urls: Sequence[str]) -> None:
        """Write down which NameNodes there are, durably."""
        write_small(self._disk, self.layout.namenodes, msgspec.json.encode(_Namenodes(tuple(urls))))

    def mark_clean(self) -> None:
        """The last thing of an orderly stop: the next start need not doubt the newest blocks."""
        write_small(self._disk, self.layout.clean, b"")

    def release(self) -> None:
        """Let another process have the folder."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def read_card(layout: Layout) -> FolderCard:
    """Whose folder it is, without taking it.

    Raises:
        ForeignFolder: it is no data folder.
    """
    _check_version(layout)
    return _read(layout.card, FolderCard)


def _must_format(layout: Layout) -> bool:
    """Whether the folder is new: empty, or a format that a crash cut short (VERSION comes last)."""
    if layout.version.exists():
        return False
    ours = {path.name for path in (*layout.folders(), layout.lock, layout.card)}
    ours |= {layout.card.name + _NEW_SUFFIX, layout.version.name + _NEW_SUFFIX, _MOUNT_LEFTOVER}
    strange = sorted({entry.name for entry in os.scandir(layout.root)} - ours)
    if strange or any(layout.blocks.glob("*/*")):
        shown = ", ".join(strange[:3]) or "block files without VERSION"
        raise ForeignFolder(
            f"{layout.root} is neither a data folder nor empty (found: {shown})",
            hint="name an empty folder or a DFS data folder with --data",
        )
    return True


def _lock(layout: Layout) -> int:
    fd = os.open(layout.lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise FolderInUse(f"another process serves {layout.root}") from None
    return fd


def _format(layout: Layout, disk: Disk, node_uuid: str) -> None:
    """Make a data folder.  VERSION comes last, so half a format is seen as one and done again.

    The 256 bucket folders are made and fsynced here once; a block then never waits for theirs.
    """
    for folder in layout.folders():
        folder.mkdir(exist_ok=True, mode=0o700)
    for number in range(BUCKETS):
        layout.bucket(number).mkdir(exist_ok=True, mode=0o700)
    disk.fsync_folder(layout.blocks)
    crashpoint.reach("dn.format.buckets")
    card = FolderCard(uuid=node_uuid, volume=new_id())
    write_small(disk, layout.card, msgspec.json.encode(card))
    crashpoint.reach("dn.format.card")
    write_small(disk, layout.version, FORMAT_VERSION.encode())
    disk.fsync_folder(layout.root.parent)
    crashpoint.reach("dn.format.done")


def _check_version(layout: Layout) -> None:
    try:
        version = layout.version.read_bytes()
    except FileNotFoundError:
        raise ForeignFolder(f"{layout.root} is no data folder of a DataNode") from None
    if version != FORMAT_VERSION.encode():
        raise ForeignFolder(
            f"{layout.root} is of version {version[:40]!r}, not {FORMAT_VERSION.encode()!r}",
            hint="serve it with the DFS version that made it",
        )


def _check_one_file_system(layout: Layout) -> None:
    """A block is published by link and retired by rename, which cannot leave a file system."""
    devices = {folder.stat().st_dev for folder in (layout.root, *layout.folders())}
    if len(devices) != 1:
        raise ForeignFolder(
            f"blocks, tmp, quarantine and purge of {layout.root} are not on one file system",
            hint="mount a disk over the whole data folder, not over a part of it",
        )


def _read(path: Path, kind: type[T]) -> T:
    try:
        return json_reader(kind)(path.read_bytes())
    except (FileNotFoundError, msgspec.MsgspecError) as exc:
        raise ForeignFolder(f"{path} cannot be read: {exc}") from exc


def _read_or(path: Path, default: T) -> T:
    """The file's word, or the default when it was never written or was damaged."""
    try:
        return json_reader(type(default))(path.read_bytes())
    except (FileNotFoundError, msgspec.MsgspecError):
        return default
