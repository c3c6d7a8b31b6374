"""Pure: a refusal as the command line says it.

People get one line and, where it helps, a second that begins with `hint:`; programs get the same
JSON body that the REST surface sends.  The exit code of each kind is in `dfs.observe.exit_codes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from dfs.cli.render import Json, plain, to_json
from dfs.observe.exit_codes import (
    EXIT_CONFLICT,
    EXIT_CORRUPT,
    EXIT_DENIED,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_NOT_FOUND,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
)

if TYPE_CHECKING:
    from dfs.base.errors import DfsError

EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count
EXIT_BROKEN_PIPE: Final = 141  # 128 + SIGPIPE
EXIT_TERMINATED: Final = 143  # 128 + SIGTERM

EXIT_MEANING: Final[Mapping[int, str]] = {
    EXIT_DONE: "done",
    EXIT_FAILED: "failed, or a difference was found",
    EXIT_USAGE: "the command line or its input is wrong",
    EXIT_NOT_FOUND: "not found",
    EXIT_DENIED: "not permitted, or not logged in",
    EXIT_CONFLICT: "exists already, or in conflict",
    EXIT_UNAVAILABLE: "the cluster, or a part that is needed, is unavailable",
    EXIT_CORRUPT: "data is corrupt or missing",
}

REASONS_SHOWN_MAX: Final = 12


def error_lines(program: str, error: DfsError, *, hint: str | None = None) -> list[str]:
    """``dfs: no such file``, the reasons a refusal lists, and the hint (or `hint` in its place)."""
    lines = [f"{program}: {plain(error.message)}"]
    lines += [f"  {plain(reason)}" for reason in _reasons(error)]
    hint = error.hint if hint is None else hint
    if hint:
        lines.append(f"  hint: {plain(hint)}")
    return lines


def _reasons(error: DfsError) -> list[str]:
    """A placement refusal says why of every node; the first dozen are shown."""
    refusals = error.details.get("refusals") or error.details.get("nodes")
    if not isinstance(refusals, list):
        return []
    reasons = [_reason(refusal) for refusal in refusals]
    more = len(reasons) - REASONS_SHOWN_MAX
    return reasons[:REASONS_SHOWN_MAX] + ([f"... and {more} more"] if more > 0 else [])


def _reason(refusal: object) -> str:
    if not isinstance(refusal, dict):
        return str(refusal)
    node = refusal.get("node", "?")
    name = f"dn-{node}" if isinstance(node, int) else str(node)
    return f"{name}: {refusal.get('reason', '?')}"


def error_json(error: DfsError) -> dict[str, Json]:
    """The body of a refusal for programs."""
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "details": to_json(error.details),
        }
    }
