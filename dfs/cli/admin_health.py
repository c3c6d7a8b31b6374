"""`dfs-admin health`: made for cron, Nagios and people alike.

The exit code is the status (0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN), and what keeps the question
from being answered is UNKNOWN with its reason on the first line: monitoring must never take a
NameNode that is down, or a session that ended, for one of its own troubles.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from dfs.base.errors import BadRequest, DfsError
from dfs.cli import render
from dfs.cli.arguments import count_argument
from dfs.cli.errors import error_json
from dfs.cli.output import BOLD
from dfs.cli.verbs import Context, Example, Verb

if TYPE_CHECKING:
    from dfs.wire.health_api import Check, HealthReport

GROUP: Final = "integrity"
OK, WARNING, CRITICAL, UNKNOWN = "OK", "WARNING", "CRITICAL", "UNKNOWN"
STATUS_EXITS: Final[Mapping[str, int]] = {OK: 0, WARNING: 1, CRITICAL: 2, UNKNOWN: 3}
_STYLES: Final[Mapping[str, str]] = {
    OK: "\x1b[32m",
    WARNING: "\x1b[33m",
    CRITICAL: "\x1b[1;31m",
    UNKNOWN: "\x1b[35m",
}
_WORST_LAST: Final = (OK, UNKNOWN, WARNING, CRITICAL)
NAMED_MAX: Final = 6  # checks named on the first line
PATIENCE_S: Final = 5.0  # monitoring itself gives up after ten seconds; a blink is no alarm
INDENT: Final = "          "


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--probe", action="store_true", help="ask every DataNode's /health now, not just the last"
    )
    parser.add_argument(
        "--history", action="store_true", help="what was found before, newest first"
    )
    parser.add_argument(
        "--check",
        action="append",
        default=[],
        metavar="ID[,ID]",
        help="these checks alone count (may be repeated)",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="ID[,ID]",
        help="these checks do not count (may be repeated)",
    )
    parser.add_argument(
        "-n", "--limit", type=count_argument, default=20, metavar="N", help="of the history (20)"
    )


def _health(context: Context) -> int:
    try:
        if context.args.history:
            _require_whole(context.args)
            return _history(context)
        report = _ask(context)
        chosen = _chosen(report, context.args.check, context.args.ignore)
    except DfsError as exc:
        return _say_unknown(context, exc)
    return _say(context, report, chosen)


def _require_whole(args: argparse.Namespace) -> None:
    """Refuse what would be ignored: what is kept are reports of all checks, as they were then.

    Raises:
        BadRequest: with --history, which knows only whole reports.
    """
    for flag, is_given in (
        ("--check", args.check),
        ("--ignore", args.ignore),
        ("--probe", args.probe),
    ):
        if is_given:
            raise BadRequest(
                f"{flag} does not go with --history, which shows whole reports",
                hint="what fired then, check by check: dfs-admin health --history --json",
            )


def _ask(context: Context) -> HealthReport:
    from dfs.wire.health_api import HealthRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import HEALTH  # noqa: PLC0415

    request = HealthRequest(probe=context.args.probe)
    return context.client.link.call(HEALTH, request, patience_max_s=PATIENCE_S)


def _chosen(report: HealthReport, only: Sequence[str], ignored: Sequence[str]) -> list[Check]:
    """The checks that count; `only` none means all.

    Raises:
        BadRequest: there is no such check.
    """
    only, ignored = _ids(only), _ids(ignored)
    known = [check.id for check in report.checks]
    strangers = sorted({*only, *ignored} - set(known))
    if strangers:
        raise BadRequest(
            f"no such check: {', '.join(strangers)}", hint=f"there are: {', '.join(sorted(known))}"
        )
    return [
        check
        for check in report.checks
        if check.id not in ignored and (not only or check.id in only)
    ]


def _ids(words: Sequence[str]) -> list[str]:
    return [check for word in words for check in word.split(",") if check]


def _say(context: Context, report: HealthReport, checks: Sequence[Check]) -> int:
    out = context.out
    status = max((check.status.value for check in checks), key=_WORST_LAST.index, default=OK)
    brief = out.quiet
    if status != OK:
        out.quiet = False  # --quiet is silent when all is well, not when something is wrong
    out.document({"status": status, "at_ms": report.at_ms, "checks": list(checks)})
    if out.text:
        out.line(_headline(status, checks))
        out.line()
        _print_checks(context, [check for check in checks if not brief or check.status.value != OK])
    return STATUS_EXITS[status]


def _headline(status: str, checks: Sequence[Check]) -> str:
    """``DFS WARNING - 2 checks: nodes_down (1), disk_full (3)``."""
    bad = sorted(
        (check for check in checks if check.status.value != OK),
        key=lambda check: -_WORST_LAST.index(check.status.value),
    )
    if not bad:
        return f"DFS {OK} - {render.count(len(checks), 'check')}, all well"
    named = [check.id + (f" ({check.count:,})" if check.count else "") for check in bad]
    more = len(named) - NAMED_MAX
    words = ", ".join(named[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
    return f"DFS {status} - {render.count(len(bad), 'check')}: {words}"


def _print_checks(context: Context, checks: Sequence[Check]) -> None:
    out = context.out
    wide = max((len(check.id) for check in checks), default=0)
    counts = max((len(f"{check.count:,}") for check in checks), default=0)
    counts = max(counts, len("COUNT"))
    heading = f"{'STATUS':<8}  {'CHECK':<{wide}}  {'COUNT':>{counts}}  CAUSE"
    out.raw(out.styled(heading, BOLD) + "\n")
    for check in sorted(checks, key=lambda each: -_WORST_LAST.index(each.status.value)):
        status = check.status.value
        rest = f"  {check.id:<{wide}}  {check.count:>{counts},}  {check.cause}"
        out.raw(out.styled(f"{status:<8}", _STYLES[status]) + render.plain(rest) + "\n")
        if status != OK:
            _print_items(context, check)


def _print_items(context: Context, check: Check) -> None:
    for item in check.first:
        context.out.line(f"{INDENT}  {item}")
    more = check.count - len(check.first)
    if check.first and more > 0:
        context.out.line(f"{INDENT}  ... and {more:,} more")
    if check.next:
        context.out.line(f"{INDENT}next: {check.next}")


def _say_unknown(context: Context, error: DfsError) -> int:
    """Why nothing could be found out, where monitoring reads it: on standard output."""
    out = context.out
    out.quiet = False
    out.document({"status": UNKNOWN, "checks": [], **error_json(error)})
    if out.text:
        out.line(f"DFS {UNKNOWN} - {error.message}")
        if error.hint:
            out.line(f"{INDENT}hint: {error.hint}")
    return STATUS_EXITS[UNKNOWN]


def _history(context: Context) -> int:
    from dfs.wire.health_api import HealthRunsRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import HEALTH_RUNS  # noqa: PLC0415

    runs = context.call(HEALTH_RUNS, HealthRunsRequest(limit=context.args.limit)).runs
    with context.out.table(("TIME", "STATUS", "CHECKS")) as table:
        for run in runs:
            bad = ", ".join(f"{check.id} ({check.count:,})" for check in run.bad)
            table.row(run, render.local_time_exact(run.at_ms), run.status.value, bad or "all well")
    if not runs:
        context.out.note("nothing is kept yet; the first report is, as soon as a check changes")
    return STATUS_EXITS[OK]


VERBS: Final = (
    Verb(
        name="health",
        group=GROUP,
        summary="Say whether the cluster is well, for cron and people",
        description="With --quiet it prints nothing when all is well. Checks have stable ids; one\n"
        "that fires says its cause, the first items and the command to type next.\n"
        "A report is kept, for [health] keep_s, whenever a check changes.",
        arguments=_arguments,
        run=_health,
        examples=(
            Example("dfs-admin health", "every check, the worst first"),
            Example("dfs-admin health --quiet", "for cron: silent when all is well"),
            Example("dfs-admin health --probe --json", "ask DataNodes now; for programs"),
            Example("dfs-admin health --check blocks_missing,disk_full", "these two alone"),
            Example("dfs-admin health --history -n 5", "when it last changed"),
        ),
        own_exits=(
            (0, "OK"),
            (1, "WARNING"),
            (2, "CRITICAL (or the command line is wrong)"),
            (3, "UNKNOWN: no NameNode answered, or not logged in as an administrator"),
        ),
    ),
)
