"""Server-side copy: new names and inodes over the same blocks; no byte moves."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace
from sqlalchemy import select

from dfs.accounts.permissions import Access
from dfs.base import paths
from dfs.base.errors import IsADirectory, LimitExceeded, MoveIntoItself, PathExists
from dfs.base.ids import DirentId, InodeId
from dfs.base.records import FileStatus, Principal
from dfs.meta.tables import EXTENT
from dfs.meta.txn import Txn
from dfs.namespace.changes import into_directory, make_way
from dfs.namespace.edit import Edit, EntryCounts, edit_each, is_below
from dfs.namespace.inode_rows import Dirent, Inode, in_parts, put_dirents, put_inodes
from dfs.namespace.resolve import Place
from dfs.namespace.status import StatusView
from dfs.namespace.walk import walk
from dfs.wire.files_api import CopyRequest, PairRequest
from dfs.wire.shapes import Outcomes

COPY_MAX: Final = 100_000  # inodes one copy may make in its one transaction


class Copying:
    """Copies files and trees by pointing at their blocks."""

    def __init__(self, *, counts: EntryCounts) -> None:
        self._counts = counts
        self._status = StatusView()

    def copy(self, txn: Txn, who: Principal, body: CopyRequest) -> Outcomes[FileStatus]:
        """Copy each source to its target, or into it where that is a directory."""
        edit = Edit(txn, who, self._counts)

        def one(pair: PairRequest) -> FileStatus:
            source = edit.resolver.place(pair.source)
            target = into_directory(edit, source, edit.resolver.place(pair.target))
            if source.inode.is_directory:
                made = self._copy_tree(edit, source, target, recursive=body.recursive)
            else:
                made = self._copy_file(edit, source, target, overwrite=body.overwrite)
            return self._status.one(txn.connection, target.path, made)

        return edit_each(edit, body.copies, one, atomic=body.atomic)

    def _copy_file(self, edit: Edit, source: Place, target: Place, *, overwrite: bool) -> Inode:
        if source.path == target.path:
            raise PathExists(
                f"source and target are the same file: {source.path}", hint="choose another name"
            )
        edit.refuse_reserved(source.path)
        edit.resolver.require(source.inode, Access.READ, source.path)
        edit.require_writable(target.parent, target.parent_path)
        make_way(edit, target, overwrite=overwrite, by_directory=False)
        made = _twin(edit, source.inode, target.parent)
        put_inodes(edit.txn, made)
        _copy_extents(edit.txn, {source.inode.id: made.id})
        edit.link(target, made.id)
        return made

    def _copy_tree(self, edit: Edit, source: Place, target: Place, *, recursive: bool) -> Inode:
        if not recursive:
            raise IsADirectory(f"is a directory: {source.path}")
        if is_below(target.path, source.path):
            raise MoveIntoItself(f"{source.path} cannot be copied below itself ({target.path})")
        edit.refuse_reserved(source.path)
        edit.resolver.require(source.inode, Access.READ | Access.EXECUTE, source.path)
        top = edit.make_directory(target, mode=source.inode.mode)
        made: dict[str, Inode] = {source.path: top}
        inodes: list[Inode] = []
        names: list[tuple[InodeId, str, InodeId]] = []
        files: dict[InodeId, InodeId] = {}
        for step in walk(edit.txn.connection, source.inode, source.path):
            if len(inodes) >= COPY_MAX:
                raise LimitExceeded(
                    f"more than {COPY_MAX} files and directories below {source.path}",
                    hint="copy its subdirectories one by one",
                )
            _require_readable(edit, step.entry.inode, step.path)
            parent = made[paths.split(step.path)[0]]
            twin = _twin(edit, step.entry.inode, parent)
            inodes.append(twin)
            names.append((parent.id, step.entry.dirent.name, twin.id))
            if step.entry.inode.is_directory:
                made[step.path] = twin
            else:
                files[step.entry.inode.id] = twin.id
        put_inodes(edit.txn, *inodes)
        _name_all(edit.txn, names)
        _copy_extents(edit.txn, files)
        return top


def _require_readable(edit: Edit, inode: Inode, path: str) -> None:
    access = Access.READ | Access.EXECUTE if inode.is_directory else Access.READ
    edit.resolver.require(inode, access, path)


def _twin(edit: Edit, inode: Inode, parent: Inode) -> Inode:
    """An inode like another one, owned by the caller, as of now."""
    now_ms = edit.txn.now_ms
    return replace(
        inode,
        id=InodeId(edit.txn.take("inode")),
        owner=edit.who.user,
        group=parent.group,
        created_ms=now_ms,
        modified_ms=now_ms,
        changed_ms=now_ms,
        version=1,
    )


def _name_all(txn: Txn, names: Sequence[tuple[InodeId, str, InodeId]]) -> None:
    first = txn.take("dirent", len(names)) if names else 0
    put_dirents(
        txn,
        *(
            Dirent(DirentId(first + at), parent, name, inode, txn.txid)
            for at, (parent, name, inode) in enumerate(names)
        ),
    )


def _copy_extents(txn: Txn, twins: dict[InodeId, InodeId]) -> None:
    for part in in_parts(list(twins)):
        rows = txn.connection.execute(
            select(EXTENT).where(EXTENT.c.inode.in_(part), EXTENT.c.died_tx.is_(None))
        ).mappings()
        txn.put(
            EXTENT,
            *({**row, "inode": twins[row["inode"]], "born_tx": txn.txid} for row in rows),
        )
