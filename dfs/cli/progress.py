"""What a person sees of a transfer while it runs, and the line that remains of it.

On a terminal a bar with rate and ETA, once the transfer takes longer than half a second; without
one a plain line now and then; nothing for programs.  Failures are said when they happen.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from dfs.base.errors import Stopping
from dfs.base.units import format_duration, format_size
from dfs.cli import render

if TYPE_CHECKING:
    from dfs.base.errors import DfsError
    from dfs.cli.verbs import Context
    from dfs.client import TransferReport

BAR_AFTER_S: Final = 0.5
LINE_EVERY_S: Final = 10.0


class Watch:
    """Counts a transfer (the client's `Progress`); by itself it prints plain lines.

    Called from several threads.
    """

    def __init__(self, context: Context, verb: str) -> None:
        self.context = context
        self.verb = verb
        self.files = self.files_done = self.size_bytes = self.done_bytes = 0
        self.said: set[str] = set()
        self.lock = threading.RLock()
        self.began_s = context.clock.monotonic_s()
        self._line_due_s = self.began_s + LINE_EVERY_S

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return self.context.clock.monotonic_s() - self.began_s

    def started(self, files: int, size_bytes: int) -> None:
        """See the client's `Progress`."""
        with self.lock:
            self.files += files
            self.size_bytes += size_bytes
            self.changed()

    def advanced(self, size_bytes: int) -> None:
        """See the client's `Progress`."""
        with self.lock:
            self.done_bytes += size_bytes
            self.changed()

    def file_done(self, path: str, size_bytes: int, error: DfsError | None) -> None:
        """See the client's `Progress`."""
        with self.lock:
            self.files_done += 1
            if isinstance(error, Stopping):
                pass  # ^C ends every file under way; were it something else, the report has it
            elif error is not None:
                self.fail(path, error)
            elif self.context.out.verbose:
                self.note(f"{path} ({format_size(size_bytes)})")
            self.changed()

    def fail(self, path: str, error: DfsError) -> None:
        """Say a failure once."""
        if path not in self.said:
            self.said.add(path)
            self.context.note(error)

    def note(self, text: str) -> None:
        """See the client's `Progress`."""
        with self.lock:
            self.context.out.note(text)

    def changed(self) -> None:
        """Something moved."""
        now_s = self.context.clock.monotonic_s()
        if now_s >= self._line_due_s:
            self._line_due_s = now_s + LINE_EVERY_S
            self.context.out.note(self.status_line())

    def status_line(self) -> str:
        """``put: 12 of 5,000 files, 30 MiB of 1.2 GiB, 40 MiB/s, ETA 29s``."""
        rate = self.done_bytes / max(self.elapsed_s, 0.001)
        parts = [
            f"{self.files_done:,} of {render.count(self.files, 'file')}",
            f"{format_size(self.done_bytes)} of {format_size(self.size_bytes)}"
            if self.size_bytes
            else format_size(self.done_bytes),
            f"{format_size(rate)}/s",
        ]
        if rate > 0 and self.size_bytes > self.done_bytes:
            parts.append(f"ETA {format_duration((self.size_bytes - self.done_bytes) / rate)}")
        return f"{self.verb}: {', '.join(parts)}"


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
