"""A DataNode's side of its conversation with NameNodes: register, beat, report, obey.

Every configured NameNode has two threads here, one that beats and one that reports stock, so that
a slow or dead one delays nobody and a long report delays no beat.  Nothing that a NameNode does or
fails to do ends this process: it is asked again, and the log hears once per change of reachability.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import msgspec

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.errors import DfsError, NodeNotJoined
from dfs.base.events import Emitter, Event
from dfs.base.records import BlockName, NodeCondition, NodeUsage, VolumeStatus
from dfs.base.retry import backoff_delays
from dfs.nodes.commands import CommandRunner
from dfs.nodes.loops import Loop
from dfs.nodes.standing import Standing
from dfs.nodes.stock_reports import StockFeed, StockLink, StockReporter
from dfs.wire import routes
from dfs.wire.http_link import HttpLink
from dfs.wire.nodes_api import (
    Beat,
    BeatReply,
    NodeRegistration,
    StockBuckets,
    StockDigests,
    StockReply,
    StockReport,
)
from dfs.wire.routes import Route
from dfs.wire.shapes import Request

BEAT_TIMEOUT_S: Final = 10.0
REPORT_TIMEOUT_S: Final = 60.0
ACKNOWLEDGEMENTS_MAX: Final = 10_000
QUARANTINE_DUE_MAX: Final = 100  # named in one beat
JOIN_THREADS_S: Final = 1.0

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")


class NodeFacts(Protocol):
    """What a beat says of this node, as of now."""

    def usage(self) -> NodeUsage:
        """Space, uptime, work in flight."""
        ...

    def volumes(self) -> list[VolumeStatus]:
        """Each data folder."""
        ...

    def condition(self) -> NodeCondition:
        """How healthy this node thinks it is."""
        ...

    def quarantine_due(self, limit: int) -> list[BlockName]:
        """Files in quarantine past their grace, the oldest first: may they go?"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatSettings:
    """How often, and what this node says of itself at registration (usage and volumes apart)."""

    interval_s: float
    stock_delta_s: float
    stock_full_s: float
    stock_page_max: int
    secret: str = dataclasses.field(repr=False)
    registration: NodeRegistration


@dataclass(frozen=True, slots=True)
class Outside:
    """Time, chance and the log."""

    clock: Clock
    rng: Random
    emit: Emitter


@dataclass(frozen=True, slots=True)
class Reachability:
    """What this DataNode can say of one NameNode."""

    url: str
    reached: bool
    registered: bool
    last_reached_ms: int  # 0: never
    error: str


