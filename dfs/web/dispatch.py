"""One way for every request of `/v1`: who asks, what is asked, act, answer; refusals included.

The route table says who may ask and which shapes go in and out, `handlers.py` which service
answers; this module decides nothing else.  A request id sent by the caller is remembered with the
answer of a change, so that asking the same again answers the same and does nothing.
"""

import contextlib
import hashlib
import itertools
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import msgspec
from flask import Flask, Response, request
from prometheus_client import Counter, Histogram
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.entropy import new_id
from dfs.base.errors import BadRequest, DfsError, Overloaded
from dfs.base.events import Event
from dfs.meta.jobs import Joint
from dfs.meta.retry_cache import RequestKey, once, remember, remembered
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.observe.logs import request_context
from dfs.observe.metrics import Metrics
from dfs.web.answers import JSON, Answer, Asking, refusal
from dfs.web.authn import Asked, Gatekeeper, permit
from dfs.web.bodies import BodyReader
from dfs.web.errors import bug, protocol_error
from dfs.web.front import Served
from dfs.web.handlers import Call, Change, Handler, Handlers, JointChange, View
from dfs.web.trail import AuditLines, Trail
from dfs.wire.http_link import REQUEST_ID_HEADER
from dfs.wire.routes import STAT, Route

CallAct = Callable[[Asked, Any], object]
# What takes less than waking a thread does: a few look-ups by key, and no wait for anything (but
# for voters, where a read asks them).
_QUICK: Final = frozenset({STAT.path})
QUICK_BYTES: Final = 512  # of paths
BEGUN_BYTES: Final = 4096  # of a change: to read it takes less than handing it over
_REQUEST_ID: Final = re.compile(r"[0-9a-f]{32}")
_encode = msgspec.json.Encoder().encode


class WebLog(Protocol):
    """What requests are logged to; `dfs.observe.logs.Log` is the one in use."""

    def emit(self, event: Event, **fields: object) -> None:
        """See `dfs.base.events.Emitter`."""
        ...

    def exception(self, where: str, exc: BaseException) -> None:
        """Record a bug with its stack."""
        ...


class RequestMetrics:
    """How many requests, how they ended, how long they took."""

    def __init__(self, metrics: Metrics) -> None:
        self._count = metrics.counter(
            "dfs_requests_total", "Requests of /v1 by route and outcome", ("route", "outcome")
        )
        self._time = metrics.histogram(
            "dfs_request_seconds", "Time from reading a request to its answer", ("route",)
        )

    def of(self, route: str) -> "RouteMetrics":
        """The metrics of one route."""
        return RouteMetrics(route, self._count, self._time)


class RouteMetrics:
    """The metrics of one route; labels are looked up once."""

    def __init__(self, route: str, count: Counter, time: Histogram) -> None:
        self._route = route
        self._count = count
        self._served = count.labels(route, "ok")
        self._time = time.labels(route)

    def note(self, outcome: str, took_s: float) -> None:
        """One request ended."""
        counter = self._served if outcome == "ok" else self._count.labels(self._route, outcome)
        counter.inc()
        self._time.observe(took_s)


