"""Whose folder it is, what outlives a run, and several folders together."""

import errno
import multiprocessing
import os
from pathlib import Path

import msgspec
import pytest

from dfs.base.errors import (
    BadConfig,
    BlockConflict,
    DiskFull,
    FolderInUse,
    ForeignFolder,
    LocalIoError,
    NodeNotJoined,
    StaleGeneration,
    VolumeReadOnly,
)
from dfs.base.events import Event, SilentEmitter
from dfs.base.records import VolumeStatus
from dfs.base.states import StoredState, VolumeState
from dfs.base.units import MiB
from dfs.blockstore.disk import Disk, Space
from dfs.blockstore.identity import NodeIdentity
from dfs.blockstore.store import BlockStore
from dfs.blockstore.volume import choose_volume
from tests.unit.blockstore.disk_rig import CLUSTER, DiskRig, block_name


def second_store(rig: DiskRig, *folders: Path) -> BlockStore:
    return BlockStore.open(folders, config=rig.config, clock=rig.clock, emit=SilentEmitter())


def test_new_folder_is_formatted_as_the_design_draws_it(rig: DiskRig) -> None:
    assert {path.name for path in rig.folder.iterdir()} >= {
        *("VERSION", "LOCK", "node.json", "blocks", "tmp", "quarantine", "purge"),
        "catalog.sqlite",
    }
    assert sorted(rig.names_in("blocks")) == [f"{n:02x}" for n in range(256)]
    assert (rig.folder / "node.json").stat().st_mode & 0o777 == 0o600


def test_folder_in_use_is_refused(rig: DiskRig) -> None:
    with pytest.raises(FolderInUse):
        second_store(rig, rig.folder)


def test_same_folder_named_twice_is_refused(rig: DiskRig, tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="more than once"):
        second_store(rig, tmp_path / "x", tmp_path / "y" / ".." / "x")
    second_store(rig, tmp_path / "x").close()  # and nothing stays locked


def _open_and_tell(folder: Path, answer: "multiprocessing.Queue[str]", rig_config: object) -> None:
    try:
        BlockStore.open(
            [folder],
            config=rig_config,  # type: ignore[arg-type]
            clock=__import__("dfs.base.clock", fromlist=["SystemClock"]).SystemClock(),
            emit=SilentEmitter(),
        )
    except FolderInUse:
        answer.put("in use")
    else:
        answer.put("opened")


def test_folder_in_use_by_another_process_is_refused(rig: DiskRig) -> None:
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    child = context.Process(target=_open_and_tell, args=(rig.folder, answer, rig.config))
    child.start()
    assert answer.get(timeout=60) == "in use"
    child.join(60)


def test_folder_of_something_else_is_refused_and_left_alone(rig: DiskRig, tmp_path: Path) -> None:
    other = tmp_path / "home"
    other.mkdir()
    (other / "thesis.tex").write_text("precious")
    with pytest.raises(ForeignFolder, match="thesis"):
        second_store(rig, other)
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]


def test_mount_point_with_lost_and_found_is_empty_enough(rig: DiskRig, tmp_path: Path) -> None:
    (tmp_path / "disk2" / "lost+found").mkdir(parents=True)
    second_store(rig, tmp_path / "disk2").close()


def test_folder_of_another_version_is_refused(rig: DiskRig) -> None:
    rig.store.close()
    (rig.folder / "VERSION").write_text("dfs-datanode 2\n")
    with pytest.raises(ForeignFolder, match="version"):
        rig.open()


def test_blocks_without_a_version_file_are_not_formatted_over(rig: DiskRig) -> None:
    rig.put(block_name(1), b"x")
    rig.store.close()
    for path in rig.folder.iterdir():
        if path.name not in ("blocks", "tmp", "quarantine", "purge", "LOCK", "node.json"):
            path.unlink()
    with pytest.raises(ForeignFolder, match="without VERSION"):
        rig.open()


