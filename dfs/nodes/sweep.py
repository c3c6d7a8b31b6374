"""The NameNode's round of every DataNode's `/health`: stored, logged, and shown to placement.

Beats say that a node reaches us; the sweep says whether we reach it.  A node that beats but does
not answer is behind a firewall, or something else answers at its address; either way clients will
not get to it, and that is told apart from a node that is down.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from dfs.base.clock import Clock
from dfs.base.decoding import json_reader
from dfs.base.errors import DfsError, NamenodeUnreachable
from dfs.base.events import Emitter, Event
from dfs.base.ids import node_name
from dfs.base.records import NodeAddress, NodeView
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from dfs.nodes import node_rows
from dfs.nodes.presence import Presence
from dfs.settings.sections import LivenessConfig
from dfs.wire.nodes_api import BEAT_NOW_PATH, SweepInfo

THREADS_MAX: Final = 16
DETAIL_CHARACTERS_MAX: Final = 8_192
REPORTS_READ_MAX: Final = 5_000


class Fetch(Protocol):
    """A plain GET; `dfs.wire.http_link.HttpLink` with `sweep_timeout_s` is the one in use."""

    def fetch(self, url: str) -> bytes:
        """The body; raises a DfsError when there is no answer, or a refusal."""
        ...


class _Answer(msgspec.Struct):
    """What the sweep reads of a `/health` body."""

    status: str
    node: str


@dataclass(frozen=True, slots=True)
class _Found:
    address: NodeAddress
    reachable: bool
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class SweepReport:
    """How many nodes were asked, answered, and answered that all is well."""

    asked: int
    reachable: int
    ok: int


class HealthSweep:
    """One pass over all nodes by `run_once`; several at a time, each with its own time-out."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        *,
        presence: Presence,
        link: Fetch,
        clock: Clock,
        emit: Emitter,
        config: LivenessConfig,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._presence = presence
        self._link = link
        self._clock = clock
        self._emit = emit
        self._keep = config.sweep_reports_keep

    def run_once(self) -> SweepReport:
        """Ask every node that has ever registered, dead ones too; store and log what they say."""
        views = [view for view in self._presence.views() if view.registered_ms]
        found = self._ask_all(views)
        if found:
            self._store(found)
            self._presence.mark_reachable({each.address.node: each.reachable for each in found})
        return SweepReport(
            len(found), sum(each.reachable for each in found), sum(each.ok for each in found)
        )

    def call_all(self) -> int:
        """Have every node beat now, as nobody knows yet that we lead; how many heard it."""
        views = [view for view in self._presence.views() if view.registered_ms]
        if not views:
            return 0
        with ThreadPoolExecutor(min(THREADS_MAX, len(views)), "calling") as threads:
            return sum(threads.map(lambda view: self._call(view.address), views))

    def _call(self, address: NodeAddress) -> bool:
        try:
            self._link.fetch(f"{address.http}{BEAT_NOW_PATH}")
        except DfsError:
            return False
        return True

    def reports(self, *, node: int | None, limit: int) -> list[SweepInfo]:
        """Stored reports, newest first, of one node or of all."""
        with self._reader.view() as connection:
            return node_rows.read_reports(
                connection, node=node, limit=min(max(limit, 1), REPORTS_READ_MAX)
            )

    def _ask_all(self, views: Sequence[NodeView]) -> list[_Found]:
        if not views:
            return []
        with ThreadPoolExecutor(min(THREADS_MAX, len(views)), "sweep") as threads:
            return list(threads.map(lambda view: self._ask(view.address), views))

    def _ask(self, address: NodeAddress) -> _Found:
        started_s = self._clock.monotonic_s()
        try:
            body = self._link.fetch(f"{address.http}/health")
        except NamenodeUnreachable as err:  # the link's word for "no answer", whoever was asked
            found = _Found(address, reachable=False, ok=False, detail=err.message)
        except DfsError as err:
            found = _Found(address, reachable=True, ok=False, detail=f"{err.code}: {err.message}")
        else:
            found = _read(address, body)
        self._log(found, self._clock.monotonic_s() - started_s)
        return found

    def _log(self, found: _Found, took_s: float) -> None:
        node = node_name(found.address.node)
        if found.reachable:
            self._emit.emit(Event.NODE_SWEPT, node=node, ok=found.ok, took_s=round(took_s, 3))
        else:
            self._emit.emit(
                Event.NODE_UNREACHABLE, node=node, address=found.address.http, why=found.detail
            )

    def _store(self, found: Sequence[_Found]) -> None:
        now_ms = self._clock.now_ms()
        reports = [
            SweepInfo(0, each.address.node, now_ms, each.ok, each.detail[:DETAIL_CHARACTERS_MAX])
            for each in found
        ]
        self._writer.submit(lambda txn: node_rows.put_reports(txn, reports, keep=self._keep))


def _read(address: NodeAddress, body: bytes) -> _Found:
    detail = body.decode("utf-8", "replace")
    try:
        answer = json_reader(_Answer)(body)
    except msgspec.MsgspecError:
        return _Found(address, reachable=False, ok=False, detail=f"not a DataNode: {detail}")
    expected = node_name(address.node)
    if answer.node != expected:
        wrong = f"{answer.node[:40]} answers at the address of {expected}"
        return _Found(address, reachable=False, ok=False, detail=wrong)
    return _Found(address, reachable=True, ok=answer.status == "ok", detail=detail)
