"""JSON log lines: one event a line, by name, with its facts.

A line is `{"at", "level", "event", "process", "request", ...fields}`.  The request id in force is
carried by a context variable, so code far below a handler need not pass it along.
"""

import contextvars
import logging
import logging.handlers
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from dfs.base.errors import LocalIoError
from dfs.base.events import Event

LOG_BYTES_MAX: Final = 64 * 1024 * 1024
LOG_FILES_KEPT: Final = 5

_WARNINGS: Final = frozenset(
    {
        Event.REQUEST_REFUSED,
        Event.LOGIN_REFUSED,
        Event.NODE_STALE,
        Event.NODE_UNREACHABLE,
        Event.REPLICA_SUSPECT,
        Event.REPLICA_MISSING,
        Event.REPLICA_UNKNOWN,
        Event.COMMAND_FAILED,
        Event.LEASE_EXPIRED,
        Event.BLOCK_REFUSED,
        Event.NAMENODE_UNREACHABLE,
        Event.COMMAND_FENCED,
        Event.CORRESPONDENTS_REFUSED,
        Event.CORRESPONDENTS_FORGOTTEN,
        Event.CATALOG_REBUILT,
        Event.VOLUME_WALKED,
        Event.LOCAL_SOCKET_MISSING,
        Event.SAFE_MODE_ENTERED,
        Event.STANDBY_FAULT,
        Event.METADATA_ACCEPTED,
    }
)
_ERRORS: Final = frozenset(
    {
        Event.BUG_UNHANDLED,
        Event.JOB_FAILED,
        Event.NODE_LOST,
        Event.REPLICA_CORRUPT,
        Event.REPLICA_DISPUTED,
        Event.DATABASE_FAILED,
        Event.BLOCK_CORRUPT,
        Event.BLOCK_QUARANTINED,
        Event.VOLUME_FAILED,
        Event.VOTER_FAILED,
        Event.STORM_FROZEN,
        Event.METADATA_REGRESSED,
    }
)
_DEBUG: Final = frozenset({Event.REQUEST_SERVED, Event.BLOCK_STORED, Event.BLOCK_DELETED})

_request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="")


class request_context:  # noqa: N801 - read as a statement; a generator would cost five times that
    """Every line logged inside carries that request id."""

    __slots__ = ("_request", "_token")

    def __init__(self, request: str) -> None:
        self._request = request

    def __enter__(self) -> None:
        """Begin."""
        self._token = _request.set(self._request)

    def __exit__(self, *_: object) -> None:
        """End; what was in force before is again."""
        _request.reset(self._token)


def current_request() -> str:
    """The request id in force, or empty."""
    return _request.get()


def level_of(event: Event) -> int:
    """How loud an event is."""
    if event in _ERRORS:
        return logging.ERROR
    if event in _WARNINGS:
        return logging.WARNING
    return logging.DEBUG if event in _DEBUG else logging.INFO


class Log:
    """Writes events as JSON lines.  See `dfs.base.events.Emitter`.

    Args:
        process: which daemon this is (`namenode`, `datanode`).
        level: the quietest level written (`debug` ... `error`).
        file: where; stderr when empty.  A file is rotated at 64 MiB, five are kept.

    Raises:
        LocalIoError: the file cannot be written.
    """

    def __init__(self, *, process: str, level: str = "info", file: str = "") -> None:
        self._process = process
        self._logger = logging.Logger(f"dfs.{process}", level.upper())
        self._logger.addHandler(_handler(file))

    def emit(self, event: Event, **fields: object) -> None:
        """See `Emitter`.  Fields are JSON values, bytes or dataclasses; others are shown by str."""
        level = level_of(event)
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", self._line(event, level, fields))

    def exception(self, where: str, exc: BaseException) -> None:
        """Record a bug: an exception that nobody expected, with its stack."""
        stack = logging.Formatter().formatException((type(exc), exc, exc.__traceback__))
        self.emit(Event.BUG_UNHANDLED, where=where, error=str(exc), stack=stack)

    def _line(self, event: Event, level: int, fields: dict[str, object]) -> str:
        head: dict[str, object] = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),  # noqa: TID251 - a label
            "level": logging.getLevelName(level).lower(),
            "event": event.value,
            "process": self._process,
        }
        if request := _request.get():
            head["request"] = request
        return msgspec.json.encode(head | fields, enc_hook=str).decode()


def _handler(file: str) -> logging.Handler:
    if not file:
        return logging.StreamHandler(sys.stderr)
    try:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        return logging.handlers.RotatingFileHandler(
            file, maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES_KEPT, encoding="utf-8"
        )
    except OSError as exc:
        raise LocalIoError(f"cannot write the log {file}: {exc.strerror}") from exc
