"""Copying local files, trees and streams in.

A put of many files asks the NameNode few things: directories are made in one request a depth, small
files packed many to a block (`pack_put.py`), others begun and completed by the hundred, while
`jobs` threads send their content.  One failing file stops no other; it is in the report with its
reason, and nothing of it is visible.

Order of effects for each file not packed: lease (CREATE), blocks durable on DataNodes, visible
(COMPLETE).
Whatever ends the put before the last step leaves blocks that no file shows, which the NameNode
collects when the lease is abandoned or runs out.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from dfs.base import crashpoint
from dfs.base.errors import BadRequest, DfsError, ErrorKind, PathNotFound, Stopping
from dfs.base.records import FileStatus, WrittenBlock
from dfs.base.states import InodeKind
from dfs.base.units import MiB
from dfs.client.already_there import AlreadyThere
from dfs.client.batches import BATCH_BYTES_MAX, BATCH_FILES_MAX, batches, result_of, run_batches
from dfs.client.cluster_link import ClusterLink
from dfs.client.leases import Lease
from dfs.client.namenode_link import error_of, value_of
from dfs.client.names import NamespaceCalls
from dfs.client.options import Progress, PutOptions, TransferReport
from dfs.client.pack_plan import divide
from dfs.client.pack_put import PackPut
from dfs.client.put_directories import PutDirectories
from dfs.client.put_plan import PlannedFile, PutPlan, plan_put
from dfs.client.resume import PutState
from dfs.client.stream_writer import StreamWriter
from dfs.client.tally import Tally
from dfs.client.tree_mark import TreeMark
from dfs.client.upload import Uploader
from dfs.transfer.write_pipeline import WriteMode
from dfs.wire.data_api import (
    CompleteItem,
    CompleteRequest,
    CreateRequest,
    NewFile,
    OpenedFile,
)
from dfs.wire.routes import COMPLETE, CREATE

STREAM_READ_BYTES: Final = 1 * MiB
_COST_MAX: Final = (BATCH_FILES_MAX, BATCH_BYTES_MAX)


@dataclass(slots=True)
class _Writing:
    """A file of a batch."""

    planned: PlannedFile
    opened: OpenedFile
    lease: Lease
    state: PutState | None = None
    blocks: list[WrittenBlock] | None = None
    error: DfsError | None = None


def put(
    cluster: ClusterLink,
    sources: Sequence[Path | str],
    target: str,
    options: PutOptions,
    progress: Progress,
    *,
    state_folder: Path | None,
) -> TransferReport:
    """See `DfsClient.put`; what `--resume` needs is kept in `state_folder`, if anywhere."""
    there = _look(cluster.names, target)
    mark = _mark(sources, target, options, state_folder)
    if there is not None and mark is not None:
        # Gone on with is only what an earlier put made under that name; see `tree_mark`.
        if options.resume and mark.is_of(there):
            there = None
        else:
            mark = None
    kind = None if there is None else there.kind
    plan = plan_put(sources, target, kind, recursive=options.recursive)
    return _Put(cluster, plan, options, progress, state_folder=state_folder, mark=mark).run()


def put_stream(
    cluster: ClusterLink, stream: BinaryIO, target: str, options: PutOptions, progress: Progress
) -> TransferReport:
    """See `DfsClient.put_stream`.

    Raises:
        BadRequest: the target is a directory, where a stream has no name to go by.
        DfsError: it could not be written; nothing is visible.
    """
    there = _look(cluster.names, target)
    if target.endswith("/") or (there is not None and there.kind is InodeKind.DIRECTORY):
        raise BadRequest(f"{target} is a directory; a stream needs the name of a file")
    progress.started(1, 0)
    writer = StreamWriter(
        cluster, target, options=options, permissions=0o644, moved=progress.advanced
    )
    try:
        while data := stream.read(STREAM_READ_BYTES):
            writer.write(data)
        completed = writer.complete()
    except BaseException:
        writer.abandon()
        raise
    progress.file_done(target, writer.size_bytes, None)
    return TransferReport(files=1, size_bytes=writer.size_bytes, owed=completed.owed)


def _look(names: NamespaceCalls, target: str) -> FileStatus | None:
    try:
        return names.stat(target.rstrip("/") or "/")
    except PathNotFound:
        return None


def _mark(
    sources: Sequence[Path | str], target: str, options: PutOptions, folder: Path | None
) -> TreeMark | None:
    """The mark of this put, if it is one that may make a directory under a new name."""
    if folder is None or not options.recursive or len(sources) != 1:
        return None
    return TreeMark(folder, sources[0], target) if Path(sources[0]).is_dir() else None


class _Put:
    """One put, from its plan to its report."""

    def __init__(
        self,
        cluster: ClusterLink,
        plan: PutPlan,
        options: PutOptions,
        progress: Progress,
        *,
        state_folder: Path | None,
        mark: TreeMark | None,
    ) -> None:
        settings = cluster.settings
        self._cluster = cluster
        self._names = cluster.names.insisting()
        self._link = cluster.link
        self._plane = cluster.plane
        self._plan = plan
        self._options = options
        self._progress = progress
        self._state_folder = state_folder
        self._mark = mark
        self._jobs = options.jobs or settings.jobs
        mode = WriteMode(options.write_mode or settings.write_mode)
        self._uploader = Uploader(cluster, mode=mode, moved=progress.advanced)
        self._first_blocks = settings.blocks_in_flight
        self._uploads = ThreadPoolExecutor(self._jobs, "dfs-put")
        self._tally = Tally(progress)
        self._packs = PackPut(
            cluster, options=options, mode=mode, tally=self._tally, moved=progress.advanced
        )
        self._directories = PutDirectories(
            self._names,
            plan.directories,
            parents=options.parents,
            tally=self._tally,
            on_top=self._made_top,
        )
        self._lock = threading.Lock()
        self._open: dict[int, _Writing] = {}
        self._stopped = False

    def run(self) -> TransferReport:
        plan, tally = self._plan, self._tally
        tally.begin(len(plan.files), plan.size_bytes, failed=plan.failed)
        for note in plan.notes:
            tally.leave_out(note)
        try:
            self._directories.make()
            self._put_files(self._placed_files())
            for complaint in self._directories.close():
                self._progress.note(complaint)
        except BaseException:
            self._stop()
            self._close_states()
            raise
        self._uploads.shutdown()
        if self._mark is not None and tally.report.ok:
            self._mark.forget()
        return tally.report

    def _put_files(self, files: Sequence[PlannedFile]) -> None:
        packed, alone = self._divided(files)
        with ThreadPoolExecutor(1, "dfs-packs") as beside:
            try:
                packing = beside.submit(self._packs.run, self._still_to_pack(packed))
                run_batches(
                    batches(alone, cost=_cost, most=_COST_MAX),
                    self._run_batch,
                    at_once=self._jobs,
                    stop=self._stop,
                )
                result_of(packing)
            except BaseException:
                self._stop()
                raise

    def _divided(self, files: Sequence[PlannedFile]) -> tuple[list[PlannedFile], list[PlannedFile]]:
        """The files to pack, and the others.  What an earlier put began it goes on with alone."""
        options, settings = self._options, self._cluster.settings
        if not options.pack or options.block_size_bytes is not None:
            return [], list(files)
        limit = min(settings.pack_file_bytes_max, settings.block_size_bytes)
        packed, alone = divide(files, file_bytes_max=limit if limit else -1)
        folder = self._state_folder
        if folder is not None and PutState.any_in(folder):
            begun = {file for file in packed if PutState.is_in(folder, file)}
            packed, alone = [f for f in packed if f not in begun], [*alone, *begun]
        return packed, alone

    def _still_to_pack(self, files: Sequence[PlannedFile]) -> Iterator[PlannedFile]:
        if not self._options.resume:
            yield from files
            return
        for start in range(0, len(files), BATCH_FILES_MAX):
            yield from self._without_those_there(files[start : start + BATCH_FILES_MAX])

    def _made_top(self, made: FileStatus) -> None:
        if self._mark is not None:
            self._mark.set(made)

    def _placed_files(self) -> list[PlannedFile]:
        """Those whose directory is there; the others have failed with it."""
        placed: list[PlannedFile] = []
        homeless: list[tuple[str, DfsError]] = []
        for file in self._plan.files:
            if self._directories.is_missing_above(file.remote):
                above = PathNotFound(f"{file.remote}: its directory could not be made")
                homeless.append((file.local, above))
            else:
                placed.append(file)
        self._tally.fail_below(homeless)
        return placed

    def _run_batch(self, batch: list[PlannedFile]) -> None:
        left = self._without_those_there(batch) if self._options.resume else batch
        writing = [*self._resumed(left)]
        resumed = {one.planned.remote for one in writing}
        writing += self._begun([file for file in left if file.remote not in resumed])
        futures = {self._uploads.submit(self._send, one): one for one in writing}
        wait(futures)
        for future, one in futures.items():
            if one.error is None:
                future.result()  # raises what is a bug of ours
        self._complete([one for one in writing if one.error is None])
        self._give_up([one for one in writing if one.error is not None])

    def _without_those_there(self, batch: Sequence[PlannedFile]) -> list[PlannedFile]:
        left: list[PlannedFile] = []
        try:
            there = AlreadyThere(self._names, batch)
        except DfsError as exc:
            for file in batch:
                self._tally.fail(file.local, exc)
            return left
        for file in batch:
            if not there.holds(file):
                left.append(file)
                continue
            self._tally.was_there(file.local, file.size_bytes)
        return left

    def _resumed(self, batch: Sequence[PlannedFile]) -> Iterator[_Writing]:
        """Files of which an earlier put left blocks, if they can still be used.

        What a put that still runs remembers is left alone: the NameNode refuses to begin it twice.
        Without `resume`, an interrupted put of ours is given up, so that its lease does not stand
        in the way of this one.
        """
        folder = self._state_folder
        if folder is None:
            return
        for file in batch:
            state = PutState.load(folder, file)
            if state is None:
                continue
            opened = state.begun.opened
            lease = Lease(opened.inode, opened.lease, opened.path)
            if (
                self._options.resume
                and state.begun.is_of(file)
                and self._plane.leases.is_held(lease)
            ):
                yield self._keep(_Writing(file, opened, lease, state))
            else:
                state.forget()
                self._plane.leases.abandon([lease])

    def _begun(self, batch: list[PlannedFile]) -> list[_Writing]:
        if not batch:
            return []
        body = CreateRequest(
            files=[self._new(file) for file in batch], first_blocks=self._first_blocks
        )
        try:
            outcomes = self._link.call(CREATE, body, insist=True).outcomes
        except DfsError as exc:
            for file in batch:
                self._tally.fail(file.local, exc)
            return []
        crashpoint.reach("client.file.created")
        begun: list[_Writing] = []
        for file, outcome in zip(batch, outcomes, strict=True):
            if outcome.error is not None:
                self._tally.fail(file.local, error_of(outcome))
                continue
            opened = value_of(outcome)
            lease = Lease(opened.inode, opened.lease, opened.path)
            begun.append(self._keep(_Writing(file, opened, lease)))
        return begun

    def _new(self, file: PlannedFile) -> NewFile:
        options = self._options
        return NewFile(
            path=file.remote,
            overwrite=options.overwrite,
            parents=options.parents,
            replication=options.replication,
            block_size_bytes=options.block_size_bytes,
            mode=file.mode,
            size_bytes=file.size_bytes,
        )

    def _keep(self, one: _Writing) -> _Writing:
        with self._lock:
            self._open[one.lease.inode] = one
        self._plane.leases.keep([one.lease])
        return one

    def _send(self, one: _Writing) -> None:
        """Have the blocks of one file durable; what goes wrong is kept with it."""
        try:
            if self._stopped:
                raise Stopping("the put was ended")
            if one.state is None and one.planned.size_bytes > one.opened.block_size_bytes:
                one.state = self._remember(one)
            one.blocks = self._uploader.upload(one.planned, one.opened, one.lease, one.state)
        except DfsError as exc:
            one.error = exc

    def _remember(self, one: _Writing) -> PutState | None:
        folder = self._state_folder
        return PutState.begin(folder, one.planned, one.opened) if folder is not None else None

    def _complete(self, written: list[_Writing]) -> None:
        if not written:
            return
        crashpoint.reach("client.file.written")
        items = [
            CompleteItem(
                inode=one.lease.inode,
                lease=one.lease.token,
                blocks=one.blocks or [],
                modified_ms=one.planned.modified_ms,
            )
            for one in written
        ]
        try:
            body = CompleteRequest(items=items)
            outcomes = self._link.call(COMPLETE, body, insist=True).outcomes
        except DfsError as exc:
            for one in written:
                one.error = exc
            self._give_up(written)
            return
        crashpoint.reach("client.file.completed")
        for one, outcome in zip(written, outcomes, strict=True):
            if outcome.error is not None:
                one.error = error_of(outcome)
            else:
                self._count(one, value_of(outcome).owed)
        self._let_go([one for one in written if one.error is None])
        self._give_up([one for one in written if one.error is not None])

    def _count(self, one: _Writing, owed: int) -> None:
        if one.state is not None:
            one.state.forget()
        self._tally.done(one.planned.local, one.planned.size_bytes, owed=owed)

    def _give_up(self, failed: list[_Writing]) -> None:
        """Release the leases, but of what a later `--resume` can go on with."""
        kept = [one for one in failed if one.state is not None and _may_resume(one.error)]
        self._let_go(kept)
        for one in kept:
            assert one.state is not None
            one.state.close()
        abandoned = [one for one in failed if one not in kept]
        self._plane.leases.abandon([one.lease for one in abandoned])
        self._let_go(abandoned)
        for one in abandoned:
            if one.state is not None:
                one.state.forget()
        for one in failed:
            assert one.error is not None
            self._tally.fail(one.planned.local, one.error)

    def _let_go(self, done: list[_Writing]) -> None:
        self._plane.leases.let_go([one.lease for one in done])
        with self._lock:
            for one in done:
                self._open.pop(one.lease.inode, None)

    def _stop(self) -> None:
        """The put is ended from outside (Ctrl-C): end what is under way, give up what is open."""
        if self._stopped:
            return
        self._stopped = True
        self._tally.end()
        self._cluster.drop_plane()
        self._packs.stop()
        self._uploads.shutdown(wait=False)  # what waits there sees `_stopped` and ends at once
        with self._lock:
            opened = [one.lease for one in self._open.values() if one.state is None]
        with contextlib.suppress(DfsError):
            self._plane.leases.abandon(opened)

    def _close_states(self) -> None:
        """Leave what was begun to a later put; what is still sent is not written down any more."""
        with self._lock:
            states = [one.state for one in self._open.values() if one.state is not None]
        for state in states:
            state.close()


def _cost(file: PlannedFile) -> tuple[int, int]:
    return 1, file.size_bytes


def _may_resume(error: DfsError | None) -> bool:
    """Whether the blocks sent so far can serve a later attempt."""
    return error is not None and error.kind in (ErrorKind.UNAVAILABLE, ErrorKind.FENCED)