class UnderWay:
    """The requests being acted on by a service with transactions of its own, each once at a time.

    As many as threads answer requests, at most.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: set[RequestKey] = set()

    @contextlib.contextmanager
    def only(self, key: RequestKey) -> Iterator[None]:
        """Be the only one to act on that request.

        Raises:
            Overloaded: it is being acted on; when tried again, its answer is remembered.
        """
        with self._lock:
            if key in self._keys:
                raise Overloaded("this very request is being worked on")
            self._keys.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._keys.remove(key)


def _numbers() -> Iterator[str]:
    """Ids for requests that came without: unlike those of any other process, and one by one."""
    ours = new_id()[:16]
    return map((ours + "{:016x}").format, itertools.count())


@dataclass(frozen=True, slots=True)
class Desk:
    """What every endpoint works with."""

    reader: Reader
    writer: Writer
    gate: Gatekeeper
    clock: Clock
    log: WebLog
    audit: AuditLines
    metrics: RequestMetrics
    items_max: int
    refusal_of_changes: Callable[[], DfsError | None] = lambda: None
    refusal_of_reads: Callable[[], DfsError | None] = lambda: None  # asked after they were read
    reads_wait: bool = False  # for voters
    under_way: UnderWay = field(default_factory=UnderWay)
    number: Callable[[], str] = field(default_factory=lambda: _numbers().__next__)


class _Visit:
    """One request on its way through an endpoint, and what is known of it by then."""

    __slots__ = ("asked", "asking", "began_s", "body", "number", "refusal", "reply")

    def __init__(self, asking: Asking, number: str, began_s: float) -> None:
        self.asking = asking
        self.number = number
        self.began_s = began_s
        self.asked = Asked(asking.address)
        self.body: Any = None
        self.reply: object = None  # of a change that was made now, and not remembered
        self.refusal: DfsError | None = None  # of any change, when it was asked for


class Endpoint:
    """Answers one route."""

    def __init__(self, route: Route[Any, Any], handler: Handler, desk: Desk) -> None:
        self._route = route
        self._handler = handler
        self._desk = desk
        self._bodies = BodyReader(route, items_max=desk.items_max)
        self._trail = Trail(route, desk.audit)
        self._metrics = desk.metrics.of(route.path)

    def __call__(self, asking: Asking) -> Answer:
        """Answer one request."""
        visit = self._visit(asking)
        with request_context(visit.number):
            return self._answer(visit, lambda: self._act(visit))

    def begin(self, asking: Asking, then: Callable[[Answer], None]) -> None:
        """As a call, but no thread waits for a change: the writer's own hands on its answer."""
        if not isinstance(self._handler, Change | JointChange):
            then(self(asking))
            return
        visit = self._visit(asking)

        def done(result: Callable[[], bytes]) -> None:
            with request_context(visit.number):
                then(self._answer(visit, lambda: self._changed(visit, result())))

        with request_context(visit.number):
            try:
                self._admit(visit)
                self._desk.writer.submit_then(self._work(self._handler, visit), done)
            except Exception as exc:  # noqa: BLE001 - answered like any other
                then(self._answer(visit, partial(_raise, exc)))

    def _visit(self, asking: Asking) -> _Visit:
        given = asking.request
        number = given if _REQUEST_ID.fullmatch(given) else self._desk.number()
        return _Visit(asking, number, self._desk.clock.monotonic_s())

    def _answer(self, visit: _Visit, act: Callable[[], bytes]) -> Answer:
        """The answer of what `act` gives, or is refused with; where it is counted and logged."""
        try:
            raw = act()
            crashpoint.reach("nn.answer.before")
            answer, outcome = Answer(200, raw), "ok"
        except DfsError as err:
            self._refused(visit, err)
            answer, outcome = refusal(err), err.code
        except Exception as exc:  # noqa: BLE001 - a bug is logged, never shown
            self._log_bug(exc)
            answer, outcome = refusal(bug(visit.number)), "bug"
        took_s = self._desk.clock.monotonic_s() - visit.began_s
        self._metrics.note(outcome, took_s)
        self._desk.log.emit(
            Event.REQUEST_SERVED, route=self._route.path, outcome=outcome, took_s=took_s
        )
        headers = (*answer.headers, (REQUEST_ID_HEADER, visit.number))
        return Answer(answer.status, answer.body, headers)

    def _admit(self, visit: _Visit) -> None:
        """Who asks, whether he may, and what he asks for."""
        asking = visit.asking
        if asking.request and asking.request != visit.number:
            raise BadRequest(f"{REQUEST_ID_HEADER} must be 32 hex digits")
        gate = self._desk.gate
        visit.asked = gate.identify(self._route, asking.authorization, asking.address)
        permit(self._route, visit.asked)
        if asking.method == "POST":
            visit.body = self._bodies.from_json(asking.body)
        else:
            visit.body = self._bodies.from_query(parse_qs(asking.query, keep_blank_values=True))

    def _act(self, visit: _Visit) -> bytes:
        self._admit(visit)
        match self._handler:
            case View(act):
                with self._desk.reader.view() as connection:
                    reply = act(connection, visit.asked, visit.body)
                self._require_current()
                return self._told(visit, reply)
            case Change() | JointChange():
                work = self._work(self._handler, visit)
                return self._changed(visit, self._desk.writer.submit(work))
            case Call(act, anywhere=True):
                return self._told(visit, act(visit.asked, visit.body))
            case Call(act, is_once):
                kept = is_once and visit.asking.request
                return self._call(act, visit) if kept else self._served(act, visit)

    def _work(self, change: Change | JointChange, visit: _Visit) -> Callable[[Txn], bytes]:
        """What the writer is to run."""
        if isinstance(change, JointChange):
            visit.refusal = self._desk.refusal_of_changes()
            return Joint(visit, self._work_together)
        visit.refusal = self._desk.refusal_of_changes() if change.guarded else None

        def work(txn: Txn) -> bytes:
            if visit.refusal is not None:  # but what was done before is answered as it was then
                raise visit.refusal
            visit.reply = change.act(txn, visit.asked, visit.body)
            return _encode(visit.reply)

        return once(self._key(visit, visit.asking.body), work) if visit.asking.request else work

    def _work_together(self, txn: Txn, visits: Sequence[_Visit]) -> list[bytes | DfsError]:
        """As `_work` of each, in one step: its answer, or its refusal."""
        assert isinstance(self._handler, JointChange)
        keys = {each: self._key(each, each.asking.body) for each in visits if each.asking.request}
        if len(set(keys.values())) < len(keys):
            raise Overloaded("a request beside its own repetition")  # each alone is answered well
        known = remembered(txn.connection, list(keys.values()))
        outcomes: dict[_Visit, bytes | DfsError] = {}
        fresh = []
        for visit in visits:
            if visit in keys and keys[visit] in known:
                outcomes[visit] = known[keys[visit]]
            elif visit.refusal is not None:
                outcomes[visit] = visit.refusal
            else:
                fresh.append(visit)
        replies = self._handler.act_all(txn, [(each.asked, each.body) for each in fresh])
        made: dict[RequestKey, bytes] = {}
        for visit, reply in zip(fresh, replies, strict=True):
            if isinstance(reply, DfsError):
                outcomes[visit] = reply
                continue
            visit.reply, outcomes[visit] = reply, (raw := _encode(reply))
            if visit in keys:
                made[keys[visit]] = raw
        remember(txn, made)
        return [outcomes[visit] for visit in visits]

    def _changed(self, visit: _Visit, raw: bytes) -> bytes:
        if visit.reply is not None:  # else it was remembered, and its first time left the line
            self._trail.answered(visit.asked, visit.body, visit.reply, visit.asking.request)
        return raw

    def _call(self, act: CallAct, visit: _Visit) -> bytes:
        key = self._key(visit, b"")  # a body may hold a password: nothing is kept of it
        with self._desk.under_way.only(key):  # until its answer is remembered
            with self._desk.reader.view() as connection:
                before = remembered(connection, [key])
            if before:
                self._require_current()
                return before[key]
            raw = self._served(act, visit)
            return self._desk.writer.answer(key, lambda _txn: raw)

    def _served(self, act: CallAct, visit: _Visit) -> bytes:
        reply = act(visit.asked, visit.body)
        self._require_current()
        return self._told(visit, reply)

    def _require_current(self) -> None:
        """Refuse what was just read, where another NameNode may lead by now."""
        refusal = self._desk.refusal_of_reads()
        if refusal is not None:
            raise refusal

    def _told(self, visit: _Visit, reply: object) -> bytes:
        self._trail.answered(visit.asked, visit.body, reply, visit.asking.request)
        return _encode(reply)

    def _key(self, visit: _Visit, body: bytes) -> RequestKey:
        """Under what an answer is remembered: the same id on something else is another request."""
        given = visit.asking.request
        said = hashlib.sha256(self._route.path.encode() + b"\0" + body).hexdigest()
        return RequestKey(visit.asked.key, given + said[: len(given)])

    def _refused(self, visit: _Visit, err: DfsError) -> None:
        asked = visit.asked
        self._trail.refused(asked, visit.body, err, visit.number)
        self._desk.log.emit(
            Event.REQUEST_REFUSED,
            route=self._route.path,
            user=asked.name,
            address=asked.address,
            code=err.code,
            message=err.message,
        )

    def _log_bug(self, exc: Exception) -> None:
        self._desk.log.exception(self._route.path, exc)


