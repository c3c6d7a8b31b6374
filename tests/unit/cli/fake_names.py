"""The names of the fake NameNode: a dictionary of paths, and what the routes do with it."""

import fnmatch
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from dfs.base.checksum import file_checksum
from dfs.base.errors import (
    DfsError,
    IsADirectory,
    LimitExceeded,
    NotADirectory,
    NotInTrash,
    PathExists,
    PathNotFound,
)
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.paths import join, parse, split
from dfs.base.records import (
    BlockName,
    BlockTruth,
    FileStatus,
    Holder,
    LocatedExtent,
    LocatedFile,
)
from dfs.base.states import InodeKind
from dfs.base.units import MiB
from dfs.wire import files_api as f
from dfs.wire import routes as r
from dfs.wire.pack_api import LocateManyReply, ManyFile
from dfs.wire.repair_api import CopiesOf
from dfs.wire.shapes import Outcome, Outcomes, error_body

Handlers = dict[str, Callable[[Any, str], Any]]
NOW_MS = 1_700_000_000_123


def an_extent(length_bytes: int, *holders: Holder) -> LocatedExtent:
    truth = BlockTruth(BlockId(7), Generation(3), length_bytes, b"\x02" * 16)
    name = BlockName(InodeId(5), 0, BlockId(7), Generation(3))
    return LocatedExtent(0, length_bytes, 0, truth, name, holders, b"a secret token")


