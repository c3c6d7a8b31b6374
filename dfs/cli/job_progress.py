"""What a person sees of a job of the cluster while a command waits for it.

On a terminal a bar with words behind it; without one a plain line now and then; nothing for
programs.  What the job is and when it is done, the verb knows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dfs.cli.watch import LINE_EVERY_S

if TYPE_CHECKING:
    from dfs.cli.verbs import Context


class JobProgress:
    """By itself it prints plain lines: when the words change their kind, and now and then."""

    def __init__(self, context: Context, label: str) -> None:
        self._context = context
        self._label = label
        self._due_s = 0.0

    def show(self, share: float, words: str) -> None:
        """The job is that far (0 to 1)."""
        now_s = self._context.clock.monotonic_s()
        if now_s >= self._due_s:
            self._due_s = now_s + LINE_EVERY_S
            self._context.out.note(f"{self._label}: {share:.0%}, {words}")

    def label(self, label: str) -> None:
        """The next stage of the job has begun."""
        if label != self._label:
            self._label = label
            self._due_s = 0.0

    def note(self, text: str) -> None:
        """Something happened that is worth a line of its own."""
        self._context.out.note(text)

    def close(self) -> None:
        """Take away what was drawn."""


@contextlib.contextmanager
def following(context: Context, label: str) -> Iterator[JobProgress]:
    """The right progress for where the command runs."""
    if not context.out.wants_progress:
        yield JobProgress(context, label)
        return
    from dfs.cli.job_bar import JobBar  # noqa: PLC0415 - start-up time

    bar = JobBar(context, label)
    try:
        yield bar
    finally:
        bar.close()