def _raise(exc: Exception) -> bytes:
    raise exc


def endpoints(handlers: Handlers, desk: Desk) -> dict[str, Served]:
    """Who answers each route of the table, by its address."""
    return {
        route.path: _served(route, Endpoint(route, handler, desk), handler, desk)
        for route, handler in handlers.table.values()
    }


def _served(route: Route[Any, Any], endpoint: Endpoint, handler: Handler, desk: Desk) -> Served:
    quick_bytes = QUICK_BYTES if route.path in _QUICK and not desk.reads_wait else 0
    if isinstance(handler, Change | JointChange):
        quick_bytes = BEGUN_BYTES
    return Served(methods_of(route), endpoint, endpoint.begin, quick_bytes)


def methods_of(route: Route[Any, Any]) -> tuple[str, ...]:
    """By which methods a route may be asked."""
    return ("GET", "HEAD", "POST") if route.safe else ("POST",)


def answer_protocol_errors(app: Flask, log: WebLog) -> None:
    """Let what Flask itself refuses, and what breaks outside a route, be answered in our shape."""

    @app.errorhandler(HTTPException)
    def refused(exc: HTTPException) -> Response:
        status = exc.code or 400
        error = protocol_error(status, request.method, request.path, exc.name)
        answer = _response(refusal(error, status))
        if isinstance(exc, MethodNotAllowed) and exc.valid_methods:
            answer.headers["Allow"] = ", ".join(exc.valid_methods)
        return answer

    @app.errorhandler(Exception)
    def failed(exc: Exception) -> Response:
        number = new_id()
        with request_context(number):
            log.exception(request.path, exc)
        return _response(refusal(bug(number)))


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers, content_type=JSON)
