"""A block file while it is being written: room promised, bytes pushed to the disk, then a name.

Part of the order of effects that `writer` spells out: this file does each step, and the writer says
when.  An error leaves the part to be discarded; it is never fsynced again.
"""

import contextlib
import os
from concurrent.futures import Future
from typing import Final

from dfs.base import crashpoint
from dfs.base.checksum import Buffer
from dfs.base.entropy import new_id
from dfs.base.records import BlockName, BlockTruth
from dfs.base.units import MiB
from dfs.blockstore.format import Label, encode_tail, tail_bytes
from dfs.blockstore.volume import Volume

# So much may be dirty before it is pushed to the disk: the last fsync stays short, and the disk
# works while the network does.
FLUSH_BYTES: Final = 32 * MiB
# A stream of unknown length takes its room in steps of this.
GROW_BYTES: Final = 16 * MiB


class PartFile:
    """A block file under its temporary name.

    Raises, on making one:
        DiskFull, VolumeReadOnly: there is no room, or the disk fails; nothing is left behind.
    """

    def __init__(
        self,
        volume: Volume,
        what: str,
        *,
        label: Label,
        length: int | None,
        length_max: int,
    ) -> None:
        self._volume = volume
        self._disk = volume.disk
        self._what = what
        self._label = label
        self._flush: Future[None] | None = None
        self._flushed_to = 0
        self._taken_to = 0  # room is taken up to here
        self._promised = 0  # promised and not taken: the file system cannot take it in advance
        self._length = length
        most = length_max if length is None else length
        self._room_max = most + tail_bytes(label, most)
        first = self._room_max if length is not None else min(GROW_BYTES, self._room_max)
        volume.promise(first, what=what)  # before anything is made
        self._promised = first
        self._part_id = new_id()
        self.path = volume.part_begun(self._part_id)
        self._fd = -1
        try:
            with volume.writing(what):
                self._fd = self._disk.create(self.path)
                crashpoint.reach("dn.block.created")
                self._take(first)
        except BaseException:
            self.discard()
            raise
        crashpoint.reach("dn.block.allocated")

    def write(self, data: Buffer, offset: int) -> None:
        """Write a verified piece, and push older ones towards the disk.

        Raises:
            DiskFull, VolumeReadOnly: see the names.
        """
        self._volume.need_online()
        end = offset + len(data)
        if self._length is None:
            self._grow(end)
        with self._volume.writing(self._what):
            self._disk.write(self._fd, data, offset)
            if end - self._flushed_to >= FLUSH_BYTES:
                self._join_flush()
                self._flush = self._volume.flushers.submit(self._disk.fdatasync, self._fd)
                self._flushed_to = end
        crashpoint.reach("dn.block.written")

    def seal(self, label: Label, truth: BlockTruth) -> None:
        """Write the tail, and have all of it on the disk; the file is closed after."""
        tail = encode_tail(label, truth)
        if self._length is None:
            self._grow(truth.length_bytes + len(tail))
        with self._volume.writing(self._what):
            self._disk.write(self._fd, tail, truth.length_bytes)
            crashpoint.reach("dn.block.tailed")
            if self._taken_to != truth.length_bytes + len(tail):
                os.ftruncate(self._fd, truth.length_bytes + len(tail))
            self._join_flush()
            self._disk.fsync(self._fd)
            crashpoint.reach("dn.block.fsynced")
            self.status = os.fstat(self._fd)
            self._close()

    def publish(self, name: BlockName) -> None:
        """Give it its name; see `Volume.publish`.  Raises FileExistsError if there is one."""
        self._volume.publish(self.path, name)
        self._settle()

    def discard(self) -> None:
        """Leave nothing behind.  Errors do not matter: the next start empties tmp/ anyway."""
        with contextlib.suppress(OSError):
            self._join_flush()
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._settle()

    def _grow(self, end: int) -> None:
        """Take room for a stream as far as it has come, in steps."""
        have = self._taken_to + self._promised
        if end <= have:
            return
        more = min(max(GROW_BYTES, end - have), self._room_max - have)
        self._volume.promise(more, what=self._what)
        self._promised += more
        with self._volume.writing(self._what):
            self._take(more)

    def _take(self, size: int) -> None:
        """Turn a promise into blocks of the file system, where it can do that."""
        if self._disk.allocate(self._fd, self._taken_to, size):
            self._taken_to += size
            self._promised -= size
            self._volume.keep_promise(size)

    def _settle(self) -> None:
        self._volume.keep_promise(self._promised)
        self._promised = 0
        self._volume.part_ended(self._part_id)

    def _join_flush(self) -> None:
        """An fdatasync reports a lost write once, to one caller: its answer must be heard."""
        flush, self._flush = self._flush, None
        if flush is not None:
            flush.result()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
