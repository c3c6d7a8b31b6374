"""How a transfer of many files is cut into batches, and how they and their blocks run at once."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    Future,
    ThreadPoolExecutor,
    wait,
)
from typing import Final, TypeVar

from dfs.base.units import MiB
from dfs.transfer.waiting import awake_until

T = TypeVar("T")
R = TypeVar("R")

BATCH_FILES_MAX: Final = 500
# What a batch may hold so that its tokens, which live ten minutes, do not run out in the queue.
BATCH_BYTES_MAX: Final = 128 * MiB


def batches(
    files: Iterable[T], *, cost: Callable[[T], tuple[int, ...]], most: tuple[int, ...]
) -> Iterator[list[T]]:
    """The files in runs that together cost at most `most`, of each kind of cost.

    A file that costs more by itself is a batch of its own.
    """
    batch: list[T] = []
    total = (0,) * len(most)
    for file in files:
        costs = cost(file)
        grown = tuple(map(sum, zip(total, costs, strict=True)))
        if batch and any(each > limit for each, limit in zip(grown, most, strict=True)):
            yield batch
            batch, grown = [], costs
        batch.append(file)
        total = grown
    if batch:
        yield batch


def run_batches(
    cut: Iterable[list[T]],
    run: Callable[[list[T]], None],
    *,
    at_once: int,
    stop: Callable[[], None],
) -> None:
    """Run every batch, so many at once.

    What `run` raises is a bug of ours: refusals it keeps with their files.

    Args:
        stop: ends what is under way, when anything is raised (^C as well).
    """
    under_way: set[Future[None]] = set()
    with ThreadPoolExecutor(at_once, "dfs-batch") as pool:
        try:
            for batch in cut:
                if len(under_way) >= at_once:
                    under_way = _drained(under_way)
                under_way.add(pool.submit(run, batch))
            while under_way:
                under_way = _drained(under_way)
        except BaseException:
            stop()
            raise


def all_of(work: Callable[[T], R], items: Sequence[T], *, at_once: int) -> list[R]:
    """What `work` makes of each, in order, so many at once.

    The first failure keeps those not begun from beginning, and is raised when the others ended.
    """
    if len(items) <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(at_once, len(items)), "dfs-block") as pool:
        futures = [pool.submit(work, item) for item in items]
        _wait_for(futures, FIRST_EXCEPTION)
        pool.shutdown(wait=False, cancel_futures=True)
        _wait_for([future for future in futures if not future.cancelled()], ALL_COMPLETED)
    failed = (future.exception() for future in futures if not future.cancelled())
    first = next((error for error in failed if error is not None), None)
    if first is not None:
        raise first
    return [future.result() for future in futures]


def result_of(future: Future[R]) -> R:
    """What comes of it, or is raised in it; waits for that, and hears Ctrl-C meanwhile."""
    _wait_for([future], ALL_COMPLETED)
    return future.result()


def _drained(under_way: set[Future[None]]) -> set[Future[None]]:
    """Wait for one of them; a bug in one is raised here."""
    _wait_for(under_way, FIRST_COMPLETED)
    done = {future for future in under_way if future.done()}
    for future in done:
        future.result()
    return under_way - done


def _wait_for(futures: Collection[Future[R]], what: str) -> None:
    """Wait as `concurrent.futures.wait` does, and hear Ctrl-C meanwhile."""

    def has_come(seconds: float) -> bool:
        done, left = wait(futures, seconds, what)
        if what == FIRST_COMPLETED:
            return bool(done)
        failed = what == FIRST_EXCEPTION and any(map(_has_failed, done))
        return failed or not left

    awake_until(has_come)


def _has_failed(done: Future[R]) -> bool:
    return not done.cancelled() and done.exception() is not None
