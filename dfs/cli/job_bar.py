"""The bar of a job of the cluster on a terminal.  Loaded only when one may be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from dfs.cli import render
from dfs.cli.job_watch import JobProgress
from dfs.cli.progress_bar import REFRESH_PER_S

if TYPE_CHECKING:
    from dfs.cli.verbs import Context


class JobBar(JobProgress):
    """A progress that draws; it is taken away at the end."""

    def __init__(self, context: Context, label: str) -> None:
        super().__init__(context, label)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),  # alone gives way where the terminal is narrow
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[words]}", markup=False, table_column=Column(no_wrap=True)),
            console=Console(file=context.out.stderr, highlight=False),
            refresh_per_second=REFRESH_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(label, total=1.0, words="")
        self._progress.start()

    def show(self, share: float, words: str) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=share, words=words)

    def label(self, label: str) -> None:
        """Name the next stage."""
        self._progress.update(self._task, description=label)

    def note(self, text: str) -> None:
        """Say something above the bar."""
        self._progress.console.print(render.plain(text), markup=False, highlight=False)

    def close(self) -> None:
        """Take the bar away."""
        self._progress.stop()