class NamenodeBeat:
    """The conversation with one NameNode."""

    def __init__(
        self,
        url: str,
        *,
        settings: BeatSettings,
        facts: NodeFacts,
        standing: Standing,
        feed: StockFeed,
        commands: CommandRunner,
        outside: Outside,
    ) -> None:
        self._url = url
        self._settings = settings
        self._facts = facts
        self._standing = standing
        self._commands = commands
        self._clock, self._emit, self._rng = outside.clock, outside.emit, outside.rng
        self._beat_link = HttpLink(timeout_s=BEAT_TIMEOUT_S, connections=1)
        self._report_link = HttpLink(timeout_s=REPORT_TIMEOUT_S, connections=1)
        self._reporter = StockReporter(
            feed=feed,
            link=StockLink(report=self._send_report, sums=self._send_sums),
            standing=standing,
            clock=outside.clock,
            rng=outside.rng,
            full_interval_s=settings.stock_full_s,
            page_max=settings.stock_page_max,
        )
        self._registered = False
        self._leaving = False
        self._reached: bool | None = None  # None: not tried yet
        self._last_reached_ms = 0
        self._error = ""
        self._beat_delays = self._new_delays()
        self._report_delays = self._new_delays()
        self._beats = Loop(f"beat {url}", self._beat_turn)
        self._reports = Loop(f"stock {url}", self._report_turn)
        standing.on_key_wanted(self._beats.wake)

    def start(self) -> None:
        """Begin both threads."""
        self._beats.start()
        self._reports.start()

    def take_leave(self) -> None:
        """Say that this DataNode stops in order, once, if the NameNode can be reached."""
        self._leaving = True
        if self._registered and self._reached:
            with contextlib.suppress(DfsError):
                self._beat()

    def stop(self) -> None:
        """Ask both threads to end."""
        self._beats.stop()
        self._reports.stop()

    def join(self) -> None:
        """Wait shortly for both threads, then close the connections."""
        self._beats.join(JOIN_THREADS_S)
        self._reports.join(JOIN_THREADS_S)
        self._beat_link.close()
        self._report_link.close()

    def reachability(self) -> Reachability:
        """How things stand with this NameNode."""
        return Reachability(
            self._url, bool(self._reached), self._registered, self._last_reached_ms, self._error
        )

    # ---- beats

    def beat_once(self) -> None:
        """Register or beat, and take in the answer.

        Raises:
            DfsError: no answer, or a refusal.
        """
        reply = self._beat() if self._registered else self._register()
        self._commands.take(self._url, reply.commands, self._full_wanted)

    def _beat_turn(self) -> float:
        was_registered = self._registered
        try:
            self.beat_once()
        except DfsError as err:
            self._lost(err)
            return next(self._beat_delays)
        self._found()
        told_to_register = was_registered and not self._registered
        return 0.0 if told_to_register else self._settings.interval_s

    def _register(self) -> BeatReply:
        registration = msgspec.structs.replace(
            self._settings.registration,
            epoch=self._standing.epoch,
            txid=self._standing.txid,
            usage=self._facts.usage(),
            volumes=self._facts.volumes(),
        )
        reply = self._ask(routes.REGISTER_NODE, registration)
        crashpoint.reach("dn.registered")
        if reply.registered:
            self._registered = True
            self._full_wanted()
            self._emit.emit(Event.NODE_REGISTERED, namenode=self._url, node=self._standing.name)
        return reply

    def _beat(self) -> BeatReply:
        done = self._commands.to_acknowledge(self._url)[:ACKNOWLEDGEMENTS_MAX]
        failed = self._commands.to_confess(self._url)
        beat = Beat(
            usage=self._facts.usage(),
            volumes=self._facts.volumes(),
            epoch=self._standing.epoch,
            txid=self._standing.txid,
            keys=self._standing.ring.ids(),
            acknowledged=done,
            failed=failed,
            condition=self._facts.condition(),
            quarantine_due=self._facts.quarantine_due(QUARANTINE_DUE_MAX),
            leaving=self._leaving,
        )
        reply = self._ask(routes.BEAT, beat)
        self._commands.acknowledged(self._url, done)
        self._commands.confessed(self._url, failed)
        self._registered = reply.registered
        return reply

    def _ask(self, route: Route[Q, BeatReply], body: Q) -> BeatReply:
        sent_ms = self._clock.now_ms()
        reply = self._beat_link.call(self._url, route, body, credential=self._settings.secret)
        self._standing.learn(reply, sent_ms=sent_ms, received_ms=self._clock.now_ms())
        return reply

    # ---- stock

    def _report_turn(self) -> float:
        if not self._registered:
            return self._settings.stock_delta_s
        try:
            self._reporter.run_once()
        except DfsError:
            # The beats say whether this NameNode is there; here it is enough to try again.
            return next(self._report_delays)
        self._report_delays = self._new_delays()
        return self._settings.stock_delta_s

    def _send_report(self, report: StockReport) -> StockReply:
        return self._report_link.call(
            self._url, routes.STOCK, report, credential=self._settings.secret
        )

    def _send_sums(self, digests: StockDigests) -> StockBuckets:
        return self._report_link.call(
            self._url, routes.STOCK_DIGESTS, digests, credential=self._settings.secret
        )

    def _full_wanted(self) -> None:
        self._reporter.want_full()
        self._reports.wake()

    # ---- reachability

    def _found(self) -> None:
        self._beat_delays = self._new_delays()
        self._last_reached_ms = self._clock.now_ms()
        if not self._reached:
            self._emit.emit(Event.NAMENODE_REACHED, namenode=self._url)
            self._reports.wake()
        self._reached, self._error = True, ""

    def _lost(self, err: DfsError) -> None:
        if isinstance(err, NodeNotJoined):
            self._registered = False
        if self._reached is not False or err.code != self._error:
            self._emit.emit(
                Event.NAMENODE_UNREACHABLE, namenode=self._url, code=err.code, why=err.message
            )
        self._reached, self._error = False, err.code

    def _new_delays(self) -> Iterator[float]:
        interval_s = self._settings.interval_s
        return backoff_delays(
            first_s=interval_s / 2, cap_s=interval_s * 2, retries_max=sys.maxsize, rng=self._rng
        )


class NamenodeBeats:
    """The conversations with all configured NameNodes, and the one runner of their commands."""

    def __init__(self, beats: Sequence[NamenodeBeat], commands: CommandRunner) -> None:
        self._beats = tuple(beats)
        self._commands = commands

    def start(self) -> None:
        """Begin to beat everywhere."""
        self._commands.start()
        for beat in self._beats:
            beat.start()

    def take_leave(self) -> None:
        """Tell every NameNode that is there that the silence to come is meant."""
        for beat in self._beats:
            beat.take_leave()

    def stop(self) -> None:
        """End all threads; the slowest NameNode holds this up for a second."""
        for beat in self._beats:
            beat.stop()
        for beat in self._beats:
            beat.join()
        self._commands.stop(JOIN_THREADS_S)

    def reachability(self) -> list[Reachability]:
        """How things stand with each NameNode, in the configured order."""
        return [beat.reachability() for beat in self._beats]
