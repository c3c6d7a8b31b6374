"""What a person sees of a job of the cluster while a command waits for it.

On a terminal a bar with words behind it; without one a plain line now and then; nothing for
programs.  What the job is and when it is done, the verb knows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dfs.cli.job_watch import JobProgress

if TYPE_CHECKING:
    from dfs.cli.verbs import Context


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
