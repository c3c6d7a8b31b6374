"""Copying files and trees out.

Small files are fetched many at a time (`bulk_get.py`).  Each other file is written beside its
target under a temporary name, its blocks in any order at their offsets, every byte verified; what
its blocks hash to is compared with the file's checksum; then it gets its mode, its time and its
name.  A failing file leaves nothing and stops no other.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import BinaryIO, Final

from dfs.base.checksum import Buffer, file_checksum
from dfs.base.errors import (
    DataUnavailable,
    DfsError,
    IsADirectory,
    LocalNotFound,
    Stopping,
)
from dfs.base.records import LocatedFile
from dfs.base.states import InodeKind
from dfs.client.batches import BATCH_BYTES_MAX, BATCH_FILES_MAX, all_of, batches, run_batches
from dfs.client.bulk_get import BulkGet, cut, divide
from dfs.client.cluster_link import ClusterLink
from dfs.client.get_plan import GetPlan, Wanted, plan_get
from dfs.client.local_files import PartFile, check_free, make_directory
from dfs.client.options import GetOptions, Progress, TransferReport
from dfs.client.tally import Tally
from dfs.transfer.ranges import Stretch, check_extents, stretches
from dfs.transfer.read_parallel import PlacedOutlet, local_write_error, stream
from dfs.transfer.replica_reader import Relocate

BATCH_EXTENTS_MAX: Final = 10_000  # half of what a NameNode locates in one request
_COST_MAX: Final = (BATCH_FILES_MAX, BATCH_BYTES_MAX, BATCH_EXTENTS_MAX)


def get(
    cluster: ClusterLink,
    sources: Sequence[str],
    target: Path,
    options: GetOptions,
    progress: Progress,
) -> TransferReport:
    """See `DfsClient.get`."""
    plan = plan_get(cluster.names, sources, target, recursive=options.recursive)
    return _Get(cluster, plan, options, progress).run()


def get_stream(
    cluster: ClusterLink,
    path: str,
    out: BinaryIO,
    *,
    offset: int,
    length: int | None,
    progress: Progress,
) -> int:
    """See `DfsClient.get_stream`.  A negative offset counts from the end.

    Raises:
        IsADirectory: there are no bytes in it.
        DataUnavailable, BlockCorrupt: from some byte on the file cannot be read; those written
            before are right (but see `dfs.transfer.replica_reader`, 4).
        BrokenPipeError: nobody reads `out` any more.
    """
    located = cluster.names.locate(path)
    if located.status.kind is not InodeKind.FILE:
        raise IsADirectory(f"is a directory: {path}", hint="name a file")
    size = check_extents(located.extents)
    begin = max(0, size + offset) if offset < 0 else min(offset, size)
    wanted = size - begin if length is None else max(0, min(length, size - begin))
    progress.started(1, wanted)
    settings, plane = cluster.settings, cluster.plane
    written = 0
    pieces = stream(
        plane.reader,
        located.status.path,
        stretches(located.extents, begin, wanted, checksum=located.status.checksum),
        relocate=plane.relocator(located.status),
        blocks_ahead=settings.blocks_in_flight,
        pieces_in_flight=settings.chunks_in_flight,
    )
    with contextlib.closing(pieces):
        for piece in pieces:
            write_all(out, piece)
            written += len(piece)
            progress.advanced(len(piece))
    progress.file_done(path, written, None)
    return written


def write_all(out: BinaryIO, piece: Buffer) -> None:
    """Write all of the bytes.

    Raises:
        BrokenPipeError: nobody reads `out` any more.
        LocalDiskFull, LocalIoError: it does not take them.
    """
    try:
        view = memoryview(piece)
        while view:
            view = view[out.write(view) or 0 :]
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise local_write_error(exc, "the output") from exc


class _Get:
    """One get, from its plan to its report."""

    def __init__(
        self, cluster: ClusterLink, plan: GetPlan, options: GetOptions, progress: Progress
    ) -> None:
        settings = cluster.settings
        self._cluster = cluster
        self._plane = cluster.plane
        self._plan = plan
        self._options = options
        self._progress = progress
        self._jobs = options.jobs or settings.jobs
        self._in_flight = settings.blocks_in_flight
        self._downloads = ThreadPoolExecutor(self._jobs, "dfs-get")
        self._tally = Tally(progress)
        self._bulk = BulkGet(cluster, options, progress, self._tally)
        self._lock = threading.Lock()
        self._left: list[Wanted] = []  # small ones that have to be got by themselves after all
        self._refused: set[str] = set()  # directories of this computer that were not made
        self._stopped = False

    def run(self) -> TransferReport:
        plan = self._plan
        self._tally.begin(len(plan.files), plan.size_bytes, failed=plan.failed)
        try:
            made = self._make_directories()
            small, large = divide(self._those_with_room(plan.files, made))
            self._run(cut(small), self._run_small)
            self._run(batches(large + self._left, cost=_cost, most=_COST_MAX), self._run_batch)
            self._close_directories(made)
        except BaseException:
            self._stop()
            raise
        self._downloads.shutdown()
        return self._tally.report

    def _run(self, some: Iterable[list[Wanted]], run: Callable[[list[Wanted]], None]) -> None:
        run_batches(some, run, at_once=self._jobs, stop=self._stop)

    def _run_small(self, batch: list[Wanted]) -> None:
        left = self._bulk.get(batch)
        with self._lock:
            self._left += left

    def _make_directories(self) -> list[Wanted]:
        """Make them, open to us for now; the new ones."""
        made: list[Wanted] = []
        for wanted in self._plan.directories:
            if _above(wanted) in self._refused:
                self._refused.add(wanted.local)
                continue
            try:
                if make_directory(wanted.path):
                    made.append(wanted)
                self._tally.directory()
            except DfsError as exc:
                self._refused.add(wanted.local)
                self._tally.fail(wanted.status.path, exc)
        return made

    def _close_directories(self, made: list[Wanted]) -> None:
        """Modes and times, innermost first, as filling a directory changes its time."""
        for wanted in reversed(made):
            modified_ns = wanted.status.modified_ms * 1_000_000
            try:
                wanted.path.chmod(wanted.status.mode & 0o777)
                os.utime(wanted.local, ns=(modified_ns, modified_ns))
            except OSError as exc:
                self._progress.note(f"{wanted.local}: mode and time not set: {exc.strerror}")

    def _those_with_room(self, files: Sequence[Wanted], made: Sequence[Wanted]) -> list[Wanted]:
        """The files whose targets are free: what is refused is refused before bytes move."""
        left: list[Wanted] = []
        homeless: list[tuple[str, DfsError]] = []
        new = {directory.local for directory in made}
        for wanted in files:
            above = _above(wanted)
            if above in new:
                left.append(wanted)
                continue
            if above in self._refused:
                error = LocalNotFound(f"no such directory on this computer: {above}")
                homeless.append((wanted.status.path, error))
                continue
            try:
                check_free(wanted.path, overwrite=self._options.overwrite)
                left.append(wanted)
            except DfsError as exc:
                self._tally.fail(wanted.status.path, exc)
        self._tally.fail_below(homeless)
        return left

    def _run_batch(self, batch: list[Wanted]) -> None:
        try:
            located = self._cluster.names.locate_all(
                [wanted.status.path for wanted in batch], insist=True
            )
        except DfsError as exc:
            for wanted in batch:
                self._tally.fail(wanted.status.path, exc)
            return
        futures: list[Future[None]] = []
        for wanted, found in zip(batch, located, strict=True):
            if isinstance(found, DfsError):
                self._tally.fail(wanted.status.path, found)
            else:
                futures.append(self._downloads.submit(self._get_one, wanted, found))
        wait(futures)
        for future in futures:
            future.result()  # raises what is a bug of ours

    def _get_one(self, wanted: Wanted, located: LocatedFile) -> None:
        try:
            if self._stopped:
                raise Stopping("the get was ended")
            self._download(wanted.path, located)
        except DfsError as exc:
            self._tally.fail(wanted.status.path, exc)
            return
        self._tally.done(wanted.status.path, located.status.size_bytes)

    def _download(self, target: Path, located: LocatedFile) -> None:
        status = located.status
        size = check_extents(located.extents)
        whole = stretches(located.extents, 0, size, checksum=status.checksum)
        relocate = self._plane.relocator(status)
        overwrite = self._options.overwrite
        with PartFile(target, size_bytes=size, overwrite=overwrite) as part:
            digests = self._fetch_all(part.fd, status.path, whole, relocate)
            lengths = [stretch.length_bytes for stretch in whole]
            if file_checksum(zip(lengths, digests, strict=True)) != status.checksum:
                raise DataUnavailable(
                    f"{status.path}: its blocks are intact but do not add up to its checksum",
                    hint="see: dfs-admin fsck PATH",
                )
            part.publish(mode=status.mode, modified_ms=status.modified_ms)

    def _fetch_all(
        self, fd: int, path: str, whole: Sequence[Stretch], relocate: Relocate
    ) -> list[bytes]:
        """Fetch every stretch to its place in the file; their hashes, in order."""

        def fetch(stretch: Stretch) -> bytes:
            if self._stopped:
                raise Stopping("the get was ended")
            outlet = PlacedOutlet(fd, stretch.file_offset, self._progress.advanced)
            return self._plane.reader.read(path, stretch, outlet, relocate)

        return all_of(fetch, whole, at_once=self._in_flight)

    def _stop(self) -> None:
        """The get is ended from outside (Ctrl-C): what is under way ends and removes its parts."""
        if not self._stopped:
            self._stopped = True
            self._bulk.stop()
            self._tally.end()
            self._cluster.drop_plane()
            self._downloads.shutdown(wait=True)


def _above(wanted: Wanted) -> str:
    return wanted.local.rpartition("/")[0]


def _cost(wanted: Wanted) -> tuple[int, int, int]:
    status = wanted.status
    return 1, status.size_bytes, 1 + status.size_bytes // max(1, status.block_size_bytes)
