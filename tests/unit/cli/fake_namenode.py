"""A NameNode of a hundred lines: the route table over real HTTP, names in a dictionary.

Speaks for the command line's tests alone: it checks sessions, knows directories and files with
attributes, and refuses with the real error classes.  It moves no bytes.
"""

import fnmatch
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from dfs.base.checksum import file_checksum
from dfs.base.entropy import new_token
from dfs.base.errors import (
    DfsError,
    ErrorKind,
    GroupNotFound,
    IsADirectory,
    NodeNotFound,
    NotADirectory,
    NotInTrash,
    NotLoggedIn,
    PathExists,
    PathNotFound,
    UserExists,
    UserNotFound,
    WrongPassword,
)
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.paths import home, join, parse, split
from dfs.base.records import (
    BlockName,
    BlockTruth,
    FileStatus,
    Holder,
    LocatedExtent,
    LocatedFile,
    NodeView,
)
from dfs.base.states import InodeKind
from dfs.base.units import MiB
from dfs.wire import accounts_api as a
from dfs.wire import files_api as f
from dfs.wire import nodes_api as n
from dfs.wire import routes as r
from dfs.wire.shapes import Done, ErrorBody, ErrorReply, Outcome, Outcomes

STATUS = {
    ErrorKind.BAD_INPUT: 400,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.DENIED: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.FENCED: 503,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.CORRUPT: 500,
}
Handlers = dict[str, Callable[[Any, str], Any]]
NOW_MS = 1_700_000_000_123
ALICE_PASSWORD = "correct horse battery"


def an_extent(length_bytes: int, *holders: Holder) -> LocatedExtent:
    truth = BlockTruth(BlockId(7), Generation(3), length_bytes, b"\x02" * 16)
    name = BlockName(InodeId(5), 0, BlockId(7), Generation(3))
    return LocatedExtent(0, length_bytes, 0, truth, name, holders, b"a secret token")


def body_of(error: DfsError) -> ErrorBody:
    return ErrorBody(error.code, error.message, error.hint, error.details)


