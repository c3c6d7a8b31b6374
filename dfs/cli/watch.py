"""Counts a transfer while it runs, and says where it is in a plain line now and then."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from dfs.base.errors import Stopping
from dfs.base.units import format_duration, format_size
from dfs.cli import render

if TYPE_CHECKING:
    from dfs.base.errors import DfsError
    from dfs.cli.verbs import Context

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
