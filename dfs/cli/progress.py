"""What a person sees of a transfer while it runs, and the line that remains of it.

On a terminal a bar with rate and ETA, once the transfer takes longer than half a second; without
one a plain line now and then; nothing for programs.  Failures are said when they happen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dfs.base.units import format_duration, format_size
from dfs.cli import render
from dfs.cli.watch import Watch

if TYPE_CHECKING:
    from dfs.cli.verbs import Context
    from dfs.client import TransferReport


@contextlib.contextmanager
def watching(context: Context, verb: str) -> Iterator[Watch]:
    """The right watch for where the command runs."""
    if not context.out.wants_progress:
        yield Watch(context, verb)
        return
    from dfs.cli.progress_bar import BarWatch  # noqa: PLC0415 - start-up time

    bar = BarWatch(context, verb)
    try:
        yield bar
    finally:
        bar.close()


def report_line(watch: Watch, report: TransferReport) -> str:
    """``put 5,120 files, 1.2 GiB in 12.3s (102 MiB/s), 12 skipped``."""
    seconds = max(watch.elapsed_s, 0.001)
    rate = f" ({format_size(report.size_bytes / seconds)}/s)" if report.size_bytes else ""
    parts = [
        f"{watch.verb} {render.count(report.files, 'file')}, "
        f"{format_size(report.size_bytes)} in {format_duration(seconds)}{rate}"
    ]
    if report.skipped:
        parts.append(f"{report.skipped:,} skipped")
    if report.failed:
        parts.append(f"{len(report.failed):,} failed")
    return ", ".join(parts)
