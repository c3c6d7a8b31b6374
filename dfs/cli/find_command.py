"""The verb find: everything below a path that fits, filtered by the NameNode.

Takes the spellings of GNU find (`-name`, `-mtime -7`, `-size +10M`) and the same with two dashes.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from dfs.base.errors import BadRequest
from dfs.base.states import InodeKind
from dfs.base.units import parse_duration_s, parse_size
from dfs.cli import render
from dfs.cli.arguments import count_argument, remote_paths
from dfs.cli.tree_commands import GROUP, LONG_COLUMNS, long_row
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_NOT_FOUND

if TYPE_CHECKING:
    from dfs.base.records import FileStatus
    from dfs.wire.files_api import FindRequest

KINDS: Final = {"f": InodeKind.FILE, "d": InodeKind.DIRECTORY}


def _find_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="*", help="where to begin (default: where you are)")
    parser.add_argument("-name", "--name", metavar="GLOB", default="*", help="the last name fits")
    parser.add_argument("-type", "--type", choices=sorted(KINDS), help="f: files, d: directories")
    parser.add_argument(
        "-size", "--size", metavar="[+-]SIZE", help="+10M: larger, -1k: smaller, 4096: exactly"
    )
    parser.add_argument(
        "-mtime", "--mtime", metavar="[+-]AGE", help="-7d: changed within, +7d: longer ago"
    )
    parser.add_argument("--after", metavar="TIME", help="changed at or after 2026-11-22[T10:54]")
    parser.add_argument("--before", metavar="TIME", help="changed before that time")
    parser.add_argument(
        "-maxdepth", "--maxdepth", type=int, metavar="N", help="at most N levels below"
    )
    parser.add_argument("-l", dest="long", action="store_true", help="as ls -l shows them")
    parser.add_argument(
        "-0", "-print0", dest="nul", action="store_true", help="names raw, ended by NUL (xargs -0)"
    )
    parser.add_argument("--limit", type=count_argument, metavar="N", help="stop after N")


def _find(context: Context) -> int:
    found = _all_found(context)
    if context.args.long:
        with context.out.table(columns=LONG_COLUMNS, right=(1, 4)) as table:
            for status in found:
                long_row(table, status, human=False, whole_path=True)
    else:
        _print_paths(context, found)
    return context.code()


def _print_paths(context: Context, found: Iterator[FileStatus]) -> None:
    with context.out.table(columns=1) as table:
        for status in found:
            table.silent_row(render.status_json(status))
            if context.args.nul:
                context.out.raw(status.path + "\0")
            else:
                context.out.line(status.path)


def _all_found(context: Context) -> Iterator[FileStatus]:
    left = context.args.limit
    for path in context.remotes(context.args.paths or ["."]):
        with context.going_on():
            for status in context.client.find(_request(context, path)):
                yield status
                left = None if left is None else left - 1
                if left == 0:
                    return


def _request(context: Context, path: str) -> FindRequest:
    from dfs.wire.files_api import FindRequest  # noqa: PLC0415 - start-up time

    args = context.args
    smallest, largest = size_bounds(args.size) if args.size else (0, None)
    after_ms, before_ms = (
        age_bounds(args.mtime, context.clock.now_ms())
        if args.mtime
        else (
            None,
            None,
        )
    )
    return FindRequest(
        path=path,
        name=args.name,
        kind=KINDS[args.type].value if args.type else "",
        size_min_bytes=smallest,
        size_max_bytes=largest,
        modified_after_ms=time_ms(args.after) if args.after else after_ms,
        modified_before_ms=time_ms(args.before) if args.before else before_ms,
        depth_max=args.maxdepth,
    )


def size_bounds(text: str) -> tuple[int, int | None]:
    """Smallest and largest size in bytes, both inclusive, meant by ``+10M``, ``-1k``, ``4096``.

    Raises:
        BadRequest: not a size.
    """
    size_bytes = parse_size(text.lstrip("+-"))
    if text.startswith("+"):
        return size_bytes + 1, None
    if text.startswith("-"):
        return 0, max(0, size_bytes - 1)
    return size_bytes, size_bytes


def age_bounds(text: str, now_ms: int) -> tuple[int | None, int | None]:
    """Earliest and latest time meant by ``-7d`` (within) or ``+7d`` (longer ago); bare: days.

    Raises:
        BadRequest: not an age with a sign.
    """
    match = re.fullmatch(r"([+-])(\d+(?:\.\d+)?)([a-z]*)", text)
    if match is None:
        raise BadRequest(f"not an age: {text!r}", hint="write -7d (within) or +12h (longer ago)")
    edge_ms = now_ms - int(parse_duration_s(match[2] + (match[3] or "d")) * 1000)
    return (edge_ms, None) if match[1] == "-" else (None, edge_ms)


def time_ms(text: str) -> int:
    """Milliseconds meant by ``2026-11-22``, ``2026-11-22T10:54`` (local) or with a zone.

    Raises:
        BadRequest: not a time.
    """
    from datetime import datetime  # noqa: PLC0415 - start-up time

    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise BadRequest(
            f"not a time: {text!r}", hint="write 2026-11-22 or 2026-11-22T10:54"
        ) from None


VERBS: Final = (
    Verb(
        name="find",
        group=GROUP,
        may_be_stale=True,
        summary="Find files and directories by name, type, size and age",
        description="The path itself is looked at too.  Options take one dash or two.",
        arguments=_find_arguments,
        run=_find,
        examples=(
            Example("dfs find /data -name '*.csv' -size +1G", "large CSV files"),
            Example("dfs find . -type f -mtime -1d", "files changed within a day"),
            Example("dfs find /tmp -type f -mtime +30 -0 | xargs -0 dfs rm", "clean up, any name"),
        ),
        exits=(*ONLINE, EXIT_NOT_FOUND),
    ),
)
