"""Calls on names and trees: each of the catalogue's routes as a method, batches behind iterators.

A method that takes one path raises what that path was refused with; one that takes many (`*_all`)
answers an outcome each, in the order asked.  Nothing here moves file content.
"""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from dfs.base.errors import DfsError, ErrorKind
from dfs.base.records import FileStatus, LocatedFile
from dfs.base.states import InodeKind
from dfs.client.namenode_link import NamenodeLink, error_of, value_of
from dfs.wire import files_api as f
from dfs.wire import routes
from dfs.wire.pack_api import LocateManyReply, LocateManyRequest
from dfs.wire.routes import Route
from dfs.wire.shapes import Nothing, Outcome, Outcomes, Request

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")
T = TypeVar("T")

PAGE_ENTRIES: Final = 1_000  # of a listing: one answer of a few hundred KiB
WALK_ENTRIES: Final = 5_000  # of a whole tree, which nobody watches arrive
BATCH_PATHS: Final = 1_000


class NamespaceCalls:
    """What a client can ask about names.  Every method raises `DfsError`.

    Args:
        insist: they belong to a transfer under way; see `NamenodeLink.call`.
    """

    def __init__(self, link: NamenodeLink, *, insist: bool = False) -> None:
        self.link = link
        self._insist = insist

    def insisting(self) -> "NamespaceCalls":
        """The same, for a transfer under way."""
        return NamespaceCalls(self.link, insist=True)

    def stat(self, path: str, *, as_of: int | None = None) -> FileStatus:
        """One file or directory; `as_of` looks at the namespace after that transaction."""
        return _only(self._call(routes.STAT, f.PathsRequest(paths=[path], as_of=as_of)))

    def stat_all(self, paths: Sequence[str]) -> list[FileStatus | DfsError]:
        """Each path's status, or why there is none."""
        found: list[FileStatus | DfsError] = []
        for start in range(0, len(paths), BATCH_PATHS):
            batch = list(paths[start : start + BATCH_PATHS])
            reply = self._call(routes.STAT, f.PathsRequest(paths=batch))
            answers = _each(reply.outcomes)
            found.extend(answers)
        return found

    def exists(self, path: str) -> bool:
        """Whether something of that name is there."""
        try:
            self.stat(path)
        except DfsError as exc:
            if exc.kind is ErrorKind.NOT_FOUND:
                return False
            raise
        return True

    def listdir(self, path: str, *, as_of: int | None = None) -> Iterator[FileStatus]:
        """The entries of a directory in name order, page by page."""
        after, more = "", True
        while more:
            page = self._call(
                routes.LIST,
                f.ListRequest(path=path, after=after, limit=PAGE_ENTRIES, as_of=as_of),
            )
            yield from page.entries
            more = page.more and bool(page.entries)
            after = page.entries[-1].path.rsplit("/", 1)[1] if page.entries else ""

    def find(self, wanted: f.FindRequest) -> Iterator[FileStatus]:
        """Everything below `wanted.path` that matches, parents before children."""
        cursor, more = wanted.cursor, True
        while more:
            page = self._call(routes.FIND, _at_cursor(wanted, cursor))
            yield from page.entries
            cursor, more = page.next, bool(page.next)

    def walk(self, path: str) -> Iterator[FileStatus]:
        """Everything below a directory, parents before children; the directory itself is not."""
        return (
            status
            for status in self.find(f.FindRequest(path=path, limit=WALK_ENTRIES))
            if status.path != path.rstrip("/") and status.path != path
        )

    def mkdir(self, path: str, *, parents: bool = False, mode: int = 0o755) -> FileStatus:
        """Make a directory."""
        body = f.MkdirRequest(paths=[path], parents=parents, mode=mode)
        return _only(self._call(routes.MKDIR, body))

    def mkdir_all(self, paths: Sequence[str], *, mode: int = 0o755) -> list[FileStatus | DfsError]:
        """Make directories and those above them; existing ones are no error."""
        found: list[FileStatus | DfsError] = []
        for start in range(0, len(paths), BATCH_PATHS):
            batch = list(paths[start : start + BATCH_PATHS])
            body = f.MkdirRequest(paths=batch, parents=True, mode=mode)
            answers = _each(self._call(routes.MKDIR, body).outcomes)
            found.extend(answers)
        return found

    def remove(self, path: str, *, recursive: bool = False, skip_trash: bool = False) -> f.Removed:
        """Take a name away; until `purge_ms` it can be brought back (unless `skip_trash`)."""
        body = f.RemoveRequest(paths=[path], recursive=recursive, skip_trash=skip_trash)
        return _only(self._call(routes.REMOVE, body))

    def move(self, source: str, target: str, *, overwrite: bool = False) -> FileStatus:
        """Rename; into `target` when that is a directory."""
        pair = f.PairRequest(source=source, target=target)
        body = f.MoveRequest(moves=[pair], overwrite=overwrite)
        return _only(self._call(routes.MOVE, body))

    def copy(
        self, source: str, target: str, *, recursive: bool = False, overwrite: bool = False
    ) -> FileStatus:
        """Copy on the server: no byte moves."""
        pair = f.PairRequest(source=source, target=target)
        body = f.CopyRequest(copies=[pair], recursive=recursive, overwrite=overwrite)
        return _only(self._call(routes.COPY, body))

    def undelete(self, path: str = "", *, entry: int | None = None, target: str = "") -> FileStatus:
        """Bring back the newest thing removed at `path`, or the trash entry of that number."""
        body = f.UndeleteRequest(path=path, entry=entry, target=target)
        return self._call(routes.UNDELETE, body)

    def trash(self, below: str = "/") -> Iterator[f.TrashEntry]:
        """What was removed lately below a path, newest first."""
        before: int | None = None
        more = True
        while more:
            page = self._call(
                routes.TRASH, f.TrashRequest(below=below, before_entry=before, limit=PAGE_ENTRIES)
            )
            yield from page.entries
            more = page.more and bool(page.entries)
            before = page.entries[-1].entry if page.entries else None

    def du(self, path: str) -> f.Usage:
        """How much is below a path."""
        return _only(self._call(routes.DU, f.DuRequest(paths=[path])))

    def df(self) -> f.DfReply:
        """Room in the cluster."""
        return self._call(routes.DF, Nothing())

    def chmod(self, path: str, mode: int, *, recursive: bool = False) -> int:
        """Set the mode; how many inodes changed."""
        body = f.ChmodRequest(paths=[path], mode=mode, recursive=recursive)
        return _only(self._call(routes.CHMOD, body)).changed

    def chown(self, path: str, *, owner: str = "", group: str = "", recursive: bool = False) -> int:
        """Set owner, group or both; how many inodes changed."""
        body = f.ChownRequest(paths=[path], owner=owner, group=group, recursive=recursive)
        return _only(self._call(routes.CHOWN, body)).changed

    def setrep(self, path: str, replication: int, *, recursive: bool = False) -> int:
        """Set how many copies there should be; how many files changed."""
        body = f.SetrepRequest(paths=[path], replication=replication, recursive=recursive)
        return _only(self._call(routes.SETREP, body)).changed

    def touch(self, path: str, modified_ms: int) -> FileStatus:
        """Set the modification time of something that exists."""
        return _only(
            self._call(routes.TOUCH, f.TouchRequest(paths=[path], modified_ms=modified_ms))
        )

    def checksum(self, path: str) -> f.Checksum:
        """A file's checksum and the pieces it is made of."""
        return _only(self._call(routes.CHECKSUM, f.PathsRequest(paths=[path])))

    def locate(self, path: str, *, insist: bool = False) -> LocatedFile:
        """Where a file's blocks are, with the right to read them for some minutes.

        Args:
            insist: a read of it is under way; see `NamenodeLink.call`.
        """
        body = f.PathsRequest(paths=[path])
        return _only(self._call(routes.LOCATE, body, insist=insist))

    def locate_all(
        self, paths: Sequence[str], *, insist: bool = False
    ) -> list[LocatedFile | DfsError]:
        """Where files are, in one request; the caller bounds the number.  As `locate`."""
        body = f.PathsRequest(paths=list(paths))
        return _each(self._call(routes.LOCATE, body, insist=insist).outcomes)

    def locate_many(self, paths: Sequence[str], *, insist: bool = False) -> LocateManyReply:
        """Where many files are, each block said once; the caller bounds the number.

        For reading small files; see `dfs.client.bulk_read`.
        """
        body = LocateManyRequest(paths=list(paths))
        return self._call(routes.LOCATE_MANY, body, insist=insist)

    def _call(self, route: Route[Q, R], body: Q, *, insist: bool = False) -> R:
        return self.link.call(route, body, insist=insist or self._insist)


def is_directory(status: FileStatus) -> bool:
    """Whether it is a directory."""
    return status.kind is InodeKind.DIRECTORY


def _at_cursor(wanted: f.FindRequest, cursor: str) -> f.FindRequest:
    fields = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
    return f.FindRequest(**(fields | {"cursor": cursor}))


def _only(reply: Outcomes[T]) -> T:
    return value_of(reply.outcomes[0])


def _each(outcomes: Sequence[Outcome[T]]) -> list[T | DfsError]:
    return [value_of(one) if one.error is None else error_of(one) for one in outcomes]
