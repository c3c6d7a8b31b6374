"""A store with its scrubber, on a clock that waiting moves."""

import os
from pathlib import Path

from dfs.base.records import BlockName
from dfs.blockstore.scrubber import Scrubber
from dfs.settings.sections import DAY_S, ScrubConfig
from tests.unit.blockstore.disk_rig import DiskRig, block_name


class ScrubRig(DiskRig):
    """`wait` advances the clock instead of waiting, and says stop after so many calls."""

    def __init__(self, root: Path, *, disks: int = 1) -> None:
        super().__init__(root)
        self.scrub_config = ScrubConfig()
        self.waits_left = -1
        self.scanned: list[BlockName] = []
        if disks > 1:
            self.store.close()
            self.folders = [root / f"disk{number}" for number in range(disks)]
            self.open()
        self.scrubber = self.new_scrubber()

    def wait(self, seconds: float) -> bool:
        self.clock.advance(seconds)
        if self.waits_left > 0:
            self.waits_left -= 1
        return self.waits_left == 0

    def new_scrubber(self) -> Scrubber:
        self.scrubber = Scrubber(
            self.store,
            config=self.scrub_config,
            clock=self.clock,
            emit=self.emit,
            wait=self.wait,
        )
        return self.scrubber

    def restart(self, *, clean: bool = True) -> Scrubber:
        self.reopen(clean=clean)
        return self.new_scrubber()

    def slice(self) -> int:
        """One slice of every volume; how many blocks were proved."""
        return sum(volume.run_once().verified for volume in self.scrubber.volumes)

    def settle(self, slices: int = 200) -> int:
        """Slices until nothing is due; how many blocks were proved."""
        total = 0
        for _ in range(slices):
            reports = [volume.run_once() for volume in self.scrubber.volumes]
            total += sum(report.verified for report in reports)
            if not any(report.has_more for report in reports):
                return total
        raise AssertionError("it does not settle")

    def a_pass_later(self) -> None:
        """So much later that the next pass is due."""
        self.clock.advance(7 * DAY_S + 1)

    def fill(self, count: int, *, size: int = 5_000, first: int = 1) -> list[BlockName]:
        names = [block_name(n, file=n) for n in range(first, first + count)]
        for name in names:
            self.put(name, os.urandom(size))
        return names
