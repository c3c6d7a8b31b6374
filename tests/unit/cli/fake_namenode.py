"""A NameNode of a hundred lines: the route table over real HTTP, names in a dictionary.

Speaks for the command line's tests alone: it checks sessions, knows directories and files with
attributes, and refuses with the real error classes.  It moves no bytes.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dfs.base.decoding import json_reader
from dfs.base.entropy import new_token
from dfs.base.errors import (
    GroupNotFound,
    NodeNotFound,
    NotLoggedIn,
    UserExists,
    UserNotFound,
    WrongPassword,
)
from dfs.base.paths import home
from dfs.base.records import (
    NodeView,
)
from dfs.base.units import MiB
from dfs.wire import accounts_api as a
from dfs.wire import nodes_api as n
from dfs.wire import routes as r
from dfs.wire.shapes import Done
from tests.route_server import RouteServer
from tests.unit.cli.fake_names import NOW_MS, FakeNames, Handlers, an_extent

__all__ = ["ALICE_PASSWORD", "NOW_MS", "FakeNamenode", "an_extent"]
ALICE_PASSWORD = "correct horse battery"


class FakeNamenode(FakeNames):
    """Starts serving when made; `stop` ends it."""

    def __init__(self) -> None:
        super().__init__()
        self.passwords = {"alice": ALICE_PASSWORD}
        self.must_change: set[str] = set()
        self.tokens: dict[str, str] = {}
        self.groups: dict[str, list[str]] = {"supergroup": ["alice"]}
        self.nodes: list[NodeView] = []
        self.asked: list[tuple[str, Any]] = []
        self._by_path = {route.path: route for route in r.ROUTES}
        self._handlers = self._bind()
        self._server = RouteServer(self._answer)
        self.url = self._server.url
        self.stop = self._server.close

    def token(self, user: str = "alice") -> str:
        token = new_token("dfs")
        self.tokens[token] = user
        return token

    def answer_with(self, route: r.Route[Any, Any], act: Any) -> None:
        """Answer a route with `act(request)` from now on."""
        self._handlers[route.path] = lambda request, _me: act(request)

    def _answer(self, path: str, raw: bytes, headers: Mapping[str, str]) -> object:
        route = self._by_path[path]
        credential = headers.get("Authorization", "").removeprefix("Bearer ")
        if route.caller is not r.Caller.ANYONE and credential not in self.tokens:
            raise NotLoggedIn("no session")
        request = json_reader(route.takes)(raw)
        self.asked.append((path, request))
        return self._handlers[path](request, self.tokens.get(credential, ""))

    def _bind(self) -> Handlers:
        return self._bind_accounts() | self.bind_names() | self._bind_cluster()

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
                role="leader",
                leader=self.url,
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

    def serve(self, route: r.Route[Any, Any], answer: Callable[[Any, str], object]) -> None:
        """Answer a route (anew): by the request and who asks."""
        self._handlers[route.path] = answer

    def last(self, path: str) -> dict[str, Any]:
        """The last request to that route, as plain values."""
        request = next(q for at, q in reversed(self.asked) if at == path)
        decoded: dict[str, Any] = json.loads(msgspec.json.encode(request))
        return decoded
