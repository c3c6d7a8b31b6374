"""What a DataNode shows over HTTP: `/health`, `/stock` and `/metrics`.  It takes no orders here.

`/health` is what the NameNode's sweep and an operator ask; `/stock` lists every block page by page;
`/metrics` is for Prometheus.  All are GET and change nothing.  Whoever reaches the port may ask, so
nothing here names a file: blocks are told by their ids, and who may see names asks the NameNode.

`/beat-now` makes the DataNode beat now what it would beat soon: a NameNode that comes to lead asks
every DataNode for it.  It needs no credential, as it is harmless: the beats go where they always
go, and at most ten times a second.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from dfs.base.errors import BadRequest, DfsError
from dfs.base.events import Event
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName, DiskBalance, ScrubStatus, StockEntry, VolumeStatus
from dfs.observe.logs import current_request
from dfs.observe.metrics import CONTENT_TYPE
from dfs.web.errors import bug, http_status, protocol_error
from dfs.wire.codec import block_file_name
from dfs.wire.nodes_api import BEAT_NOW_PATH
from dfs.wire.shapes import ErrorReply, error_body

PAGE_DEFAULT: Final = 1_000
PAGE_MAX: Final = 10_000


class NamenodeSeen(msgspec.Struct, frozen=True):
    """One NameNode, as this DataNode reaches it."""

    url: str
    reached: bool
    registered: bool
    following: bool  # it answers that another one leads
    last_reached_ms: int
    error: str


class VoterSeen(msgspec.Struct, frozen=True):
    """The voter in this process.

    `correspondents` is the version of those it was told; `failed` says why it is silent.
    """

    uuid: str
    promised: int
    correspondents: int
    failed: str


class Health(msgspec.Struct, frozen=True):
    """The body of `/health`.

    `status` is `ok`, `degraded` (a disk or the voter failed, or the breaker is open), `joining` or
    `stopping`.
    """

    status: str
    node: str
    cluster: str
    uuid: str
    version: str
    uptime_s: float
    used_bytes: int
    free_bytes: int
    total_bytes: int
    volumes: list[VolumeStatus]
    in_flight: int
    calls: dict[str, int]
    epoch: int
    leader: str  # URL of the NameNode that leads, as far as is known
    namenodes: list[NamenodeSeen]
    voter: VoterSeen
    jobs: list[Any]
    doubtful: bool  # the circuit breaker is open: nothing more is quarantined
    quarantined: int
    scrub: ScrubStatus
    disks: DiskBalance
    durability: str  # "fsync", or "UNSAFE: ..." where sync is switched off


class StockLine(msgspec.Struct, frozen=True):
    """One block in `/stock`, by its ids: the names of files are not for everybody."""

    file: int
    number: int
    block: int
    generation: int
    length_bytes: int
    hash: str  # xxh3_128, hex
    state: str
    verified_ms: int
    volume: str
    name: str  # its file's name on the disk; the cursor is `<file>/<name>`


class StockPage(msgspec.Struct, frozen=True):
    """The body of `/stock`; ask again with `?after=` set to `next` until that is empty."""

    blocks: list[StockLine]
    next: str


class Shown(Protocol):
    """Where the answers come from."""

    def health(self) -> Health:
        """How the node is now."""
        ...

    def stock(self, *, after: BlockName | None, limit: int) -> Sequence[StockEntry]:
        """A page of what is held, ordered by name."""
        ...

    def metrics(self) -> bytes:
        """Prometheus' text."""
        ...

    def beat_now(self) -> bool:
        """Beat every NameNode at once; False when that was done a moment ago, or cannot be."""
        ...


class WebLog(Protocol):
    """What the application writes to."""

    def emit(self, event: Event, **fields: object) -> None:
        """See `dfs.base.events.Emitter`."""
        ...

    def exception(self, where: str, exc: BaseException) -> None:
        """Record a bug with its stack."""
        ...


def create_app(shown: Shown, log: WebLog) -> Flask:
    """The application of one DataNode."""
    app = Flask("dfs.web.datanode_app", static_folder=None)

    @app.get("/health")
    def health() -> Response:
        return _json(shown.health())

    @app.get("/stock")
    def stock() -> Response:
        after = read_cursor(request.args.get("after", ""))
        limit = _limit(request.args.get("limit", str(PAGE_DEFAULT)))
        return _json(_page(shown.stock(after=after, limit=limit), limit))

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(shown.metrics(), content_type=CONTENT_TYPE)

    @app.get(BEAT_NOW_PATH)
    def beat_now() -> Response:
        return _json({"beats": shown.beat_now()})

    @app.errorhandler(DfsError)
    def refused(err: DfsError) -> Response:
        return _json(ErrorReply(error_body(err)), http_status(err))

    @app.errorhandler(HTTPException)
    def not_served(exc: HTTPException) -> Response:
        status = exc.code or 400
        err = protocol_error(status, request.method, request.path, exc.name)
        return _json(ErrorReply(error_body(err)), status)

    @app.errorhandler(Exception)
    def failed(exc: Exception) -> Response:
        log.exception(request.path, exc)
        err = bug(current_request())
        return _json(ErrorReply(error_body(err)), http_status(err))

    return app


def _json(body: object, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(body, enc_hook=str), status, content_type="application/json"
    )


def _page(entries: Sequence[StockEntry], limit: int) -> StockPage:
    more = len(entries) >= limit
    return StockPage([_line(entry) for entry in entries], _cursor(entries[-1]) if more else "")


def _line(entry: StockEntry) -> StockLine:
    return StockLine(
        file=entry.name.file,
        number=entry.name.number,
        block=entry.name.block,
        generation=entry.name.generation,
        length_bytes=entry.length_bytes,
        hash=entry.hash.hex(),
        state=entry.state,
        verified_ms=entry.verified_ms,
        volume=entry.volume,
        name=block_file_name(entry.name),
    )


def _cursor(entry: StockEntry) -> str:
    return f"{entry.name.file}/{block_file_name(entry.name)}"


def read_cursor(text: str) -> BlockName | None:
    """The block after which a page begins; None for the first page.

    Raises:
        BadRequest: not a cursor that a page gave.
    """
    if not text:
        return None
    file, _, name = text.partition("/")
    try:
        number, block, generation = name.split(".")
        return BlockName(
            InodeId(int(file)),
            int(number),
            BlockId(int(block, 16)),
            Generation(int(generation, 16)),
        )
    except ValueError:
        raise BadRequest(
            f"not a cursor: {text[:80]!r}", hint="use the `next` of the page before"
        ) from None


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= PAGE_MAX):
        raise BadRequest(f"limit must be 1 to {PAGE_MAX}, not {text[:20]!r}")
    return int(text)