class FakeNamenode:
    """Starts serving when made; `stop` ends it."""

    def __init__(self) -> None:
        self.names: dict[str, FileStatus] = {}
        self.trash: list[tuple[f.TrashEntry, FileStatus]] = []
        self.passwords = {"alice": ALICE_PASSWORD}
        self.must_change: set[str] = set()
        self.tokens: dict[str, str] = {}
        self.groups: dict[str, list[str]] = {"supergroup": ["alice"]}
        self.nodes: list[NodeView] = []
        self.located: dict[str, LocatedFile] = {}
        self.asked: list[tuple[str, Any]] = []
        self._next_inode = 1
        self.add_directory("/")
        self.add_directory("/user")
        self.add_directory("/user/alice")
        self._by_path = {route.path: route for route in r.ROUTES}
        self._handlers = self._bind()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler_class())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def token(self, user: str = "alice") -> str:
        token = new_token("dfs")
        self.tokens[token] = user
        return token

    # --- what tests put there -------------------------------------------------------------------

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

    # --- HTTP -----------------------------------------------------------------------------------

    def _handler_class(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802 - the name http.server calls
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                credential = self.headers.get("Authorization", "").removeprefix("Bearer ")
                status, body = fake.answer(self.path, raw, credential)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def answer(self, path: str, raw: bytes, credential: str) -> tuple[int, bytes]:
        route = self._by_path[path]
        try:
            if route.caller is not r.Caller.ANYONE and credential not in self.tokens:
                raise NotLoggedIn("no session")
            request = msgspec.json.decode(raw, type=route.takes)
            self.asked.append((path, request))
            reply = self._handlers[path](request, self.tokens.get(credential, ""))
        except DfsError as exc:
            return STATUS[exc.kind], msgspec.json.encode(ErrorReply(body_of(exc)))
        return 200, msgspec.json.encode(reply)

    def _bind(self) -> Handlers:
        return self._bind_accounts() | self._bind_names() | self._bind_cluster()

    def _bind_accounts(self) -> Handlers:
        return {
            r.REGISTER.path: self._register,
            r.LOGIN.path: self._login,
            r.LOGOUT.path: lambda q, me: Done(),
            r.PASSWORD.path: self._password,
            r.WHOAMI.path: lambda q, me: a.WhoamiReply(
                user=me,
                groups=["staff"],
                superuser=False,
                address="127.0.0.1",
                expires_ms=NOW_MS,
                must_change_password=me in self.must_change,
            ),
            r.USERS.path: lambda q, me: a.UsersReply(
                users=[
                    a.UserInfo(
                        name,
                        ["staff"],
                        name == "alice",
                        disabled=False,
                        created_ms=NOW_MS,
                        sessions=1,
                    )
                    for name in sorted(self.passwords)
                ]
            ),
            r.SESSIONS.path: lambda q, me: a.SessionsReply(
                sessions=[
                    a.SessionInfo(1, "alice", "127.0.0.1", NOW_MS, NOW_MS, NOW_MS, bound=True)
                ]
            ),
            r.ADD_USER.path: self._add_user,
            r.REMOVE_USER.path: self._remove_user,
            r.SET_USER_STATE.path: self._user_state,
            r.GROUPS.path: lambda q, me: a.GroupsReply(
                groups=[a.GroupInfo(name, who) for name, who in sorted(self.groups.items())]
            ),
            r.SET_MEMBERS.path: self._members,
        }

    def _bind_names(self) -> Handlers:
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
        }

    def _bind_cluster(self) -> Handlers:
        return {
            r.NODES.path: lambda q, me: n.NodesReply(nodes=self.nodes),
            r.JOIN_TOKEN.path: lambda q, me: n.JoinTokenReply(
                token="dfsj_secret", uses=q.uses, expires_ms=NOW_MS
            ),
            r.REMOVE_NODE.path: self._remove_node,
            r.SWEEPS.path: lambda q, me: n.SweepsReply(
                reports=[n.SweepInfo(1, 3, NOW_MS, ok=False, detail="connection refused")]
            ),
            r.CLUSTER.path: lambda q, me: n.ClusterReply(
                cluster="c0ffee",
                version="0.1.0",
                epoch=1,
                txid=42,
                now_ms=NOW_MS,
                role="primary",
                namenodes=[self.url],
                default_replication=2,
                block_size_bytes=128 * MiB,
                batch_items_max=10_000,
                page_entries_max=5_000,
            ),
            r.AUDIT.path: lambda q, me: n.AuditReply(
                lines=[
                    {
                        "at_ms": NOW_MS,
                        "user": "alice",
                        "address": "127.0.0.1",
                        "action": "fs.remove",
                        "path": "/a\nb",
                        "outcome": "ok",
                        "count": 2,
                    }
                ]
            ),
        }

    def _each(self, items: list[Any], one: Callable[[Any], Any]) -> Outcomes[Any]:
        outcomes: list[Outcome[Any]] = []
        for item in items:
            try:
                outcomes.append(Outcome(value=one(item)))
            except DfsError as exc:
                outcomes.append(Outcome(error=body_of(exc)))
        return Outcomes(outcomes=outcomes)

    # --- accounts -------------------------------------------------------------------------------

    def _register(self, q: a.RegisterRequest, me: str) -> Done:
        if q.name in self.passwords:
            raise UserExists(f"user exists: {q.name}")
        self.passwords[q.name] = q.password
        self.add_directory(home(q.name))
        return Done()

    def _login(self, q: a.LoginRequest, me: str) -> a.LoginReply:
        if self.passwords.get(q.name) != q.password:
            raise WrongPassword("unknown user or wrong password")
        return a.LoginReply(
            token=self.token(q.name),
            user=q.name,
            expires_ms=NOW_MS,
            must_change_password=q.name in self.must_change,
        )

    def _password(self, q: a.PasswordRequest, me: str) -> a.PasswordReply:
        if not q.name and self.passwords[me] != q.old:
            raise WrongPassword("the old password is wrong")
        self.passwords[q.name or me] = q.new
        return a.PasswordReply(sessions_ended=1)

    def _add_user(self, q: a.AddUserRequest, me: str) -> a.AddUserReply:
        if q.name in self.passwords:
            raise UserExists(f"user exists: {q.name}")
        self.passwords[q.name] = q.password or "once-only-pass"
        return a.AddUserReply(one_time_password="" if q.password else "once-only-pass")

    def _remove_user(self, q: Any, me: str) -> Done:
        if self.passwords.pop(q.name, None) is None:
            raise UserNotFound(f"no such user: {q.name}")
        return Done()

    def _user_state(self, q: a.UserStateRequest, me: str) -> Done:
        if q.name not in self.passwords:
            raise UserNotFound(f"no such user: {q.name}")
        return Done()

    def _members(self, q: a.MembersRequest, me: str) -> Done:
        if q.remove and q.group not in self.groups:
            raise GroupNotFound(f"no such group: {q.group}")
        kept = [m for m in self.groups.get(q.group, []) if m not in q.remove]
        self.groups[q.group] = kept + q.add
        return Done()

    def _remove_node(self, q: n.RemoveNodeRequest, me: str) -> Done:
        raise NodeNotFound(f"no such DataNode: {q.name}")

    # --- names ----------------------------------------------------------------------------------

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

    def _locate(self, path: str) -> LocatedFile:
        status = self._stat(path)
        return self.located.get(path) or LocatedFile(status, ())

    def last(self, path: str) -> dict[str, Any]:
        """The last request to that route, as plain values."""
        request = next(q for at, q in reversed(self.asked) if at == path)
        decoded: dict[str, Any] = json.loads(msgspec.json.encode(request))
        return decoded
