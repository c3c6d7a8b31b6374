"""The loop over waitress's sockets: a round costs what is going on, not what is connected.

Waitress's own loop asks every connection in every round whether it wants to read or write; with a
thousand idle clients that is milliseconds a request.  Here epoll remembers what was asked for, and
only *busy* connections are asked again: those with a request under way, output to send, or their
end before them.  An idle one becomes busy by an event of its own, which this loop sees, or because
somebody says so (`look_at`).

A busy connection stays registered for reading, though it does not want to read: a client that waits
for its answer sends nothing, and two system calls a request are saved.
"""

import contextlib
import select
from typing import Any, Final

from waitress import wasyncore
from waitress.server import BaseWSGIServer

_READ: Final = select.EPOLLIN | select.EPOLLPRI
_WRITE: Final = select.EPOLLOUT
_ROUND_S: Final = 1.0  # listeners look for idle connections that often


class Sockets(dict[int, Any]):
    """Waitress's map of descriptors; remembers which are to be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: dict[int, int] = {}  # what epoll was told of each
        self.busy: set[int] = set()
        self._poll = select.epoll()

    def __setitem__(self, descriptor: int, each: Any) -> None:
        """A socket was opened."""
        super().__setitem__(descriptor, each)
        self.watched.pop(descriptor, None)
        self.busy.add(descriptor)

    def __delitem__(self, descriptor: int) -> None:
        """A socket is about to be closed."""
        super().__delitem__(descriptor)
        self.busy.discard(descriptor)
        if self.watched.pop(descriptor, None) is not None:
            with contextlib.suppress(OSError, ValueError):  # one of the two is closed already
                self._poll.unregister(descriptor)

    def look_at(self, each: Any) -> None:
        """Its state was changed from outside of its own events; in the loop's thread only."""
        self.busy.add(each.socket.fileno())

    def run(self) -> None:
        """Serve until the map is empty."""
        with contextlib.closing(self._poll):
            while self:
                self._refresh()
                self._round()

    def _round(self) -> None:
        for descriptor, events in self._poll.poll(_ROUND_S):
            each = self.get(descriptor)
            if each is None or descriptor not in self.watched:
                continue  # closed in this round; its number may be a new one's
            self.busy.add(descriptor)
            wanted = _wanted(each)
            if not wanted:  # not now: whatever it is must not wake us until then
                self._poll.unregister(descriptor)
                del self.watched[descriptor]
                continue
            not_now = (_READ | _WRITE) & ~wanted
            wasyncore.readwrite(each, events & ~not_now)

    def _refresh(self) -> None:
        """Have epoll know what those want that are busy; let go of those that are so no more."""
        for descriptor in list(self.busy):
            each = self.get(descriptor)
            if each is None:
                self.busy.discard(descriptor)
                continue
            if isinstance(each, BaseWSGIServer):
                self._look_after(each)
            is_busy = _is_busy(each)  # before what it wants: then nothing changes behind our back
            self._watch(descriptor, _wanted(each))
            if not is_busy:
                self.busy.discard(descriptor)

    def _watch(self, descriptor: int, wanted: int) -> None:
        told = self.watched.get(descriptor)
        if told is None:
            if wanted:
                self._poll.register(descriptor, wanted)
                self.watched[descriptor] = wanted
        elif wanted and told != wanted:
            self._poll.modify(descriptor, wanted)
            self.watched[descriptor] = wanted

    def _look_after(self, listener: Any) -> None:
        """A listener that looks for idle connections marks them, whatever they are at."""
        due = listener.next_channel_cleanup
        listener.readable()
        if listener.next_channel_cleanup != due:
            self.busy.update(self)


def _wanted(each: Any) -> int:
    wanted = _READ if each.readable() else 0
    if each.writable() and not each.accepting:
        wanted |= _WRITE
    return wanted


def _is_busy(each: Any) -> bool:
    """Whether its state may change without an event of its own."""
    requests = getattr(each, "requests", None)
    if requests is None:
        return True  # a listener or a trigger: few, and asked in every round
    return bool(requests or each.total_outbufs_len or each.will_close or each.close_when_flushed)
