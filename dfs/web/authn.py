"""Who asks: a credential in the Authorization header becomes a session or a DataNode.

The identity comes from the server's own records alone, never from a field of the request.  This
module decides which credential a route accepts; what its bearer may do is decided by the services.
"""

from dataclasses import dataclass
from typing import Any, Final, Protocol

from dfs.accounts.sessions import ROUTES_BEFORE_NEW_PASSWORD, Session
from dfs.base.errors import NodeNotJoined, NotLoggedIn, PasswordExpired, PermissionDenied
from dfs.base.ids import NodeId, node_name
from dfs.base.records import Principal
from dfs.wire.routes import Caller, Route

_BEARER: Final = "Bearer "


class Sessions(Protocol):
    """Who knows the users' tokens."""

    def authenticate(self, token: str, address: str) -> Session:
        """The session of that token; NotLoggedIn, SessionExpired."""
        ...


class NodeSecrets(Protocol):
    """Who knows the DataNodes' secrets."""

    def authenticate(self, secret: str) -> NodeId:
        """The node of that secret; NodeNotJoined."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """The asker of one request; `session` and `node` are None where the route needs none."""

    address: str
    session: Session | None = None
    node: NodeId | None = None

    @property
    def key(self) -> str:
        """By whom an answer is remembered in the retry cache."""
        if self.session is not None:
            return f"user:{self.session.principal.user}"
        return "anyone" if self.node is None else f"node:{self.node}"

    @property
    def name(self) -> str:
        """How log and audit lines call it."""
        if self.session is not None:
            return self.session.principal.name
        return "" if self.node is None else node_name(self.node)

    @property
    def who(self) -> Principal:
        """The user, where the route wants a session."""
        return self.logged_in.principal

    @property
    def logged_in(self) -> Session:
        """The session, where the route wants one."""
        assert self.session is not None, "a handler of a session's route"
        return self.session

    @property
    def joined(self) -> NodeId:
        """The DataNode, where the route wants one."""
        assert self.node is not None, "a handler of a node's route"
        return self.node


class Gatekeeper:
    """Turns a request's credential into its asker, as the route demands."""

    def __init__(self, sessions: Sessions, nodes: NodeSecrets) -> None:
        self._sessions = sessions
        self._nodes = nodes

    def identify(self, route: Route[Any, Any], authorization: str, address: str) -> Asked:
        """The asker of a request.

        Raises:
            NotLoggedIn, SessionExpired, NodeNotJoined: no credential, or one that is good no more.
        """
        match route.caller:
            case Caller.ANYONE:
                return Asked(address)
            case Caller.NODE:
                return Asked(address, node=self._nodes.authenticate(_secret(authorization)))
            case Caller.SESSION | Caller.ADMIN:
                session = self._sessions.authenticate(_token(authorization), address)
                return Asked(address, session=session)


def permit(route: Route[Any, Any], asked: Asked) -> None:
    """Refuse a session what is not for it, whatever it asks for.

    Raises:
        PasswordExpired: the one-time password must be replaced before anything else.
        PermissionDenied: the route is for administrators.
    """
    if asked.session is None:
        return
    if asked.session.must_change and route.path not in ROUTES_BEFORE_NEW_PASSWORD:
        raise PasswordExpired("the one-time password must be replaced first")
    if route.caller is Caller.ADMIN and not asked.who.is_superuser:
        raise PermissionDenied(
            f"{route.path} is for administrators", hint="log in as a member of supergroup"
        )


def _token(authorization: str) -> str:
    if not authorization.startswith(_BEARER):
        raise NotLoggedIn("not logged in")
    return authorization[len(_BEARER) :]


def _secret(authorization: str) -> str:
    if not authorization.startswith(_BEARER):
        raise NodeNotJoined("no node credential came with the request")
    return authorization[len(_BEARER) :]