class FakeNames:
    """Directories and files with attributes, and a trash."""

    def __init__(self) -> None:
        self.names: dict[str, FileStatus] = {}
        self.in_service = 9
        self.trash: list[tuple[f.TrashEntry, FileStatus]] = []
        self.located: dict[str, LocatedFile] = {}
        self._next_inode = 1
        for path in ("/", "/user", "/user/alice"):
            self.add_directory(path)

    def add_directory(self, path: str, **changes: Any) -> FileStatus:
        return self._add(path, InodeKind.DIRECTORY, 0, changes)

    def add_file(self, path: str, size_bytes: int = 10, **changes: Any) -> FileStatus:
        return self._add(path, InodeKind.FILE, size_bytes, changes)

    def _add(
        self, path: str, kind: InodeKind, size_bytes: int, changes: dict[str, Any]
    ) -> FileStatus:
        directory = kind is InodeKind.DIRECTORY
        status = FileStatus(
            path=path,
            inode=InodeId(self._next_inode),
            kind=kind,
            owner="alice",
            group="staff",
            mode=0o755 if directory else 0o644,
            size_bytes=size_bytes,
            replication=0 if directory else 2,
            block_size_bytes=0 if directory else 128 * MiB,
            modified_ms=NOW_MS,
            changed_ms=NOW_MS,
            checksum=b"" if directory else b"\x01" * 16,
            version=1,
        )
        self._next_inode += 1
        self.names[path] = replace(status, **changes)
        return self.names[path]

    def locate_without_holders(self, status: FileStatus) -> None:
        self.located[status.path] = LocatedFile(status, (an_extent(status.size_bytes),))

    def bind_names(self) -> Handlers:
        return {
            r.STAT.path: lambda q, me: self._each(q.paths, self._stat),
            r.LIST.path: self._list,
            r.FIND.path: self._find,
            r.MKDIR.path: lambda q, me: self._each(q.paths, lambda p: self._mkdir(p, q)),
            r.MOVE.path: lambda q, me: self._each(q.moves, lambda p: self._move(p, q)),
            r.COPY.path: lambda q, me: self._each(q.copies, lambda p: self._copy(p, q)),
            r.REMOVE.path: lambda q, me: self._each(q.paths, lambda p: self._remove(p, q)),
            r.UNDELETE.path: self._undelete,
            r.TRASH.path: lambda q, me: f.TrashReply(
                entries=[entry for entry, _ in reversed(self.trash)], more=False
            ),
            r.DU.path: lambda q, me: self._each(q.paths, self._du),
            r.DF.path: lambda q, me: f.DfReply(
                total_bytes=1000 * MiB,
                used_bytes=250 * MiB,
                free_bytes=750 * MiB,
                nodes_live=2,
                nodes_in_service=self.in_service,
                nodes=3,
                files=4,
                directories=5,
                blocks=6,
                default_replication=2,
            ),
            r.CHMOD.path: lambda q, me: self._each(q.paths, lambda p: self._set(p, mode=q.mode)),
            r.CHOWN.path: lambda q, me: self._each(
                q.paths,
                lambda p: self._set(
                    p, **{k: v for k, v in (("owner", q.owner), ("group", q.group)) if v}
                ),
            ),
            r.SETREP.path: lambda q, me: self._each(
                q.paths, lambda p: self._set(p, replication=q.replication)
            ),
            r.TOUCH.path: lambda q, me: self._each(
                q.paths, lambda p: self._touch(p, q.modified_ms)
            ),
            r.CHECKSUM.path: lambda q, me: self._each(q.paths, self._checksum),
            r.LOCATE.path: lambda q, me: self._each(q.paths, self._locate),
            r.LOCATE_MANY.path: lambda q, me: self._locate_many(q.paths),
            r.COPIES.path: lambda q, me: self._each(q.paths, self._copies_of),
        }

    def _each(self, items: list[Any], one: Callable[[Any], Any]) -> Outcomes[Any]:
        outcomes: list[Outcome[Any]] = []
        for item in items:
            try:
                outcomes.append(Outcome(value=one(item)))
            except DfsError as exc:
                outcomes.append(Outcome(error=error_body(exc)))
        return Outcomes(outcomes=outcomes)

    def _stat(self, path: str) -> FileStatus:
        parse(path)
        if path not in self.names:
            raise PathNotFound(f"no such file or directory: {path}")
        return self.names[path]

    def _children(self, path: str) -> list[FileStatus]:
        if self._stat(path).kind is not InodeKind.DIRECTORY:
            raise NotADirectory(f"not a directory: {path}")
        return [
            self.names[key] for key in sorted(self.names) if key != "/" and split(key)[0] == path
        ]

    def _list(self, q: f.ListRequest, me: str) -> f.ListReply:
        wanted = [s for s in self._children(q.path) if s.path.rpartition("/")[2] > q.after]
        return f.ListReply(entries=wanted[: q.limit], more=len(wanted) > q.limit)

    def _below(self, path: str) -> list[FileStatus]:
        found = [self._stat(path)]
        if found[0].kind is InodeKind.DIRECTORY:
            for child in self._children(path):
                found += self._below(child.path)
        return found

    def _find(self, q: f.FindRequest, me: str) -> f.FindReply:
        entries = [
            s
            for s in self._below(q.path)
            if fnmatch.fnmatchcase(s.path.rpartition("/")[2], q.name)
            and q.kind in ("", s.kind.value)
            and s.size_bytes >= q.size_min_bytes
            and (q.size_max_bytes is None or s.size_bytes <= q.size_max_bytes)
        ]
        return f.FindReply(entries=entries, next="")

    def _mkdir(self, path: str, q: f.MkdirRequest) -> FileStatus:
        if path in self.names and not q.parents:
            raise PathExists(f"exists already: {path}")
        parent = split(path)[0]
        if parent not in self.names:
            if not q.parents:
                raise PathNotFound(f"no such file or directory: {parent}")
            self._mkdir(parent, q)
        return self.names.get(path) or self.add_directory(path, mode=q.mode)

    def _placed(self, pair: f.PairRequest, *, overwrite: bool) -> str:
        target = pair.target
        found = self.names.get(target)
        if found is not None and found.kind is InodeKind.DIRECTORY:
            target = join(target, split(pair.source)[1])
        if target in self.names and not overwrite:
            raise PathExists(f"exists already: {target}")
        return target

    def _move(self, pair: f.PairRequest, q: f.MoveRequest) -> FileStatus:
        source = self._stat(pair.source)
        target = self._placed(pair, overwrite=q.overwrite)
        for status in self._below(pair.source):
            moved = target + status.path.removeprefix(pair.source)
            self.names[moved] = replace(self.names.pop(status.path), path=moved)
        del source
        return self.names[target]

    def _copy(self, pair: f.PairRequest, q: f.CopyRequest) -> FileStatus:
        source = self._stat(pair.source)
        if source.kind is InodeKind.DIRECTORY and not q.recursive:
            raise IsADirectory(f"is a directory: {pair.source}")
        target = self._placed(pair, overwrite=q.overwrite)
        for status in self._below(pair.source):
            copied = target + status.path.removeprefix(pair.source)
            self.names[copied] = replace(status, path=copied)
        return self.names[target]

    def _remove(self, path: str, q: f.RemoveRequest) -> f.Removed:
        status = self._stat(path)
        if status.kind is InodeKind.DIRECTORY and not q.recursive:
            raise IsADirectory(f"is a directory: {path}")
        for below in self._below(path):
            del self.names[below.path]
        entry = f.TrashEntry(
            len(self.trash) + 1,
            path,
            status.kind.value,
            status.size_bytes,
            status.owner,
            "alice",
            NOW_MS,
            NOW_MS + 86_400_000,
        )
        if not q.skip_trash:
            self.trash.append((entry, status))
        return f.Removed(path, entry.entry, entry.purge_ms)

    def _undelete(self, q: f.UndeleteRequest, me: str) -> FileStatus:
        for entry, status in reversed(self.trash):
            if q.entry == entry.entry or (q.entry is None and entry.path == q.path):
                self.trash.remove((entry, status))
                target = q.target or entry.path
                self.names[target] = replace(status, path=target)
                return self.names[target]
        raise NotInTrash(f"nothing of that name in the trash: {q.path or q.entry}")

    def _du(self, path: str) -> f.Usage:
        below = self._below(path)
        files = [s for s in below if s.kind is InodeKind.FILE]
        return f.Usage(
            path,
            len(files),
            len(below) - len(files),
            sum(s.size_bytes for s in files),
            sum(s.size_bytes * s.replication for s in files),
        )

    def _set(self, path: str, **changes: Any) -> f.Touched:
        self.names[path] = replace(self._stat(path), **changes)
        return f.Touched(path, 1)

    def _touch(self, path: str, modified_ms: int) -> FileStatus:
        self.names[path] = replace(self._stat(path), modified_ms=modified_ms)
        return self.names[path]

    def _checksum(self, path: str) -> f.Checksum:
        status = self._stat(path)
        if status.kind is InodeKind.DIRECTORY:
            raise IsADirectory(f"is a directory: {path}")
        lengths = [status.size_bytes] if status.size_bytes else []
        return f.Checksum(
            path, "xxh3_128", status.checksum or file_checksum([]), status.size_bytes, lengths
        )

    def _locate_many(self, paths: list[str]) -> LocateManyReply:
        """Why those are not there that are not; of the others, to ask one by one."""
        outcomes = self._each(paths, self._locate).outcomes
        full = Outcome[ManyFile](error=error_body(LimitExceeded("one by one")))
        files = [full if each.error is None else Outcome(error=each.error) for each in outcomes]
        return LocateManyReply(files=files, blocks=[], windows=[], nodes=[])

    def _locate(self, path: str) -> LocatedFile:
        status = self._stat(path)
        return self.located.get(path) or LocatedFile(status, ())

    def _copies_of(self, path: str) -> CopiesOf:
        """Blocks that are located without holders are short of all their copies."""
        extents = self._locate(path).extents
        short = sum(not extent.holders for extent in extents)
        size = sum(extent.length_bytes for extent in extents)
        reason = "no copy is known" if short else ""
        return CopiesOf(
            blocks=len(extents),
            short=short,
            extra=0,
            size_bytes=size,
            owed_bytes=size if short else 0,
            reason=reason,
        )
