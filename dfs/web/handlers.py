"""What answers each route: one table, typed against the route's own shapes.

A handler is one of three kinds.  A *view* reads one snapshot.  A *change* runs in the writer's
transaction, and its answer is remembered there under the request's id.  A *call* goes to a service
that reads and writes by itself (it hashes passwords, or keeps soft state), outside any transaction
of ours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from dfs.accounts.sessions import Session
from dfs.base.errors import DfsError
from dfs.base.records import Principal
from dfs.meta.txn import Txn
from dfs.web.authn import Asked
from dfs.wire.routes import Route
from dfs.wire.shapes import Request

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class View:
    """Answers from a snapshot."""

    act: Callable[[Connection, Asked, Any], object]


@dataclass(frozen=True, slots=True)
class Change:
    """Answers from inside the writer's transaction.

    `guarded`: it changes the namespace, and is refused while nothing may (in safe mode).
    """

    act: Callable[[Txn, Asked, Any], object]
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class JointChange:
    """As a guarded `Change`, of which many are made in one step: what each is answered, or refused
    with.
    """

    act_all: Callable[[Txn, Sequence[tuple[Asked, Any]]], Sequence[object]]


@dataclass(frozen=True, slots=True)
class Call:
    """Answers by itself.

    `anywhere`: what it answers is true whoever leads by then.
    `once`: an answer is remembered right after the service gave it, for a caller that lost it.  A
    crash in between forgets it; answers that hold a secret are never remembered.
    """

    act: Callable[[Asked, Any], object]
    once: bool
    anywhere: bool = False


Handler = View | Change | JointChange | Call


class Handlers:
    """Routes and what answers them; each route once."""

    def __init__(self) -> None:
        self.table: dict[str, tuple[Route[Any, Any], Handler]] = {}

    def view(self, route: Route[Q, R], act: Callable[[Connection, Principal, Q], R]) -> None:
        """Answer a route that changes nothing."""
        self.session_view(
            route, lambda connection, session, body: act(connection, session.principal, body)
        )

    def change(self, route: Route[Q, R], act: Callable[[Txn, Principal, Q], R]) -> None:
        """Answer a route that changes metadata."""
        self.session_change(route, lambda txn, session, body: act(txn, session.principal, body))

    def guarded(self, route: Route[Q, R], act: Callable[[Txn, Principal, Q], R]) -> None:
        """As `change`, for what changes the namespace: refused while that may not be."""
        assert not route.safe
        self._add(
            route,
            Change(
                lambda txn, asked, body: act(txn, asked.logged_in.principal, body), guarded=True
            ),
        )

    def guarded_joint(
        self,
        route: Route[Q, R],
        act_all: Callable[[Txn, Sequence[tuple[Principal, Q]]], Sequence[R | DfsError]],
    ) -> None:
        """As `guarded`, for what is asked so often that requests are answered many in a step."""
        assert not route.safe

        def together(txn: Txn, asked: Sequence[tuple[Asked, Any]]) -> Sequence[object]:
            return act_all(txn, [(each.logged_in.principal, body) for each, body in asked])

        self._add(route, JointChange(together))

    def session_view(self, route: Route[Q, R], act: Callable[[Connection, Session, Q], R]) -> None:
        """As `view`, for what is about the session itself."""
        assert route.safe
        self._add(
            route, View(lambda connection, asked, body: act(connection, asked.logged_in, body))
        )

    def session_change(self, route: Route[Q, R], act: Callable[[Txn, Session, Q], R]) -> None:
        """As `change`, for what is about the session itself."""
        assert not route.safe
        self._add(route, Change(lambda txn, asked, body: act(txn, asked.logged_in, body)))

    def call(self, route: Route[Q, R], act: Callable[[Asked, Q], R], *, once: bool = False) -> None:
        """Answer a route by a service with transactions of its own."""
        self._add(route, Call(act, once))

    def call_anywhere(self, route: Route[Q, R], act: Callable[[Asked, Q], R]) -> None:
        """As `call`, for what is true whoever leads."""
        self._add(route, Call(act, once=False, anywhere=True))

    def _add(self, route: Route[Any, Any], handler: Handler) -> None:
        assert route.path not in self.table
        self.table[route.path] = (route, handler)
