"""What the NameNode decides about copies that are bad, gone, or not what they should be.

Purge the bad one, bring a deleted one back, set aside one that is not the truth: each for exactly
one generation of a block.  Nothing here decides; it does, durably and in an order that a crash
cannot turn into a loss.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.entropy import new_id
from dfs.base.errors import BadRequest, BlockCorrupt
from dfs.base.events import Emitter, Event
from dfs.base.records import BlockName
from dfs.base.states import StoredState, VolumeState
from dfs.blockstore import removal
from dfs.blockstore.catalog_table import CatalogRow
from dfs.blockstore.holdings import READABLE, Holdings, find_stored, not_found
from dfs.blockstore.reader import BlockFile
from dfs.blockstore.recovery import row_of
from dfs.blockstore.volume import Volume

CANARY_FOLDER: Final = "/.dfs/canary/"
UNTRUE: Final = "untrue"  # in the name of a file in quarantine: the NameNode says so


class Custody:
    """See the module."""

    def __init__(
        self, volumes: Sequence[Volume], holdings: Holdings, *, clock: Clock, emit: Emitter
    ) -> None:
        self._volumes = volumes
        self._holdings = holdings
        self._clock = clock
        self._emit = emit
        self._named = 0  # of those whose grace is over, by the last answer

    @property
    def quarantined(self) -> int:
        """Block files in quarantine."""
        return sum(len(volume.quarantine) for volume in self._volumes)

    def quarantine_due(self, limit: int, *, keep_s: float) -> list[BlockName]:
        """Blocks whose files have been in quarantine for longer than that, the oldest first.

        When there are more, the next call goes on behind these: some may have to stay for ever.
        """
        before_ms = self._clock.now_ms() - int(keep_s * 1000)
        due = sorted(
            (at_ms, name.block, name)
            for volume in self._volumes
            if volume.state is VolumeState.ONLINE
            for at_ms, name in volume.quarantine.due(before_ms)
        )
        start = self._named if self._named < len(due) else 0
        self._named = start + limit
        return [name for _at_ms, _block, name in due[start : start + limit]]

    def quarantine(self, name: BlockName, why: str) -> bool:
        """Refuse a copy that is not the truth, and move it aside; False if none is readable here.

        It counts for nothing in the circuit breaker: the disk did no wrong.
        """
        done = False
        while (found := self._holdings.find(name)) is not None and found[1].state in READABLE:
            if not self._holdings.set_aside(*found, UNTRUE, why=why):
                break
            done = True
            if self._holdings.is_refused(name):
                break
        return done

    def purge_bad(self, name: BlockName) -> bool:
        """Retire the files in quarantine of exactly this generation; False if there are none.

        A good copy of it stays, and so does one that is refused but was never moved.

        Raises:
            VolumeReadOnly: the disk would not move them.
        """
        with self._holdings.lock_of(name):
            before = self._holdings.find(name)
            done = [volume.retire_bad(name) for volume in self._volumes]
            if not any(done):
                return False
            if self._holdings.find(name) is not None:
                self._holdings.feed.changed(name)
            elif before is not None:
                self._holdings.feed.gone(self._holdings.entry(*before))
        self._emit.emit(Event.BLOCK_DELETED, block=name.block, generation=name.generation, bad=True)
        return True

    def restore(self, name: BlockName) -> bool:
        """Bring exactly this generation back from the purge area; False if no intact file is there.

        True, too, when it is held already.

        Raises:
            StaleGeneration, BlockConflict: what is stored by now forbids it.
            VolumeReadOnly, DiskFull: the disk takes no writes.
        """
        with self._holdings.lock_of(name):
            if find_stored(self._holdings.rows_of(name.block), name) is not None:
                return True
        for volume in self._volumes:
            if volume.state is VolumeState.ONLINE:
                with volume.writing(f"looking for deleted block {name.block:016x}"):
                    purged = removal.purged_files(volume.layout, name)
                if any(self._restore(volume, path, name) for path in purged):
                    return True
        return False

    def _restore(self, volume: Volume, path: Path, name: BlockName) -> bool:
        """Give a purged file a second name in tmp/, prove it, publish it; the first name goes last.

        So the purge area may be emptied meanwhile, and a crash leaves it where it was, or both.
        """
        part_id = new_id()
        part = volume.part_begun(part_id)
        try:
            with volume.writing(f"restoring block {name.block:016x}"):
                try:
                    os.link(path, part)
                    row = self._prove(volume, part, name)
                except (FileNotFoundError, BlockCorrupt):
                    return False  # its grace ended meanwhile, or it is as bad as when it went
                with self._holdings.lock_of(name):
                    if find_stored(self._holdings.rows_of(name.block), name) is None:
                        try:
                            volume.publish(part, name)
                        except FileExistsError:  # a write that failed after it had its name
                            return False
                        volume.record(row)
                        self._holdings.proved(name)
                        path.unlink(missing_ok=True)
                        crashpoint.reach("dn.restore.committed")
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            volume.part_ended(part_id)
        self._emit.emit(
            Event.BLOCK_RESTORED,
            block=name.block,
            generation=name.generation,
            volume=volume.uuid,
        )
        return True

    def _prove(self, volume: Volume, part: Path, name: BlockName) -> CatalogRow:
        with BlockFile(part, name, disk=volume.disk) as file:
            file.scan()
            return row_of(
                file, name, StoredState.FINAL, verified_ms=self._clock.now_ms(), reread=True
            )

    def spoil_canary(self, name: BlockName) -> None:
        """Flip a byte of a canary's file, and let the scrubber meet it as it meets a new block.

        Raises:
            BlockNotFound, BlockCorrupt: there is no good copy here to spoil.
            BadRequest: it is no canary: only blocks of files in /.dfs/canary/ are.
            VolumeReadOnly: its disk takes no writes.
        """
        volume, row, file = self._holdings.open_readable(name)
        with file:
            path = file.label.path
        if not path.startswith(CANARY_FOLDER) or not row.length_bytes:
            raise BadRequest(f"block {name.block:016x} belongs to no canary: it is not spoilt")
        volume.scrub_rows.unread_again(name)
        with volume.writing(f"spoiling canary {name.block:016x}"):
            self._flip(volume, name, at=row.length_bytes // 2)

    @staticmethod
    def _flip(volume: Volume, name: BlockName, *, at: int) -> None:
        try:
            fd = os.open(volume.layout.block(name), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise not_found(name) from None  # deleted since, or moved to another disk
        try:
            (byte,) = volume.disk.read(fd, 1, at)
            volume.disk.write(fd, bytes([byte ^ 1]), at)
            volume.disk.fsync(fd)
            volume.disk.drop_cache(fd)
        finally:
            os.close(fd)
