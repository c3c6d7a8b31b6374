"""A NameNode as a client sees it: real HTTP by the route table, names in a dict."""

import threading
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase

import msgspec
from msgspec.structs import replace

from dfs.base import paths
from dfs.base.checksum import block_lengths, file_checksum
from dfs.base.decoding import json_reader
from dfs.base.errors import (
    BeingWritten,
    DfsError,
    IsADirectory,
    LeaseLost,
    NotADirectory,
    PathExists,
    PathNotFound,
    PlacementRefused,
    SessionExpired,
)
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import (
    AllocatedBlock,
    BlockName,
    FileStatus,
    Holder,
    LocatedExtent,
    LocatedFile,
)
from dfs.base.states import InodeKind, NodeState, ReplicaState
from dfs.wire import accounts_api as a
from dfs.wire import data_api as d
from dfs.wire import files_api as f
from dfs.wire import routes
from dfs.wire.nodes_api import ClusterReply
from dfs.wire.shapes import Done, Outcome, Outcomes, error_body
from tests.fake_datanode import FakeDataNode
from tests.fake_packs import NOW_MS, Entry, FakePacks, Write
from tests.route_server import RouteServer

TOKEN = "dfs_session"


class FakeCatalog(FakePacks):
    """Names in a dict.  Faults are attributes; `requests` counts what was asked."""

    def __init__(self, nodes: list[FakeDataNode], *, block_size: int = 1 << 20) -> None:
        self.nodes = nodes
        self.block_size = block_size
        self.replication = 2
        self.min_acks = 1
        self.entries: dict[str, Entry] = {"/": Entry(self._status("/", InodeKind.DIRECTORY))}
        self.writes: dict[int, Write] = {}
        self.requests: Counter[str] = Counter()
        self.largest: Counter[str] = Counter()  # items in one request, by route
        self.suspects: list[d.SuspectRequest] = []
        self.avoided: set[int] = set()  # nodes never chosen as targets
        self.never_excludes = False
        self.answers_lost: Counter[str] = Counter()  # do it, then close the connection
        self.refusals: dict[str, list[DfsError]] = {}
        self.valid_tokens: set[bytes] = set()
        self.other_namenodes: list[str] = []
        self.asked = threading.Condition()
        self._replies: dict[str, bytes] = {}
        self._serial = 100
        self._lock = threading.RLock()
        self._routes = {route.path: route for route in routes.ROUTES}
        self._server = RouteServer(self._answer)
        self.url = self._server.url
        self.close = self._server.close
        for node in nodes:
            node.tokens_valid = lambda token: token in self.valid_tokens

    def expire_tokens(self) -> None:
        """Every token given so far is refused from now on."""
        self.valid_tokens.clear()

    def content(self, path: str) -> bytes:
        """What the DataNodes hold of a file, past the client."""
        parts = []
        for extent in self.entries[path].extents:
            node = next(n for n in self.nodes if extent.name in n.blocks)
            start = extent.block_offset
            parts.append(node.blocks[extent.name][start : start + extent.length_bytes])
        return b"".join(parts)

    def _answer(self, path: str, raw: bytes, headers: Mapping[str, str]) -> bytes | None:
        with self._lock:
            route = self._routes[path]
            name = path.rsplit("/", 1)[1].replace("-", "_")
            request = headers.get("X-Request-Id", "")
            self.requests[name] += 1
            try:
                if self.refusals.get(name):
                    raise self.refusals[name].pop(0)
                if (
                    route.caller is not routes.Caller.ANYONE
                    and headers.get("Authorization") != f"Bearer {TOKEN}"
                ):
                    raise SessionExpired("not this session")
                body = json_reader(route.takes)(raw)
                if request not in self._replies or route.safe:
                    self._replies[request] = msgspec.json.encode(getattr(self, f"_{name}")(body))
                if self.answers_lost[name]:
                    self.answers_lost[name] -= 1
                    return None
                return self._replies[request]
            finally:
                with self.asked:
                    self.asked.notify_all()

    # --- routes ---------------------------------------------------------------------------------

    def _cluster(self, _body) -> ClusterReply:
        return ClusterReply(
            cluster="c" * 32,
            version="0",
            epoch=1,
            txid=1,
            now_ms=NOW_MS,
            role="leader",
            leader=self.url,
            namenodes=[self.url, *self.other_namenodes],
            default_replication=self.replication,
            block_size_bytes=self.block_size,
            batch_items_max=10_000,
            page_entries_max=5_000,
        )

    def _login(self, body: a.LoginRequest) -> a.LoginReply:
        return a.LoginReply(token=TOKEN, user=body.name, expires_ms=NOW_MS)

    def _logout(self, _body) -> Done:
        return Done()

    def _whoami(self, _body) -> a.WhoamiReply:
        return a.WhoamiReply(
            user="ada",
            groups=[],
            superuser=False,
            address="127.0.0.1",
            expires_ms=0,
            must_change_password=False,
        )

    def _stat(self, body: f.PathsRequest):
        return self._each(body.paths, lambda path: self._find_entry(path).status)

    def _list(self, body: f.ListRequest) -> f.ListReply:
        found = [s for s in self._below(body.path) if s.path.count("/") == _depth(body.path) + 1]
        later = [s for s in found if s.path.rsplit("/", 1)[1] > body.after]
        return f.ListReply(entries=later[: body.limit], more=len(later) > body.limit)

    def _find(self, body: f.FindRequest) -> f.FindReply:
        self._find_entry(body.path)
        matching = [
            s for s in self._below(body.path) if fnmatchcase(s.path.rsplit("/", 1)[1], body.name)
        ]
        start = int(body.cursor or 0)
        end = start + body.limit
        following = str(end) if end < len(matching) else ""
        return f.FindReply(entries=matching[start:end], next=following)

    def _mkdir(self, body: f.MkdirRequest):
        return self._each(
            body.paths, lambda path: self._make(path, body.mode, parents=body.parents)
        )

    def _make(self, path: str, mode: int, *, parents: bool) -> FileStatus:
        path = path.rstrip("/")
        if path in self.entries:
            there = self.entries[path].status
            if not parents or there.kind is InodeKind.FILE:
                raise PathExists(f"exists: {path}")
            return there
        parent = paths.split(path)[0]
        if parents and parent not in self.entries:
            self._make(parent, mode, parents=True)
        self._parent_of(path)
        status = self._status(path, InodeKind.DIRECTORY, mode=mode)
        status = replace(status, inode=InodeId(self._next()))
        self.entries[path] = Entry(status)
        return status

    def _chmod(self, body: f.ChmodRequest):
        def change(path: str) -> f.Touched:
            entry = self._find_entry(path)
            entry.status = replace(entry.status, mode=body.mode)
            return f.Touched(path, 1)

        return self._each(body.paths, change)

    def _touch(self, body: f.TouchRequest):
        def change(path: str) -> FileStatus:
            entry = self._find_entry(path)
            entry.status = replace(entry.status, modified_ms=body.modified_ms)
            return entry.status

        return self._each(body.paths, change)

    def _remove(self, body: f.RemoveRequest):
        def remove(path: str) -> f.Removed:
            self._find_entry(path)
            for below in [p for p in self.entries if p == path or p.startswith(path + "/")]:
                del self.entries[below]
            return f.Removed(path, 1, NOW_MS)

        return self._each(body.paths, remove)

    def _move(self, body: f.MoveRequest):
        def move(pair: f.PairRequest) -> FileStatus:
            entry = self._find_entry(pair.source)
            del self.entries[pair.source]
            entry.status = replace(entry.status, path=pair.target)
            self.entries[pair.target] = entry
            return entry.status

        return self._each(body.moves, move)

    def _copy(self, body: f.CopyRequest):
        def copy(pair: f.PairRequest) -> FileStatus:
            entry = self._find_entry(pair.source)
            status = replace(entry.status, path=pair.target)
            self.entries[pair.target] = Entry(status, entry.extents)
            return status

        return self._each(body.copies, copy)

    def _checksum(self, body: f.PathsRequest):
        def checksum(path: str) -> f.Checksum:
            entry = self._find_entry(path)
            lengths = [extent.length_bytes for extent in entry.extents]
            status = entry.status
            return f.Checksum(path, "xxh3-128", status.checksum, status.size_bytes, lengths)

        return self._each(body.paths, checksum)

    def _locate(self, body: f.PathsRequest):
        return self._each(body.paths, self._located)

    def _located(self, path: str) -> LocatedFile:
        entry = self._find_entry(path)
        if entry.status.kind is InodeKind.DIRECTORY:
            raise IsADirectory(f"is a directory: {path}")
        extents = tuple(
            replace(
                extent,
                token=self._token(),
                holders=tuple(
                    Holder(node.address, ReplicaState.LIVE, NodeState.LIVE)
                    for node in self.nodes
                    if extent.name in node.blocks
                ),
            )
            for extent in entry.extents
        )
        return LocatedFile(entry.status, extents)

    def _create(self, body: d.CreateRequest):
        self.largest["create"] = max(self.largest["create"], len(body.files))
        return self._each(body.files, lambda new: self._open(new, body.first_blocks))

    def _open(self, new: d.NewFile, first_blocks: int) -> d.OpenedFile:
        self._check_new(new)
        inode = self._next()
        write = Write(new, inode, f"lease-{inode}", new.block_size_bytes or self.block_size)
        self.writes[inode] = write
        count = len(block_lengths(new.size_bytes or 0, write.block_size))
        try:
            blocks = self._blocks(write, 0, min(count, first_blocks), frozenset())
        except DfsError:
            del self.writes[inode]
            raise
        return d.OpenedFile(
            new.path,
            inode,
            write.lease,
            write.block_size,
            new.replication or self.replication,
            self.min_acks,
            blocks,
        )

    def _allocate(self, body: d.AllocateRequest):
        def allocate(item: d.AllocateItem) -> list[AllocatedBlock]:
            write = self._leased(item.inode, item.lease)
            exclude = frozenset() if self.never_excludes else frozenset(item.exclude)
            return self._blocks(write, item.number, item.count, exclude)

        return self._each(body.items, allocate)

    def _blocks(
        self, write: Write, number: int, count: int, exclude: frozenset[int]
    ) -> list[AllocatedBlock]:
        fit = [n for n in self.nodes if n.node not in exclude | self.avoided]
        if count and not fit:
            raise PlacementRefused("no DataNode can take the block")
        made = []
        for each in range(number, number + count):
            start = each % len(fit)
            chosen = (fit[start:] + fit[:start])[: write.new.replication or self.replication]
            name = BlockName(
                InodeId(write.inode), each, BlockId(self._next()), Generation(self._next())
            )
            block = AllocatedBlock(
                name, write.block_size, tuple(n.address for n in chosen), self._token()
            )
            write.allocated[name.block] = block
            made.append(block)
        return made

    def _complete(self, body: d.CompleteRequest):
        self.largest["complete"] = max(self.largest["complete"], len(body.items))
        return self._each(body.items, self._finish)

    def _finish(self, item: d.CompleteItem) -> d.Completed:
        write = self._leased(item.inode, item.lease)
        extents, offset, owed = [], 0, 0
        wanted = write.new.replication or self.replication
        for number, block in enumerate(item.blocks):
            allocated = write.allocated[block.truth.block]
            assert allocated.name.number == number, "blocks are in order"
            assert len(block.receipts) >= min(self.min_acks, wanted)
            owed += max(0, wanted - len(block.receipts))
            extents.append(
                LocatedExtent(
                    offset, block.truth.length_bytes, 0, block.truth, allocated.name, (), b""
                )
            )
            offset += block.truth.length_bytes
        if write.new.size_bytes is not None:
            assert offset == write.new.size_bytes
        status = replace(
            self._status(write.new.path, InodeKind.FILE, mode=write.new.mode),
            inode=InodeId(write.inode),
            size_bytes=offset,
            block_size_bytes=write.block_size,
            modified_ms=item.modified_ms or NOW_MS,
            checksum=file_checksum((e.truth.length_bytes, e.truth.hash) for e in extents),
        )
        self.entries[write.new.path] = Entry(status, tuple(extents))
        del self.writes[item.inode]
        return d.Completed(status, owed)

    def _renew(self, body: d.LeasesRequest):
        def renew(item: d.LeaseItem) -> Done:
            self._leased(item.inode, item.lease)
            return Done()

        return self._each(body.items, renew)

    def _abandon(self, body: d.LeasesRequest):
        def abandon(item: d.LeaseItem) -> Done:
            self.writes.pop(item.inode, None)
            return Done()

        return self._each(body.items, abandon)

    def _suspect(self, body: d.SuspectRequest) -> Done:
        self.suspects.append(body)
        return Done()

    def _check_new(self, new: d.NewFile) -> None:
        if new.parents and paths.split(new.path)[0] not in self.entries:
            self._make(paths.split(new.path)[0], 0o755, parents=True)
        self._parent_of(new.path)
        there = self.entries.get(new.path)
        if there is not None and there.status.kind is InodeKind.DIRECTORY:
            raise IsADirectory(f"is a directory: {new.path}")
        if there is not None and not new.overwrite:
            raise PathExists(f"exists: {new.path}")
        if any(write.new.path == new.path for write in self.writes.values()):
            raise BeingWritten(f"being written: {new.path}")

    # --- what they share ------------------------------------------------------------------------

    def _each(self, items, handle):
        outcomes = []
        for item in items:
            try:
                outcomes.append(Outcome(value=handle(item)))
            except DfsError as exc:
                outcomes.append(Outcome(error=error_body(exc)))
        return Outcomes(outcomes=outcomes)

    def _leased(self, inode: int, lease: str) -> Write:
        write = self.writes.get(inode)
        if write is None or write.lease != lease:
            raise LeaseLost("that write is no more")
        return write

    def _find_entry(self, path: str) -> Entry:
        paths.parse(path)
        if path not in self.entries:
            raise PathNotFound(f"no such file or directory: {path}")
        return self.entries[path]

    def _parent_of(self, path: str) -> None:
        parent = paths.split(path)[0]
        if parent not in self.entries:
            raise PathNotFound(f"no such directory: {parent}")
        if self.entries[parent].status.kind is InodeKind.FILE:
            raise NotADirectory(f"not a directory: {parent}")

    def _below(self, path: str) -> list[FileStatus]:
        prefix = path.rstrip("/") + "/"
        return [
            self.entries[p].status
            for p in sorted(self.entries)
            if p.startswith(prefix) and p != "/"
        ]

    def _token(self) -> bytes:
        token = f"token-{self._next()}".encode()
        self.valid_tokens.add(token)
        return token

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    def _status(self, path: str, kind: InodeKind, *, mode: int = 0o755) -> FileStatus:
        return FileStatus(
            path,
            InodeId(1),
            kind,
            "ada",
            "ada",
            mode,
            0,
            2 if kind is InodeKind.FILE else 0,
            1 << 20,
            NOW_MS,
            NOW_MS,
            file_checksum([]) if kind is InodeKind.FILE else b"",
            1,
        )


def _depth(path: str) -> int:
    return 0 if path == "/" else path.count("/")
