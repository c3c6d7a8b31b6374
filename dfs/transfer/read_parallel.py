"""Reading the stretches of a file: in order with several under way, or each to its place in a file.

`stream` hands pieces on in order while later blocks are already being fetched.  `PlacedOutlet`
writes each block at its offset of a local file, in any order.  What makes the bytes right is told
in `replica_reader.py`.
"""

import errno
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor

from dfs.base.checksum import Buffer
from dfs.base.errors import DfsError, LocalDiskFull, LocalIoError
from dfs.transfer.ranges import Stretch
from dfs.transfer.replica_reader import Relocate, ReplicaReader
from dfs.transfer.window import Held, TakerGone, Window
from dfs.wire.channel import PIECE_BYTES


def stream(
    reader: ReplicaReader,
    path: str,
    stretches: Sequence[Stretch],
    *,
    relocate: Relocate,
    blocks_ahead: int,
    pieces_in_flight: int,
) -> Generator[Buffer, None, None]:
    """The bytes of the stretches, in order.

    Memory is at most `blocks_ahead * pieces_in_flight` MiB: of each block under way, half the
    pieces wait to be taken and half are kept back until more of the block is known to be good.

    Raises:
        DataUnavailable, BlockCorrupt, DfsError: as `ReplicaReader.read`, in place of the first
            byte that is not there.
    """
    assert blocks_ahead >= 1
    half = max(1, pieces_in_flight // 2)
    pool = ThreadPoolExecutor(blocks_ahead, "dfs-read")
    ahead: deque[Window] = deque()
    waiting = iter(stretches)

    def begin() -> None:
        stretch = next(waiting, None)
        if stretch is not None:
            window = Window(pieces_max=half)
            ahead.append(window)
            kept = half * PIECE_BYTES if stretch.has_proof else 0
            pool.submit(_fill, reader, path, stretch, Held(window, keep_bytes=kept), relocate)

    try:
        for _ in range(blocks_ahead):
            begin()
        while ahead:
            yield from ahead[0]
            ahead.popleft()
            begin()
    finally:
        for window in ahead:
            window.cancel()
        pool.shutdown(wait=False, cancel_futures=True)  # a stalled node must not hold us here


def _fill(
    reader: ReplicaReader, path: str, stretch: Stretch, held: Held, relocate: Relocate
) -> None:
    """Fetch one stretch into its window; what goes wrong goes into it too."""
    try:
        reader.read(path, stretch, HeldOutlet(held), relocate)
        held.release_all()
        held.window.finish()
    except TakerGone:
        pass
    except DfsError as exc:
        held.window.fail(exc)
    except BaseException as exc:
        held.window.fail(exc)
        raise


class HeldOutlet:
    """Puts pieces into a window, keeping back what may still turn out wrong.  See `Outlet`."""

    def __init__(self, held: Held) -> None:
        self._held = held

    @property
    def keeps_bytes(self) -> int:
        """See `Outlet`."""
        return self._held.keep_bytes

    def take(self, offset: int, data: Buffer) -> None:  # noqa: ARG002 - a stream has one place
        """See `Outlet`."""
        self._held.add(data)

    def restart(self) -> bool:
        """See `Outlet`."""
        return self._held.drop()


class PlacedOutlet:
    """Writes pieces at their place in a local file, which nobody sees before it is complete.

    Args:
        offset: where the stretch begins in the file.
        wrote: told how many bytes more there are; a block that starts over counts once.
    """

    keeps_bytes = 1 << 62  # all of it can be taken back

    def __init__(self, fd: int, offset: int, wrote: Callable[[int], None]) -> None:
        self._fd = fd
        self._offset = offset
        self._wrote = wrote
        self._counted = 0

    def take(self, offset: int, data: Buffer) -> None:
        """See `Outlet`.

        Raises:
            LocalDiskFull, LocalIoError: the local file cannot be written.
        """
        view, at = memoryview(data), self._offset + offset
        try:
            while view:
                written = os.pwrite(self._fd, view, at)
                view, at = view[written:], at + written
        except OSError as exc:
            raise local_write_error(exc) from exc
        reached = offset + len(data)
        if reached > self._counted:
            self._wrote(reached - self._counted)
            self._counted = reached

    def restart(self) -> bool:
        """See `Outlet`."""
        return True


def local_write_error(exc: OSError, what: str = "") -> DfsError:
    """What a failed write to the local disk means."""
    where = what or exc.filename or "a local file"
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return LocalDiskFull(f"no space left on this computer for {where}")
    return LocalIoError(f"cannot write {where}: {exc.strerror or exc}")
