"""The progress bar of a transfer on a terminal.  Loaded only when one may be shown."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from dfs.base.units import format_duration, format_size
from dfs.cli.watch import Watch

if TYPE_CHECKING:
    from dfs.base.errors import DfsError
    from dfs.cli.verbs import Context

BAR_AFTER_S: Final = 0.5
REFRESH_PER_S: Final = 8
MOVE_EVERY_S: Final = 0.05


class BytesColumn(ProgressColumn):
    """``30.1 MiB of 1.2 GiB``."""

    def render(self, task: Task) -> Text:
        """The column's text now."""
        done = format_size(task.completed)
        return Text(done if task.total is None else f"{done} of {format_size(task.total)}")


class RateColumn(ProgressColumn):
    """``40 MiB/s  ETA 29s``."""

    def render(self, task: Task) -> Text:
        """The column's text now."""
        rate = f"{format_size(task.speed)}/s" if task.speed else "-"
        left_s = task.time_remaining
        return Text(f"{rate}  ETA {format_duration(left_s)}" if left_s else rate)


class BarWatch(Watch):
    """A watch that draws.  It is taken away at the end; the report's line remains."""

    def __init__(self, context: Context, verb: str) -> None:
        super().__init__(context, verb)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),  # alone gives way where the terminal is narrow
            BytesColumn(Column(no_wrap=True)),
            RateColumn(Column(no_wrap=True)),
            TextColumn("{task.fields[files]}", table_column=Column(no_wrap=True)),
            console=Console(file=context.out.stderr, highlight=False),
            refresh_per_second=REFRESH_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(verb, total=None, files="")
        self._shown = False
        self._closed = False
        self._due_s = self.began_s
        self._timer = threading.Timer(BAR_AFTER_S, self._show)
        self._timer.daemon = True
        self._timer.start()

    def changed(self) -> None:
        """Move the bar, once it is shown; not for each of thousands of small files."""
        now_s = self.context.clock.monotonic_s()
        if self._shown and (now_s >= self._due_s or self.done_bytes >= self.size_bytes):
            self._due_s = now_s + MOVE_EVERY_S
            self._move()

    def _move(self) -> None:
        files = f"{self.files_done:,}/{self.files:,} files" if self.files > 1 else ""
        self._progress.update(
            self._task,
            total=self.size_bytes or None,
            completed=max(self.done_bytes, 0),
            files=files,
        )

    def fail(self, path: str, error: DfsError) -> None:
        """Say a failure above the bar."""
        with self.lock, self._bar_away():
            super().fail(path, error)

    def note(self, text: str) -> None:
        """Say something above the bar."""
        with self.lock, self._bar_away():
            super().note(text)

    def close(self) -> None:
        """Take the bar away."""
        self._timer.cancel()
        with self.lock:
            self._closed = True
            if self._shown:
                self._progress.stop()

    def _show(self) -> None:
        with self.lock:
            if not self._closed:
                self._shown = True
                self._move()
                self._progress.start()

    @contextlib.contextmanager
    def _bar_away(self) -> Iterator[None]:
        """Lines are printed while no bar is drawn: it would leave its traces between them."""
        if self._shown:
            self._progress.stop()
        try:
            yield
        finally:
            if self._shown and not self._closed:
                self._move()
                self._progress.start()