def test_damaged_node_file_is_refused(rig: DiskRig) -> None:
    rig.store.close()
    (rig.folder / "node.json").write_text("{")
    with pytest.raises(ForeignFolder):
        rig.open()


def test_store_that_has_not_joined_takes_no_blocks(rig: DiskRig, tmp_path: Path) -> None:
    fresh = second_store(rig, tmp_path / "fresh")
    assert fresh.identity is None
    with pytest.raises(NodeNotJoined):
        fresh.begin(block_name(1), path="/x", length_max=1, length=1)
    fresh.close()


def test_identity_epoch_and_count_of_starts_outlive_the_process(rig: DiskRig) -> None:
    uuid = rig.store.uuid
    assert rig.store.restarts == 1
    rig.store.remember_epoch(7)
    rig.store.remember_epoch(5)
    rig.reopen(clean=False)
    assert rig.store.identity == NodeIdentity(CLUSTER, uuid, 3, "secret")
    assert (rig.store.uuid, rig.store.epoch, rig.store.restarts) == (uuid, 7, 2)


def test_namenodes_that_were_told_of_outlive_the_process_and_all_folders_but_one(
    rig: DiskRig, tmp_path: Path
) -> None:
    rig.folders.append(tmp_path / "second")
    rig.reopen()
    assert rig.store.namenodes == ()
    rig.store.remember_namenodes(["http://a:1", "http://b:1"])
    (rig.folder / "namenodes.json").write_bytes(b"{")
    rig.reopen(clean=False)
    assert rig.store.namenodes == ("http://a:1", "http://b:1")
    rig.store.remember_namenodes([])
    rig.reopen()
    assert rig.store.namenodes == ()


def test_identity_does_not_show_its_secret() -> None:
    assert "hush" not in repr(NodeIdentity("c", "u", 1, "hush"))


def test_folder_of_a_cluster_does_not_join_another(rig: DiskRig) -> None:
    with pytest.raises(ForeignFolder):
        rig.store.adopt(NodeIdentity("d" * 32, rig.store.uuid, 3, "secret"))


def test_folders_of_two_nodes_are_not_served_together(rig: DiskRig, tmp_path: Path) -> None:
    rig.store.close()
    second_store(rig, tmp_path / "other").close()
    with pytest.raises(ForeignFolder, match="different DataNodes"):
        second_store(rig, rig.folder, tmp_path / "other")
    rig.open()


def test_folders_of_two_clusters_are_not_served_together(rig: DiskRig, tmp_path: Path) -> None:
    rig.folders.append(tmp_path / "two")
    rig.reopen()
    rig.store.close()
    card = tmp_path / "two" / "node.json"
    said = msgspec.json.decode(card.read_bytes())
    card.write_bytes(msgspec.json.encode(said | {"cluster": "d" * 32}))
    with pytest.raises(ForeignFolder):
        rig.open()


def test_copy_of_a_folder_is_not_served_beside_it(rig: DiskRig, tmp_path: Path) -> None:
    rig.folders.append(tmp_path / "two")
    rig.reopen()
    rig.store.close()
    (tmp_path / "two" / "node.json").write_bytes((rig.folder / "node.json").read_bytes())
    with pytest.raises(ForeignFolder, match="copy"):
        rig.open()


def test_added_folder_takes_the_nodes_identity(rig: DiskRig, tmp_path: Path) -> None:
    identity = rig.store.identity
    rig.folders.insert(0, tmp_path / "second")
    rig.reopen()
    assert rig.store.identity == identity
    assert len({volume.volume for volume in rig.store.volumes()}) == 2
    rig.folders.remove(tmp_path / "second")
    rig.folders = [tmp_path / "second"]
    rig.reopen()
    assert rig.store.identity == identity


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder_is_failed(rig: DiskRig, tmp_path: Path) -> None:
    (tmp_path / "no").mkdir(mode=0o500)
    with pytest.raises(LocalIoError):
        second_store(rig, tmp_path / "no" / "data")


