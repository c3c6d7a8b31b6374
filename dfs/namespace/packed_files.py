"""The files of one request that get their names and their content at once: checked, then written.

What `create` and `complete` check of a file is checked here in one step, for thousands together:
each directory is walked to once, what stands in it is asked once, and a file costs a few look-ups
in memory.  Nothing is written before all are checked but the directories made on the way, so that a
refused file needs no savepoint.  All rows are then written together.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import select

from dfs.accounts.permissions import Access
from dfs.base import paths
from dfs.base.checksum import BLOCK_HASH_BYTES, file_checksum
from dfs.base.errors import BadRequest, BeingWritten, DfsError, LimitExceeded, PathExists
from dfs.base.ids import BlockId, InodeId
from dfs.base.states import InodeKind
from dfs.meta.prepared import ByKeys
from dfs.meta.tables import DIRENT, EXTENT, INODE, LEASE
from dfs.namespace.edit import Edit, check_mode
from dfs.namespace.inode_rows import Dirent, Entry, Inode, find_children
from dfs.namespace.many_paths import ManyPaths, Names
from dfs.namespace.resolve import Place
from dfs.namespace.writing import DIRECTORY_MODE
from dfs.wire.pack_api import PackedFile

EMPTY_CHECKSUM: Final = file_checksum([])
# The rows written here name no columns: these are theirs, in their order.
assert [column.key for column in INODE.columns] == [
    *("id", "kind", "owner", "group", "mode", "size_bytes", "replication", "block_size_bytes"),
    *("created_ms", "modified_ms", "changed_ms", "checksum", "version", "under_construction"),
]
assert [column.key for column in DIRENT.columns] == [
    *("id", "parent", "name", "inode", "born_tx", "died_tx", "died_ms", "died_by"),
]
assert [column.key for column in EXTENT.columns] == [
    *("inode", "seq", "file_offset", "block", "block_offset", "length_bytes"),
    *("born_tx", "died_tx"),
]
_OPEN_IN: Final = ByKeys(select(LEASE.c.inode, LEASE.c.parent, LEASE.c.name), LEASE.c.parent)
_Image = tuple[int | str | bytes | None, ...]


@dataclass(frozen=True, slots=True)
class PackContent:
    """A pack as files see it: they may lie in it, and want no more copies than it was begun for."""

    block: BlockId
    length_bytes: int
    copies: int


@dataclass(slots=True)
class _Folder:
    """A directory that files of the request go into, and those files by name."""

    inode: Inode
    path: str
    files: dict[str, int] = field(default_factory=dict)  # name -> index in the request
    is_writable: bool = False  # known to be
    new: list[str] = field(default_factory=list)  # of them, where nothing is yet
    replaced: list[Dirent] = field(default_factory=list)


class FileBatch:
    """See the module.

    Attributes:
        twins: whether two of the files have the same path.

    Args:
        edit: who writes, in which transaction.
        packs: what the files lie in, in the order they refer to; an error where that is not so.
        copies: how many copies a file gets that asks for so many.
        end_silent: ends those writes of others that are silent; which of them they were.
    """

    def __init__(
        self,
        edit: Edit,
        packs: Sequence[PackContent | DfsError],
        *,
        copies: Callable[[int | None], int],
        block_size_bytes: int,
        end_silent: Callable[[Sequence[InodeId]], set[InodeId]],
    ) -> None:
        self._edit = edit
        self._packs = packs
        self._copies = copies
        self._block_size_bytes = block_size_bytes
        self._end_silent = end_silent
        self.twins = False
        self._files: Sequence[PackedFile] = ()
        self._folders: dict[Names, _Folder] = {}
        self._refused: dict[int, DfsError] = {}

    def check(self, files: Sequence[PackedFile]) -> dict[int, DfsError]:
        """Look at every file; why those cannot be that cannot, by their place in the request."""
        self._files = files
        only = self._look_at_only_one()
        self._sort_into_folders()
        taken = self._taken_by_others()
        for folder in self._folders.values():
            there = only
            if there is None:
                # Only now: a file of the request may have got a directory's place by another.
                connection = self._edit.txn.connection
                there = find_children(connection, folder.inode.id, list(folder.files))
            for name in list(folder.files):
                try:
                    self._check_place(folder, name, there.get(name), taken)
                except DfsError as exc:
                    self._refuse(folder, name, exc)
            self._make_room(folder)
        return self._refused

    def copies_wanted(self) -> dict[BlockId, int]:
        """Of each block that a file stands in, what the most demanding of its files wants."""
        wanted: dict[BlockId, int] = {}
        for folder in self._folders.values():
            for index in folder.files.values():
                file = self._files[index]
                if file.length_bytes:
                    pack = self._packs[file.pack]
                    assert isinstance(pack, PackContent)
                    copies = self._copies(file.replication)
                    wanted[pack.block] = max(wanted.get(pack.block, 0), copies)
        return wanted

    def write(self) -> None:
        """Write the rows of every file that was not refused."""
        txn = self._edit.txn
        for folder in self._folders.values():
            for dirent in folder.replaced:
                self._edit.unlink(dirent, by=self._edit.who.user)
        standing = [
            (folder.inode, name, self._files[index])
            for folder in self._folders.values()
            for name, index in folder.files.items()
        ]
        if not standing:
            return
        inode = txn.take("inode", len(standing))
        first_name = txn.take("dirent", len(standing))
        numbered = list(enumerate(standing, inode))
        txn.put_images(
            INODE, [self._inode_image(at, folder, file) for at, (folder, _, file) in numbered]
        )
        txn.put_images(
            EXTENT,
            [self._extent_image(at, file) for at, (_, _, file) in numbered if file.length_bytes],
        )
        txn.put_images(
            DIRENT,
            [
                (first_name + at - inode, folder.id, name, at, txn.txid, None, None, None)
                for at, (folder, name, _) in numbered
            ],
        )
        touched = txn.now_ms  # once a transaction is enough
        self._edit.touch_inodes({d.id for d, _, _ in standing if d.modified_ms != touched})

    # ---- checks

    def _look_at_only_one(self) -> dict[str, Entry] | None:
        """Of a request with one file: what has its name, asked with its directory in one question.

        None where there are more, or what is above it is not there, or may not be passed.
        """
        if len(self._files) != 1:
            return None
        try:
            place = self._edit.resolver.place(self._files[0].path)
        except DfsError:
            return None
        return {} if place.entry is None else {place.name: place.entry}

    def _sort_into_folders(self) -> None:
        """Put each file with its directory, made where missing and asked for."""
        parsed = ManyPaths()
        unreachable: dict[tuple[Names, bool], DfsError] = {}
        for index, file in enumerate(self._files):
            try:
                self._check_shape(file)
                key, name = parsed.parse(file.path)
                if not name:
                    raise PathExists("a directory is already there: /")
                self._edit.refuse_reserved(file.path)
                if (key, file.parents) in unreachable:
                    raise unreachable[key, file.parents]
                folder = self._folders.get(key)
                if folder is None:
                    folder = self._reach(key, parents=file.parents, unreachable=unreachable)
                if folder.files.setdefault(name, index) != index:
                    self.twins = True
                    raise PathExists(f"the same request writes it already: {file.path}")
            except DfsError as exc:
                self._refused[index] = exc

    def _reach(
        self, names: Names, *, parents: bool, unreachable: dict[tuple[Names, bool], DfsError]
    ) -> _Folder:
        edit, path = self._edit, paths.build(names)
        try:
            if parents and names:
                inode = edit.make_directories(names, mode=DIRECTORY_MODE)
                unreachable.clear()  # what was missing may be there now
            else:
                inode = edit.resolver.directory(names)
            edit.resolver.require(inode, Access.EXECUTE, path)
        except DfsError as exc:
            unreachable[names, parents] = exc
            raise
        folder = self._folders[names] = _Folder(inode, path)
        return folder

    def _check_shape(self, file: PackedFile) -> None:
        """Whether it could be a file at all, and lies where there is content.

        Raises:
            BadRequest: it could not.
            DfsError: why its pack cannot be.
        """
        check_mode(file.mode)
        copies = self._copies(file.replication)
        if file.pack == -1:
            if file.offset or file.length_bytes or file.hash:
                raise BadRequest(f"{file.path} has content, but no pack is named for it")
            return
        if not 0 <= file.pack < len(self._packs):
            raise BadRequest(f"{file.path} is in pack {file.pack} of {len(self._packs)}")
        pack = self._packs[file.pack]
        if isinstance(pack, DfsError):
            raise pack
        end = file.offset + file.length_bytes
        if file.offset < 0 or file.length_bytes < 1 or end > pack.length_bytes:
            raise BadRequest(f"{file.path} does not lie within its pack")
        if len(file.hash) != BLOCK_HASH_BYTES:
            raise BadRequest(f"{file.path}: a hash has {BLOCK_HASH_BYTES} bytes")
        if copies > pack.copies:
            raise BadRequest(
                f"{file.path} wants {copies} copies, its pack was begun for {pack.copies}"
            )

    def _taken_by_others(self) -> set[tuple[InodeId, str]]:
        """What somebody else is writing under one of our names, and is heard of."""
        by_id = {folder.inode.id: folder for folder in self._folders.values()}
        rivals: dict[InodeId, tuple[InodeId, str]] = {}
        for inode, parent, name in _OPEN_IN.run(self._edit.txn.connection, list(by_id)):
            if name in by_id[parent].files:
                rivals[inode] = parent, name
        ended = self._end_silent(list(rivals)) if rivals else set()
        return {place for inode, place in rivals.items() if inode not in ended}

    def _check_place(
        self,
        folder: _Folder,
        name: str,
        entry: Entry | None,
        taken: Collection[tuple[InodeId, str]],
    ) -> None:
        """Whether a file may have that name; what it replaces is noted.

        Raises:
            PathExists, PermissionDenied, BeingWritten: it may not.
        """
        file = self._files[folder.files[name]]
        if entry is None:
            if not folder.is_writable:
                self._edit.require_writable(folder.inode, folder.path)
                folder.is_writable = True
        elif entry.inode.is_directory:
            raise PathExists(f"a directory is already there: {file.path}")
        elif not file.overwrite:
            raise PathExists(f"already there: {file.path}")
        else:
            place = Place(file.path, folder.inode, folder.path, name, entry)
            self._edit.require_removable(place)
        if (folder.inode.id, name) in taken:
            raise BeingWritten(f"another client is writing {file.path}")
        if entry is None:
            folder.new.append(name)
        else:
            folder.replaced.append(entry.dirent)

    def _make_room(self, folder: _Folder) -> None:
        """Refuse what the directory has no room for; the first in the request are taken."""
        if not folder.new:
            return
        directory = folder.inode.id
        try:
            self._edit.make_room(directory, folder.path, len(folder.new))
        except LimitExceeded as exc:
            room = self._edit.room(directory)
            for name in folder.new[room:]:
                self._refuse(folder, name, exc)
            self._edit.make_room(directory, folder.path, room)

    def _refuse(self, folder: _Folder, name: str, why: DfsError) -> None:
        self._refused[folder.files.pop(name)] = why

    # ---- rows: in the order of the columns, as there are thousands of them

    def _inode_image(self, number: int, folder: Inode, file: PackedFile) -> _Image:
        txn, length_bytes = self._edit.txn, file.length_bytes
        now_ms = txn.now_ms
        return (
            number,
            InodeKind.FILE.value,
            self._edit.who.user,
            folder.group,
            file.mode,
            length_bytes,
            self._copies(file.replication),
            self._block_size_bytes,
            now_ms,
            now_ms if file.modified_ms is None else file.modified_ms,
            now_ms,
            file_checksum(((length_bytes, file.hash),)) if length_bytes else EMPTY_CHECKSUM,
            1,
            0,
        )

    def _extent_image(self, number: int, file: PackedFile) -> _Image:
        pack = self._packs[file.pack]
        assert isinstance(pack, PackContent)
        txid = self._edit.txn.txid
        return (number, 0, 0, pack.block, file.offset, file.length_bytes, txid, None)
