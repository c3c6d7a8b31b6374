"""Which requests leave a line in the audit trail, and what it says.

Every change and every refusal to a person leaves one; of what is read, only what was refused for
want of a right.  Beats, stock reports and lease renewals come by themselves every few seconds and
leave none unless they are refused.  A batch is one line: its first paths, how many there were, how
many items were refused and why.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Protocol

from dfs.base.errors import DfsError, ErrorKind, PermissionDenied
from dfs.web.authn import Asked
from dfs.wire.ha_api import HaOrderReply, HaOrderRequest
from dfs.wire.pack_api import CommitFilesReply, LocateManyReply
from dfs.wire.routes import BEAT, RENEW, STOCK, STOCK_DIGESTS, Route
from dfs.wire.shapes import Outcomes

PATHS_SHOWN_MAX: Final = 10
NOT_DONE: Final = "not_done"
_SILENT: Final = frozenset({BEAT.path, STOCK.path, STOCK_DIGESTS.path, RENEW.path})
_RIGHTS: Final = frozenset({ErrorKind.UNAUTHENTICATED, ErrorKind.DENIED})


class AuditLines(Protocol):
    """Where lines go; `dfs.observe.audit.AuditTrail` is the one in use."""

    def record(
        self, *, user: str, address: str, action: str, path: str, outcome: str, **facts: object
    ) -> None:
        """Write one."""
        ...


class Trail:
    """Writes the audit lines of one route."""

    def __init__(self, route: Route[Any, Any], lines: AuditLines) -> None:
        self._lines = lines
        self._action = route.path.removeprefix("/v1/").replace("/", ".")
        self._safe = route.safe
        self._silent = route.path in _SILENT

    def answered(self, asked: Asked, body: object, reply: object, request: str) -> None:
        """A request was answered."""
        refused = _refusals(reply)
        denied = PermissionDenied.code in refused
        if (self._safe and not denied) or self._silent:
            return
        outcome = PermissionDenied.code if self._safe else _outcome(reply)
        self._write(asked, body, reply, outcome, request, refused)

    def refused(self, asked: Asked, body: object, err: DfsError, request: str) -> None:
        """A request was refused as a whole."""
        if err.kind in _RIGHTS or not (self._safe or self._silent):
            self._write(asked, body, None, err.code, request, {})

    def _write(
        self,
        asked: Asked,
        body: object,
        reply: object,
        outcome: str,
        request: str,
        refused: dict[str, int],
    ) -> None:
        paths = _subjects(body, reply)
        facts: dict[str, object] = {"request": request}
        if len(paths) > 1:
            facts["items"] = len(paths)
            facts["paths"] = paths[:PATHS_SHOWN_MAX]
        if refused:
            facts["refused"] = refused
        self._lines.record(
            user=asked.name,
            address=asked.address,
            action=self._action,
            path=paths[0] if paths else "",
            outcome=outcome,
            **facts,
        )


def _outcome(reply: object) -> str:
    """How a request that was not refused ended; an order of failover may come to nothing."""
    return NOT_DONE if isinstance(reply, HaOrderReply) and not reply.done else "ok"


def _refusals(reply: object) -> dict[str, int]:
    """How many items of a batch were refused, by code."""
    match reply:
        case Outcomes(outcomes=items) | LocateManyReply(files=items):
            codes = [one.error.code for one in items if one.error is not None]
        case CommitFilesReply(refused=refused):
            codes = [one.error.code for one in refused]
        case _:
            return {}
    return dict(Counter(codes)) if codes else {}


def _subjects(body: object, reply: object) -> list[str]:
    """The paths or names a request is about; of an order of failover, the order itself."""
    if isinstance(body, HaOrderRequest):
        return [_order(body)]
    for field, shown in _SUBJECTS.items():
        found = getattr(body, field, None)
        if isinstance(found, list):
            return _items_by_path(reply) or [shown(one) for one in found]
        if found:
            return [shown(found)]
    return []


def _items_by_path(reply: object) -> list[str]:
    """What a reply calls the files that the request named by inode and lease."""
    if not isinstance(reply, Outcomes):
        return []
    named = (getattr(one.value, "status", one.value) for one in reply.outcomes)
    found = [getattr(one, "path", None) for one in named]
    return [path for path in found if path] if all(found) else []


def _order(body: HaOrderRequest) -> str:
    """``switchover nn-2``, ``replace-voter OLD -> NEW``, ``promote 12 records``."""
    whom = f"{body.member} -> {body.fresh}" if body.fresh else body.member
    typed = f"{body.records} records" if body.records >= 0 else ""
    return " ".join(filter(None, (body.order, whom, typed)))


def _pair(one: Any) -> str:
    return f"{one.source} -> {one.target}"


_SUBJECTS: Final[dict[str, Callable[[Any], str]]] = {
    "paths": str,
    "files": lambda one: one.path,
    "moves": _pair,
    "copies": _pair,
    "items": lambda one: f"inode {one.inode}",
    "path": str,
    "name": str,
    "group": str,
    "block": lambda one: f"block {one}",
    "uuid": str,
}
