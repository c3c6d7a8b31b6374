"""Connections to daemons that are kept open between requests, lent to one request at a time.

A kept connection that the daemon closed meanwhile is noticed before it is used, as far as that can
be known; a request is never sent twice.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Final

from dfs.wire.http_conversation import HttpAnswer, HttpConversation

DAEMONS_MAX: Final = 16  # to which connections are kept


class HttpPool:
    """Safe to share between threads.

    Args:
        connect_s: the longest wait for a connection.
        answer_s: the longest wait for each piece of an answer.
        connections: kept open per daemon; more are opened when needed, and closed after use.
    """

    def __init__(self, *, connect_s: float, answer_s: float, connections: int) -> None:
        self._connect_s = connect_s
        self._answer_s = answer_s
        self._connections = connections
        self._lock = threading.Lock()
        self._kept: dict[str, list[HttpConversation]] = {}

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        waits: Iterable[float] | None = None,
    ) -> HttpAnswer:
        """Ask one thing.

        Args:
            waits: see `HttpConversation.ask`.

        Raises:
            OSError: no connection, or no whole answer in time.
        """
        scheme, _, rest = url.partition("://")
        address, _, target = rest.partition("/")
        daemon = f"{scheme}://{address}"
        conversation = self._take(daemon) or HttpConversation(
            daemon, connect_s=self._connect_s, answer_s=self._answer_s
        )
        try:
            answer = conversation.ask(method, f"/{target}", body=body, headers=headers, waits=waits)
        except BaseException:
            conversation.close()
            raise
        if answer.stays:
            self._keep(daemon, conversation)
        else:
            conversation.close()
        return answer

    def close(self) -> None:
        """Close the connections that nobody uses now."""
        with self._lock:
            kept, self._kept = self._kept, {}
        for each in kept.values():
            _close(each)

    def _take(self, daemon: str) -> HttpConversation | None:
        """A kept connection that still stands: the one used last."""
        while True:
            with self._lock:
                kept = self._kept.get(daemon)
                if not kept:
                    return None
                conversation = kept.pop()
            if not conversation.has_ended():
                return conversation
            conversation.close()

    def _keep(self, daemon: str, conversation: HttpConversation) -> None:
        over: list[HttpConversation] = []
        with self._lock:
            if daemon not in self._kept and len(self._kept) >= DAEMONS_MAX:
                over += self._kept.pop(next(iter(self._kept)))
            kept = self._kept.setdefault(daemon, [])
            (kept if len(kept) < self._connections else over).append(conversation)
        _close(over)


def _close(conversations: Iterable[HttpConversation]) -> None:
    for each in conversations:
        each.close()
