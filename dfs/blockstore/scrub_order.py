"""Pure: what the scrubber of a volume reads next, and when a pass begins and ends.

    1 suspects that are due
    2 new blocks that are old enough and were never read back
    3 the others the pass is not done with, those first that were read longest ago

Two and three come in batches, each sorted by inode: about the order on the disk.

Coverage hangs on the number of the pass, never on the clock.  Each block carries the newest pass
that is done with it; a pass is over when no block carries an older number.  A clock that jumps may
start the next pass early or late; it cannot make one leave a block out.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

# Passes begin at least this share of the promised interval apart: what is read at the end of one
# is read again in time by the next, and a small volume is not read round the clock.
APART_SHARE: Final = 0.5
BATCH_MAX: Final = 1_000


class OnDisk(Protocol):
    """What has a place on the disk."""

    @property
    def inode(self) -> int:
        """Of the local file system."""
        ...


D = TypeVar("D", bound=OnDisk)


def disk_order(batch: Iterable[D]) -> list[D]:
    """A batch as the disk's head meets it."""
    return sorted(batch, key=lambda row: row.inode)


@dataclass(frozen=True, slots=True)
class PassState:
    """Where a volume is with its passes."""

    number: int = 0  # of the pass under way, or the last; 0 before the first
    is_done: bool = True
    begun_ms: int = 0
    ended_ms: int = 0
    run: int = 0  # the newest ordered pass, by its giver's count
    run_pass: int = 0  # and by ours; 0 when it is done

    @property
    def is_ordered(self) -> bool:
        """Whether somebody waits for the pass under way."""
        return not self.is_done and self.run_pass == self.number


def due_pass(state: PassState, *, now_ms: int, slo_s: float) -> str:
    """Why a pass must begin now; empty when none must."""
    if not state.number:
        return "the first"
    if not state.is_done:
        return ""
    since_ms = now_ms - state.begun_ms
    if since_ms < 0:
        return "the clock went back behind the last pass"
    if since_ms >= slo_s * 1000 * APART_SHARE:
        return "the last began half of the promised interval ago"
    return ""


def begin_pass(state: PassState, *, now_ms: int) -> PassState:
    """The next pass: nothing that is held now is done."""
    return replace(state, number=state.number + 1, is_done=False, begun_ms=now_ms)


def begin_run(state: PassState, run: int, *, now_ms: int) -> PassState:
    """A pass that was ordered; the same or an older order changes nothing."""
    if run <= state.run:
        return state
    begun = begin_pass(state, now_ms=now_ms)
    return replace(begun, run=run, run_pass=begun.number)


def end_pass(state: PassState, *, now_ms: int) -> PassState:
    """No block is left of the pass; an order is fulfilled with it."""
    return replace(state, is_done=True, ended_ms=now_ms, run_pass=0)


def is_paused(until_ms: int, *, now_ms: int, pause_max_s: float) -> bool:
    """Whether a pause goes on; one that would last longer than any may is a clock that jumped."""
    return 0 < until_ms - now_ms <= pause_max_s * 1000
