"""What a disk holds at the moment the power goes: an ext4 image is copied as it is, and mounted.

The copy sees what reached the device and nothing that was only in the kernel's memory.  Needs root
and a loop device.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from dfs.base.clock import ManualClock
from dfs.base.events import SilentEmitter
from dfs.base.units import KiB, MiB
from dfs.blockstore.store import BlockStore
from tests.unit.blockstore.disk_rig import DiskRig, block_name


def _run(name: str, *arguments: str | Path) -> bool:
    program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return False
    return subprocess.run([program, *arguments], capture_output=True, check=False).returncode == 0


class Machine:
    """A store on a disk of its own whose power can be cut."""

    def __init__(self, root: Path, rig: DiskRig) -> None:
        self.image, self.mount = root / "disk.img", root / "mnt"
        self.rig = rig
        self._root = root
        self._cuts = 0
        self.mount.mkdir()
        with self.image.open("wb") as image:
            image.truncate(96 * MiB)
        if not _run("mkfs.ext4", "-q", "-F", self.image) or not self._mount(self.image, self.mount):
            pytest.skip("no mkfs.ext4 or no loop device")

    def start(self, *, sync: bool) -> None:
        self.rig.store.close()
        self.rig.config = replace(self.rig.config, sync=sync)
        self.rig.folders = [self.mount / "disk"]
        self.rig.open()

    def cut_power(self) -> BlockStore:
        """The store as another machine finds it on the disk's exact content of now."""
        self._cuts += 1
        copy, mount = self._root / f"cut{self._cuts}.img", self._root / f"cut{self._cuts}"
        shutil.copyfile(self.image, copy)
        mount.mkdir()
        assert self._mount(copy, mount)
        return BlockStore.open(
            [mount / "disk"], config=self.rig.config, clock=ManualClock(), emit=SilentEmitter()
        )

    def stop(self) -> None:
        self.rig.store.close(clean=False)
        for mount in (self.mount, *self._root.glob("cut?")):
            _run("umount", "-l", mount)

    def _mount(self, image: Path, mount: Path) -> bool:
        return _run("mount", "-o", "loop", image, mount)


@pytest.fixture
def machine(rig: DiskRig, tmp_path: Path) -> Iterator[Machine]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk image")
    made = Machine(tmp_path, rig)
    yield made
    made.stop()


def read(store: BlockStore, block: int) -> bytes:
    return b"".join(piece.data for piece in store.read(block_name(block, file=block), []))


def test_acknowledged_blocks_are_there_when_the_power_goes(machine: Machine) -> None:
    machine.start(sync=True)
    blobs = {block: os.urandom(block * 9 * KiB) for block in range(1, 20)}
    for block, blob in blobs.items():
        machine.rig.put(block_name(block, file=block), blob)
        if block not in (1, 10, 19):
            continue
        found = machine.cut_power()
        assert not found.clean_stop
        assert found.identity == machine.rig.store.identity
        for earlier in range(1, block + 1):
            assert read(found, earlier) == blobs[earlier]
        assert list((found._volumes[0].layout.tmp).iterdir()) == []
        found.close()


def test_epoch_is_there_when_the_power_goes(machine: Machine) -> None:
    machine.start(sync=True)
    machine.rig.store.remember_epoch(12)
    found = machine.cut_power()
    assert found.epoch == 12
    found.close()


def test_test_bites_when_nothing_is_flushed(machine: Machine) -> None:
    machine.start(sync=False)
    os.sync()  # the formatted folder is there; what follows is not flushed
    for block in range(1, 5):
        machine.rig.put(block_name(block, file=block), os.urandom(9 * KiB))
    found = machine.cut_power()
    assert len(found.stock(after=None, limit=10)) < 4
    found.close()