def test_folder_that_cannot_be_opened_is_shown_and_the_others_serve(
    rig: DiskRig, tmp_path: Path
) -> None:
    rig.put(block_name(1), b"hello")
    (tmp_path / "file").write_text("in the way")
    rig.folders.append(tmp_path / "file" / "data")
    rig.reopen()
    assert [volume.state for volume in rig.store.volumes()] == [
        VolumeState.ONLINE,
        VolumeState.FAILED,
    ]
    assert rig.get(block_name(1)) == b"hello"
    assert any(event is Event.VOLUME_FAILED for event, _ in rig.emit.events)
    rig.store.close()
    with pytest.raises(LocalIoError):
        second_store(rig, tmp_path / "file" / "data")


# Several disks.


def _place(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())


class FailingDisk(Disk):
    """Fails one call, on the volume whose path holds `where`."""

    def __init__(self, where: str) -> None:
        super().__init__(sync=False)
        self.where = where
        self.call = ""
        self.errno = errno.EIO
        self.fsyncs = 0

    def _fail(self, call: str, place: str) -> None:
        if call == self.call and self.where in place:
            raise OSError(self.errno, os.strerror(self.errno))

    def create(self, path: Path) -> int:
        self._fail("create", str(path))
        return super().create(path)

    def allocate(self, fd: int, offset: int, length: int) -> bool:
        self._fail("allocate", _place(fd))
        return super().allocate(fd, offset, length)

    def write(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
        self._fail("write", _place(fd))
        super().write(fd, data, offset)

    def fsync(self, fd: int) -> None:
        place = _place(fd)
        self.fsyncs += self.call == "fsync" and self.where in place
        self._fail("fsync", place)

    def fdatasync(self, fd: int) -> None:
        self._fail("fdatasync", _place(fd))

    def fsync_folder(self, folder: Path) -> None:
        self._fail("fsync_folder", str(folder))

    def space(self, folder: Path) -> Space:
        return Space(1 << 40, 1 << 39 if self.where in str(folder) else 1 << 38)


@pytest.fixture
def two_disks(rig: DiskRig, tmp_path: Path) -> FailingDisk:
    """A second, roomier disk, which every write prefers, and which can be made to fail."""
    rig.folders.append(tmp_path / "flaky")
    rig.disk = disk = FailingDisk("flaky")
    rig.reopen()
    return disk


def states(rig: DiskRig) -> list[VolumeState]:
    return [volume.state for volume in rig.store.volumes()]


@pytest.mark.parametrize("call", ["create", "allocate", "write", "fsync", "fsync_folder"])
def test_failed_call_fails_the_block_and_closes_only_its_volume(
    rig: DiskRig, two_disks: FailingDisk, call: str
) -> None:
    rig.put(block_name(1), b"before")
    two_disks.call = call
    with pytest.raises(VolumeReadOnly):
        rig.put(block_name(2), b"hello")
    two_disks.call = ""
    assert states(rig) == [VolumeState.ONLINE, VolumeState.READ_ONLY]
    assert rig.store.volumes()[1].errors == 1
    assert rig.store.entry(block_name(2)) is None
    assert rig.store.in_flight == 0
    assert list((rig.folders[1] / "tmp").iterdir()) == []
    assert rig.get(block_name(1)) == b"before"  # still served from the failed disk
    rig.put(block_name(2), b"hello")  # the retry goes to the other disk
    assert rig.get(block_name(2)) == b"hello"
    assert [each for each, _ in rig.emit.events].count(Event.VOLUME_FAILED) == 1
    with pytest.raises(VolumeReadOnly):
        rig.store.delete(block_name(1))


def test_block_of_a_failed_disk_is_stored_again_on_another(
    rig: DiskRig, two_disks: FailingDisk
) -> None:
    rig.put(block_name(1), b"hello")
    two_disks.call = "fsync"
    with pytest.raises(VolumeReadOnly):
        rig.put(block_name(2), b"more")
    two_disks.call = ""
    (told,) = rig.store.stock(after=None, limit=10)
    assert told.state is StoredState.FAILING
    with pytest.raises(BlockConflict):
        rig.put(block_name(1), b"other")
    rig.put(block_name(1), b"hello")
    for _ in range(2):
        (told,) = rig.store.stock(after=None, limit=10)
        assert (told.state, told.volume) == (StoredState.FINAL, rig.store.volumes()[0].volume)
        rig.put(block_name(1), b"hello")  # it is there already
    assert rig.get(block_name(1)) == b"hello"
    rig.reopen()
    assert [entry.state for entry in rig.store.stock(after=None, limit=10)] == [StoredState.FINAL]
    assert rig.store.delete(block_name(1))
    assert rig.store.entry(block_name(1)) is None


def test_failed_write_behind_fails_the_block(rig: DiskRig, two_disks: FailingDisk) -> None:
    two_disks.call = "fdatasync"
    with pytest.raises(VolumeReadOnly):
        rig.put(block_name(1), bytes(70 * MiB))
    assert states(rig) == [VolumeState.ONLINE, VolumeState.READ_ONLY]


def test_failed_fsync_is_not_asked_again(rig: DiskRig, two_disks: FailingDisk) -> None:
    two_disks.call = "fsync"
    with pytest.raises(VolumeReadOnly):
        rig.put(block_name(1), b"hello")
    assert two_disks.fsyncs == 1


def test_full_disk_leaves_the_volume_online(rig: DiskRig, two_disks: FailingDisk) -> None:
    two_disks.errno = errno.ENOSPC
    two_disks.call = "allocate"
    with pytest.raises(DiskFull):
        rig.put(block_name(1), b"hello")
    assert states(rig) == [VolumeState.ONLINE, VolumeState.ONLINE]


def test_free_room_counts_only_disks_that_take_writes(rig: DiskRig, two_disks: FailingDisk) -> None:
    assert rig.store.free_bytes == (1 << 39) + (1 << 38)
    two_disks.call = "write"
    with pytest.raises(VolumeReadOnly):
        rig.put(block_name(2), b"hello")
    assert rig.store.free_bytes == 1 << 38
    assert rig.store.total_bytes == 2 << 40


def test_replacement_rule_holds_across_disks(rig: DiskRig, two_disks: FailingDisk) -> None:
    rig.put(block_name(1, 5), b"on the roomier")
    with rig.store.begin(block_name(1, 5), path="/x", length_max=99, length=14) as writer:
        assert writer.already
    two_disks.call = "write"
    with pytest.raises(VolumeReadOnly):
        rig.put(block_name(9), b"closes it")
    with pytest.raises(StaleGeneration):
        rig.put(block_name(1, 4), b"older")
    with pytest.raises(BlockConflict):
        rig.put(block_name(1, 5), b"other bytes")


def _room(volume: VolumeStatus) -> int:
    return volume.free_bytes


@pytest.mark.parametrize(
    ("offers", "need", "choice"),
    [
        ([(100, 0)], 10, 0),
        ([(100, 0), (90, 0)], 10, 0),  # equal work: most room
        ([(100, 1), (90, 0)], 10, 1),  # disks of a kind share the work
        ([(100, 5), (40, 0)], 10, 0),  # a much fuller one is spared
        ([(100, 1), (60, 0)], 70, 0),  # it must fit
        ([(5, 0), (9, 0)], 10, 1),  # nothing fits: the roomiest says so
        ([(-3, 0), (-9, 0)], 0, 0),
    ],
)
def test_choice_of_volume(offers: list[tuple[int, int]], need: int, choice: int) -> None:
    assert choose_volume(offers, need_bytes=need) == choice
