"""The REST shapes of health: what every check found, now and before."""

from enum import StrEnum

import msgspec

from dfs.wire.shapes import Reply, Request


class HealthStatus(StrEnum):
    """What a check came to; the names of Nagios."""

    OK = "OK"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"
    UNKNOWN = "UNKNOWN"


class Check(msgspec.Struct, frozen=True):
    """What one check found.

    Attributes:
        id: stable, never reused; what `--check` and `--ignore` take.
        count: of what the check counts; 0 when all is well.
        cause: one sentence.
        first: the first items, of `count`.
        next: the command to type next; empty when there is nothing to do.
    """

    id: str
    status: HealthStatus
    count: int
    cause: str
    first: tuple[str, ...] = ()
    next: str = ""


class HealthReport(msgspec.Struct, frozen=True):
    """What all checks found at one moment; `status` is that of the worst."""

    status: HealthStatus
    at_ms: int
    checks: tuple[Check, ...]


class HealthRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`probe`: ask every DataNode's `/health` first, instead of believing the last sweep."""

    probe: bool = False


class HealthRunsRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Stored reports: those before `before_ms` (0: the newest), newest first."""

    before_ms: int = 0
    limit: int = 50


class HealthRun(msgspec.Struct, frozen=True):
    """A stored report, without the checks that were well."""

    run: int
    at_ms: int
    status: HealthStatus
    bad: list[Check]


class HealthRunsReply(Reply, frozen=True, kw_only=True):
    """Newest first."""

    runs: list[HealthRun]
