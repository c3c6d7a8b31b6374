"""A DataNode's side of its conversation with a NameNode: register, beat, report, obey.

Every NameNode has two threads here, one that beats and one that reports stock, so that a slow or
dead one delays nobody and a long report delays no beat.  Nothing that a NameNode does or fails to
do ends this process: it is asked again, and the log hears once per change of reachability.

Of several NameNodes one leads, and the others refuse (`NotLeader`): they are beaten all the same,
so that whoever leads next is heard within an interval.  An answer of an epoch that is over teaches
nothing, neither orders nor addresses.  Who answers with a higher epoch than we registered in is
registered with anew; and no NameNode is told what is held before it was told which epoch we know.
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
from dfs.base.errors import DfsError, NodeNotJoined, NotLeader
from dfs.base.events import Emitter, Event
from dfs.base.records import BlockName, NodeCondition, NodeUsage, VolumeStatus
from dfs.base.retry import backoff_delays
from dfs.nodes.commands import CommandRunner
from dfs.nodes.loops import Loop
from dfs.nodes.standing import Standing
from dfs.nodes.stock_reports import StockFeed, StockLink, StockReporter
from dfs.wire import routes
from dfs.wire.ha_api import Correspondents
from dfs.wire.http_link import HttpLink
from dfs.wire.leading import lead_of
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

BEAT_TIMEOUT_S: Final = 10.0
REPORT_TIMEOUT_S: Final = 60.0
ACKNOWLEDGEMENTS_MAX: Final = 10_000
QUARANTINE_DUE_MAX: Final = 100  # named in one beat
JOIN_THREADS_S: Final = 1.0

Q = TypeVar("Q", NodeRegistration, Beat)


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


class Post(Protocol):
    """Who is told whom letters of failover go to; `VoterHouse` is the one in use."""

    @property
    def version(self) -> int:
        """Of the correspondents known; 0 while none are."""
        ...

    def learn(self, told: Correspondents) -> bool:
        """Live by them; raises a DfsError when that cannot be."""
        ...


class Listener(Protocol):
    """Who decides which NameNodes there are (`NamenodeBeats`); called in the threads that beat."""

    def told(self, giver: str, namenodes: Sequence[str]) -> None:
        """The leader said which there are."""
        ...

    def pointed_to(self, refusal: NotLeader) -> None:
        """One that does not lead named others."""
        ...

    def left_alone(self) -> None:
        """One that led is not heard any more."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the conversations of one DataNode have in common."""

    settings: BeatSettings
    facts: NodeFacts
    standing: Standing
    feed: StockFeed
    commands: CommandRunner
    post: Post
    outside: Outside


@dataclass(frozen=True, slots=True)
class Reachability:
    """What this DataNode can say of one NameNode.

    Attributes:
        reached: it answered last time, and be it that it does not lead.
        following: it said that another one leads.
        last_reached_ms: 0: never.
    """

    url: str
    reached: bool
    registered: bool
    following: bool
    last_reached_ms: int
    error: str


