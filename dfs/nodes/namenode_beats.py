"""A DataNode's conversations with all NameNodes: which there are, and the one runner of commands.

Whom the leader names is beaten from then on, and is known after a restart; whom it names no more is
left (`namenode_urls`).  Others are believed only while nobody leads.
"""

import threading
from collections.abc import Sequence
from typing import Final, Protocol

from dfs.base.errors import NotLeader
from dfs.base.events import Event
from dfs.nodes.beat import JOIN_THREADS_S, NamenodeBeat, Reachability, Shared
from dfs.nodes.namenode_urls import taught_by, wanted
from dfs.wire.leading import NAMENODES_MAX, base_urls, lead_of

POKE_S: Final = 0.1  # who asks for a beat more often than this gets none


class NamenodeMemory(Protocol):
    """Where the NameNodes that were told of are kept for the next start."""

    @property
    def namenodes(self) -> Sequence[str]:
        """As they were kept last; none at the first start."""
        ...

    def remember_namenodes(self, urls: Sequence[str]) -> None:
        """Keep others, if that can be."""
        ...


class NamenodeBeats:
    """See the module.  Safe to share between threads.

    Args:
        configured: asked from the beginning, and whenever nobody else leads.
    """

    def __init__(self, configured: Sequence[str], shared: Shared, memory: NamenodeMemory) -> None:
        self._configured = base_urls(tuple(configured))
        self._shared = shared
        self._memory = memory
        self._commands = shared.commands
        self._clock, self._emit = shared.outside.clock, shared.outside.emit
        self._lock = threading.Lock()
        self._told = base_urls(tuple(memory.namenodes))
        self._hinted: tuple[str, ...] = ()
        self._beats: dict[str, NamenodeBeat] = {}
        self._leaving: list[NamenodeBeat] = []
        self._started = self._stopped = False
        self._poked_s = self._clock.monotonic_s() - POKE_S
        self._settle()
        shared.standing.on_key_wanted(self._beat_all)

    def start(self) -> None:
        """Begin to beat everywhere."""
        self._commands.start()
        with self._lock:
            self._started = True
            for beat in self._beats.values():
                beat.start()

    def take_leave(self) -> None:
        """Tell every NameNode that is there that the silence to come is meant."""
        for beat in self._now():
            beat.take_leave()

    def stop(self) -> None:
        """End all threads; the slowest NameNode holds this up for a second."""
        with self._lock:
            self._stopped = True
            ending = [*self._beats.values(), *self._leaving]
        for beat in ending:
            beat.stop()
        for beat in ending:
            beat.join()
        self._commands.stop(JOIN_THREADS_S)

    def beat_now(self) -> bool:
        """Beat everywhere at once, unless that was done just now; whether it is done."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            if now_s - self._poked_s < POKE_S:
                return False
            self._poked_s = now_s
        self._beat_all()
        return True

    def reachability(self) -> list[Reachability]:
        """How things stand with each NameNode, those first that are configured."""
        return [beat.reachability() for beat in self._now()]

    def leader(self) -> str:
        """The URL of who leads, as far as is known; "" where it is not."""
        beats = self._now()
        named = (beat.named_leader for beat in beats)
        return next((beat.url for beat in beats if beat.leads), "") or next(filter(None, named), "")

    # ---- what conversations bring

    def told(self, giver: str, namenodes: Sequence[str]) -> None:
        """The leader said which NameNodes there are."""
        with self._lock:
            before = self._told
            self._told = taught_by(giver, namenodes, configured=self._configured, before=before)
            if namenodes:
                self._hinted = ()
            self._settle()
            told = self._told
        if told != before:
            self._memory.remember_namenodes(told)

    def pointed_to(self, refusal: NotLeader) -> None:
        """One that does not lead named others: where the leader may be, while there is none."""
        with self._lock:
            if not self._leading():
                lead = lead_of(refusal)
                self._hinted = base_urls((*self._hinted, lead.leader, *lead.namenodes))
                self._settle()

    def left_alone(self) -> None:
        """One that led is not heard any more: the configured ones may know who leads now."""
        with self._lock:
            self._settle()

    # ---- who is spoken to

    def _now(self) -> list[NamenodeBeat]:
        with self._lock:
            return list(self._beats.values())

    def _beat_all(self) -> None:
        for beat in self._now():
            beat.beat_now()

    def _leading(self) -> list[str]:
        """The addresses at which the leader is heard: one, or two of the same NameNode."""
        return [url for url, beat in self._beats.items() if beat.leads]

    def _settle(self) -> None:
        """Begin the conversations that are wanted and end the others; without waiting for them."""
        if self._stopped:
            return
        self._reap()
        leading = self._leading()
        urls = wanted(self._configured, self._told, leading=leading)
        urls = tuple(dict.fromkeys((*urls, *self._hinted)))[:NAMENODES_MAX]
        if urls == tuple(self._beats):
            return
        gone = [self._beats[url] for url in self._beats if url not in urls]
        fresh = {
            url: NamenodeBeat(url, self._shared, self) for url in urls if url not in self._beats
        }
        known = self._beats | fresh
        self._beats = {url: known[url] for url in urls}
        for beat in gone:
            beat.stop()
        self._leaving += gone
        if not self._started:
            return
        for beat in fresh.values():
            beat.start()
        for url in leading if gone else ():
            # What one of them said last may have crossed what the leader heard from us otherwise.
            if url in self._beats:
                self._beats[url].want_full()
        self._emit.emit(Event.NAMENODES_CHANGED, namenodes=list(urls))

    def _reap(self) -> None:
        """Close what ended of itself."""
        over = [beat for beat in self._leaving if beat.is_over()]
        self._leaving = [beat for beat in self._leaving if beat not in over]
        for beat in over:
            beat.join()
            self._commands.forget(beat.url)
