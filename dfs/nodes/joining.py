"""A DataNode's first word in its life: the join token against an id and a credential of its own.

Asked until some NameNode answers.  The request id stays the same throughout, so an answer that was
lost is given again and no second node is made.
"""

from collections.abc import Callable, Sequence
from typing import Final

from dfs.base.clock import Clock
from dfs.base.entropy import Random, new_id
from dfs.base.errors import BadConfig, DfsError, ErrorKind
from dfs.base.events import Emitter, Event
from dfs.base.retry import backoff_delays
from dfs.wire import routes
from dfs.wire.http_link import HttpLink
from dfs.wire.nodes_api import JoinReply, JoinRequest

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
    """Join through the first NameNode that answers; None when asked to stop before one did.

    Raises:
        BadConfig: no token, or no NameNode to ask.
        DfsError: a NameNode refused (token wrong, used up, expired); asking again would not help.
    """
    if not request.token:
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
    told = False
    for delay_s in delays:
        for url in namenodes:
            try:
                return link.call(url, routes.JOIN, request, request=asked_as)
            except DfsError as err:
                if err.kind not in _TRY_ANOTHER:
                    raise
                if not told:
                    emit.emit(Event.NAMENODE_UNREACHABLE, namenode=url, why=err.message)
        told = True
        if stopped():
            break
        clock.sleep(delay_s)
    return None
