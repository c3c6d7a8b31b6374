"""A DataNode's first word in its life: the join token against an id and a credential of its own.

Asked until the NameNode that leads answers; one that does not names it, and it is asked next.  The
request id stays the same throughout, so an answer that was lost is given again and no second node
is made.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from dfs.base.clock import Clock
from dfs.base.entropy import Random, new_id
from dfs.base.errors import BadConfig, DfsError, ErrorKind, NotLeader
from dfs.base.events import Emitter, Event
from dfs.base.retry import backoff_delays
from dfs.wire import routes
from dfs.wire.http_link import HttpLink
from dfs.wire.leading import NAMENODES_MAX, lead_of
from dfs.wire.nodes_api import JoinReply, JoinRequest
from dfs.wire.routes import Route
from dfs.wire.shapes import Request

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")

RETRY_FIRST_S: Final = 0.2
RETRY_CAP_S: Final = 5.0
RETRIES_MAX: Final = 1_000_000  # a NameNode may be installed tomorrow; SIGTERM ends the wait
_TRY_ANOTHER: Final = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.FENCED})


def join(
    namenodes: Sequence[str],
    request: JoinRequest,
    *,
    link: HttpLink,
    clock: Clock,
    emit: Emitter,
    stopped: Callable[[], bool],
) -> JoinReply | None:
    """Join through the NameNode that leads; None when asked to stop before it answered.

    Raises:
        BadConfig: no token, or no NameNode to ask.
        DfsError: a NameNode refused (token wrong, used up, expired); asking again would not help.
    """
    return ask_leader(
        namenodes, routes.JOIN, request, link=link, clock=clock, emit=emit, stopped=stopped
    )


def ask_leader(
    namenodes: Sequence[str],
    route: Route[Q, R],
    request: Q,
    *,
    link: HttpLink,
    clock: Clock,
    emit: Emitter,
    stopped: Callable[[], bool],
) -> R | None:
    """Ask to be let in, by a request that has a join token, until the leader answers.

    Raises:
        as `join`.
    """
    if not getattr(request, "token", ""):
        raise BadConfig(
            "this data folder belongs to no cluster yet and no join token was given",
            hint="make one with dfs-admin join-token, pass it as --join-token or DFS_JOIN_TOKEN",
        )
    if not namenodes:
        raise BadConfig("no NameNode to join", hint="name one with --namenode URL")
    asked_as, rng = new_id(), Random()
    delays = backoff_delays(
        first_s=RETRY_FIRST_S, cap_s=RETRY_CAP_S, retries_max=RETRIES_MAX, rng=rng
    )
    known, told = list(namenodes), False
    for delay_s in delays:
        waiting = list(known)
        for url in waiting:  # which grows by the leader that one of them names
            try:
                return link.call(url, route, request, request=asked_as)
            except DfsError as err:
                if err.kind not in _TRY_ANOTHER:
                    raise
                if isinstance(err, NotLeader):
                    _learn(err, known, waiting)
                elif not told:
                    emit.emit(Event.NAMENODE_UNREACHABLE, namenode=url, why=err.message)
        told = True
        if stopped():
            break
        clock.sleep(delay_s)
    return None


def _learn(refusal: NotLeader, known: list[str], waiting: list[str]) -> None:
    """Ask the leader in this round too, and the others from the next one on."""
    lead = lead_of(refusal)
    if lead.leader and lead.leader not in waiting and len(waiting) < NAMENODES_MAX:
        waiting.append(lead.leader)
    fresh = [url for url in (lead.leader, *lead.namenodes) if url and url not in known]
    known += fresh[: max(0, NAMENODES_MAX - len(known))]
