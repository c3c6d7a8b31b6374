"""What a person sees of a job of the cluster while a command waits for it.

On a terminal a bar with words behind it; without one a plain line now and then; nothing for
programs.  What the job is and when it is done, the verb knows; but a job that says so itself, by
its state, is followed here to its end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from dfs.cli.job_watch import JobProgress

if TYPE_CHECKING:
    from dfs.cli.verbs import Context

RUNNING: Final = "running"
POLL_S: Final = 0.5


class Job(Protocol):
    """What a NameNode answers about a job of its own."""

    @property
    def state(self) -> str:
        """RUNNING, or how it ended."""
        ...


J = TypeVar("J", bound=Job)


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


def follow(
    context: Context,
    verb: str,
    reply: J,
    *,
    ask: Callable[[Context], J],
    sight: Callable[[J], tuple[float, str]],
) -> J:
    """Wait until a job of the NameNode is over; how it ended.

    It goes on when the waiting ends: ^C says so, and how to stop it.

    Args:
        verb: of `dfs-admin`, which has a `status --wait` and a `stop`.
        reply: how the job is now.
        sight: how much of it is behind, 0 to 1, and words about it.
    """
    try:
        with following(context, verb) as progress:
            while reply.state == RUNNING:
                progress.show(*sight(reply))
                context.clock.sleep(POLL_S)
                reply = ask(context)
    except KeyboardInterrupt:
        context.out.note(
            f"it goes on without you; watch it: dfs-admin {verb} status --wait; "
            f"end it: dfs-admin {verb} stop"
        )
        raise
    return reply
