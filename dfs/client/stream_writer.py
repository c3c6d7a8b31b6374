"""Writing one file from bytes that come in order, of unknown number: standard input, `DfsFile`.

Bytes fill a spool a block; each block is sent while it fills, several are under way at once, and
the writer waits when too many are.  The file becomes visible at `complete`, all of it at once, and
never after `abandon`.
"""

import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from dfs.base import crashpoint
from dfs.base.errors import DfsError
from dfs.base.records import WrittenBlock
from dfs.client.batches import result_of
from dfs.client.block_writer import BlockSupply, BlockWriter, Moved
from dfs.client.cluster_link import ClusterLink
from dfs.client.leases import Lease
from dfs.client.namenode_link import NamenodeLink, value_of
from dfs.client.options import PutOptions
from dfs.client.piece_sources import Spool
from dfs.transfer.block_channel import SourceIdle
from dfs.transfer.waiting import awake_until
from dfs.transfer.write_pipeline import WriteMode
from dfs.wire.data_api import (
    Completed,
    CompleteItem,
    CompleteRequest,
    CreateRequest,
    NewFile,
    OpenedFile,
)
from dfs.wire.routes import COMPLETE, CREATE


class StreamWriter:
    """One file under way.  One thread writes."""

    def __init__(
        self,
        cluster: ClusterLink,
        path: str,
        *,
        options: PutOptions,
        permissions: int,
        moved: Moved,
    ) -> None:
        settings = cluster.settings
        self._link = cluster.link
        self._plane = cluster.plane
        self._in_flight = settings.blocks_in_flight
        self.opened = _create(self._link, path, options, permissions)
        self._lease = Lease(self.opened.inode, self.opened.lease, self.opened.path)
        self._plane.leases.keep([self._lease])
        supply = BlockSupply(self._link, self._lease, self.opened.blocks, ahead=1, last_number=None)
        self._writer = BlockWriter(
            self._plane,
            self.opened,
            supply,
            mode=WriteMode(options.write_mode or settings.write_mode),
            moved=moved,
        )
        self._slots = threading.Semaphore(self._in_flight)
        self._pool = ThreadPoolExecutor(self._in_flight, "dfs-write")
        self._spool: Spool | None = None
        self._spools: set[Spool] = set()
        self._blocks: list[Future[WrittenBlock]] = []
        self._failure: DfsError | None = None
        self.size_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """The next bytes.

        Raises:
            DfsError: an earlier block failed, or these cannot be taken.
        """
        view = memoryview(data)
        while view:
            spool = self._current()
            room = self.opened.block_size_bytes - spool.filled_bytes
            part = view[:room]
            spool.add(part)
            self.size_bytes += len(part)
            view = view[len(part) :]
            if spool.filled_bytes == self.opened.block_size_bytes:
                self._seal()

    def complete(self) -> Completed:
        """Make the file visible.

        Raises:
            DfsError: a block could not be written, or the NameNode refused; nothing is visible.
        """
        self._seal()
        blocks = [result_of(future) for future in self._blocks]
        self._lease.check()
        crashpoint.reach("client.file.written")
        item = CompleteItem(inode=self._lease.inode, lease=self._lease.token, blocks=blocks)
        body = CompleteRequest(items=[item])
        reply = self._link.call(COMPLETE, body, insist=True)
        completed = value_of(reply.outcomes[0])
        crashpoint.reach("client.file.completed")
        self._plane.leases.let_go([self._lease])
        self._pool.shutdown(wait=False)
        return completed

    def abandon(self) -> None:
        """Give the file up; nothing of it is visible."""
        for spool in list(self._spools):
            spool.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._plane.leases.abandon([self._lease])

    def _current(self) -> Spool:
        """The spool of the block that is being filled; waits when too many are under way."""
        if self._spool is None:
            awake_until(lambda seconds: self._slots.acquire(timeout=seconds))
            if self._failure is not None:
                self._slots.release()
                raise self._failure
            self._spool = Spool()
            self._spools.add(self._spool)
            self._blocks.append(self._pool.submit(self._send, len(self._blocks), self._spool))
        elif self._failure is not None:
            raise self._failure
        return self._spool

    def _seal(self) -> None:
        if self._spool is not None:
            self._spool.seal()
            self._spool = None

    def _send(self, number: int, spool: Spool) -> WrittenBlock:
        try:
            with contextlib.closing(spool):
                return self._send_patiently(number, spool)
        except DfsError as exc:
            self._failure = exc
            raise
        finally:
            self._spools.discard(spool)
            self._slots.release()

    def _send_patiently(self, number: int, spool: Spool) -> WrittenBlock:
        """Send it while it fills; if the stream pauses for long, when it is complete instead."""
        try:
            return self._writer.write(number, spool)
        except SourceIdle:
            spool.wait_sealed()
            return self._writer.write(number, spool)


def _create(link: NamenodeLink, path: str, options: PutOptions, permissions: int) -> OpenedFile:
    new = NewFile(
        path=path,
        overwrite=options.overwrite,
        parents=options.parents,
        replication=options.replication,
        block_size_bytes=options.block_size_bytes,
        mode=permissions,
    )
    reply = link.call(CREATE, CreateRequest(files=[new], first_blocks=1))
    crashpoint.reach("client.file.created")
    return value_of(reply.outcomes[0])
