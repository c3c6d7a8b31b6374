"""Questions about names: stat, list, find, du, df, checksum.  Nothing here changes anything."""

import fnmatch
import re
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection, func, select

from dfs.accounts.permissions import Access
from dfs.base import paths
from dfs.base.clock import Clock
from dfs.base.errors import BadRequest, IsADirectory, PermissionDenied
from dfs.base.ids import InodeId
from dfs.base.records import FileStatus, NodeView, Principal
from dfs.base.states import InodeKind, NodeDuty, NodeState
from dfs.meta.tables import BLOCK, EXTENT, INODE
from dfs.namespace.batch import look_each
from dfs.namespace.inode_rows import Inode, page_of_children
from dfs.namespace.resolve import Resolver
from dfs.namespace.status import StatusView
from dfs.namespace.walk import names_below, totals_below, walk
from dfs.settings.sections import LimitsConfig, ReplicationConfig
from dfs.wire.files_api import (
    Checksum,
    DfReply,
    DuRequest,
    FindReply,
    FindRequest,
    ListReply,
    ListRequest,
    PathsRequest,
    Usage,
)
from dfs.wire.shapes import Nothing, Outcomes

CHECKSUM_ALGORITHM: Final = "xxh3_128/blocks"
FIND_VISITS_MAX: Final = 20_000  # entries looked at for one page, so that a page stays short
COUNTS_KEEP_S: Final = 10.0
_LISTING: Final = Access.READ | Access.EXECUTE