class NamenodeBeat:
    """The conversation with one NameNode."""

    def __init__(self, url: str, shared: Shared, listener: Listener) -> None:
        outside, settings, standing = shared.outside, shared.settings, shared.standing
        self.url = url
        self._settings = settings
        self._facts = shared.facts
        self._standing = standing
        self._commands = shared.commands
        self._post = shared.post
        self._listener = listener
        self._clock, self._emit, self._rng = outside.clock, outside.emit, outside.rng
        self._beat_link = HttpLink(timeout_s=BEAT_TIMEOUT_S, connections=1)
        self._report_link = HttpLink(timeout_s=REPORT_TIMEOUT_S, connections=1)
        self._reporter = StockReporter(
            feed=shared.feed,
            link=StockLink(report=self._send_report, sums=self._send_sums),
            standing=standing,
            clock=outside.clock,
            rng=outside.rng,
            full_interval_s=settings.stock_full_s,
            page_max=settings.stock_page_max,
        )
        self._registered = False
        self._registered_epoch = 0  # what it answered when it took us in
        self._told_epoch = 0  # which one it knows that we know
        self._led_epoch = 0  # in which it led when it was last heard; 0: it does not lead
        self._following = False
        self._named_leader = ""
        self._refused_version = 0
        self._leaving = False
        self._reached: bool | None = None  # None: not tried yet
        self._last_reached_ms = 0
        self._error = ""
        self._beat_delays = self._new_delays()
        self._report_delays = self._new_delays()
        self._beats = Loop(f"beat {url}", self._beat_turn)
        self._reports = Loop(f"stock {url}", self._report_turn)

    @property
    def leads(self) -> bool:
        """Whether it answered in the highest epoch seen when it was last heard."""
        return self._led_epoch > 0 and self._led_epoch == self._standing.epoch

    @property
    def named_leader(self) -> str:
        """Who leads by its word, where it follows; "" when it does not know."""
        return self._named_leader if self._following else ""

    def start(self) -> None:
        """Begin both threads."""
        self._beats.start()
        self._reports.start()

    def beat_now(self) -> None:
        """Do not wait for the end of the interval."""
        self._beats.wake()

    def want_full(self) -> None:
        """Tell it soon of everything that is held."""
        self._reporter.want_full()
        self._reports.wake()

    def take_leave(self) -> None:
        """Say that this DataNode stops in order, once, if the NameNode can be reached."""
        self._leaving = True
        if self._registered and self._reached and not self._following:
            with contextlib.suppress(DfsError):
                self._beat()

    def stop(self) -> None:
        """Ask both threads to end."""
        self._beats.stop()
        self._reports.stop()

    def is_over(self) -> bool:
        """Whether it was stopped, and both threads have ended."""
        return self._beats.is_over() and self._reports.is_over()

    def join(self) -> None:
        """Wait shortly for both threads, then close the connections."""
        self._beats.join(JOIN_THREADS_S)
        self._reports.join(JOIN_THREADS_S)
        self._reporter.close()
        self._beat_link.close()
        self._report_link.close()

    def reachability(self) -> Reachability:
        """How things stand with this NameNode."""
        return Reachability(
            self.url,
            bool(self._reached),
            self._registered,
            self._following,
            self._last_reached_ms,
            self._error,
        )

    # ---- beats

    def beat_once(self) -> None:
        """Register or beat, and take in the answer.

        Raises:
            DfsError: no answer, or a refusal.
        """
        reply = self._beat() if self._registered else self._register()
        self._commands.take(self.url, reply.epoch, reply.commands, self.want_full)

    def _beat_turn(self) -> float:
        was_registered, could_report, led = self._registered, self._may_report(), self.leads
        try:
            self.beat_once()
        except NotLeader as err:
            self._follow(err)
        except DfsError as err:
            self._lost(err)
        else:
            self._found(following=False)
        if led and not self.leads:
            self._listener.left_alone()
        if not self._reached:
            return next(self._beat_delays)
        if self._may_report() and not could_report:
            self._reports.wake()
        told_to_register = was_registered and not self._registered
        owes_epoch = self._registered and self.leads and self._told_epoch != self._led_epoch
        return 0.0 if told_to_register or owes_epoch else self._settings.interval_s

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
            self._registered, self._registered_epoch = True, reply.epoch
            self.want_full()
            self._emit.emit(Event.NODE_REGISTERED, namenode=self.url, node=self._standing.name)
        return reply

    def _beat(self) -> BeatReply:
        done = self._commands.to_acknowledge(self.url)[:ACKNOWLEDGEMENTS_MAX]
        failed = self._commands.to_confess(self.url)
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
            correspondents=self._post.version,
        )
        reply = self._ask(routes.BEAT, beat)
        self._commands.acknowledged(self.url, done)
        self._commands.confessed(self.url, failed)
        # A higher epoch is another reign, though the same process may have it: introduce ourselves.
        self._registered = reply.registered and self._led_epoch <= self._registered_epoch
        return reply

    def _ask(self, route: Route[Q, BeatReply], body: Q) -> BeatReply:
        sent_ms = self._clock.now_ms()
        reply = self._beat_link.call(self.url, route, body, credential=self._settings.secret)
        self._told_epoch = body.epoch
        believed = self._standing.learn(reply, sent_ms=sent_ms, received_ms=self._clock.now_ms())
        self._led_epoch = reply.epoch if believed else 0
        if believed:
            self._take_correspondents(reply)
            self._listener.told(self.url, reply.namenodes)
        return reply

    def _take_correspondents(self, reply: BeatReply) -> None:
        told = reply.correspondents
        if told is None:
            return
        try:
            self._post.learn(told)
        except DfsError as err:  # this node's fault or the leader's; beats go on in any case
            if told.version != self._refused_version:
                self._refused_version = told.version
                self._emit.emit(
                    Event.CORRESPONDENTS_REFUSED,
                    namenode=self.url,
                    version=told.version,
                    code=err.code,
                    why=err.message,
                )

    # ---- stock

    def _report_turn(self) -> float:
        if not self._may_report():
            return self._settings.stock_delta_s
        try:
            self._reporter.run_once()
        except DfsError:
            # The beats say whether this NameNode is there; here it is enough to try again.
            return next(self._report_delays)
        self._report_delays = self._new_delays()
        return self._settings.stock_delta_s

    def _may_report(self) -> bool:
        """Whether it takes reports, and knows which epoch we know: by that it tells what counts."""
        return self._registered and not self._following and self._told_epoch == self._standing.epoch

    def _send_report(self, report: StockReport) -> StockReply:
        return self._report_link.call(
            self.url, routes.STOCK, report, credential=self._settings.secret
        )

    def _send_sums(self, digests: StockDigests) -> StockBuckets:
        return self._report_link.call(
            self.url, routes.STOCK_DIGESTS, digests, credential=self._settings.secret
        )

    # ---- reachability

    def _found(self, *, following: bool) -> None:
        self._beat_delays = self._new_delays()
        self._last_reached_ms = self._clock.now_ms()
        if not self._reached:
            self._emit.emit(Event.NAMENODE_REACHED, namenode=self.url)
            self._reports.wake()
        self._reached, self._following, self._error = True, following, ""

    def _follow(self, refusal: NotLeader) -> None:
        """It is there, and another one leads."""
        self._led_epoch = 0
        self._named_leader = lead_of(refusal).leader
        self._found(following=True)
        self._listener.pointed_to(refusal)

    def _lost(self, err: DfsError) -> None:
        self._led_epoch, self._following = 0, False
        if isinstance(err, NodeNotJoined):
            self._registered = False
        if self._reached is not False or err.code != self._error:
            self._emit.emit(
                Event.NAMENODE_UNREACHABLE, namenode=self.url, code=err.code, why=err.message
            )
        self._reached, self._error = False, err.code

    def _new_delays(self) -> Iterator[float]:
        interval_s = self._settings.interval_s
        return backoff_delays(
            first_s=interval_s / 2, cap_s=interval_s * 2, retries_max=sys.maxsize, rng=self._rng
        )
