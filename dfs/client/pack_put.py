"""Putting small files by the thousand: assembled into packs, sent as blocks, made visible together.

While one pack is read from the local disk, others are on their way to their DataNodes, and of those
that are durable the files are made visible, as many packs in one request as wait by then.

Order of effects for each pack: lease (BEGIN_PACKS), durable on DataNodes, all of its files visible
(COMMIT_FILES).  Whatever ends the put before the last step leaves a block that no file lies in,
which the NameNode collects when the lease is abandoned or runs out.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

from dfs.base import crashpoint
from dfs.base.errors import DfsError, Stopping, from_code
from dfs.base.records import WrittenBlock
from dfs.client.block_writer import BlockSupply, BlockWriter, Moved
from dfs.client.cluster_link import ClusterLink
from dfs.client.leases import Lease
from dfs.client.namenode_link import error_of, value_of
from dfs.client.options import PutOptions
from dfs.client.pack_plan import plan_packs
from dfs.client.pack_source import Packed, PackSource, assemble
from dfs.client.put_plan import PlannedFile
from dfs.client.tally import Tally
from dfs.transfer.write_pipeline import WriteMode
from dfs.wire.data_api import OpenedFile
from dfs.wire.pack_api import (
    BeginPacksRequest,
    CommitFilesReply,
    CommitFilesRequest,
    NewPack,
    OpenedPack,
    PackedBlock,
    PackedFile,
)
from dfs.wire.packs import PACK_FILES_MAX
from dfs.wire.routes import BEGIN_PACKS, COMMIT_FILES
from dfs.wire.shapes import Outcome

PACKS_IN_FLIGHT: Final = 2  # and one more that is being assembled
PACKS_BEGUN_MAX: Final = 8  # at once: their tokens live some minutes


@dataclass(frozen=True, slots=True)
class _Written:
    """A pack that is durable and waits for its files to be made visible.

    Without a lease it is none, but empty files only.
    """

    packed: Packed
    lease: Lease | None = None
    block: WrittenBlock | None = None


class PackPut:
    """The small files of one put.

    Args:
        moved: told how many bytes more are on their way.
    """

    def __init__(
        self,
        cluster: ClusterLink,
        *,
        options: PutOptions,
        mode: WriteMode,
        tally: Tally,
        moved: Moved,
    ) -> None:
        self._link = cluster.link
        self._plane = cluster.plane
        self._pack_bytes = cluster.settings.pack_bytes
        self._options = options
        self._mode = mode
        self._tally = tally
        self._moved = moved
        self._begins = ThreadPoolExecutor(1, "dfs-begin")
        self._uploads = ThreadPoolExecutor(PACKS_IN_FLIGHT, "dfs-pack")
        self._commits = ThreadPoolExecutor(1, "dfs-commit")
        self._lock = threading.Lock()
        self._open: dict[int, Lease] = {}
        self._ready: list[_Written] = []
        self._committing: list[Future[None]] = []
        self._stop = threading.Event()

    def run(self, files: Iterable[PlannedFile]) -> None:
        """Put them all; each is in the tally at the end, unless it was stopped."""
        try:
            for upload in self._begin_uploads(files):
                upload.result()  # raises what is a bug of ours
            for commit in self._committing:
                commit.result()  # the same
        finally:
            for pool in (self._begins, self._uploads, self._commits):
                pool.shutdown()

    def stop(self) -> None:
        """The put is ended from outside: what waits ends at once, what is open is given up."""
        self._stop.set()
        with self._lock:
            opened = list(self._open.values())
        with contextlib.suppress(DfsError):
            self._plane.leases.abandon(opened)

    # --- one pack -------------------------------------------------------------------------------

    def _begin_uploads(self, files: Iterable[PlannedFile]) -> list[Future[None]]:
        buffers = _Buffers(PACKS_IN_FLIGHT + 1)
        packs = plan_packs(files, pack_bytes=self._pack_bytes)
        uploads: list[Future[None]] = []
        while not self._stop.is_set() and (some := list(islice(packs, PACKS_BEGUN_MAX))):
            begun = self._begins.submit(self._begin, some)
            for number, pack in enumerate(some):
                buffer = buffers.take(_length(pack))
                if self._stop.is_set():
                    break
                packed = assemble(pack, buffer, self._fail)
                send = partial(self._send, packed, buffer, begun, number)
                uploads.append(self._uploads.submit(buffers.use, buffer, send))
        return uploads

    def _begin(self, packs: Sequence[Sequence[PlannedFile]]) -> Mapping[int, OpenedPack | DfsError]:
        """Open the packs that hold any bytes; what came of each, by its place."""
        lengths = {number: _length(pack) for number, pack in enumerate(packs) if _length(pack)}
        if not lengths:
            return {}
        copies = self._options.replication
        body = BeginPacksRequest(
            packs=[NewPack(size_bytes=length, replication=copies) for length in lengths.values()]
        )
        try:
            outcomes = self._link.call(BEGIN_PACKS, body, insist=True).outcomes
        except DfsError as exc:
            return dict.fromkeys(lengths, exc)
        crashpoint.reach("client.pack.begun")
        return {
            number: self._opened(outcome) for number, outcome in zip(lengths, outcomes, strict=True)
        }

    def _opened(self, outcome: Outcome[OpenedPack]) -> OpenedPack | DfsError:
        if outcome.error is not None:
            return error_of(outcome)
        opened = value_of(outcome)
        lease = _lease(opened)
        self._keep(lease)
        if self._stop.is_set():  # it may have come too late for `stop` to give it up
            self._give_up(lease)
            return Stopping("the put was ended")
        return opened

    def _send(
        self,
        packed: Packed,
        buffer: bytearray,
        begun: Future[Mapping[int, OpenedPack | DfsError]],
        number: int,
    ) -> None:
        """Have one pack durable and its files on their way to be seen."""
        opened = begun.result().get(number)
        if isinstance(opened, DfsError):
            self._fail_all(packed, opened)
        elif opened is None:
            self._pass_on(_Written(packed))
        elif not packed.files:
            self._give_up(_lease(opened))
        else:
            self._send_to(opened, packed, buffer)

    def _send_to(self, opened: OpenedPack, packed: Packed, buffer: bytearray) -> None:
        lease = self._open[opened.inode]
        try:
            if self._stop.is_set():
                raise Stopping("the put was ended")
            block = self._writer(opened, lease, packed).write(
                0, PackSource(buffer, packed.length_bytes)
            )
            lease.check()
        except DfsError as exc:
            self._give_up(lease)
            self._fail_all(packed, exc)
            return
        crashpoint.reach("client.pack.written")
        self._pass_on(_Written(packed, lease, block))

    def _writer(self, opened: OpenedPack, lease: Lease, packed: Packed) -> BlockWriter:
        block = opened.block
        as_file = OpenedFile(
            "",
            opened.inode,
            opened.lease,
            block.length_max_bytes,
            opened.replication,
            opened.min_acks,
            [block],
        )
        return BlockWriter(
            self._plane,
            as_file,
            BlockSupply(self._link, lease, [block], ahead=1, last_number=0),
            mode=self._mode,
            moved=self._moved,
            pack=packed.table(),
            called=lease.path,
        )

    # --- making visible -------------------------------------------------------------------------

    def _pass_on(self, written: _Written) -> None:
        with self._lock:
            self._ready.append(written)
        self._committing.append(self._commits.submit(self._commit_ready))

    def _commit_ready(self) -> None:
        """Make visible what waits, as much of it in a request as one takes."""
        while some := self._take_ready():
            self._commit(some)

    def _take_ready(self) -> list[_Written]:
        with self._lock:
            count = files = 0
            for written in self._ready:
                files += len(written.packed.files)
                if count and files > PACK_FILES_MAX:
                    break
                count += 1
            some, self._ready = self._ready[:count], self._ready[count:]
            return some

    def _commit(self, some: Sequence[_Written]) -> None:
        packs: list[PackedBlock] = []
        files: list[PlannedFile] = []
        items: list[PackedFile] = []
        for written in some:
            pack = -1
            if written.lease is not None and written.block is not None:
                pack = len(packs)
                lease = written.lease
                packs.append(PackedBlock(inode=lease.inode, lease=lease.token, block=written.block))
            files += written.packed.files
            items += written.packed.items(pack, self._options)
        leases = [written.lease for written in some if written.lease is not None]
        try:
            if self._stop.is_set():
                raise Stopping("the put was ended")
            body = CommitFilesRequest(files=items, packs=packs)
            reply = self._link.call(COMMIT_FILES, body, insist=True)
        except DfsError as exc:
            for lease in leases:
                self._give_up(lease)
            for file in files:
                self._fail(file, exc)
            return
        crashpoint.reach("client.pack.committed")
        self._let_go(leases)
        self._tell(files, reply)

    def _tell(self, files: Sequence[PlannedFile], reply: CommitFilesReply) -> None:
        refused = {each.index: each.error for each in reply.refused}
        owed = sum(reply.owed)
        for index, file in enumerate(files):
            error = refused.get(index)
            if error is not None:
                why = from_code(error.code, error.message, error.hint, error.details)
                self._fail(file, why)
            else:
                self._tally.done(file.local, file.size_bytes, owed=owed)
                owed = 0

    # --- leases and failures --------------------------------------------------------------------

    def _keep(self, lease: Lease) -> None:
        with self._lock:
            self._open[lease.inode] = lease
        self._plane.leases.keep([lease])

    def _let_go(self, leases: Sequence[Lease]) -> None:
        self._plane.leases.let_go(leases)
        with self._lock:
            for lease in leases:
                self._open.pop(lease.inode, None)

    def _give_up(self, lease: Lease) -> None:
        self._plane.leases.abandon([lease])
        self._let_go([lease])

    def _fail_all(self, packed: Packed, error: DfsError) -> None:
        for file in packed.files:
            self._fail(file, error)

    def _fail(self, file: PlannedFile, error: DfsError) -> None:
        self._tally.fail(file.local, error)


class _Buffers:
    """Lends so many buffers at once, and the same ones again.  For one taker."""

    def __init__(self, count: int) -> None:
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put(bytearray())

    def take(self, length_bytes: int) -> bytearray:
        """One of at least that length, when one is free."""
        buffer = self._free.get()
        return buffer if len(buffer) >= length_bytes else bytearray(length_bytes)

    def use(self, buffer: bytearray, act: Callable[[], None]) -> None:
        """Do that, after which the buffer is free.

        Not left to a callback of the future: those are kept as long as it is, and buffers with them
        that larger ones took the place of.
        """
        try:
            act()
        finally:
            self._free.put(buffer)


def _length(files: Sequence[PlannedFile]) -> int:
    return sum(file.size_bytes for file in files)


def _lease(opened: OpenedPack) -> Lease:
    return Lease(opened.inode, opened.lease, "a pack of small files")
