"""Where a job of the cluster is, said in a plain line now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfs.cli.watch import LINE_EVERY_S

if TYPE_CHECKING:
    from dfs.cli.verbs import Context


class JobProgress:
    """By itself it prints plain lines: at the start of each stage, and now and then."""

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
