"""Sending the content of one local file: its blocks, several at once, each onto its DataNodes."""

import threading
from collections.abc import Sequence

from dfs.base.checksum import block_lengths
from dfs.base.errors import SourceChanged
from dfs.base.records import WrittenBlock
from dfs.client.batches import all_of
from dfs.client.block_writer import BlockSupply, BlockWriter, Moved
from dfs.client.cluster_link import ClusterLink
from dfs.client.leases import Lease
from dfs.client.piece_sources import FileSlice, LocalFile
from dfs.client.put_plan import PlannedFile
from dfs.client.resume import PutState
from dfs.transfer.write_pipeline import WriteMode
from dfs.wire.data_api import OpenedFile


class Uploader:
    """Sends files.  Safe to share between threads.

    Args:
        moved: told how many bytes more are on their way.
    """

    def __init__(self, cluster: ClusterLink, *, mode: WriteMode, moved: Moved) -> None:
        self._link = cluster.link
        self._plane = cluster.plane
        self._mode = mode
        self._moved = moved
        self._in_flight = cluster.settings.blocks_in_flight

    def upload(
        self, planned: PlannedFile, opened: OpenedFile, lease: Lease, state: PutState | None
    ) -> list[WrittenBlock]:
        """Have all blocks of the file durable; with `state`, those that are not yet.

        Raises:
            SourceChanged: the local file is not what was planned, or changed meanwhile.
            DfsError: a block could not be written.
        """
        lengths = block_lengths(planned.size_bytes, opened.block_size_bytes)
        done = dict(state.done) if state is not None else {}
        self._moved(sum(lengths[number] for number in done))
        with LocalFile(planned.path) as source:
            if (source.size_bytes, source.mtime_ns) != (planned.size_bytes, planned.mtime_ns):
                raise SourceChanged(f"{planned.path}: changed since it was listed")
            supply = BlockSupply(
                self._link,
                lease,
                opened.blocks,
                ahead=self._in_flight,
                last_number=len(lengths) - 1,
            )
            writer = BlockWriter(self._plane, opened, supply, mode=self._mode, moved=self._moved)
            blocks = _Blocks(source, opened.block_size_bytes, lengths, lease, writer, state)
            missing = [number for number in range(len(lengths)) if number not in done]
            sent = all_of(blocks.send, missing, at_once=self._in_flight)
            done.update(zip(missing, sent, strict=True))
            source.check_unchanged()
        return [done[number] for number in range(len(lengths))]


class _Blocks:
    """The blocks of one file, each of which any thread may send."""

    def __init__(
        self,
        source: LocalFile,
        block_size_bytes: int,
        lengths: Sequence[int],
        lease: Lease,
        writer: BlockWriter,
        state: PutState | None,
    ) -> None:
        self._source = source
        self._block_size_bytes = block_size_bytes
        self._lengths = lengths
        self._lease = lease
        self._writer = writer
        self._state = state
        self._lock = threading.Lock()

    def send(self, number: int) -> WrittenBlock:
        """Have that block durable, and written down as such."""
        self._lease.check()
        offset = number * self._block_size_bytes
        slice_ = FileSlice(self._source, offset, self._lengths[number])
        written = self._writer.write(number, slice_)
        self._source.check_unchanged()
        if self._state is not None:
            with self._lock:
                self._state.add(number, written)
        return written