class Lookup:
    """Answers from a snapshot of the namespace.

    Args:
        nodes: the DataNodes as they are now, for `df`.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        limits: LimitsConfig,
        replication: ReplicationConfig,
        nodes: Callable[[], Sequence[NodeView]],
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._replication = replication
        self._nodes = nodes
        self._status = StatusView()
        self._counts: tuple[float, tuple[int, int, int]] | None = None

    def stat(
        self, connection: Connection, who: Principal, body: PathsRequest
    ) -> Outcomes[FileStatus]:
        """The status of each path."""
        resolver = Resolver(connection, who, as_of=body.as_of)

        def one(path: str) -> FileStatus:
            place = resolver.place(path)
            return self._status.one(connection, place.path, place.inode)

        return look_each(body.paths, one)

    def list(self, connection: Connection, who: Principal, body: ListRequest) -> ListReply:
        """A page of a directory; a file lists itself.

        Raises:
            DfsError: no such path, or the caller may not list it.
        """
        resolver = Resolver(connection, who, as_of=body.as_of)
        place = resolver.place(body.path)
        if not place.inode.is_directory:
            return ListReply(
                entries=[self._status.one(connection, place.path, place.inode)], more=False
            )
        resolver.require(place.inode, _LISTING, place.path)
        limit = max(1, min(body.limit, self._limits.page_entries_max))
        page = page_of_children(
            connection, place.inode.id, after=body.after, limit=limit + 2, as_of=body.as_of
        )
        there = ((paths.join(place.path, each.dirent.name), each.inode) for each in page)
        found = [(path, inode) for path, inode in there if path != paths.RESERVED]
        return ListReply(
            entries=self._status.many(connection, found[:limit]), more=len(found) > limit
        )

    def find(self, connection: Connection, who: Principal, body: FindRequest) -> FindReply:
        """A page of everything that matches below a path (itself included, first).

        Directories that the caller may not list are passed over, as `find` does after its warning.

        Raises:
            DfsError: no such path, or the caller may not list it.
        """
        resolver = Resolver(connection, who)
        place = resolver.place(body.path)
        matches = _matcher(body)
        limit = max(1, min(body.limit, self._limits.page_entries_max))
        found: list[tuple[str, Inode]] = []
        if not body.cursor and matches(place.name, place.inode):
            found.append((place.path, place.inode))
        if not place.inode.is_directory:
            return FindReply(entries=self._status.many(connection, found), next="")
        resolver.require(place.inode, _LISTING, place.path)
        after = names_below(place.path, body.cursor)
        steps = walk(
            connection,
            place.inode,
            place.path,
            after=after,
            depth_max=body.depth_max,
            may_enter=lambda inode: _may_list(resolver, inode),
        )
        next_cursor = ""
        for visited, step in enumerate(steps, start=1):
            if matches(step.entry.dirent.name, step.entry.inode):
                found.append((step.path, step.entry.inode))
            if len(found) >= limit or visited >= FIND_VISITS_MAX:
                next_cursor = step.path
                break
        return FindReply(entries=self._status.many(connection, found), next=next_cursor)

    def du(self, connection: Connection, who: Principal, body: DuRequest) -> Outcomes[Usage]:
        """Totals below each path, itself included."""
        resolver = Resolver(connection, who)

        def one(path: str) -> Usage:
            place = resolver.place(path)
            if place.inode.is_directory:
                resolver.require(place.inode, _LISTING, place.path)
            totals = totals_below(connection, place.inode.id, who)
            if totals.unreadable:
                raise PermissionDenied(
                    f"{totals.unreadable} directories below {place.path} may not be read"
                )
            return Usage(
                path=place.path,
                files=totals.files,
                directories=totals.directories,
                size_bytes=totals.size_bytes,
                stored_bytes=totals.stored_bytes,
            )

        return look_each(body.paths, one)

    def df(self, connection: Connection, who: Principal, body: Nothing) -> DfReply:  # noqa: ARG002
        """Room in the cluster; counts of files and blocks are at most ten seconds old."""
        nodes = self._nodes()
        heard = [node for node in nodes if node.state in (NodeState.LIVE, NodeState.STALE)]
        files, directories, blocks = self._count(connection)
        return DfReply(
            total_bytes=sum(node.usage.total_bytes for node in heard),
            used_bytes=sum(node.usage.used_bytes for node in heard),
            free_bytes=sum(node.usage.free_bytes for node in heard),
            nodes_live=sum(node.state is NodeState.LIVE for node in nodes),
            nodes=len(nodes),
            files=files,
            directories=directories,
            blocks=blocks,
            default_replication=self._replication.default,
            nodes_in_service=sum(node.duty is NodeDuty.IN_SERVICE for node in heard),
        )

    def checksum(
        self, connection: Connection, who: Principal, body: PathsRequest
    ) -> Outcomes[Checksum]:
        """The checksum of each file, with the lengths of its pieces."""
        resolver = Resolver(connection, who, as_of=body.as_of)

        def one(path: str) -> Checksum:
            place = resolver.place(path)
            if place.inode.is_directory:
                raise IsADirectory(
                    f"a directory has no checksum: {place.path}", hint="name the files in it"
                )
            resolver.require(place.inode, Access.READ, place.path)
            return Checksum(
                path=place.path,
                algorithm=CHECKSUM_ALGORITHM,
                checksum=place.inode.checksum,
                size_bytes=place.inode.size_bytes,
                blocks=_piece_lengths(connection, place.inode.id),
            )

        return look_each(body.paths, one)

    def _count(self, connection: Connection) -> tuple[int, int, int]:
        now_s = self._clock.monotonic_s()
        if self._counts is None or now_s - self._counts[0] > COUNTS_KEEP_S:
            counted = connection.execute(select(INODE.c.kind, func.count()).group_by(INODE.c.kind))
            by_kind: dict[str, int] = {kind: count for kind, count in counted}  # noqa: C416
            blocks = connection.execute(select(func.count()).select_from(BLOCK)).scalar_one()
            files = by_kind.get(InodeKind.FILE, 0)
            self._counts = now_s, (files, by_kind.get(InodeKind.DIRECTORY, 0), blocks)
        return self._counts[1]


def _piece_lengths(connection: Connection, inode: InodeId) -> list[int]:
    wanted = (
        select(EXTENT.c.length_bytes)
        .where(EXTENT.c.inode == inode, EXTENT.c.died_tx.is_(None))
        .order_by(EXTENT.c.file_offset)
    )
    return list(connection.execute(wanted).scalars())


def _matcher(body: FindRequest) -> Callable[[str, Inode], bool]:
    if body.kind not in ("", InodeKind.FILE, InodeKind.DIRECTORY):
        raise BadRequest(f"kind is file or directory, not {body.kind!r}")
    pattern = re.compile(fnmatch.translate(body.name))
    size_max = body.size_max_bytes
    after_ms, before_ms = body.modified_after_ms, body.modified_before_ms

    def matches(name: str, inode: Inode) -> bool:
        return (
            (body.name == "*" or pattern.match(name) is not None)
            and (not body.kind or inode.kind == body.kind)
            and inode.size_bytes >= body.size_min_bytes
            and (size_max is None or inode.size_bytes <= size_max)
            and (after_ms is None or inode.modified_ms >= after_ms)
            and (before_ms is None or inode.modified_ms <= before_ms)
        )

    return matches


def _may_list(resolver: Resolver, inode: Inode) -> bool:
    return resolver.may(inode, _LISTING)
